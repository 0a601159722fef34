// Posts through the ibv_wr_* functions.
#include <gtest/gtest.h>

#include "support/verbs_objects.h"

namespace verbena::test {
namespace {

constexpr uint64_t kOperations = IBV_QP_EX_WITH_RDMA_WRITE | IBV_QP_EX_WITH_RDMA_WRITE_WITH_IMM |
                                 IBV_QP_EX_WITH_SEND | IBV_QP_EX_WITH_SEND_WITH_IMM |
                                 IBV_QP_EX_WITH_RDMA_READ | IBV_QP_EX_WITH_ATOMIC_CMP_AND_SWP |
                                 IBV_QP_EX_WITH_ATOMIC_FETCH_AND_ADD | IBV_QP_EX_WITH_ATOMIC_WRITE |
                                 IBV_QP_EX_WITH_BIND_MW | IBV_QP_EX_WITH_LOCAL_INV;

EndpointOptions with_operations() {
  EndpointOptions options;
  options.wr_operations = kOperations;
  options.send_wr = 8;
  options.sge = 3;
  options.inline_bytes = 32;
  options.access = kAllAccess | IBV_ACCESS_MW_BIND;
  return options;
}

class WrApi : public testing::Test {
 protected:
  // The next request's id; all are signaled.
  void next(uint64_t id) {
    qp->wr_id = id;
    qp->wr_flags = IBV_SEND_SIGNALED;
  }

