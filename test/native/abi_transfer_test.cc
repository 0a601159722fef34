// Moves data between two queue pairs of one process, through the verbs API and the loopback socket.
#include <gtest/gtest.h>

#include <cstring>

#include "support/verbs_objects.h"

namespace verbena::test {
namespace {

TEST(Transfer, SendsAMessageIntoAReceive) {
  Pair pair;
  std::memcpy(pair.a.buffer(), "hello", 5);
  ASSERT_EQ(pair.b.post_receive(7, 100, 64), 0);
  ASSERT_EQ(pair.a.post_send(8, 0, 5), 0);
  const ibv_wc received = pair.b.expect(7);
  EXPECT_EQ(received.opcode, IBV_WC_RECV);
  EXPECT_EQ(received.byte_len, 5U);
  EXPECT_EQ(received.wc_flags & IBV_WC_WITH_IMM, 0U);
  EXPECT_EQ(pair.b.text(100, 5), "hello");
  EXPECT_EQ(pair.a.expect(8).opcode, IBV_WC_SEND);
}

TEST(Transfer, CarriesImmediateDataUnchanged) {
  Pair pair;
  ibv_sge sge = pair.a.sge(0, 4);
  ibv_send_wr request{};
  request.sg_list = &sge;
  request.num_sge = 1;
  request.opcode = IBV_WR_SEND_WITH_IMM;
  request.send_flags = IBV_SEND_SIGNALED;
  request.imm_data = htobe32(0x01020304);
  ASSERT_EQ(pair.b.post_receive(1, 0, 64), 0);
  ASSERT_EQ(pair.a.post(request), 0);
  const ibv_wc received = pair.b.expect(1);
  EXPECT_NE(received.wc_flags & IBV_WC_WITH_IMM, 0U);
  EXPECT_EQ(be32toh(received.imm_data), 0x01020304U);
}

TEST(Transfer, WriteWithImmediateTakesAReceiveAndNoneOfItsBuffer) {
  Pair pair;
  pair.a.fill(256, 3000, 1);
  ASSERT_EQ(pair.b.post_receive(1, 0, 16), 0);
  ibv_sge sge = pair.a.sge(256, 3000);
  ibv_send_wr request{};
  request.wr_id = 2;
  request.sg_list = &sge;
  request.num_sge = 1;
  request.opcode = IBV_WR_RDMA_WRITE_WITH_IMM;
  request.send_flags = IBV_SEND_SIGNALED;
  request.imm_data = htobe32(99);
  request.wr.rdma.remote_addr = pair.b.address(256);
  request.wr.rdma.rkey = pair.b.mr()->rkey;
  ASSERT_EQ(pair.a.post(request), 0);
  const ibv_wc received = pair.b.expect(1);
  EXPECT_EQ(received.opcode, IBV_WC_RECV_RDMA_WITH_IMM);
  EXPECT_EQ(received.byte_len, 3000U);
  EXPECT_EQ(be32toh(received.imm_data), 99U);
  EXPECT_EQ(pair.b.text(256, 3000), pair.a.text(256, 3000));
  EXPECT_EQ(pair.b.word(0), 0U);
  EXPECT_EQ(pair.a.expect(2).opcode, IBV_WC_RDMA_WRITE);
}

class Sizes : public testing::TestWithParam<std::tuple<ibv_mtu, uint32_t>> {};

TEST_P(Sizes, SendWriteAndReadKeepEveryByte) {
  const auto [mtu, bytes] = GetParam();
  EndpointOptions options;
  options.buffer_bytes = 4 << 20;
  ConnectOptions connection;
  connection.mtu = mtu;
  connection.psn = 0xFFFFF0;  // wraps soon
  Pair pair(options, connection);
  pair.a.fill(0, bytes, 2);
  ASSERT_EQ(pair.a.post_rdma(IBV_WR_RDMA_WRITE, 1, pair.b, 0, bytes), 0);
  pair.a.expect(1);
  ASSERT_EQ(pair.a.text(0, bytes), pair.b.text(0, bytes));

  pair.b.fill(0, bytes, 3);
  ASSERT_EQ(pair.a.post_rdma(IBV_WR_RDMA_READ, 2, pair.b, 0, bytes), 0);
  EXPECT_EQ(pair.a.expect(2).opcode, IBV_WC_RDMA_READ);
  ASSERT_EQ(pair.a.text(0, bytes), pair.b.text(0, bytes));

  pair.a.fill(0, bytes, 4);
  ASSERT_EQ(pair.b.post_receive(3, 0, bytes), 0);
  ASSERT_EQ(pair.a.post_send(4, 0, bytes), 0);
  EXPECT_EQ(pair.b.expect(3).byte_len, bytes);
  pair.a.expect(4);
  ASSERT_EQ(pair.a.text(0, bytes), pair.b.text(0, bytes));
}

INSTANTIATE_TEST_SUITE_P(Transfer, Sizes,
                         testing::Values(std::tuple{IBV_MTU_256, 1U}, std::tuple{IBV_MTU_256, 257U},
                                         std::tuple{IBV_MTU_512, 100'000U},
                                         std::tuple{IBV_MTU_1024, 1024U},
                                         std::tuple{IBV_MTU_2048, 4095U},
                                         std::tuple{IBV_MTU_4096, 4U << 20}),
                         [](const auto& info) {
                           return "mtu" + std::to_string(128 << std::get<0>(info.param)) + "bytes" +
                                  std::to_string(std::get<1>(info.param));
                         });

TEST(Transfer, MovesMessagesOfNoBytes) {
  Pair pair;
  ASSERT_EQ(pair.b.post_receive(1, 0, 16), 0);
  ibv_send_wr request{};
  request.wr_id = 2;
  request.opcode = IBV_WR_SEND;
  request.send_flags = IBV_SEND_SIGNALED;
  ASSERT_EQ(pair.a.post(request), 0);
  EXPECT_EQ(pair.b.expect(1).byte_len, 0U);
  pair.a.expect(2);
  request.opcode = IBV_WR_RDMA_WRITE;  // no key is looked at
  request.wr_id = 3;
  ASSERT_EQ(pair.a.post(request), 0);
  pair.a.expect(3);
}

TEST(Transfer, GathersAndScattersAcrossElements) {
  Pair pair;
  std::memcpy(pair.a.buffer(), "abc", 3);
  std::memcpy(pair.a.buffer() + 1000, "defg", 4);
  std::memcpy(pair.a.buffer() + 2000, "hi", 2);
  ibv_sge targets[] = {pair.b.sge(0, 2), pair.b.sge(500, 0), pair.b.sge(600, 5),
                       pair.b.sge(900, 50)};
  ibv_recv_wr receive{1, nullptr, targets, 4};
  ibv_recv_wr* bad_receive = nullptr;
  ASSERT_EQ(ibv_post_recv(pair.b.qp(), &receive, &bad_receive), 0);
  ibv_sge sources[] = {pair.a.sge(0, 3), pair.a.sge(1000, 4), pair.a.sge(2000, 2)};
  ibv_send_wr request{};
  request.sg_list = sources;
  request.num_sge = 3;
  request.opcode = IBV_WR_SEND;
  request.send_flags = IBV_SEND_SIGNALED;
  ASSERT_EQ(pair.a.post(request), 0);
  EXPECT_EQ(pair.b.expect(1).byte_len, 9U);
  EXPECT_EQ(pair.b.text(0, 2), "ab");
  EXPECT_EQ(pair.b.text(600, 5), "cdefg");
  EXPECT_EQ(pair.b.text(900, 2), "hi");
}

TEST(Transfer, AtomicsReturnTheOldValueAndChangeTheNew) {
  Pair pair;
  pair.b.word(64) = 40;
  ibv_sge sge = pair.a.sge(0, 8);
  ibv_send_wr request{};
  request.wr_id = 1;
  request.sg_list = &sge;
  request.num_sge = 1;
  request.opcode = IBV_WR_ATOMIC_FETCH_AND_ADD;
  request.send_flags = IBV_SEND_SIGNALED;
  request.wr.atomic.remote_addr = pair.b.address(64);
  request.wr.atomic.rkey = pair.b.mr()->rkey;
  request.wr.atomic.compare_add = 2;
  ASSERT_EQ(pair.a.post(request), 0);
  EXPECT_EQ(pair.a.expect(1).opcode, IBV_WC_FETCH_ADD);
  EXPECT_EQ(pair.a.word(0), 40U);
  EXPECT_EQ(pair.b.word(64), 42U);

  request.opcode = IBV_WR_ATOMIC_CMP_AND_SWP;
  request.wr_id = 2;
  request.wr.atomic.compare_add = 41;  // not what is there
  request.wr.atomic.swap = 1;
  ASSERT_EQ(pair.a.post(request), 0);
  EXPECT_EQ(pair.a.expect(2).opcode, IBV_WC_COMP_SWAP);
  EXPECT_EQ(pair.a.word(0), 42U);
  EXPECT_EQ(pair.b.word(64), 42U);

  request.wr_id = 3;
  request.wr.atomic.compare_add = 42;
  ASSERT_EQ(pair.a.post(request), 0);
  pair.a.expect(3);
  EXPECT_EQ(pair.b.word(64), 1U);
}

TEST(Transfer, InlineDataMayChangeRightAfterThePost) {
  Pair pair;
  char text[] = "inline";
  ibv_sge sge{reinterpret_cast<uint64_t>(text), 6, 0};  // no region is needed
  ibv_send_wr request{};
  request.sg_list = &sge;
  request.num_sge = 1;
  request.opcode = IBV_WR_SEND;
  request.send_flags = IBV_SEND_SIGNALED | IBV_SEND_INLINE;
  ASSERT_EQ(pair.b.post_receive(1, 0, 16), 0);
  ASSERT_EQ(pair.a.post(request), 0);
  std::memset(text, 'x', 6);
  pair.b.expect(1);
  EXPECT_EQ(pair.b.text(0, 6), "inline");
}

TEST(Transfer, CompletesOnlySignaledRequestsAndFreesTheOthers) {
  EndpointOptions options;
  options.send_wr = 8;
  Pair pair(options);
  for (int round = 0; round < 10; ++round) {
    for (int i = 0; i < 7; ++i) {
      ASSERT_EQ(pair.a.post_rdma(IBV_WR_RDMA_WRITE, 1, pair.b, 0, 8, 0), 0) << round;
    }
    ASSERT_EQ(pair.a.post_rdma(IBV_WR_RDMA_WRITE, 2, pair.b, 0, 8), 0) << round;
    pair.a.expect(2);
  }
  ibv_wc more{};
  EXPECT_EQ(ibv_poll_cq(pair.a.cq(), 1, &more), 0);
}

TEST(Transfer, SignalsEverythingWhereTheQueuePairSaysSo) {
  EndpointOptions options;
  options.signal_all = true;
  Pair pair(options);
  ASSERT_EQ(pair.a.post_rdma(IBV_WR_RDMA_WRITE, 1, pair.b, 0, 8, 0), 0);
  pair.a.expect(1);
}

TEST(Transfer, AFenceWaitsForTheReadBefore) {
  EndpointOptions options;
  options.buffer_bytes = 2 << 20;
  Pair pair(options);
  pair.b.fill(0, 1 << 20, 5);
  // Without the fence the send would carry what the buffer held before the READ's data came.
  ASSERT_EQ(pair.b.post_receive(9, (1 << 20) + 64, 8), 0);
  ASSERT_EQ(pair.a.post_rdma(IBV_WR_RDMA_READ, 1, pair.b, 0, 1 << 20), 0);
  ASSERT_EQ(pair.a.post_send(2, (1 << 20) - 8, 8, IBV_SEND_SIGNALED | IBV_SEND_FENCE), 0);
  pair.a.expect(1);
  pair.a.expect(2);
  pair.b.expect(9);
  EXPECT_EQ(pair.b.text((1 << 20) + 64, 8), pair.b.text((1 << 20) - 8, 8));
}

TEST(Transfer, ManyReadsWaitForTheirTurn) {
  ConnectOptions connection;
  connection.rd_atomic = 2;
  Pair pair({}, connection);
  pair.b.fill(0, 1 << 16, 6);
  for (uint64_t i = 0; i < 32; ++i) {
    ASSERT_EQ(pair.a.post_rdma(IBV_WR_RDMA_READ, i, pair.b, i * 2048, 2048), 0);
  }
  for (uint64_t i = 0; i < 32; ++i) pair.a.expect(i);
  EXPECT_EQ(pair.a.text(0, 1 << 16), pair.b.text(0, 1 << 16));
}

TEST(Transfer, TalksToItself) {
  const ContextPtr context = open_soft_device();
  Endpoint self(context.get());
  ConnectOptions options;
  ASSERT_EQ(self.to_init(options), 0);
  ASSERT_EQ(self.to_rtr(gid_of(context.get()), self.qp()->qp_num, options), 0);
  ASSERT_EQ(self.to_rts(options.psn, options), 0);
  std::memcpy(self.buffer(), "echo", 4);
  ASSERT_EQ(self.post_receive(1, 100, 16), 0);
  ASSERT_EQ(self.post_send(2, 0, 4, 0), 0);
  self.expect(1);
  EXPECT_EQ(self.text(100, 4), "echo");
}

TEST(Transfer, TwoContextsShareTheDevice) {
  const ContextPtr first = open_soft_device();
  const ContextPtr second = open_soft_device();
  const ibv_gid gid = gid_of(first.get());
  const ibv_gid other = gid_of(second.get());
  EXPECT_EQ(std::memcmp(&gid, &other, sizeof gid), 0);
  Endpoint a(first.get());
  Endpoint b(second.get());
  connect(a, b);
  ASSERT_EQ(b.post_receive(1, 0, 8), 0);
  ASSERT_EQ(a.post_send(2, 0, 8), 0);
  b.expect(1);
  a.expect(2);
}

TEST(Transfer, ChangesAddressesWhereTheRegionSaysSo) {
  Pair pair;
  MrPtr based(ibv_reg_mr_iova(pair.b.pd(), pair.b.buffer(), 8192, 0, kAllAccess));
  ASSERT_NE(based, nullptr);
  pair.a.fill(0, 100, 7);
  ibv_sge sge = pair.a.sge(0, 100);
  ibv_send_wr request{};
  request.sg_list = &sge;
  request.num_sge = 1;
  request.opcode = IBV_WR_RDMA_WRITE;
  request.send_flags = IBV_SEND_SIGNALED;
  request.wr.rdma.remote_addr = 4096;
  request.wr.rdma.rkey = based->rkey;
  ASSERT_EQ(pair.a.post(request), 0);
  pair.a.expect(0);
  EXPECT_EQ(pair.b.text(4096, 100), pair.a.text(0, 100));
}

}  // namespace
}  // namespace verbena::test
