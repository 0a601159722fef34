// Every opcode in every length with every padding, and every sequence number, into a live queue
// pair: each is dropped, refused or carried out as the specification says.
#include <gtest/gtest.h>

#include "soft/wire/syndrome.h"
#include "support/opcode_reference.h"
#include "support/simulated_pair.h"

namespace verbena::test {
namespace {

constexpr int kRemote = IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ |
                        IBV_ACCESS_REMOTE_ATOMIC;
constexpr uint32_t kRegionBytes = 8192;
constexpr uint32_t kBeyond = 64;  // lengths go as far beyond the path MTU
constexpr size_t kPadAt = 1, kRethAt = 12, kRethRkeyAt = 20, kRethLengthAt = 24;

enum class Verdict : uint8_t {
  kMalformed,
  kBadTransport,
  kGhost,
  kCarriedOut,
  kInvalidRequest,
  kAccessError,
};

Verdict expected(uint8_t opcode, size_t length, uint32_t pad, uint32_t mtu) {
  if (!well_formed(opcode, length, pad)) return Verdict::kMalformed;
  if (opcode >= kUnreliableBit) return Verdict::kBadTransport;
  const OpcodeReference& reference = *opcode_reference(opcode);
  const size_t payload = length - reference.header_bytes - pad;
  switch (reference.family) {
    case Family::kResponse:
      return Verdict::kGhost;
    case Family::kRead:
    case Family::kAtomic:
      return Verdict::kCarriedOut;
    case Family::kAtomicWrite:
      return payload == 8 ? Verdict::kCarriedOut : Verdict::kInvalidRequest;
    default:
      break;
  }
  const bool first = reference.position == Position::kFirst;
  const bool starts = first || reference.position == Position::kOnly;
  const bool fits = first ? payload == mtu : payload <= mtu;
  if (!starts || !fits) return Verdict::kInvalidRequest;
  return reference.invalidates ? Verdict::kAccessError : Verdict::kCarriedOut;
}

// A queue pair that is as good as new for each packet that had an effect on it.
class Receiver {
 public:
  explicit Receiver(ibv_mtu mtu)
      : pair_({.mtu = mtu}),
        remote_(pair_.b, Pair::kPd, kRegionBytes, kRemote),
        received_(pair_.b, Pair::kPd, kRegionBytes, IBV_ACCESS_LOCAL_WRITE) {
    renew();
  }

  uint32_t mtu() const { return pair_.qp_b->mtu; }

  Verdict take(std::vector<std::byte>& packet, uint32_t pad) {
    fill(packet, pad);
    const engine::Counters before = pair_.b.counters;
    pair_.b.engine().on_packet(0, pair_.a.address(), packet);
    const engine::Counters& after = pair_.b.counters;
    if (after.malformed > before.malformed) return Verdict::kMalformed;
    if (after.bad_transport > before.bad_transport) return Verdict::kBadTransport;
    if (after.ghost_responses > before.ghost_responses) return Verdict::kGhost;
    const uint32_t moved = pair_.qp_b->responder.expected_psn;
    const bool alive = pair_.qp_b->state == IBV_QPS_RTS;
    renew();
    if (after.invalid_request_naks_sent > before.invalid_request_naks_sent) {
      EXPECT_FALSE(alive);
      return Verdict::kInvalidRequest;
    }
    if (after.remote_access_naks_sent > before.remote_access_naks_sent) {
      EXPECT_FALSE(alive);
      return Verdict::kAccessError;
    }
    EXPECT_EQ(moved, wire::psn_add(pair_.options.psn_a, 1));
    EXPECT_TRUE(alive);
    return Verdict::kCarriedOut;
  }

  // Nothing was written beyond what the longest payload may hold.
  void check_memory() const {
    for (size_t i = mtu(); i < kRegionBytes; ++i) {
      ASSERT_EQ(remote_.bytes[i], std::byte{0}) << i;
      ASSERT_EQ(received_.bytes[i], std::byte{0}) << i;
    }
  }

 private:
  void renew() {
    ibv_qp_attr attributes{};
    attributes.qp_state = IBV_QPS_RESET;
    pair_.b.engine().modify_qp(*pair_.qp_b, attributes, IBV_QP_STATE);
    connect(pair_.b, *pair_.qp_b, pair_.options.psn_b, pair_.a, *pair_.qp_a, pair_.options.psn_a,
            pair_.options);
    Pair::post_receive(pair_.b, *pair_.qp_b, 1, {received_.sge(0, kRegionBytes)});
    pair_.b.events.clear();
  }

