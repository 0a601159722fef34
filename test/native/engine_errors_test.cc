// What goes wrong, and that it is told once, to the right side, with nothing written.
#include <gtest/gtest.h>

#include "soft/wire/syndrome.h"
#include "support/simulated_pair.h"

namespace verbena::test {
namespace {

constexpr int kLocal = IBV_ACCESS_LOCAL_WRITE;
constexpr int kRemote =
    kLocal | IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ | IBV_ACCESS_REMOTE_ATOMIC;

struct Target {
  uint64_t address;
  uint32_t rkey;
};

ibv_wc_status run_one(Pair& pair, ibv_wr_opcode opcode, const Buffer& local, uint32_t length,
                      const Target& target) {
  pair.post_send(opcode, 1, {local.sge(0, length)}, [&](ibv_send_wr& request) {
    if (opcode == IBV_WR_ATOMIC_FETCH_AND_ADD || opcode == IBV_WR_ATOMIC_CMP_AND_SWP) {
      request.wr.atomic = {target.address, 1, 1, target.rkey};
    } else {
      request.wr.rdma = {target.address, target.rkey};
    }
  });
  pair.run();
  const auto done = pair.poll(pair.cq_a);
  EXPECT_EQ(done.size(), 1U);
  return done.empty() ? IBV_WC_GENERAL_ERR : done[0].status;
}

struct BadAccess {
  const char* name;
  ibv_wr_opcode opcode;
  int access;
  int64_t offset;
  uint32_t length;
  uint32_t key_change;
  uint32_t pd;
};

class RemoteAccess : public testing::TestWithParam<BadAccess> {};

TEST_P(RemoteAccess, IsRefusedWithNothingTouched) {
  const BadAccess& bad = GetParam();
  Pair pair;
  Buffer local(pair.a, Pair::kPd, 8192, kLocal, 0x77);
  Buffer remote(pair.b, bad.pd, 4096, bad.access, 0x11);
  const auto status =
      run_one(pair, bad.opcode, local, bad.length,
              {remote.address() + static_cast<uint64_t>(bad.offset), remote.key ^ bad.key_change});
  EXPECT_EQ(status, IBV_WC_REM_ACCESS_ERR);
  EXPECT_EQ(pair.qp_a->state, IBV_QPS_ERR);
  EXPECT_EQ(pair.qp_b->state, IBV_QPS_ERR);
  ASSERT_FALSE(pair.b.events.empty());
  EXPECT_EQ(pair.b.events.back().type, IBV_EVENT_QP_ACCESS_ERR);
  for (const std::byte byte : remote.bytes) ASSERT_EQ(byte, std::byte{0x11});
  for (const std::byte byte : local.bytes) ASSERT_EQ(byte, std::byte{0x77});
}

constexpr auto kWrite = IBV_WR_RDMA_WRITE;
constexpr auto kRead = IBV_WR_RDMA_READ;
constexpr auto kAdd = IBV_WR_ATOMIC_FETCH_AND_ADD;

INSTANTIATE_TEST_SUITE_P(
    Cases, RemoteAccess,
    testing::Values(
        BadAccess{"WriteOneBytePastTheEnd", kWrite, kRemote, 4000, 97, 0, 1},
        BadAccess{"WriteOneByteBefore", kWrite, kRemote, -1, 8, 0, 1},
        BadAccess{"ReadOneBytePastTheEnd", kRead, kRemote, 4000, 97, 0, 1},
        BadAccess{"ReadThatWrapsTheAddressSpace", kRead, kRemote, INT64_MIN, 8, 0, 1},
        BadAccess{"WriteLongerThanTheRegion", kWrite, kRemote, 0, 4097, 0, 1},
        BadAccess{"WriteWithoutTheRight", kWrite, kLocal | IBV_ACCESS_REMOTE_READ, 0, 8, 0, 1},
        BadAccess{"ReadWithoutTheRight", kRead, kLocal | IBV_ACCESS_REMOTE_WRITE, 0, 8, 0, 1},
        BadAccess{"AtomicWithoutTheRight", kAdd, kLocal | IBV_ACCESS_REMOTE_WRITE, 0, 8, 0, 1},
        BadAccess{"WriteWithAnotherKey", kWrite, kRemote, 0, 8, 0x100, 1},
        BadAccess{"WriteInAnotherProtectionDomain", kWrite, kRemote, 0, 8, 0, 2},
        BadAccess{"AtomicOnTheLastBytes", kAdd, kRemote, 4092, 8, 0, 1}),
    [](const auto& info) { return info.param.name; });

TEST(RemoteErrors, AMisalignedAtomicIsAnInvalidRequest) {
  Pair pair;
  Buffer local(pair.a, Pair::kPd, 64, kLocal);
  Buffer remote(pair.b, Pair::kPd, 64, kRemote);
  EXPECT_EQ(run_one(pair, kAdd, local, 8, {remote.address() + 4, remote.key}),
            IBV_WC_REM_INV_REQ_ERR);
}

TEST(RemoteErrors, AnOperationTheQueuePairDoesNotAllowIsAnInvalidRequest) {
  for (const auto opcode : {kWrite, kRead, kAdd}) {
    Pair pair({.access = 0});
    Buffer local(pair.a, Pair::kPd, 64, kLocal);
    Buffer remote(pair.b, Pair::kPd, 64, kRemote);
    EXPECT_EQ(run_one(pair, opcode, local, 8, {remote.address(), remote.key}),
              IBV_WC_REM_INV_REQ_ERR);
  }
}

TEST(RemoteErrors, ZeroLengthAccessNeedsNoKey) {
  Pair pair;
  Buffer local(pair.a, Pair::kPd, 64, kLocal);
  EXPECT_EQ(run_one(pair, kWrite, local, 0, {0xDEAD, 0xBEEF}), IBV_WC_SUCCESS);
  EXPECT_EQ(run_one(pair, kRead, local, 0, {0xDEAD, 0xBEEF}), IBV_WC_SUCCESS);
}

TEST(RemoteErrors, AMessageLongerThanTheReceiveFailsBothSides) {
  Pair pair({.mtu = IBV_MTU_256});
  Buffer local(pair.a, Pair::kPd, 4096, kLocal, 0x33);
  Buffer to(pair.b, Pair::kPd, 4096, kLocal);
  Pair::post_receive(pair.b, *pair.qp_b, 5, {to.sge(0, 1000)});
  Pair::post_receive(pair.b, *pair.qp_b, 6, {to.sge(0, 1000)});
  pair.post_send(IBV_WR_SEND, 1, {local.sge(0, 1001)});
  pair.run();
  const auto sent = pair.poll(pair.cq_a);
  const auto received = pair.poll(pair.cq_b);
  ASSERT_EQ(sent.size(), 1U);
  EXPECT_EQ(sent[0].status, IBV_WC_REM_INV_REQ_ERR);
  ASSERT_EQ(received.size(), 2U);
  EXPECT_EQ(received[0].status, IBV_WC_LOC_LEN_ERR);
  EXPECT_EQ(received[0].wr_id, 5U);
  EXPECT_EQ(received[1].status, IBV_WC_WR_FLUSH_ERR);
  EXPECT_EQ(to.bytes[1000], std::byte{0});
}

TEST(RemoteErrors, AReceiveIntoABadKeyIsARemoteOperationError) {
  Pair pair;
  Buffer local(pair.a, Pair::kPd, 64, kLocal);
  Buffer to(pair.b, Pair::kPd, 64, IBV_ACCESS_REMOTE_READ);  // no local write
  Pair::post_receive(pair.b, *pair.qp_b, 5, {to.sge(0, 64)});
  pair.post_send(IBV_WR_SEND, 1, {local.sge(0, 64)});
  pair.run();
  EXPECT_EQ(pair.poll(pair.cq_a).at(0).status, IBV_WC_REM_OP_ERR);
  EXPECT_EQ(pair.poll(pair.cq_b).at(0).status, IBV_WC_LOC_PROT_ERR);
}

TEST(LocalErrors, ABadLocalKeyFailsThatRequestAfterTheOnesBeforeIt) {
  Pair pair;
  Buffer local(pair.a, Pair::kPd, 64, kLocal);
  Buffer foreign(pair.a, Pair::kPd + 1, 64, kLocal);
  Buffer remote(pair.b, Pair::kPd, 64, kRemote);
  const auto target = [&](ibv_send_wr& request) {
    request.wr.rdma = {remote.address(), remote.key};
  };
  pair.post_send(kWrite, 1, {local.sge(0, 64)}, target);
  pair.post_send(kWrite, 2, {foreign.sge(0, 64)}, target);
  pair.post_send(kWrite, 3, {local.sge(0, 64)}, target);
  pair.run();
  const auto done = pair.poll(pair.cq_a);
  ASSERT_EQ(done.size(), 3U);
  EXPECT_EQ(done[0].status, IBV_WC_SUCCESS);
  EXPECT_EQ(done[1].status, IBV_WC_LOC_PROT_ERR);
  EXPECT_EQ(done[2].status, IBV_WC_WR_FLUSH_ERR);
}

TEST(LocalErrors, AReadIntoMemoryWithoutLocalWriteFails) {
  Pair pair;
  Buffer local(pair.a, Pair::kPd, 64, IBV_ACCESS_REMOTE_READ);
  Buffer remote(pair.b, Pair::kPd, 64, kRemote);
  EXPECT_EQ(run_one(pair, kRead, local, 8, {remote.address(), remote.key}), IBV_WC_LOC_PROT_ERR);
}

TEST(Flush, EveryOutstandingRequestCompletesOnceAndInOrder) {
  Pair pair;
  pair.network.filter = [](const Frame&) { return false; };
  Buffer local(pair.a, Pair::kPd, 64, kLocal);
  for (uint64_t id = 0; id < 5; ++id) pair.post_send(IBV_WR_SEND, id, {local.sge(0, 64)});
  for (uint64_t id = 10; id < 15; ++id)
    Pair::post_receive(pair.a, *pair.qp_a, id, {local.sge(0, 64)});
  pair.run(1 * kMs);
  Pair::to_error(pair.a, *pair.qp_a);
  Pair::to_error(pair.a, *pair.qp_a);
  pair.post_send(IBV_WR_SEND, 20, {local.sge(0, 64)});
  Pair::post_receive(pair.a, *pair.qp_a, 21, {local.sge(0, 64)});
  pair.run();
  const auto done = pair.poll(pair.cq_a);
  std::vector<uint64_t> ids;
  for (const ibv_wc& completion : done) {
    EXPECT_EQ(completion.status, IBV_WC_WR_FLUSH_ERR);
    ids.push_back(completion.wr_id);
  }
  EXPECT_EQ(ids, (std::vector<uint64_t>{0, 1, 2, 3, 4, 10, 11, 12, 13, 14, 20, 21}));
}

TEST(Revocation, AWriteToARegionThatGoesAwayStopsAtTheNextPacket) {
  Pair pair({.mtu = IBV_MTU_256});
  Buffer local(pair.a, Pair::kPd, 16384, kLocal, 0x22);
  auto remote = std::make_unique<Buffer>(pair.b, Pair::kPd, 16384, kRemote);
  int seen = 0;
  pair.network.filter = [&](const Frame& frame) {
    if (frame.to == pair.b.address() && ++seen == 20) pair.b.engine().memory().erase(remote->key);
    return true;
  };
  EXPECT_EQ(run_one(pair, kWrite, local, 16384, {remote->address(), remote->key}),
            IBV_WC_REM_ACCESS_ERR);
}

TEST(Revocation, AReadFromARegionThatGoesAwayIsRefused) {
  Pair pair({.mtu = IBV_MTU_256});
  Buffer local(pair.a, Pair::kPd, 262144, kLocal);
  Buffer remote(pair.b, Pair::kPd, 262144, kRemote);
  int seen = 0;
  pair.network.filter = [&](const Frame& frame) {
    if (frame.to == pair.a.address() && ++seen == 100) pair.b.engine().memory().erase(remote.key);
    return true;
  };
  EXPECT_EQ(run_one(pair, kRead, local, 262144, {remote.address(), remote.key}),
            IBV_WC_REM_ACCESS_ERR);
}

TEST(Overflow, OfACompletionQueueFailsTheQueuePairAndIsToldOnce) {
  Pair pair({.cq_depth = 4});
  Buffer local(pair.a, Pair::kPd, 64, kLocal);
  Buffer remote(pair.b, Pair::kPd, 64, kRemote);
  for (uint64_t id = 0; id < 20; ++id) {
    pair.post_send(kWrite, id, {local.sge(0, 8)}, [&](ibv_send_wr& request) {
      request.wr.rdma = {remote.address(), remote.key};
    });
  }
  pair.run();
  EXPECT_EQ(pair.a.cq_errors, 1);
  EXPECT_EQ(pair.qp_a->state, IBV_QPS_ERR);
  EXPECT_EQ(pair.poll(pair.cq_a).size(), 4U);
}

// A packet from a stranger, for nobody, or with another partition key reaches no state.
class Stranger : public testing::Test {
 protected:
  std::vector<std::byte> write_packet(uint32_t qpn, uint32_t psn, uint16_t pkey) {
    std::vector<std::byte> bytes(wire::kBthBytes + wire::kRethBytes + 4);
    std::byte* at = wire::write_bth(bytes.data(), {.opcode = wire::Opcode::kWriteOnly,
                                                   .pkey = pkey,
                                                   .dest_qpn = qpn,
                                                   .ack_request = true,
                                                   .psn = psn});
    wire::write_reth(at, {remote.address(), remote.key, 4});
    return bytes;
  }

