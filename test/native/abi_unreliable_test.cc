// Unreliable connections and datagrams through verbs.
#include <gtest/gtest.h>

#include "support/unreliable_endpoints.h"

namespace verbena::test {
namespace {

class Datagrams : public testing::Test {
 protected:
  void SetUp() override {
    bring_up_datagrams(a);
    bring_up_datagrams(b);
    ah = address_handle(a, gid_of(context.get()));
    ASSERT_NE(ah, nullptr);
  }

  ibv_send_wr datagram(ibv_sge& sge, uint32_t qkey) const {
    ibv_send_wr request{};
    request.wr_id = 1;
    request.sg_list = &sge;
    request.num_sge = 1;
    request.opcode = IBV_WR_SEND;
    request.send_flags = IBV_SEND_SIGNALED;
    request.wr.ud = {ah.get(), b.qp()->qp_num, qkey};
    return request;
  }

  ContextPtr context = open_soft_device();
  Endpoint a{context.get(), of_type(IBV_QPT_UD, IBV_QP_EX_WITH_SEND_WITH_IMM)};
  Endpoint b{context.get(), of_type(IBV_QPT_UD)};
  AhPtr ah;
};

TEST_F(Datagrams, ArriveBehindAHeaderThatTellsWhoToAnswer) {
  a.fill(0, 100, 3);
  ASSERT_EQ(b.post_receive(2, 0, 100 + kGrhBytes), 0);
  ibv_sge sge = a.sge(0, 100);
  ASSERT_EQ(a.post(datagram(sge, kQkey)), 0);
  a.expect(1);
  ibv_wc received = b.expect(2);
  EXPECT_EQ(received.byte_len, 100 + kGrhBytes);
  EXPECT_EQ(received.src_qp, a.qp()->qp_num);
  EXPECT_EQ(b.text(kGrhBytes, 100), a.text(0, 100));
  const AhPtr answer(
      ibv_create_ah_from_wc(b.pd(), &received, reinterpret_cast<ibv_grh*>(b.buffer()), 1));
  ASSERT_NE(answer, nullptr);
  ibv_sge back = b.sge(0, 10);
  ASSERT_EQ(a.post_receive(3, 0, 10 + kGrhBytes), 0);
  ibv_send_wr request = datagram(back, kQkey);
  request.wr.ud = {answer.get(), received.src_qp, kQkey};
  ASSERT_EQ(b.post(request), 0);
  a.expect(3);
  b.expect(1);
}

TEST_F(Datagrams, WithAnotherKeyAreDropped) {
  ASSERT_EQ(b.post_receive(2, 0, 100), 0);
  ibv_sge sge = a.sge(0, 8);
  ASSERT_EQ(a.post(datagram(sge, kQkey + 1)), 0);
  a.expect(1);
  ASSERT_EQ(a.post(datagram(sge, kQkey)), 0);
  a.expect(1);
  b.expect(2);
  EXPECT_FALSE(b.poll_one(std::chrono::milliseconds(5)).has_value());
}

TEST_F(Datagrams, NeedAnAddressHandleOfTheirDomain) {
  ibv_sge sge = a.sge(0, 8);
  ibv_send_wr request = datagram(sge, kQkey);
  request.wr.ud.ah = nullptr;
  EXPECT_EQ(a.post(request), EINVAL);
  EXPECT_EQ(b.post(datagram(sge, kQkey)), EINVAL);
}

TEST_F(Datagrams, LongerThanThePortCarriesAreRefused) {
  ibv_sge sge = a.sge(0, 4097);
  EXPECT_EQ(a.post(datagram(sge, kQkey)), EINVAL);
}

TEST_F(Datagrams, GoThroughTheBuilderToo) {
  ASSERT_EQ(b.post_receive(2, 0, 100), 0);
  ibv_qp_ex* qp = ibv_qp_to_qp_ex(a.qp());
  ibv_wr_start(qp);
  qp->wr_id = 4;
  qp->wr_flags = IBV_SEND_SIGNALED;
  ibv_wr_send_imm(qp, htobe32(77));
  ibv_wr_set_ud_addr(qp, ah.get(), b.qp()->qp_num, kQkey);
  ibv_wr_set_sge(qp, a.mr()->lkey, a.address(), 8);
  ASSERT_EQ(ibv_wr_complete(qp), 0);
  a.expect(4);
  EXPECT_EQ(be32toh(b.expect(2).imm_data), 77U);
}

TEST(UnreliableConnection, SendsAndWrites) {
  const ContextPtr context = open_soft_device();
  const Endpoint a(context.get(), of_type(IBV_QPT_UC));
  const Endpoint b(context.get(), of_type(IBV_QPT_UC));
  bring_up_unreliable(a, b.qp()->qp_num);
  bring_up_unreliable(b, a.qp()->qp_num);
  a.fill(0, 5000, 9);
  ASSERT_EQ(b.post_receive(1, 0, 5000), 0);
  ASSERT_EQ(a.post_send(2, 0, 5000), 0);
  a.expect(2);
  EXPECT_EQ(b.expect(1).byte_len, 5000U);
  EXPECT_EQ(b.text(0, 5000), a.text(0, 5000));
  EXPECT_EQ(a.post_rdma(IBV_WR_RDMA_READ, 3, b, 0, 8), EINVAL);
}

TEST(UnreliableConnection, StepsAskForNoMoreThanItsTypeHas) {
  const ContextPtr context = open_soft_device();
  const Endpoint a(context.get(), of_type(IBV_QPT_UC));
  ASSERT_EQ(a.to_init(), 0);
  EXPECT_EQ(a.to_rtr(gid_of(context.get()), 7), EINVAL);  // with a reliable connection's attributes
}

}  // namespace
}  // namespace verbena::test