  // Headers that are right as far as there is room for them.
  void fill(std::vector<std::byte>& packet, uint32_t pad) {
    if (packet.size() < wire::kBthBytes) {
      if (packet.size() > kPadAt) packet[kPadAt] = static_cast<std::byte>(pad << 4);
      return;
    }
    const auto opcode = static_cast<wire::Opcode>(packet[0]);
    wire::write_bth(packet.data(), {.opcode = opcode,
                                    .pad_count = static_cast<uint8_t>(pad),
                                    .dest_qpn = pair_.qp_b->qpn,
                                    .psn = pair_.options.psn_a});
    const OpcodeReference* reference = opcode_reference(static_cast<uint8_t>(opcode));
    if (reference == nullptr || packet.size() < kRethLengthAt + 4) return;
    if (reference->header_bytes < kRethLengthAt + 4) return;
    wire::store_be64(&packet[kRethAt], remote_.address());
    wire::store_be32(&packet[kRethRkeyAt], remote_.key);
    if (reference->family == Family::kAtomic) return;
    const auto payload = static_cast<uint32_t>(packet.size()) - reference->header_bytes - pad;
    const bool more = reference->position == Position::kFirst;
    wire::store_be32(&packet[kRethLengthAt], more ? payload + 1 : payload);
  }

  Pair pair_;
  Buffer remote_;
  Buffer received_;
};

class EveryPacket : public testing::TestWithParam<ibv_mtu> {};

TEST_P(EveryPacket, IsDroppedRefusedOrCarriedOut) {
  Receiver receiver(GetParam());
  std::vector<std::byte> packet;
  packet.reserve(receiver.mtu() + kBeyond);
  for (uint32_t opcode = 0; opcode < 256; ++opcode) {
    for (size_t length = 0; length <= receiver.mtu() + kBeyond; ++length) {
      for (uint32_t pad = 0; pad < 4; ++pad) {
        packet.assign(length, std::byte{0});
        if (length > 0) packet[0] = static_cast<std::byte>(opcode);
        const auto byte = static_cast<uint8_t>(opcode);
        const Verdict wanted = expected(byte, length, pad, receiver.mtu());
        ASSERT_EQ(receiver.take(packet, pad), wanted)
            << "opcode " << opcode << " length " << length << " pad " << pad;
      }
    }
  }
  receiver.check_memory();
}

INSTANTIATE_TEST_SUITE_P(AtEveryMtu, EveryPacket,
                         testing::Values(IBV_MTU_256, IBV_MTU_512, IBV_MTU_1024, IBV_MTU_2048,
                                         IBV_MTU_4096));

constexpr uint32_t kPsns = 1U << 24;

// A request is the expected one, one of the 2^23 before it, or one of those after it.
TEST(EveryPsn, OfARequestIsTakenOnceAsExpectedRepeatedOrAhead) {
  Pair pair;
  const uint32_t expected_psn = pair.qp_b->responder.expected_psn;
  std::vector<std::byte> packet(wire::kBthBytes);
  wire::write_bth(packet.data(), {.opcode = wire::Opcode::kSendOnly, .dest_qpn = pair.qp_b->qpn});
  for (uint32_t ahead = 1; ahead < kPsns; ++ahead) {
    const bool repeated = ahead >= kPsns / 2;
    auto& counter = repeated ? pair.b.counters.duplicate_requests : pair.b.counters.out_of_sequence;
    const uint64_t before = counter;
    wire::store_be32(&packet[8], wire::psn_add(expected_psn, ahead));
    pair.b.engine().on_packet(0, pair.a.address(), packet);
    ASSERT_EQ(counter, before + 1) << ahead;
  }
  EXPECT_EQ(pair.qp_b->responder.expected_psn, expected_psn);
  EXPECT_EQ(pair.b.counters.duplicate_requests, kPsns / 2);
  EXPECT_EQ(pair.b.counters.out_of_sequence, kPsns / 2 - 1);
  EXPECT_EQ(pair.b.counters.sequence_naks_sent, 1U);
}

// A response counts only from the oldest packet that is not acknowledged to the newest sent.
TEST(EveryPsn, OfAResponseIsTakenOnlyInTheWindow) {
  Pair pair({.mtu = IBV_MTU_256});
  Buffer local(pair.a, Pair::kPd, 4096, IBV_ACCESS_LOCAL_WRITE);
  pair.network.filter = [](const Frame&) { return false; };
  pair.post_send(IBV_WR_SEND, 1, {local.sge(0, 4096)});
  pair.run(1 * kUs);
  const uint32_t una = pair.qp_a->requester.una_psn;
  const uint32_t in_flight = pair.qp_a->packets_in_flight();
  ASSERT_EQ(in_flight, 16U);
  std::vector<std::byte> packet(wire::kBthBytes + wire::kAethBytes);
  std::byte* aeth = wire::write_bth(
      packet.data(), {.opcode = wire::Opcode::kAcknowledge, .dest_qpn = pair.qp_a->qpn});
  wire::write_aeth(aeth, {wire::kAckNoCredits, 0});
  for (uint32_t ahead = in_flight; ahead < kPsns; ++ahead) {
    wire::store_be32(&packet[8], wire::psn_add(una, ahead));
    pair.a.engine().on_packet(0, pair.b.address(), packet);
  }
  EXPECT_EQ(pair.a.counters.ghost_responses, kPsns - in_flight);
  EXPECT_EQ(pair.qp_a->requester.una_psn, una);
  wire::store_be32(&packet[8], wire::psn_add(una, in_flight - 1));
  pair.a.engine().on_packet(0, pair.b.address(), packet);
  EXPECT_EQ(pair.poll(pair.cq_a).size(), 1U);
}

}  // namespace
}  // namespace verbena::test