  Pair pair{with_operations()};
  ibv_qp_ex* qp = ibv_qp_to_qp_ex(pair.a.qp());
  uint32_t rkey = pair.b.mr()->rkey;
};

TEST_F(WrApi, PostsEveryOperation) {
  ASSERT_NE(qp, nullptr);
  pair.a.fill(0, 4096, 1);
  pair.b.word(2048) = 5;
  ASSERT_EQ(pair.b.post_receive(101, 0, 100), 0);
  ASSERT_EQ(pair.b.post_receive(102, 100, 100), 0);
  ASSERT_EQ(pair.b.post_receive(103, 0, 0), 0);
  const uint32_t lkey = pair.a.mr()->lkey;

  ibv_wr_start(qp);
  next(1);
  ibv_wr_send(qp);
  ibv_wr_set_sge(qp, lkey, pair.a.address(), 50);
  next(2);
  ibv_wr_send_imm(qp, htobe32(7));
  const ibv_sge list[] = {pair.a.sge(50, 25), pair.a.sge(75, 25)};
  ibv_wr_set_sge_list(qp, 2, list);
  next(3);
  ibv_wr_rdma_write_imm(qp, rkey, pair.b.address(1024), htobe32(8));
  ibv_wr_set_sge(qp, lkey, pair.a.address(1024), 100);
  next(4);
  ibv_wr_rdma_write(qp, rkey, pair.b.address(3000));
  char text[] = "inline bytes";
  ibv_wr_set_inline_data(qp, text, sizeof text);
  next(5);
  ibv_wr_rdma_read(qp, rkey, pair.b.address(3000));
  ibv_wr_set_sge(qp, lkey, pair.a.address(5000), sizeof text);
  next(6);
  ibv_wr_atomic_fetch_add(qp, rkey, pair.b.address(2048), 3);
  ibv_wr_set_sge(qp, lkey, pair.a.address(6000), 8);
  next(7);
  ibv_wr_atomic_cmp_swp(qp, rkey, pair.b.address(2048), 8, 90);
  ibv_wr_set_sge(qp, lkey, pair.a.address(6008), 8);
  ASSERT_EQ(ibv_wr_complete(qp), 0);
  std::memset(text, 0, sizeof text);

  for (uint64_t id = 1; id <= 7; ++id) pair.a.expect(id);
  pair.b.expect(101);
  EXPECT_EQ(be32toh(pair.b.expect(102).imm_data), 7U);
  EXPECT_EQ(be32toh(pair.b.expect(103).imm_data), 8U);
  EXPECT_EQ(pair.b.text(0, 50) + pair.b.text(100, 50), pair.a.text(0, 100));
  EXPECT_EQ(pair.b.text(1024, 100), pair.a.text(1024, 100));
  EXPECT_STREQ(pair.a.text(5000, 13).c_str(), "inline bytes");
  EXPECT_EQ(pair.a.word(6000), 5U);
  EXPECT_EQ(pair.a.word(6008), 8U);
  EXPECT_EQ(pair.b.word(2048), 90U);
}

TEST_F(WrApi, GathersInlinePieces) {
  ASSERT_EQ(pair.b.post_receive(1, 0, 100), 0);
  char first[] = "ab";
  char second[] = "cde";
  const ibv_data_buf pieces[] = {{first, 2}, {second, 3}};
  ibv_wr_start(qp);
  next(1);
  ibv_wr_send(qp);
  ibv_wr_set_inline_data_list(qp, 2, pieces);
  ASSERT_EQ(ibv_wr_complete(qp), 0);
  EXPECT_EQ(pair.b.expect(1).byte_len, 5U);
  EXPECT_EQ(pair.b.text(0, 5), "abcde");
}

TEST_F(WrApi, AbortForgetsWhatWasBuilt) {
  ibv_wr_start(qp);
  next(1);
  ibv_wr_rdma_write(qp, rkey, pair.b.address());
  ibv_wr_set_sge(qp, pair.a.mr()->lkey, pair.a.address(), 8);
  ibv_wr_abort(qp);
  ibv_wr_start(qp);
  next(2);
  ibv_wr_rdma_write(qp, rkey, pair.b.address());
  ibv_wr_set_sge(qp, pair.a.mr()->lkey, pair.a.address(), 8);
  ASSERT_EQ(ibv_wr_complete(qp), 0);
  pair.a.expect(2);
}

TEST_F(WrApi, PostsAllOrNothing) {
  const auto write = [&](uint64_t id, uint32_t count) {
    next(id);
    ibv_wr_rdma_write(qp, rkey, pair.b.address());
    std::vector<ibv_sge> sges(count, pair.a.sge(0, 8));
    ibv_wr_set_sge_list(qp, sges.size(), sges.data());
  };
  ibv_wr_start(qp);
  write(1, 1);
  write(2, 4);  // more elements than the queue pair has
  EXPECT_EQ(ibv_wr_complete(qp), EINVAL);
  ibv_wr_start(qp);
  for (uint64_t id = 0; id < 9; ++id) write(id, 1);  // more requests than it has
  EXPECT_EQ(ibv_wr_complete(qp), ENOMEM);
  ibv_wr_start(qp);
  next(3);
  ibv_wr_rdma_write(qp, rkey, pair.b.address());
  char large[33] = {};
  ibv_wr_set_inline_data(qp, large, sizeof large);
  EXPECT_EQ(ibv_wr_complete(qp), EINVAL);
  ibv_wr_start(qp);
  for (uint64_t id = 10; id < 18; ++id) write(id, 1);
  ASSERT_EQ(ibv_wr_complete(qp), 0);
  for (uint64_t id = 10; id < 18; ++id) pair.a.expect(id);
}

TEST_F(WrApi, OperationsThatAreNotOfferedAreRefusedAtCreation) {
  EndpointOptions options;
  options.wr_operations = IBV_QP_EX_WITH_TSO;
  ibv_qp_init_attr_ex attributes = extended_attributes(pair.a.pd(), pair.a.cq(), options);
  errno = 0;
  EXPECT_EQ(ibv_create_qp_ex(pair.context.get(), &attributes), nullptr);
  EXPECT_EQ(errno, EOPNOTSUPP);
}

TEST_F(WrApi, AtomicWriteStoresEightBytesAndCountsAsItsOwnOperation) {
  const uint64_t value = 0x1122334455667788;
  ibv_wr_start(qp);
  next(1);
  ibv_wr_atomic_write(qp, rkey, pair.b.address(512), &value);
  ASSERT_EQ(ibv_wr_complete(qp), 0);
  EXPECT_EQ(pair.a.expect(1).opcode, IBV_WC_ATOMIC_WRITE);
  EXPECT_EQ(pair.b.word(512), value);

  ibv_wr_start(qp);
  next(2);
  ibv_wr_atomic_write(qp, rkey, pair.b.address(513), &value);  // not aligned
  ASSERT_EQ(ibv_wr_complete(qp), 0);
  pair.a.expect(2, IBV_WC_REM_INV_REQ_ERR);
}

TEST_F(WrApi, BindsAndInvalidatesWindows) {
  ibv_mw* window = ibv_alloc_mw(pair.a.pd(), IBV_MW_TYPE_2);
  ASSERT_NE(window, nullptr);
  const uint32_t key = ibv_inc_rkey(window->rkey);
  ibv_mw_bind_info range{pair.a.mr(), pair.a.address(), 64, IBV_ACCESS_REMOTE_WRITE};
  ibv_wr_start(qp);
  next(1);
  ibv_wr_bind_mw(qp, window, key, &range);
  next(2);
  ibv_wr_local_inv(qp, key);
  ASSERT_EQ(ibv_wr_complete(qp), 0);
  EXPECT_EQ(pair.a.expect(1).opcode, IBV_WC_BIND_MW);
  EXPECT_EQ(pair.a.expect(2).opcode, IBV_WC_LOCAL_INV);
  EXPECT_EQ(ibv_dealloc_mw(window), 0);
}

}  // namespace
}  // namespace verbena::test
