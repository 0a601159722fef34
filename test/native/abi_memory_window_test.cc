// Memory windows through verbs: both types, and the regions under them.
#include <gtest/gtest.h>

#include "support/verbs_objects.h"

namespace verbena::test {
namespace {

EndpointOptions bindable() {
  EndpointOptions options;
  options.access = kAllAccess | IBV_ACCESS_MW_BIND;
  return options;
}

class MemoryWindow : public testing::Test {
 protected:
  ibv_mw* allocate(ibv_mw_type type) {
    ibv_mw* window = ibv_alloc_mw(pair.b.pd(), type);
    EXPECT_NE(window, nullptr);
    return window;
  }

  ibv_mw_bind_info range(uint64_t length) const {
    return {pair.b.mr(), pair.b.address(), length, IBV_ACCESS_REMOTE_WRITE};
  }

  int bind(ibv_mw* window, uint64_t length) {
    ibv_mw_bind request{7, IBV_SEND_SIGNALED, range(length)};
    return ibv_bind_mw(pair.b.qp(), window, &request);
  }

  void write(uint32_t rkey, ibv_wc_status status) {
    ibv_sge sge = pair.a.sge(0, 8);
    ibv_send_wr request{};
    request.wr_id = 1;
    request.sg_list = &sge;
    request.num_sge = 1;
    request.opcode = IBV_WR_RDMA_WRITE;
    request.send_flags = IBV_SEND_SIGNALED;
    request.wr.rdma = {pair.b.address(), rkey};
    ASSERT_EQ(pair.a.post(request), 0);
    pair.a.expect(1, status);
  }

  Pair pair{bindable()};
};

TEST_F(MemoryWindow, OfType1GrantsUnderItsNewKeyUntilItIsUnbound) {
  ibv_mw* window = allocate(IBV_MW_TYPE_1);
  const uint32_t before = window->rkey;
  ASSERT_EQ(bind(window, 64), 0);
  EXPECT_EQ(pair.b.expect(7).opcode, IBV_WC_BIND_MW);
  EXPECT_NE(window->rkey, before);
  write(window->rkey, IBV_WC_SUCCESS);
  ASSERT_EQ(bind(window, 0), 0);
  pair.b.expect(7);
  write(window->rkey, IBV_WC_REM_ACCESS_ERR);
  EXPECT_EQ(ibv_dealloc_mw(window), 0);
}

TEST_F(MemoryWindow, KeepsItsRegionFromBeingDeregistered) {
  ibv_mw* window = allocate(IBV_MW_TYPE_1);
  ASSERT_EQ(bind(window, 64), 0);
  pair.b.expect(7);
  EXPECT_EQ(ibv_dereg_mr(pair.b.mr()), EBUSY);
  EXPECT_EQ(ibv_dealloc_mw(window), 0);  // the region goes with the pair, which insists on success
}

TEST_F(MemoryWindow, OfType2IsInvalidatedByTheSendThatNamesIt) {
  ibv_mw* window = allocate(IBV_MW_TYPE_2);
  ibv_send_wr bind{};
  bind.wr_id = 7;
  bind.opcode = IBV_WR_BIND_MW;
  bind.send_flags = IBV_SEND_SIGNALED;
  bind.bind_mw.mw = window;
  bind.bind_mw.rkey = ibv_inc_rkey(window->rkey);
  bind.bind_mw.bind_info = range(64);
  ASSERT_EQ(pair.b.post(bind), 0);
  pair.b.expect(7);
  write(bind.bind_mw.rkey, IBV_WC_SUCCESS);

  ASSERT_EQ(pair.b.post_receive(3, 0, 8), 0);
  ibv_send_wr send{};
  send.wr_id = 2;
  send.opcode = IBV_WR_SEND_WITH_INV;
  send.send_flags = IBV_SEND_SIGNALED;
  send.invalidate_rkey = bind.bind_mw.rkey;
  ASSERT_EQ(pair.a.post(send), 0);
  pair.a.expect(2);
  const ibv_wc received = pair.b.expect(3);
  EXPECT_EQ(received.wc_flags, static_cast<unsigned>(IBV_WC_WITH_INV));
  EXPECT_EQ(received.invalidated_rkey, bind.bind_mw.rkey);
  write(bind.bind_mw.rkey, IBV_WC_REM_ACCESS_ERR);
  EXPECT_EQ(ibv_dealloc_mw(window), 0);
}

TEST_F(MemoryWindow, OfType2IsNotBoundByTheType1Function) {
  ibv_mw* window = allocate(IBV_MW_TYPE_2);
  EXPECT_EQ(bind(window, 64), EINVAL);
  EXPECT_EQ(ibv_dealloc_mw(window), 0);
}

TEST_F(MemoryWindow, OfAnotherDomainThanItsRegionIsRefused) {
  const Endpoint other(pair.context.get(), bindable());
  ibv_mw* window = ibv_alloc_mw(other.pd(), IBV_MW_TYPE_1);
  ASSERT_NE(window, nullptr);
  EXPECT_EQ(bind(window, 64), EPERM);
  EXPECT_EQ(ibv_dealloc_mw(window), 0);
}

TEST_F(MemoryWindow, OfAnUnknownTypeIsRefused) {
  EXPECT_EQ(ibv_alloc_mw(pair.b.pd(), static_cast<ibv_mw_type>(3)), nullptr);
  EXPECT_EQ(errno, EINVAL);
}

}  // namespace
}  // namespace verbena::test
