// What each operation does on a network without faults.
#include <gtest/gtest.h>

#include <bit>
#include <numeric>

#include "support/simulated_pair.h"

namespace verbena::test {
namespace {

constexpr int kLocal = IBV_ACCESS_LOCAL_WRITE;
constexpr int kRemote =
    kLocal | IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ | IBV_ACCESS_REMOTE_ATOMIC;

void fill_pattern(Buffer& buffer, uint32_t seed) {
  SeededRandom random(seed);
  for (auto& byte : buffer.bytes) byte = static_cast<std::byte>(random.next());
}

const auto to_remote = [](const Buffer& buffer, size_t offset = 0) {
  return [&buffer, offset](ibv_send_wr& request) {
    request.wr.rdma.remote_addr = buffer.address() + offset;
    request.wr.rdma.rkey = buffer.key;
  };
};

class EveryMtu : public testing::TestWithParam<ibv_mtu> {};

std::vector<size_t> sizes_around(size_t mtu) {
  return {0, 1, 2, 3, 4, 5, mtu - 1, mtu, mtu + 1, 2 * mtu - 1, 2 * mtu, 2 * mtu + 1, 40 * mtu + 7};
}

TEST_P(EveryMtu, SendsArriveWholeAtEverySizeAroundThePacketBoundaries) {
  Pair pair({.mtu = GetParam()});
  const size_t mtu = wire::mtu_bytes(GetParam());
  Buffer from(pair.a, Pair::kPd, 64 * mtu, kLocal);
  Buffer to(pair.b, Pair::kPd, 64 * mtu, kLocal);
  fill_pattern(from, 7);
  for (const size_t size : sizes_around(mtu)) {
    std::fill(to.bytes.begin(), to.bytes.end(), std::byte{0});
    ASSERT_EQ(Pair::post_receive(pair.b, *pair.qp_b, size, {to.sge(0, to.bytes.size())}), 0);
    ASSERT_EQ(pair.post_send(IBV_WR_SEND, size, {from.sge(0, size)}), 0);
    pair.run();
    const auto sent = pair.poll(pair.cq_a);
    const auto received = pair.poll(pair.cq_b);
    ASSERT_EQ(sent.size(), 1U);
    ASSERT_EQ(received.size(), 1U);
    EXPECT_EQ(sent[0].status, IBV_WC_SUCCESS);
    EXPECT_EQ(sent[0].wr_id, size);
    EXPECT_EQ(received[0].status, IBV_WC_SUCCESS);
    EXPECT_EQ(received[0].byte_len, size);
    EXPECT_TRUE(std::equal(from.bytes.begin(), from.bytes.begin() + size, to.bytes.begin()));
    EXPECT_EQ(to.bytes[size], std::byte{0}) << "wrote past the message";
  }
}

TEST_P(EveryMtu, WritesAndReadsMoveTheBytesAskedForAndNoOther) {
  Pair pair({.mtu = GetParam()});
  const size_t mtu = wire::mtu_bytes(GetParam());
  Buffer local(pair.a, Pair::kPd, 64 * mtu, kLocal);
  Buffer back(pair.a, Pair::kPd, 64 * mtu, kLocal);
  Buffer remote(pair.b, Pair::kPd, 64 * mtu, kRemote);
  fill_pattern(local, 8);
  for (const size_t size : sizes_around(mtu)) {
    std::fill(remote.bytes.begin(), remote.bytes.end(), std::byte{0});
    std::fill(back.bytes.begin(), back.bytes.end(), std::byte{0});
    pair.post_send(IBV_WR_RDMA_WRITE, 1, {local.sge(0, size)}, to_remote(remote, 3));
    pair.post_send(IBV_WR_RDMA_READ, 2, {back.sge(5, size)}, to_remote(remote, 3));
    pair.run();
    const auto done = pair.poll(pair.cq_a);
    ASSERT_EQ(done.size(), 2U);
    EXPECT_EQ(done[0].status, IBV_WC_SUCCESS);
    EXPECT_EQ(done[1].status, IBV_WC_SUCCESS);
    EXPECT_TRUE(
        std::equal(local.bytes.begin(), local.bytes.begin() + size, remote.bytes.begin() + 3));
    EXPECT_TRUE(
        std::equal(local.bytes.begin(), local.bytes.begin() + size, back.bytes.begin() + 5));
    EXPECT_EQ(remote.bytes[2], std::byte{0});
    EXPECT_EQ(remote.bytes[3 + size], std::byte{0});
    EXPECT_EQ(back.bytes[4], std::byte{0});
    EXPECT_EQ(back.bytes[5 + size], std::byte{0});
  }
  EXPECT_TRUE(pair.poll(pair.cq_b).empty()) << "one-sided operations complete on one side";
}

INSTANTIATE_TEST_SUITE_P(Mtus, EveryMtu,
                         testing::Values(IBV_MTU_256, IBV_MTU_512, IBV_MTU_1024, IBV_MTU_2048,
                                         IBV_MTU_4096));

TEST(Operations, ImmediateDataArrivesInNetworkOrderWithSendAndWrite) {
  Pair pair;
  Buffer local(pair.a, Pair::kPd, 4096, kLocal, 0x11);
  Buffer remote(pair.b, Pair::kPd, 4096, kRemote);
  Pair::post_receive(pair.b, *pair.qp_b, 1, {remote.sge(0, 4096)});
  Pair::post_receive(pair.b, *pair.qp_b, 2, {});
  pair.post_send(IBV_WR_SEND_WITH_IMM, 1, {local.sge(0, 2000)},
                 [](ibv_send_wr& request) { request.imm_data = __builtin_bswap32(0xAABBCCDD); });
  pair.post_send(IBV_WR_RDMA_WRITE_WITH_IMM, 2, {local.sge(0, 3000)}, [&](ibv_send_wr& request) {
    to_remote(remote)(request);
    request.imm_data = __builtin_bswap32(0x01020304);
  });
  pair.run();
  const auto received = pair.poll(pair.cq_b);
  ASSERT_EQ(received.size(), 2U);
  EXPECT_EQ(received[0].opcode, IBV_WC_RECV);
  EXPECT_EQ(__builtin_bswap32(received[0].imm_data), 0xAABBCCDDU);
  EXPECT_EQ(received[1].opcode, IBV_WC_RECV_RDMA_WITH_IMM);
  EXPECT_EQ(received[1].byte_len, 3000U);
  EXPECT_EQ(received[1].wc_flags & IBV_WC_WITH_IMM, unsigned{IBV_WC_WITH_IMM});
  EXPECT_EQ(__builtin_bswap32(received[1].imm_data), 0x01020304U);
}

TEST(Operations, AtomicsChangeTheCounterOnceAndReturnWhatWasThere) {
  Pair pair;
  Buffer result(pair.a, Pair::kPd, 64, kLocal);
  Buffer remote(pair.b, Pair::kPd, 64, kRemote);
  const uint64_t initial = 0xFFFF'FFFF'FFFF'FFFE;
  std::memcpy(&remote.bytes[8], &initial, 8);
  const auto atomic = [&](uint64_t compare_add, uint64_t swap) {
    return [&, compare_add, swap](ibv_send_wr& request) {
      request.wr.atomic.remote_addr = remote.address() + 8;
      request.wr.atomic.rkey = remote.key;
      request.wr.atomic.compare_add = compare_add;
      request.wr.atomic.swap = swap;
    };
  };
  pair.post_send(IBV_WR_ATOMIC_FETCH_AND_ADD, 1, {result.sge(0, 8)}, atomic(3, 0));
  pair.post_send(IBV_WR_ATOMIC_CMP_AND_SWP, 2, {result.sge(8, 8)}, atomic(1, 42));
  pair.post_send(IBV_WR_ATOMIC_CMP_AND_SWP, 3, {result.sge(16, 8)}, atomic(1, 43));
  pair.run();
  ASSERT_EQ(pair.poll(pair.cq_a).size(), 3U);
  std::array<uint64_t, 3> originals{};
  std::memcpy(originals.data(), result.bytes.data(), sizeof originals);
  EXPECT_EQ(originals, (std::array<uint64_t, 3>{initial, 1, 42}));
  uint64_t now = 0;
  std::memcpy(&now, &remote.bytes[8], 8);
  EXPECT_EQ(now, 42U) << "a compare that fails must not swap";
}

TEST(Operations, ScatterAndGatherListsJoinAndSplitAtAnyByte) {
  Pair pair({.mtu = IBV_MTU_256});
  Buffer from(pair.a, Pair::kPd, 2000, kLocal);
  Buffer to(pair.b, Pair::kPd, 2000, kLocal);
  fill_pattern(from, 9);
  Pair::post_receive(pair.b, *pair.qp_b, 1, {to.sge(0, 1), to.sge(100, 300), to.sge(500, 1000)});
  pair.post_send(IBV_WR_SEND, 1, {from.sge(0, 255), from.sge(600, 2), from.sge(900, 700)});
  pair.run();
  const auto received = pair.poll(pair.cq_b);
  ASSERT_EQ(received.size(), 1U);
  ASSERT_EQ(received[0].byte_len, 957U);
  std::vector<std::byte> sent(from.bytes.begin(), from.bytes.begin() + 255);
  sent.insert(sent.end(), from.bytes.begin() + 600, from.bytes.begin() + 602);
  sent.insert(sent.end(), from.bytes.begin() + 900, from.bytes.begin() + 1600);
  EXPECT_EQ(to.bytes[0], sent[0]);
  EXPECT_TRUE(std::equal(sent.begin() + 1, sent.begin() + 301, to.bytes.begin() + 100));
  EXPECT_TRUE(std::equal(sent.begin() + 301, sent.end(), to.bytes.begin() + 500));
}

TEST(Operations, InlineBytesAreTakenWhenPosted) {
  Pair pair;
  std::array<char, 16> local{"inline payload"};
  Buffer to(pair.b, Pair::kPd, 64, kLocal);
  Pair::post_receive(pair.b, *pair.qp_b, 1, {to.sge(0, 64)});
  pair.post_send(IBV_WR_SEND, 1, {{reinterpret_cast<uint64_t>(local.data()), 16, 0}},
                 [](ibv_send_wr& request) { request.send_flags |= IBV_SEND_INLINE; });
  local.fill('x');
  pair.run();
  EXPECT_STREQ(reinterpret_cast<const char*>(to.bytes.data()), "inline payload");
}

TEST(Operations, UnsignaledRequestsRetireWithoutACompletion) {
  Pair pair({.depth = 16, .signal_all = false});
  Buffer local(pair.a, Pair::kPd, 64, kLocal);
  Buffer remote(pair.b, Pair::kPd, 64, kRemote);
  for (uint64_t id = 0; id < 160; ++id) {
    const auto adjust = [&](ibv_send_wr& request) {
      to_remote(remote)(request);
      request.send_flags = id % 8 == 7 ? IBV_SEND_SIGNALED : 0;
    };
    ASSERT_EQ(pair.post_send(IBV_WR_RDMA_WRITE, id, {local.sge(0, 64)}, adjust), 0);
    pair.run();
  }
  const auto done = pair.poll(pair.cq_a);
  ASSERT_EQ(done.size(), 20U);
  EXPECT_EQ(done.back().wr_id, 159U);
}

TEST(Operations, AFullSendQueueRefusesAndServesOn) {
  Pair pair({.depth = 4});
  Buffer local(pair.a, Pair::kPd, 64, kLocal);
  Buffer remote(pair.b, Pair::kPd, 64, kRemote);
  for (int i = 0; i < 4; ++i) {
    ASSERT_EQ(pair.post_send(IBV_WR_RDMA_WRITE, 1, {local.sge(0, 8)}, to_remote(remote)), 0);
  }
  EXPECT_EQ(pair.post_send(IBV_WR_RDMA_WRITE, 1, {local.sge(0, 8)}, to_remote(remote)), ENOMEM);
  pair.run();
  EXPECT_EQ(pair.poll(pair.cq_a).size(), 4U);
}

TEST(Operations, AFenceHoldsTheNextRequestUntilEarlierReadsAreDone) {
  Pair pair({.mtu = IBV_MTU_256});
  Buffer local(pair.a, Pair::kPd, 20000, kLocal);
  Buffer remote(pair.b, Pair::kPd, 20000, kRemote, 0x5A);
  bool read_done = false;
  bool write_seen_early = false;
  pair.network.filter = [&](const Frame& frame) {
    const auto packet = wire::Packet::parse(frame.bytes);
    if (packet->opcode() == wire::Opcode::kReadResponseLast) read_done = true;
    if (packet->has(wire::OpcodeFlag::kWrite) && !read_done) write_seen_early = true;
    return true;
  };
  pair.post_send(IBV_WR_RDMA_READ, 1, {local.sge(0, 10000)}, to_remote(remote));
  pair.post_send(IBV_WR_RDMA_WRITE, 2, {local.sge(0, 10000)}, [&](ibv_send_wr& request) {
    to_remote(remote, 10000)(request);
    request.send_flags |= IBV_SEND_FENCE;
  });
  pair.run();
  EXPECT_EQ(pair.poll(pair.cq_a).size(), 2U);
  EXPECT_FALSE(write_seen_early);
  EXPECT_EQ(remote.bytes[19999], std::byte{0x5A}) << "the write sent what the read had brought";
}

TEST(Operations, ReadsOutstandingStayWithinTheLimitAgreed) {
  Pair pair({.rd_atomic = 2});
  Buffer local(pair.a, Pair::kPd, 4096, kLocal);
  Buffer remote(pair.b, Pair::kPd, 4096, kRemote);
  int outstanding = 0;
  int most = 0;
  pair.network.filter = [&](const Frame& frame) {
    const auto packet = wire::Packet::parse(frame.bytes);
    if (packet->opcode() == wire::Opcode::kReadRequest) most = std::max(most, ++outstanding);
    if (packet->opcode() == wire::Opcode::kReadResponseOnly) --outstanding;
    return true;
  };
  for (uint64_t id = 0; id < 20; ++id) {
    pair.post_send(IBV_WR_RDMA_READ, id, {local.sge(0, 100)}, to_remote(remote));
  }
  pair.run();
  EXPECT_EQ(pair.poll(pair.cq_a).size(), 20U);
  EXPECT_EQ(most, 2);
}

// What leaves for b while a's SEND is to be acknowledged.
std::vector<wire::Opcode> sent_by_b(Pair& pair, int answers, const Buffer& local) {
  std::vector<wire::Opcode> sent;
  for (int i = 0; i < answers; ++i) {
    ibv_sge sge = local.sge(0, 8);
    ibv_send_wr request{};
    request.opcode = IBV_WR_SEND;
    request.sg_list = &sge;
    request.num_sge = 1;
    EXPECT_EQ(pair.b.engine().post_send(*pair.qp_b, request), 0);
  }
  pair.network.filter = [&](const Frame& frame) {
    if (frame.from == pair.b.address()) sent.push_back(wire::Packet::parse(frame.bytes)->opcode());
    return true;
  };
  pair.b.run(pair.now);
  pair.network.filter = nullptr;
  return sent;
}

class AcknowledgeOrder : public testing::Test {
 protected:
  AcknowledgeOrder() {
    Pair::post_receive(pair.b, *pair.qp_b, 1, {there.sge(0, 100)});
    pair.post_send(IBV_WR_SEND, 2, {here.sge(0, 100)});
    pair.a.run(pair.now);
    pair.b.receive(pair.now, pair.network.pop());
  }