  Pair pair;
  Buffer remote{pair.b, Pair::kPd, 64, kRemote, 0x11};
};

TEST_F(Stranger, IsDroppedInSilenceAndCounted) {
  const uint32_t psn = pair.options.psn_a;
  const auto deliver = [&](const Address& from, uint32_t qpn, uint32_t at_psn, uint16_t pkey) {
    pair.b.engine().on_packet(0, from, write_packet(qpn, at_psn, pkey));
  };
  deliver(Address::v4(10, 0, 0, 3), pair.qp_b->qpn, psn, 0xFFFF);
  EXPECT_EQ(pair.b.counters.bad_peer, 1U);
  deliver(pair.a.address(), pair.qp_b->qpn ^ 1, psn, 0xFFFF);
  EXPECT_EQ(pair.b.counters.unknown_qpn, 1U);
  deliver(pair.a.address(), pair.qp_b->qpn, psn, 0x8001);
  EXPECT_EQ(pair.b.counters.bad_pkey, 1U);
  pair.run();
  EXPECT_EQ(pair.network.sent, 0U);
  deliver(pair.a.address(), pair.qp_b->qpn, psn, 0x7FFF);
  EXPECT_EQ(remote.bytes[0], std::byte{0}) << "the same packet from the peer is executed";
  EXPECT_EQ(pair.qp_b->state, IBV_QPS_RTS);
}

TEST_F(Stranger, WithAFuturePsnDrawsOneNakAndNoMore) {
  for (uint32_t ahead = 1; ahead < 50; ++ahead) {
    pair.b.engine().on_packet(
        0, pair.a.address(),
        write_packet(pair.qp_b->qpn, wire::psn_add(pair.options.psn_a, ahead), 0xFFFF));
  }
  pair.b.run(0);
  EXPECT_EQ(pair.network.sent, 1U);
  EXPECT_EQ(remote.bytes[0], std::byte{0x11});
}

TEST(Sequence, AMiddlePacketWithoutAFirstIsAnInvalidRequest) {
  Pair pair;
  std::vector<std::byte> bytes(wire::kBthBytes + 1024);
  wire::write_bth(bytes.data(), {.opcode = wire::Opcode::kWriteMiddle,
                                 .dest_qpn = pair.qp_b->qpn,
                                 .psn = pair.options.psn_a});
  pair.b.engine().on_packet(0, pair.a.address(), bytes);
  EXPECT_EQ(pair.qp_b->state, IBV_QPS_ERR);
  EXPECT_EQ(pair.b.counters.invalid_request_naks_sent, 1U);
}

}  // namespace
}  // namespace verbena::test
