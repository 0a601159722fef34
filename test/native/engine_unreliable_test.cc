// Unreliable connections and datagrams: what arrives is whole, what is lost stays lost, and nobody
// waits for it.
#include <gtest/gtest.h>

#include "support/simulated_pair.h"

namespace verbena::test {
namespace {

constexpr int kLocal = IBV_ACCESS_LOCAL_WRITE;
constexpr int kRemote = kLocal | IBV_ACCESS_REMOTE_WRITE;
constexpr size_t kGrhBytes = 40;

void fill_pattern(Buffer& buffer) {
  SeededRandom random(5);
  for (auto& byte : buffer.bytes) byte = static_cast<std::byte>(random.next());
}

// Loses the frames whose number, counted from 0, is listed.
auto lose(std::vector<int> numbers) {
  return [numbers, seen = 0](const Frame&) mutable {
    return std::find(numbers.begin(), numbers.end(), seen++) == numbers.end();
  };
}

class Unreliable : public testing::Test {
 protected:
  Unreliable() { fill_pattern(local); }

  void receive(uint64_t id, size_t offset, size_t length) {
    Pair::post_receive(pair.b, *pair.qp_b, id, {to.sge(offset, length)});
  }

  Pair pair{{.mtu = IBV_MTU_256, .type = IBV_QPT_UC}};
  Buffer local{pair.a, Pair::kPd, 8192, kLocal};
  Buffer to{pair.b, Pair::kPd, 8192, kLocal};
  Buffer remote{pair.b, Pair::kPd, 8192, kRemote};
};

TEST_F(Unreliable, SendsAndWritesArriveAndDrawNoAnswer) {
  receive(1, 0, 4096);
  receive(2, 0, 0);
  pair.post_send(IBV_WR_SEND, 1, {local.sge(0, 1000)});
  pair.post_send(IBV_WR_RDMA_WRITE_WITH_IMM, 2, {local.sge(0, 2000)}, [&](ibv_send_wr& request) {
    request.wr.rdma = {remote.address(), remote.key};
    request.imm_data = 77;
  });
  int answers = 0;
  pair.network.filter = [&](const Frame& frame) {
    answers += frame.from == pair.b.address() ? 1 : 0;
    return true;
  };
  pair.run();
  EXPECT_EQ(answers, 0);
  EXPECT_EQ(pair.poll(pair.cq_a).size(), 2U);
  const auto received = pair.poll(pair.cq_b);
  ASSERT_EQ(received.size(), 2U);
  EXPECT_EQ(received[0].byte_len, 1000U);
  EXPECT_EQ(received[1].imm_data, 77U);
  EXPECT_TRUE(std::equal(local.bytes.begin(), local.bytes.begin() + 1000, to.bytes.begin()));
  EXPECT_TRUE(std::equal(local.bytes.begin(), local.bytes.begin() + 2000, remote.bytes.begin()));
}

TEST_F(Unreliable, AMessageThatLostAPacketIsSkippedAndItsReceiveServesTheNext) {
  receive(1, 0, 4096);
  pair.network.filter = lose({1});
  pair.post_send(IBV_WR_SEND, 1, {local.sge(0, 1000)});
  pair.post_send(IBV_WR_SEND, 2, {local.sge(1000, 700)});
  pair.run();
  EXPECT_EQ(pair.poll(pair.cq_a).size(), 2U) << "the sender does not know";
  const auto received = pair.poll(pair.cq_b);
  ASSERT_EQ(received.size(), 1U);
  EXPECT_EQ(received[0].wr_id, 1U);
  EXPECT_EQ(received[0].byte_len, 700U);
  EXPECT_TRUE(std::equal(to.bytes.begin(), to.bytes.begin() + 700, local.bytes.begin() + 1000));
}

TEST_F(Unreliable, AMessageWithoutAReceiveIsDropped) {
  pair.post_send(IBV_WR_SEND, 1, {local.sge(0, 600)});
  pair.run();
  receive(1, 0, 4096);
  pair.post_send(IBV_WR_SEND, 2, {local.sge(0, 10)});
  pair.run();
  ASSERT_EQ(pair.poll(pair.cq_b).size(), 1U);
  EXPECT_EQ(pair.qp_b->state, IBV_QPS_RTS);
}

TEST_F(Unreliable, AWriteOutsideTheRegionIsDroppedInSilence) {
  pair.post_send(IBV_WR_RDMA_WRITE, 1, {local.sge(0, 600)}, [&](ibv_send_wr& request) {
    request.wr.rdma = {remote.address() + 7700, remote.key};
  });
  pair.run();
  for (const std::byte byte : remote.bytes) ASSERT_EQ(byte, std::byte{0});
  EXPECT_EQ(pair.qp_b->state, IBV_QPS_RTS);
}

TEST_F(Unreliable, ReadsAndAtomicsAreRefusedWhenPosted) {
  EXPECT_EQ(pair.post_send(IBV_WR_RDMA_READ, 1, {local.sge(0, 8)}), EINVAL);
  EXPECT_EQ(pair.post_send(IBV_WR_ATOMIC_FETCH_AND_ADD, 1, {local.sge(0, 8)}), EINVAL);
}

class Datagram : public testing::Test {
 protected:
  int send(uint64_t id, uint32_t length, uint32_t qkey = Pair::kQkey) {
    return pair.post_send(IBV_WR_SEND_WITH_IMM, id, {local.sge(0, length)},
                          [&](ibv_send_wr& request) {
                            request.wr.ud.remote_qpn = pair.qp_b->qpn;
                            request.wr.ud.remote_qkey = qkey;
                            request.imm_data = 9;
                          });
  }
  void receive(uint64_t id, size_t length) {
    Pair::post_receive(pair.b, *pair.qp_b, id, {to.sge(0, length)});
  }

