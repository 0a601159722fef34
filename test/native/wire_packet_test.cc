// Headers against known bytes, and parsing that refuses what does not hold its own headers.
#include <gtest/gtest.h>

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "soft/wire/mtu.h"
#include "soft/wire/packet.h"
#include "soft/wire/psn.h"
#include "soft/wire/syndrome.h"
#include "support/opcode_reference.h"

namespace verbena::wire {
namespace {

std::vector<std::byte> from_hex(const std::string& text) {
  std::vector<std::byte> bytes;
  for (size_t i = 0; i < text.size(); i += 2) {
    bytes.push_back(static_cast<std::byte>(std::stoi(text.substr(i, 2), nullptr, 16)));
  }
  return bytes;
}

std::vector<std::byte> written(const std::function<std::byte*(std::byte*)>& write) {
  std::vector<std::byte> bytes(128);
  bytes.resize(static_cast<size_t>(write(bytes.data()) - bytes.data()));
  return bytes;
}

constexpr uint32_t kQpn = 0xABCDEF;
constexpr uint32_t kPsn = 0x123456;

TEST(PacketBytes, AcknowledgeIsWrittenAndRead) {
  const auto bytes = written([](std::byte* at) {
    at = write_bth(at, {.opcode = Opcode::kAcknowledge, .dest_qpn = kQpn, .psn = kPsn});
    return write_aeth(at, {kAckNoCredits, 7});
  });
  EXPECT_EQ(bytes, from_hex("1100ffff00abcdef001234561f000007"));
  const auto packet = Packet::parse(bytes);
  ASSERT_TRUE(packet);
  EXPECT_EQ(packet->opcode(), Opcode::kAcknowledge);
  EXPECT_EQ(packet->dest_qpn(), kQpn);
  EXPECT_EQ(packet->psn(), kPsn);
  EXPECT_EQ(packet->aeth().syndrome, kAckNoCredits);
  EXPECT_EQ(packet->aeth().msn, 7U);
}

TEST(PacketBytes, SendIsPaddedToFourBytes) {
  const auto bytes = from_hex("0430ffff00abcdef8012345668656c6c6f000000");
  const auto packet = Packet::parse(bytes);
  ASSERT_TRUE(packet);
  EXPECT_TRUE(packet->ack_request());
  EXPECT_EQ(packet->pad_count(), 3U);
  const auto payload = packet->payload();
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(payload.data()), payload.size()), "hello");
}

TEST(PacketBytes, WriteAndReadCarryTheRemoteAddress) {
  const Reth reth{0x1122334455667788, 0xDEADBEEF, 4096};
  const auto bytes = written([&](std::byte* at) {
    at = write_bth(
        at, {.opcode = Opcode::kReadRequest, .dest_qpn = kQpn, .ack_request = true, .psn = kPsn});
    return write_reth(at, reth);
  });
  EXPECT_EQ(bytes, from_hex("0c00ffff00abcdef801234561122334455667788deadbeef00001000"));
  const auto packet = Packet::parse(bytes);
  ASSERT_TRUE(packet);
  EXPECT_EQ(packet->reth().address, reth.address);
  EXPECT_EQ(packet->reth().rkey, reth.rkey);
  EXPECT_EQ(packet->reth().length, reth.length);
}

TEST(PacketBytes, CompareSwapPutsTheSwapFirst) {
  const auto bytes = written([](std::byte* at) {
    at = write_bth(
        at, {.opcode = Opcode::kCompareSwap, .dest_qpn = kQpn, .ack_request = true, .psn = kPsn});
    return write_atomic_eth(at, {0x1122334455667788, 0xDEADBEEF, 2, 1});
  });
  EXPECT_EQ(bytes, from_hex("1300ffff00abcdef801234561122334455667788deadbeef"
                            "00000000000000020000000000000001"));
  const auto packet = Packet::parse(bytes);
  ASSERT_TRUE(packet);
  EXPECT_EQ(packet->atomic_eth().swap_add, 2U);
  EXPECT_EQ(packet->atomic_eth().compare, 1U);
}

TEST(PacketParse, TakesExactlyTheLengthsThatHoldTheHeadersAndThePadding) {
  std::vector<std::byte> bytes(kMaxMtuBytes + 64);
  for (int opcode = 0; opcode < 256; ++opcode) {
    bytes[0] = static_cast<std::byte>(opcode);
    for (uint32_t pad = 0; pad < 4; ++pad) {
      bytes[1] = static_cast<std::byte>(pad << 4);
      for (size_t length = 0; length <= bytes.size(); ++length) {
        const auto packet = Packet::parse(std::span(bytes).first(length));
        const bool expected = test::well_formed(static_cast<uint8_t>(opcode), length, pad);
        ASSERT_EQ(packet.has_value(), expected)
            << "opcode " << opcode << " length " << length << " pad " << pad;
      }
    }
  }
}

TEST(PacketParse, RefusesAnotherTransportVersion) {
  auto bytes = from_hex("1100ffff00abcdef001234561f000007");
  for (int version = 1; version < 16; ++version) {
    bytes[1] = static_cast<std::byte>(version);
    EXPECT_FALSE(Packet::parse(bytes));
  }
}

// Its sender may still be able to write to the memory that it lies in.
TEST(PacketParse, ReadsTheHeadersOnce) {
  auto bytes = from_hex("0a00ffff00abcdef801234561122334455667788deadbeef0000000401020304");
  const auto packet = Packet::parse(bytes);
  ASSERT_TRUE(packet);
  std::fill(bytes.begin(), bytes.end(), std::byte{0xFF});
  EXPECT_EQ(packet->opcode(), Opcode::kWriteOnly);
  EXPECT_EQ(packet->dest_qpn(), 0xABCDEFU);
  EXPECT_EQ(packet->psn(), 0x123456U);
  EXPECT_EQ(packet->pad_count(), 0U);
  EXPECT_EQ(packet->reth().address, 0x1122334455667788U);
  EXPECT_EQ(packet->reth().length, 4U);
  EXPECT_EQ(packet->payload().size(), 4U);
}

TEST(Psn, DifferencesAreSignedAndWrapForEveryValue) {
  for (const int64_t base : {0x000000, 0x000001, 0x7FFFFF, 0x800000, 0xFFFFF0, 0xFFFFFF}) {
    for (int64_t difference = -0x800000; difference < 0x800000; ++difference) {
      const auto other = static_cast<uint32_t>((base + difference + 0x1000000) % 0x1000000);
      const bool right = psn_diff(other, static_cast<uint32_t>(base)) == difference;
      if (!right) FAIL() << base << " and " << difference;  // millions of ASSERT_EQ take long
    }
  }
}

TEST(Syndrome, TheRnrTimerTableIsTheSpecifications) {
  EXPECT_EQ(rnr_wait_ns(0), 655'360'000);
  EXPECT_EQ(rnr_wait_ns(1), 10'000);
  EXPECT_EQ(rnr_wait_ns(12), 640'000);
  EXPECT_EQ(rnr_wait_ns(25), 61'440'000);
  EXPECT_EQ(rnr_wait_ns(31), 491'520'000);
  for (uint8_t code = 2; code < 32; ++code) EXPECT_GT(rnr_wait_ns(code), rnr_wait_ns(code - 1));
}

TEST(Mtu, PacketsOfAMessage) {
  EXPECT_EQ(packet_count(0, 1024), 1U);
  EXPECT_EQ(packet_count(1024, 1024), 1U);
  EXPECT_EQ(packet_count(1025, 1024), 2U);
  EXPECT_EQ(packet_count(1U << 30, 256), 1U << 22);
}

}  // namespace
}  // namespace verbena::wire
