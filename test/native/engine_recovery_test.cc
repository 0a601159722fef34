// How the transport recovers from loss, duplication, reordering and a receiver that is not ready.
#include <gtest/gtest.h>

#include <cerrno>
#include <memory>

#include "soft/wire/syndrome.h"
#include "support/simulated_pair.h"

namespace verbena::test {
namespace {

constexpr int kLocal = IBV_ACCESS_LOCAL_WRITE;
constexpr int kRemote =
    kLocal | IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ | IBV_ACCESS_REMOTE_ATOMIC;

const auto to_remote = [](const Buffer& buffer, size_t offset = 0) {
  return [&buffer, offset](ibv_send_wr& request) {
    request.wr.rdma.remote_addr = buffer.address() + offset;
    request.wr.rdma.rkey = buffer.key;
  };
};

void fill_pattern(Buffer& buffer) {
  SeededRandom random(3);
  for (auto& byte : buffer.bytes) byte = static_cast<std::byte>(random.next());
}

// Loses the `number`th frame (from 0) for which `matches` holds.
auto lose(std::function<bool(const wire::Packet&)> matches, int number) {
  return [matches, number, seen = 0](const Frame& frame) mutable {
    const auto packet = wire::Packet::parse(frame.bytes);
    return !(matches(*packet) && seen++ == number);
  };
}

// Each single loss in turn, for each operation: whatever is lost, everything arrives once.
class SingleLoss : public testing::TestWithParam<int> {};

TEST_P(SingleLoss, OfAnyFrameIsRecoveredWithoutTheFullTimeout) {
  Pair pair({.mtu = IBV_MTU_256, .timeout = 18});
  Buffer local(pair.a, Pair::kPd, 8192, kLocal);
  Buffer back(pair.a, Pair::kPd, 8192, kLocal);
  Buffer remote(pair.b, Pair::kPd, 8192, kRemote);
  fill_pattern(local);
  Buffer received(pair.b, Pair::kPd, 8192, kLocal);
  pair.network.filter = lose([](const wire::Packet&) { return true; }, GetParam());
  Pair::post_receive(pair.b, *pair.qp_b, 1, {received.sge(0, 8192)});
  pair.post_send(IBV_WR_RDMA_WRITE, 1, {local.sge(0, 2000)}, to_remote(remote));
  pair.post_send(IBV_WR_RDMA_READ, 2, {back.sge(0, 2000)}, to_remote(remote));
  pair.post_send(IBV_WR_ATOMIC_FETCH_AND_ADD, 3, {back.sge(4096, 8)}, [&](ibv_send_wr& request) {
    request.wr.atomic.remote_addr = remote.address() + 4096;
    request.wr.atomic.rkey = remote.key;
    request.wr.atomic.compare_add = 5;
  });
  pair.post_send(IBV_WR_SEND, 4, {local.sge(0, 3000)});
  pair.run();
  const auto done = pair.poll(pair.cq_a);
  ASSERT_EQ(done.size(), 4U);
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(done[i].status, IBV_WC_SUCCESS);
    EXPECT_EQ(done[i].wr_id, i + 1);
  }
  EXPECT_EQ(pair.poll(pair.cq_b).size(), 1U);
  EXPECT_TRUE(std::equal(local.bytes.begin(), local.bytes.begin() + 2000, back.bytes.begin()));
  EXPECT_TRUE(std::equal(local.bytes.begin(), local.bytes.begin() + 3000, received.bytes.begin()));
  uint64_t counter = 0;
  std::memcpy(&counter, &remote.bytes[4096], 8);
  EXPECT_EQ(counter, 5U) << "the atomic ran once";
  EXPECT_EQ(pair.a.counters.ack_timeouts, 0U) << "a probe or a NAK was enough";
}

INSTANTIATE_TEST_SUITE_P(EveryFrame, SingleLoss, testing::Range(0, 36));

// A lost request or answer of an ATOMIC WRITE: the value arrives, and a later one is not undone.
class AtomicWriteLoss : public testing::TestWithParam<int> {};

TEST_P(AtomicWriteLoss, OfAnyFrameIsRecovered) {
  Pair pair({.mtu = IBV_MTU_256, .timeout = 18});
  Buffer remote(pair.b, Pair::kPd, 64, kRemote);
  pair.network.filter = lose([](const wire::Packet&) { return true; }, GetParam());
  for (uint64_t value = 1; value <= 3; ++value) {
    ibv_sge sge{reinterpret_cast<uint64_t>(&value), sizeof value, 0};
    ASSERT_EQ(pair.post_send(IBV_WR_ATOMIC_WRITE, value, {sge}, to_remote(remote)), 0);
  }
  pair.run();
  const auto done = pair.poll(pair.cq_a);
  ASSERT_EQ(done.size(), 3U);
  for (const ibv_wc& each : done) {
    EXPECT_EQ(each.status, IBV_WC_SUCCESS);
    EXPECT_EQ(each.opcode, IBV_WC_ATOMIC_WRITE);
  }
  uint64_t stored = 0;
  std::memcpy(&stored, remote.bytes.data(), sizeof stored);
  EXPECT_EQ(stored, 3U);
}

INSTANTIATE_TEST_SUITE_P(EveryFrame, AtomicWriteLoss, testing::Range(0, 7));

TEST(Recovery, AGapDrawsOneSequenceNakAndGoBackN) {
  Pair pair({.mtu = IBV_MTU_256});
  Buffer local(pair.a, Pair::kPd, 8192, kLocal);
  Buffer remote(pair.b, Pair::kPd, 8192, kRemote);
  fill_pattern(local);
  pair.network.filter =
      lose([](const wire::Packet& p) { return p.has(wire::OpcodeFlag::kWrite); }, 3);
  pair.post_send(IBV_WR_RDMA_WRITE, 1, {local.sge(0, 8192)}, to_remote(remote));
  pair.run();
  EXPECT_EQ(pair.b.counters.sequence_naks_sent, 1U);
  EXPECT_EQ(pair.a.counters.sequence_naks_received, 1U);
  EXPECT_EQ(pair.poll(pair.cq_a).size(), 1U);
  EXPECT_EQ(local.bytes, remote.bytes);
}

// Soft-RoCE takes a NAK for a retry without progress and gives up after seven of them.
TEST(Recovery, ASequenceNakIsPrecededByAnAcknowledgeOfWhatArrived) {
  Pair pair({.mtu = IBV_MTU_256});
  Buffer local(pair.a, Pair::kPd, 8192, kLocal);
  Buffer remote(pair.b, Pair::kPd, 8192, kRemote);
  std::vector<std::pair<uint8_t, uint32_t>> answers;  // syndrome and distance from the first PSN
  pair.network.filter =
      [&, lost = lose([](const wire::Packet& p) { return p.has(wire::OpcodeFlag::kWrite); }, 3)](
          const Frame& frame) mutable {
        const auto packet = wire::Packet::parse(frame.bytes);
        if (packet->opcode() == wire::Opcode::kAcknowledge) {
          answers.emplace_back(packet->aeth().syndrome,
                               (packet->psn() - pair.options.psn_a) & wire::kPsnMask);
        }
        return lost(frame);
      };
  pair.post_send(IBV_WR_RDMA_WRITE, 1, {local.sge(0, 8192)}, to_remote(remote));
  pair.run();
  ASSERT_GE(answers.size(), 3U);
  EXPECT_EQ(answers[0], std::make_pair(wire::kAckNoCredits, 2U));
  EXPECT_EQ(answers[1], std::make_pair(wire::kNakPsnSequence, 3U));
}

// A requester that went back may get its first answers after all, and ask on while the repeated
// ones wait here: it is within its limit.
TEST(Recovery, RepeatedReadsDoNotCountAsOutstanding) {
  Pair pair({.mtu = IBV_MTU_256, .rd_atomic = 4});
  Buffer remote(pair.b, Pair::kPd, 16 * 512, kRemote);
  const auto ask = [&](uint32_t number) {
    Frame frame{pair.a.address(), pair.b.address(),
                std::vector<std::byte>(wire::kBthBytes + wire::kRethBytes)};
    std::byte* at =
        wire::write_bth(frame.bytes.data(), {.opcode = wire::Opcode::kReadRequest,
                                             .dest_qpn = pair.qp_b->qpn,
                                             .psn = wire::psn_add(pair.options.psn_a, 2 * number)});
    wire::write_reth(at, {remote.address() + 512 * number, remote.key, 512});
    pair.b.receive(pair.now, frame);
  };
  for (const uint32_t number : {0U, 1U, 2U, 3U}) ask(number);
  for (const uint32_t number : {0U, 1U, 2U, 3U}) ask(number);
  ask(4);
  EXPECT_EQ(pair.b.counters.invalid_request_naks_sent, 0U);
  EXPECT_EQ(pair.qp_b->state, IBV_QPS_RTS);
  for (const uint32_t number : {5U, 6U, 7U}) ask(number);
  EXPECT_EQ(pair.qp_b->state, IBV_QPS_RTS);
  ask(8);
  EXPECT_EQ(pair.b.counters.invalid_request_naks_sent, 1U) << "the limit still holds";
}

// Each missing packet of a burst draws its NAK; while a response is missing before it, that is one
// loss and not many.
TEST(Recovery, TheNaksOfABurstDoNotUseUpTheRetries) {
  Pair pair({.retry_count = 3});
  Buffer local(pair.a, Pair::kPd, 64, kLocal);
  Buffer remote(pair.b, Pair::kPd, 64, kRemote);
  pair.network.filter = [](const Frame&) { return false; };
  pair.post_send(IBV_WR_RDMA_READ, 1, {local.sge(0, 8)}, to_remote(remote));
  for (uint64_t id = 2; id < 12; ++id) {
    pair.post_send(IBV_WR_RDMA_WRITE, id, {local.sge(0, 8)}, to_remote(remote));
  }
  pair.run(1 * kMs);
  for (uint32_t missing = 1; missing < 10; ++missing) {
    Frame nak{pair.b.address(), pair.a.address(),
              std::vector<std::byte>(wire::kBthBytes + wire::kAethBytes)};
    std::byte* at =
        wire::write_bth(nak.bytes.data(), {.opcode = wire::Opcode::kAcknowledge,
                                           .dest_qpn = pair.qp_a->qpn,
                                           .psn = wire::psn_add(pair.options.psn_a, missing)});
    wire::write_aeth(at, {wire::kNakPsnSequence, 0});
    pair.a.receive(pair.now, nak);
    pair.run(1 * kUs);
  }
  EXPECT_EQ(pair.qp_a->state, IBV_QPS_RTS);
  EXPECT_EQ(pair.qp_a->requester.retries_left, 2);
}

// Otherwise only a probe or the timeout would end the silence.
TEST(Recovery, AnAcknowledgeIsAskedForWhenThePathIsFull) {
  Pair pair({.mtu = IBV_MTU_2048, .window_bytes = 4096});
  Buffer local(pair.a, Pair::kPd, 8192, kLocal);
  Buffer remote(pair.b, Pair::kPd, 8192, kRemote);
  pair.post_send(IBV_WR_RDMA_WRITE, 1, {local.sge(0, 8192)}, to_remote(remote));
  pair.post_send(IBV_WR_RDMA_WRITE, 2, {local.sge(0, 8192)}, to_remote(remote));
  pair.run();
  EXPECT_EQ(pair.poll(pair.cq_a).size(), 2U);
  EXPECT_EQ(pair.a.counters.tail_probes, 0U);
  EXPECT_EQ(pair.a.counters.ack_timeouts, 0U);
}

// A copy of an old request may come late, after the responder took the region away.
TEST(Recovery, ARepeatedReadOfARegionThatWentIsRefusedAndNoMore) {
  Pair pair;
  Buffer local(pair.a, Pair::kPd, 64, kLocal);
  auto remote = std::make_unique<Buffer>(pair.b, Pair::kPd, 64, kRemote);
  Frame read;
  pair.network.filter = [&](const Frame& frame) {
    if (frame.to == pair.b.address() && read.bytes.empty()) read = frame;
    return true;
  };
  pair.post_send(IBV_WR_RDMA_READ, 1, {local.sge(0, 64)}, to_remote(*remote));
  pair.run();
  remote.reset();
  pair.b.receive(pair.now, read);
  pair.run();
  EXPECT_EQ(pair.b.counters.remote_access_naks_sent, 1U);
  EXPECT_EQ(pair.a.counters.ghost_responses, 1U);
  EXPECT_EQ(pair.qp_b->state, IBV_QPS_RTS);
  pair.post_send(IBV_WR_SEND, 2, {local.sge(0, 8)});
  Buffer received(pair.b, Pair::kPd, 64, kLocal);
  Pair::post_receive(pair.b, *pair.qp_b, 1, {received.sge(0, 64)});
  pair.run();
  EXPECT_EQ(pair.poll(pair.cq_b).size(), 1U);
}

// A completion queue with room for both depths must not overflow.
TEST(Recovery, AReceiveInUseIsOutstanding) {
  Pair pair({.mtu = IBV_MTU_256, .depth = 2});
  Buffer local(pair.a, Pair::kPd, 512, kLocal);
  Buffer received(pair.b, Pair::kPd, 512, kLocal);
  for (uint64_t id = 1; id <= 2; ++id) {
    ASSERT_EQ(Pair::post_receive(pair.b, *pair.qp_b, id, {received.sge(0, 512)}), 0);
  }
  pair.network.filter = [](const Frame& frame) {
    return wire::Packet::parse(frame.bytes)->opcode() != wire::Opcode::kSendLast;
  };
  pair.post_send(IBV_WR_SEND, 1, {local.sge(0, 512)});
  pair.run(1 * kMs);
  ASSERT_TRUE(pair.qp_b->responder.receive_taken);
  EXPECT_EQ(Pair::post_receive(pair.b, *pair.qp_b, 3, {received.sge(0, 512)}), ENOMEM);
}

TEST(Recovery, ASilentPeerEndsInRetryExceededAfterAllRetries) {
  Pair pair({.timeout = 14, .retry_count = 3});
  Buffer local(pair.a, Pair::kPd, 64, kLocal);
  pair.network.filter = [](const Frame&) { return false; };
  pair.post_send(IBV_WR_SEND, 1, {local.sge(0, 64)});
  pair.post_send(IBV_WR_SEND, 2, {local.sge(0, 64)});
  pair.run();
  const auto done = pair.poll(pair.cq_a);
  ASSERT_EQ(done.size(), 2U);
  EXPECT_EQ(done[0].status, IBV_WC_RETRY_EXC_ERR);
  EXPECT_EQ(done[1].status, IBV_WC_WR_FLUSH_ERR);
  EXPECT_EQ(pair.a.counters.ack_timeouts, 4U);
  EXPECT_EQ(pair.qp_a->state, IBV_QPS_ERR);
  const TimeNs timeout = wire::ack_timeout_ns(14);
  EXPECT_GE(pair.now, 4 * timeout);
  EXPECT_LE(pair.now, 4 * timeout * 4);
}

TEST(Recovery, AReceiverThatIsNotReadyIsWaitedFor) {
  Pair pair({.rnr_retry = 7, .min_rnr_timer = 14});
  Buffer local(pair.a, Pair::kPd, 64, kLocal, 0x42);
  Buffer to(pair.b, Pair::kPd, 64, kLocal);
  pair.post_send(IBV_WR_SEND, 1, {local.sge(0, 64)});
  pair.run(10 * kMs);
  EXPECT_TRUE(pair.poll(pair.cq_a).empty());
  EXPECT_GE(pair.b.counters.rnr_naks_sent, 3U);
  Pair::post_receive(pair.b, *pair.qp_b, 9, {to.sge(0, 64)});
  pair.run();
  EXPECT_EQ(pair.poll(pair.cq_a).size(), 1U);
  EXPECT_EQ(to.bytes, local.bytes);
}

TEST(Recovery, RnrRetriesRunOut) {
  Pair pair({.rnr_retry = 2, .min_rnr_timer = 1});
  Buffer local(pair.a, Pair::kPd, 64, kLocal);
  pair.post_send(IBV_WR_SEND, 1, {local.sge(0, 64)});
  pair.run();
  const auto done = pair.poll(pair.cq_a);
  ASSERT_EQ(done.size(), 1U);
  EXPECT_EQ(done[0].status, IBV_WC_RNR_RETRY_EXC_ERR);
  EXPECT_EQ(pair.b.counters.rnr_naks_sent, 3U);
}

TEST(Recovery, TheRnrWaitIsAtLeastWhatTheReceiverAsked) {
  for (const uint8_t code : {1, 12, 20, 31, 0}) {
    Pair pair({.rnr_retry = 1, .min_rnr_timer = code});
    Buffer local(pair.a, Pair::kPd, 64, kLocal);
    std::vector<TimeNs> sent_at;
    pair.network.filter = [&](const Frame& frame) {
      if (frame.from == pair.a.address()) sent_at.push_back(pair.now);
      return true;
    };
    pair.post_send(IBV_WR_SEND, 1, {local.sge(0, 64)});
    pair.run();
    ASSERT_EQ(sent_at.size(), 2U) << "code " << int{code};
    EXPECT_GE(sent_at[1] - sent_at[0], wire::rnr_wait_ns(code));
  }
}

TEST(Recovery, ADuplicateAtomicReturnsTheFirstResult) {
  Pair pair;
  Buffer result(pair.a, Pair::kPd, 8, kLocal);
  Buffer remote(pair.b, Pair::kPd, 8, kRemote);
  pair.network.filter =
      lose([](const wire::Packet& p) { return p.opcode() == wire::Opcode::kAtomicAcknowledge; }, 0);
  pair.post_send(IBV_WR_ATOMIC_FETCH_AND_ADD, 1, {result.sge(0, 8)}, [&](ibv_send_wr& request) {
    request.wr.atomic.remote_addr = remote.address();
    request.wr.atomic.rkey = remote.key;
    request.wr.atomic.compare_add = 7;
  });
  pair.run();
  ASSERT_EQ(pair.poll(pair.cq_a).size(), 1U);
  uint64_t counter = 0;
  uint64_t original = 99;
  std::memcpy(&counter, remote.bytes.data(), 8);
  std::memcpy(&original, result.bytes.data(), 8);
  EXPECT_EQ(counter, 7U);
  EXPECT_EQ(original, 0U);
  EXPECT_EQ(pair.b.counters.duplicate_requests, 1U);
}

TEST(Recovery, AReadIsTakenUpAtTheFirstMissingPacket) {
  Pair pair({.mtu = IBV_MTU_256});
  Buffer local(pair.a, Pair::kPd, 25600, kLocal);
  Buffer remote(pair.b, Pair::kPd, 25600, kRemote);
  fill_pattern(remote);
  std::vector<uint32_t> asked;
  pair.network.filter =
      [&, lost = lose(
              [](const wire::Packet& p) { return p.opcode() == wire::Opcode::kReadResponseMiddle; },
              19)](const Frame& frame) mutable {
        const auto packet = wire::Packet::parse(frame.bytes);
        if (packet->opcode() == wire::Opcode::kReadRequest) asked.push_back(packet->reth().length);
        return lost(frame);
      };
  pair.post_send(IBV_WR_RDMA_READ, 1, {local.sge(0, 25600)}, to_remote(remote));
  pair.run();
  EXPECT_EQ(local.bytes, remote.bytes);
  // 64 packets at first; the rest of them again, which is all that the responder remembers.
  ASSERT_GE(asked.size(), 2U);
  EXPECT_EQ(asked[0], 64U * 256);
  EXPECT_TRUE(std::find(asked.begin(), asked.end(), 44U * 256) != asked.end());
  EXPECT_EQ(pair.a.counters.implicit_naks > 0, true);
}

// How the kernel's rxe remembers READs: a repeated request must lie within the one before it that
// it repeats, and begin no earlier than the last one did; anything else is dropped in silence.
class RepeatsInOrder {
 public:
  bool operator()(const wire::Packet& request) {
    const uint32_t psn = request.psn();
    for (Served& served : served_) {
      if (wire::psn_diff(psn, served.first) < 0 || wire::psn_diff(psn, served.last) > 0) continue;
      if (request.reth().address < served.address) return false;
      served.address = request.reth().address;
      return true;
    }
    const uint32_t packets = wire::packet_count(request.reth().length, 256);
    served_.push_back({psn, wire::psn_add(psn, packets - 1), request.reth().address});
    return true;
  }