  Pair pair;
  Buffer here{pair.a, Pair::kPd, 4096, kLocal};
  Buffer there{pair.b, Pair::kPd, 4096, kLocal};
};

TEST_F(AcknowledgeOrder, AnAcknowledgeLeavesBehindTheAnswer) {
  EXPECT_TRUE(pair.b.engine().owes_acknowledge_only());
  EXPECT_FALSE(pair.a.engine().owes_acknowledge_only()) << "nothing is to be sent";
  const std::vector expected{wire::Opcode::kSendOnly, wire::Opcode::kSendOnly,
                             wire::Opcode::kAcknowledge};
  EXPECT_EQ(sent_by_b(pair, 2, there), expected);
  EXPECT_FALSE(pair.b.engine().wants_transmit());
}

TEST_F(AcknowledgeOrder, AnAcknowledgeLeavesInItsTurnHoweverMuchIsToBeSent) {
  const auto sent = sent_by_b(pair, 40, there);
  EXPECT_LT(sent.size(), 40U);
  EXPECT_EQ(sent.back(), wire::Opcode::kAcknowledge);
  EXPECT_TRUE(pair.b.engine().wants_transmit());
}

TEST_F(AcknowledgeOrder, WhatIsToBeAnsweredWithMoreThanAnAcknowledgeDoesNotWait) {
  pair.post_send(IBV_WR_RDMA_READ, 3, {here.sge(0, 8)}, to_remote(there));
  EXPECT_FALSE(pair.a.engine().owes_acknowledge_only()) << "a READ is to be asked for";
  pair.a.run(pair.now);
  pair.b.receive(pair.now, pair.network.pop());
  EXPECT_FALSE(pair.b.engine().owes_acknowledge_only());
}

TEST(Operations, PostsMayWaitWhereEnoughSmallOnesAreOnTheWay) {
  Pair pair({.mtu = IBV_MTU_1024});
  Buffer local(pair.a, Pair::kPd, 4096, kLocal);
  const auto post = [&](uint32_t bytes) {
    pair.post_send(IBV_WR_SEND, 1, {local.sge(0, bytes)});
    return pair.a.engine().may_wait(*pair.qp_a);
  };
  for (int i = 0; i < 8; ++i) EXPECT_FALSE(post(100)) << "nothing is on the way";
  pair.a.run(pair.now);
  for (int i = 1; i < 16; ++i) EXPECT_TRUE(post(1024)) << i;
  EXPECT_FALSE(post(1024)) << "enough for one call of the kernel";
  pair.a.run(pair.now);
  EXPECT_FALSE(post(1025)) << "large ones gain nothing";
}

TEST(Operations, FewerReadsAreRememberedOnceTheLimitIsLower) {
  Pair pair({.rd_atomic = 4});
  Buffer local(pair.a, Pair::kPd, 64, kLocal);
  Buffer remote(pair.b, Pair::kPd, 64, kRemote);
  const auto read = [&](uint64_t count) {
    for (uint64_t id = 0; id < count; ++id) {
      pair.post_send(IBV_WR_RDMA_READ, id, {local.sge(0, 64)}, to_remote(remote));
    }
    pair.run();
    EXPECT_EQ(pair.poll(pair.cq_a).size(), count);
  };
  read(6);
  EXPECT_EQ(pair.qp_b->responder.served.size(), 4U);
  ibv_qp_attr attributes{};
  attributes.max_dest_rd_atomic = 2;
  pair.b.engine().modify_qp(*pair.qp_b, attributes, IBV_QP_MAX_DEST_RD_ATOMIC);
  read(1);
  EXPECT_EQ(pair.qp_b->responder.served.size(), 2U);
}

TEST(Operations, AcknowledgesAreCoalesced) {
  Pair pair;
  Buffer local(pair.a, Pair::kPd, 64, kLocal);
  Buffer remote(pair.b, Pair::kPd, 64, kRemote);
  for (uint64_t id = 0; id < 48; ++id) {
    pair.post_send(IBV_WR_RDMA_WRITE, id, {local.sge(0, 64)}, to_remote(remote));
  }
  pair.run();
  EXPECT_EQ(pair.poll(pair.cq_a).size(), 48U);
  EXPECT_LE(pair.b.counters.acks_sent, 6U);
}

TEST(Operations, OneCallOfTransmitIsBoundedHoweverMuchIsToBeSent) {
  Pair pair({.mtu = IBV_MTU_256, .window_bytes = 16 << 20});
  const size_t bytes = 1 << 20;
  Buffer local(pair.a, Pair::kPd, bytes, kLocal);
  Buffer remote(pair.b, Pair::kPd, bytes, kRemote);
  pair.qp_a->requester.window = 4096;
  pair.post_send(IBV_WR_RDMA_WRITE, 1, {local.sge(0, bytes)}, to_remote(remote));
  pair.a.run(0);
  EXPECT_EQ(pair.network.sent, 16U);
  EXPECT_TRUE(pair.a.engine().wants_transmit());
  pair.run();
  EXPECT_EQ(pair.poll(pair.cq_a).size(), 1U);
}

TEST(Operations, ASolicitedSendWakesAQueueArmedForSolicitedOnly) {
  struct Listener : engine::CompletionListener {
    void on_completion_event(CompletionQueue&) override { ++events; }
    int events = 0;
  } listener;
  CompletionQueue queue(8, &listener, nullptr);
  queue.request_notify(true);
  queue.push({}, false);
  EXPECT_EQ(listener.events, 0);
  queue.push({}, true);
  EXPECT_EQ(listener.events, 1);
  queue.push({}, true);
  EXPECT_EQ(listener.events, 1) << "a request is good for one event";
  queue.request_notify(false);
  queue.request_notify(true);
  queue.push({}, false);
  EXPECT_EQ(listener.events, 2) << "the wider of two requests holds";
}

TEST(Operations, QpnsAndKeysAreDrawnAtRandomAndNotReusedSoon) {
  Pair pair;
  std::vector<uint32_t> qpns;
  for (int i = 0; i < 2000; ++i) {
    QueuePair* qp =
        pair.a.engine().create_qp({1, &pair.cq_a, &pair.cq_a, 1, 1, 1, 1, 0, true, nullptr});
    qpns.push_back(qp->qpn);
    pair.a.engine().destroy_qp(*qp);
  }
  int neighbours = 0;
  for (size_t i = 1; i < qpns.size(); ++i) neighbours += qpns[i] - qpns[i - 1] == 1 ? 1 : 0;
  EXPECT_LT(neighbours, 3);
  std::sort(qpns.begin(), qpns.end());
  EXPECT_EQ(std::adjacent_find(qpns.begin(), qpns.end()), qpns.end());
  EXPECT_GE(qpns.front(), 2U);
  EXPECT_LT(qpns.back(), 0xFFFFFFU);
}

}  // namespace
}  // namespace verbena::test
