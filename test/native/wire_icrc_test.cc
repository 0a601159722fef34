// Checks ICRCs against known packets, and the solving for hidden IPv4 identifications.

#include "soft/wire/icrc.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "soft/wire/crc32.h"

namespace verbena::wire {
namespace {

using Payload = std::vector<std::byte>;

Payload from_hex(std::string_view hex) {
  Payload bytes;
  for (size_t i = 0; i + 1 < hex.size(); i += 2) {
    bytes.push_back(std::byte(std::stoi(std::string(hex.substr(i, 2)), nullptr, 16)));
  }
  return bytes;
}

Payload wire_order(uint32_t icrc) {
  Payload bytes(kIcrcBytes);
  icrc_store(bytes.data(), icrc);
  return bytes;
}

Payload with_icrc(const UdpFlow& flow, uint16_t ip_id, Payload packet) {
  const Payload icrc = wire_order(icrc_compute(flow, ip_id, packet));
  packet.insert(packet.end(), icrc.begin(), icrc.end());
  return packet;
}

Payload random_packet(size_t bytes, uint64_t seed) {
  std::mt19937_64 random(seed);
  Payload packet(bytes);
  for (auto& byte : packet) byte = std::byte(random());
  return packet;
}

const UdpFlow kV4{Address::v4(10, 0, 0, 1), Address::v4(10, 0, 0, 2), 0xC123, 4791};
const UdpFlow kV6{*Address::parse("fd00::1"), *Address::parse("fd00::2"), 0xC123, 4791};

struct GoldenVector {
  const char* name;
  const char* packet;
  const char* icrc_v4;
  const char* icrc_v6;
};

const GoldenVector kGoldenVectors[] = {
    {"acknowledge", "1100ffff00abcdef001234561f000007", "02abc8f5", "356ea352"},
    {"send_only", "0430ffff00abcdef8012345668656c6c6f000000", "76f1ea63", "0a7914d8"},
    {"write_only", "0a00ffff00abcdef801234561122334455667788deadbeef0000000401020304", "83565ba2",
     "8a34e84e"},
    {"read_request", "0c00ffff00abcdef801234561122334455667788deadbeef00001000", "5ee87ccd",
     "f7efa9e2"},
    {"compare_swap",
     "1300ffff00abcdef801234561122334455667788deadbeef00000000000000020000000000000001", "e58dd67a",
     "a1eabd80"},
    {"nak", "1100ffff00abcdef0012345660000007", "c81b94c6", "ffdeff61"},
};

TEST(Icrc, MatchesTheGoldenVectors) {
  for (const GoldenVector& golden : kGoldenVectors) {
    const Payload packet = from_hex(golden.packet);
    EXPECT_EQ(wire_order(icrc_compute(kV4, 0, packet)), from_hex(golden.icrc_v4)) << golden.name;
    EXPECT_EQ(wire_order(icrc_compute(kV6, 0, packet)), from_hex(golden.icrc_v6)) << golden.name;
  }
}

// A congestion notification captured from a ConnectX-4, whose IPv4 identification is 0x718C.
const UdpFlow kConnectX4{Address::v4(10, 0, 17, 1), Address::v4(10, 0, 18, 1), 0, 0x12B7};
constexpr uint16_t kConnectX4IpId = 0x718C;
constexpr const char* kConnectX4Packet =
    "8100ffff4000011800000000"
    "0000000000000000"
    "0000000000000000"
    "82fd002a";

TEST(Icrc, AcceptsARealPacketOfAnAdapter) {
  const Payload packet = from_hex(kConnectX4Packet);
  EXPECT_TRUE(icrc_check(kConnectX4, packet, kConnectX4IpId, IcrcMode::kStrict).valid);
  EXPECT_FALSE(icrc_check(kConnectX4, packet, 0, IcrcMode::kStrict).valid);
  const IcrcVerdict solved = icrc_check(kConnectX4, packet, 0, IcrcMode::kSolve);
  EXPECT_TRUE(solved.valid);
  EXPECT_EQ(solved.ip_id, kConnectX4IpId);
}

TEST(Icrc, CoversEveryByteButTheMaskedOne) {
  const Payload packet = random_packet(60, 1);
  const uint32_t icrc = icrc_compute(kV4, 0, packet);
  for (size_t position = 0; position < packet.size(); ++position) {
    Payload changed = packet;
    changed[position] ^= std::byte{0x41};
    EXPECT_EQ(icrc_compute(kV4, 0, changed) == icrc, position == 4) << position;
  }
}

TEST(Icrc, CoversAddressesAndPorts) {
  const Payload packet = random_packet(60, 2);
  for (const UdpFlow& flow : {kV4, kV6}) {
    std::set<uint32_t> seen{icrc_compute(flow, 0, packet)};
    UdpFlow changed = flow;
    changed.source_port ^= 1;
    EXPECT_TRUE(seen.insert(icrc_compute(changed, 0, packet)).second);
    changed = flow;
    changed.destination_port ^= 1;
    EXPECT_TRUE(seen.insert(icrc_compute(changed, 0, packet)).second);
    changed = flow;
    changed.source.gid[15] ^= 1;
    EXPECT_TRUE(seen.insert(icrc_compute(changed, 0, packet)).second);
    changed = flow;
    changed.destination.gid[15] ^= 1;
    EXPECT_TRUE(seen.insert(icrc_compute(changed, 0, packet)).second);
  }
}

TEST(Icrc, SolvesForEveryIdentification) {
  Payload packet = random_packet(36 + kIcrcBytes, 3);
  const auto covered = std::span(packet).first(36);
  for (uint32_t ip_id = 0; ip_id <= 0xFFFF; ++ip_id) {
    icrc_store(packet.data() + 36, icrc_compute(kV4, static_cast<uint16_t>(ip_id), covered));
    const IcrcVerdict solved = icrc_check(kV4, packet, 0x1234, IcrcMode::kSolve);
    ASSERT_TRUE(solved.valid) << ip_id;
    ASSERT_EQ(solved.ip_id, ip_id);
    const IcrcVerdict strict = icrc_check(kV4, packet, 0, IcrcMode::kStrict);
    ASSERT_EQ(strict.valid, ip_id < kStrictIpIds) << ip_id;
    ASSERT_EQ(strict.ip_id, ip_id < kStrictIpIds ? ip_id : 0);
  }
}

TEST(Icrc, SolvesAtEveryPacketLength) {
  for (size_t bytes = kIcrcMinimumBytes; bytes <= 4096 + 64; bytes += 4) {
    const auto ip_id = static_cast<uint16_t>(bytes * 40503);
    const Payload packet = with_icrc(kV4, ip_id, random_packet(bytes, bytes));
    const IcrcVerdict solved = icrc_check(kV4, packet, 7, IcrcMode::kSolve);
    ASSERT_TRUE(solved.valid) << bytes;
    ASSERT_EQ(solved.ip_id, ip_id) << bytes;
  }
}

TEST(Icrc, IgnoresTheIdentificationOnIpv6) {
  const Payload packet = with_icrc(kV6, 9, random_packet(80, 5));
  for (const uint16_t hint : {0, 9, 63, 500}) {
    const IcrcVerdict verdict = icrc_check(kV6, packet, hint, IcrcMode::kStrict);
    EXPECT_TRUE(verdict.valid);
    EXPECT_EQ(verdict.ip_id, 0);
  }
}

TEST(Icrc, DetectsEverySingleBitFlip) {
  for (const size_t bytes : {12u, 16u, 28u, 276u, 1040u, 4112u}) {
    for (const uint16_t ip_id : {0, 1, 57}) {
      Payload packet = with_icrc(kV4, ip_id, random_packet(bytes, bytes + ip_id));
      for (size_t bit = 0; bit < packet.size() * 8; ++bit) {
        if (bit / 8 == 4) continue;  // masked
        packet[bit / 8] ^= std::byte(1 << bit % 8);
        ASSERT_FALSE(icrc_check(kV4, packet, ip_id, IcrcMode::kStrict).valid)
            << bytes << '/' << bit;
        packet[bit / 8] ^= std::byte(1 << bit % 8);
      }
      ASSERT_TRUE(icrc_check(kV4, packet, ip_id, IcrcMode::kStrict).valid);
    }
  }
}

TEST(Icrc, DetectsEverySingleBitFlipOnIpv6) {
  Payload packet = with_icrc(kV6, 0, random_packet(1040, 6));
  for (size_t bit = 0; bit < packet.size() * 8; ++bit) {
    if (bit / 8 == 4) continue;
    packet[bit / 8] ^= std::byte(1 << bit % 8);
    ASSERT_FALSE(icrc_check(kV6, packet, 0, IcrcMode::kSolve).valid) << bit;
    packet[bit / 8] ^= std::byte(1 << bit % 8);
  }
}

// How many of `trials` packets with random ICRCs pass.
int accepted_at_random(IcrcMode mode, int trials) {
  std::mt19937_64 random(7);
  Payload packet = random_packet(40, 8);
  int accepted = 0;
  for (int trial = 0; trial < trials; ++trial) {
    icrc_store(packet.data() + 36, static_cast<uint32_t>(random()));
    accepted += icrc_check(kV4, packet, 0, mode).valid ? 1 : 0;
  }
  return accepted;
}

TEST(Icrc, LeavesTheStatedBitsOfCheck) {
  constexpr int kTrials = 1 << 19;
  // 2^19 trials: 8 expected to pass with 16 bits of check, 0.01 with 26.
  const int solved = accepted_at_random(IcrcMode::kSolve, kTrials);
  EXPECT_GT(solved, 1);
  EXPECT_LT(solved, 24);
  EXPECT_LE(accepted_at_random(IcrcMode::kStrict, kTrials), 1);
}

TEST(Icrc, RefusesPayloadsTooShortForAHeader) {
  for (size_t bytes = 0; bytes < kIcrcMinimumBytes + kIcrcBytes; ++bytes) {
    EXPECT_FALSE(icrc_check(kV4, Payload(bytes), 0, IcrcMode::kSolve).valid) << bytes;
  }
}

TEST(Icrc, ChecksPayloadsThatAreNotWholeWords) {
  for (size_t bytes = 13; bytes < 16; ++bytes) {
    const Payload packet = with_icrc(kV4, 3, random_packet(bytes, bytes));
    EXPECT_TRUE(icrc_check(kV4, packet, 3, IcrcMode::kStrict).valid);
    EXPECT_FALSE(icrc_check(kV4, packet, 4, IcrcMode::kSolve).valid);
  }
}

TEST(Icrc, SolvesFromManyThreadsAtOnce) {
  std::vector<std::thread> threads;
  std::vector<int> failures(4);
  threads.reserve(failures.size());
  for (auto& failed : failures) {
    threads.emplace_back([&failed] {
      for (size_t bytes = 8192; bytes < 9192; bytes += 4) {
        const Payload packet = with_icrc(kV4, 40, random_packet(bytes, bytes));
        failed += icrc_check(kV4, packet, 0, IcrcMode::kStrict).valid ? 0 : 1;
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(failures, std::vector<int>(4, 0));
}

}  // namespace
}  // namespace verbena::wire