 private:
  struct Served {
    uint32_t first;
    uint32_t last;
    uint64_t address;
  };
  std::vector<Served> served_;
};

TEST(Recovery, ARepeatedReadIsNotAskedForInPiecesThatSoftRoceWouldForget) {
  for (uint64_t seed = 1; seed <= 50; ++seed) {
    Pair pair({.mtu = IBV_MTU_256, .seed = seed});
    Buffer local(pair.a, Pair::kPd, 200'000, kLocal);
    Buffer remote(pair.b, Pair::kPd, 200'000, kRemote);
    fill_pattern(remote);
    pair.network.filter = [rule = RepeatsInOrder(),
                           random = SeededRandom(seed)](const Frame& frame) mutable {
      const auto packet = wire::Packet::parse(frame.bytes);
      if (packet->opcode() == wire::Opcode::kReadRequest) return rule(*packet);
      return !random.chance(0.03);
    };
    pair.post_send(IBV_WR_RDMA_READ, 1, {local.sge(0, 200'000)}, to_remote(remote));
    pair.run();
    const auto done = pair.poll(pair.cq_a);
    ASSERT_EQ(done.size(), 1U) << "seed " << seed;
    EXPECT_EQ(done[0].status, IBV_WC_SUCCESS) << "seed " << seed;
    EXPECT_EQ(local.bytes, remote.bytes) << "seed " << seed;
  }
}

TEST(Recovery, ALateAcknowledgeOfAnOldPsnChangesNothing) {
  Pair pair;
  Buffer local(pair.a, Pair::kPd, 64, kLocal);
  Buffer remote(pair.b, Pair::kPd, 64, kRemote);
  pair.network.faults.duplicate = 1.0;
  for (uint64_t id = 0; id < 50; ++id) {
    pair.post_send(IBV_WR_RDMA_WRITE, id, {local.sge(0, 64)}, to_remote(remote));
    pair.run();
  }
  const auto done = pair.poll(pair.cq_a);
  ASSERT_EQ(done.size(), 50U);
  for (uint64_t id = 0; id < 50; ++id) EXPECT_EQ(done[id].wr_id, id);
}

TEST(Recovery, PsnsWrapInTheMiddleOfAMessage) {
  Pair pair({.mtu = IBV_MTU_256, .psn_a = 0xFFFFFC, .psn_b = 0xFFFFFE});
  pair.network.faults = {.drop = 0.05, .duplicate = 0.05, .reorder = 0.05};
  Buffer local(pair.a, Pair::kPd, 8192, kLocal);
  Buffer back(pair.a, Pair::kPd, 8192, kLocal);
  Buffer remote(pair.b, Pair::kPd, 8192, kRemote);
  fill_pattern(local);
  pair.post_send(IBV_WR_RDMA_WRITE, 1, {local.sge(0, 8192)}, to_remote(remote));
  pair.post_send(IBV_WR_RDMA_READ, 2, {back.sge(0, 8192)}, to_remote(remote));
  pair.run();
  EXPECT_EQ(pair.poll(pair.cq_a).size(), 2U);
  EXPECT_EQ(local.bytes, back.bytes);
}

TEST(Recovery, TheWindowShrinksOnLossAndAllArrivesThroughASmallOne) {
  Pair pair({.mtu = IBV_MTU_4096, .window_bytes = 32768});
  Buffer local(pair.a, Pair::kPd, 1 << 20, kLocal);
  Buffer remote(pair.b, Pair::kPd, 1 << 20, kRemote);
  fill_pattern(local);
  uint32_t in_flight = 0;
  uint32_t most = 0;
  pair.network.filter = [&](const Frame& frame) {
    if (frame.from == pair.a.address()) most = std::max(most, ++in_flight);
    if (frame.from == pair.b.address()) in_flight = 0;
    return true;
  };
  pair.post_send(IBV_WR_RDMA_WRITE, 1, {local.sge(0, 1 << 20)}, to_remote(remote));
  pair.run();
  EXPECT_EQ(pair.poll(pair.cq_a).size(), 1U);
  EXPECT_EQ(local.bytes, remote.bytes);
  EXPECT_LE(most, 8U);
}

}  // namespace
}  // namespace verbena::test