  Pair pair{{.type = IBV_QPT_UD}};
  Buffer local{pair.a, Pair::kPd, 8192, kLocal, 0x5A};
  Buffer to{pair.b, Pair::kPd, 8192, kLocal};
};

TEST_F(Datagram, ArrivesBehindItsRouteHeaderWithTheSendersQpn) {
  receive(1, 8192);
  ASSERT_EQ(send(1, 4096), 0);
  pair.run();
  EXPECT_EQ(pair.poll(pair.cq_a).size(), 1U);
  const auto received = pair.poll(pair.cq_b);
  ASSERT_EQ(received.size(), 1U);
  EXPECT_EQ(received[0].byte_len, 4096 + kGrhBytes);
  EXPECT_EQ(received[0].src_qp, pair.qp_a->qpn);
  EXPECT_EQ(received[0].wc_flags, unsigned{IBV_WC_GRH} | IBV_WC_WITH_IMM);
  EXPECT_EQ(to.bytes[kGrhBytes], std::byte{0x5A});
  EXPECT_EQ(to.bytes[kGrhBytes + 4095], std::byte{0x5A});
  const std::array<std::byte, 4> from{std::byte{10}, std::byte{0}, std::byte{0}, std::byte{1}};
  EXPECT_TRUE(std::equal(from.begin(), from.end(), to.bytes.begin() + 32))
      << "the sender's address";
}

TEST_F(Datagram, LongerThanThePortsMtuIsRefusedWhenPosted) {
  EXPECT_EQ(send(1, 4097), EINVAL);
}

TEST_F(Datagram, WithAnotherQueueKeyIsDropped) {
  receive(1, 8192);
  send(1, 64, Pair::kQkey + 1);
  pair.run();
  EXPECT_TRUE(pair.poll(pair.cq_b).empty());
  EXPECT_EQ(pair.b.counters.bad_qkey, 1U);
  send(2, 64, 0x8000'0000);
  pair.run();
  EXPECT_EQ(pair.poll(pair.cq_b).size(), 1U) << "the top bit stands for the sender's own key";
}

TEST_F(Datagram, LongerThanItsReceiveCompletesItInErrorAndTheQueuePairLives) {
  receive(1, 100);
  receive(2, 8192);
  send(1, 61);
  send(2, 60);
  pair.run();
  const auto received = pair.poll(pair.cq_b);
  ASSERT_EQ(received.size(), 2U);
  EXPECT_EQ(received[0].status, IBV_WC_LOC_LEN_ERR);
  EXPECT_EQ(received[1].status, IBV_WC_SUCCESS);
}

class SharedReceives : public testing::Test {
 protected:
  void post(uint64_t id) {
    ibv_sge sge = to.sge(0, 1024);
    ibv_recv_wr request{};
    request.wr_id = id;
    request.sg_list = &sge;
    request.num_sge = 1;
    ASSERT_EQ(pair.srq.queue.post(request), 0);
  }

  Pair pair{{.shared_receives = true}};
  Buffer local{pair.a, Pair::kPd, 1024, kLocal};
  Buffer to{pair.b, Pair::kPd, 1024, kLocal};
};

TEST_F(SharedReceives, AreTakenInOrderAndTellOnceWhenTheyFallBelowTheLimit) {
  for (uint64_t id = 0; id < 4; ++id) post(id);
  pair.srq.limit = 3;
  for (uint64_t id = 0; id < 3; ++id) {
    pair.post_send(IBV_WR_SEND, id, {local.sge(0, 64)});
    pair.run();
  }
  const auto received = pair.poll(pair.cq_b);
  ASSERT_EQ(received.size(), 3U);
  for (uint64_t id = 0; id < 3; ++id) EXPECT_EQ(received[id].wr_id, id);
  EXPECT_EQ(pair.b.srq_limits, 1);
}

TEST_F(SharedReceives, StayInTheQueueWhenTheQueuePairFails) {
  post(1);
  Pair::to_error(pair.b, *pair.qp_b);
  EXPECT_TRUE(pair.poll(pair.cq_b).empty());
  EXPECT_EQ(pair.srq.queue.waiting(), 1U);
  EXPECT_EQ(pair.b.events.back().type, IBV_EVENT_QP_LAST_WQE_REACHED);
}

}  // namespace
}  // namespace verbena::test
