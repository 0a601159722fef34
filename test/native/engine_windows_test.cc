// Memory windows: what a bound one grants, and that nothing is granted before, after or beyond.
#include <gtest/gtest.h>

#include "support/simulated_pair.h"

namespace verbena::test {
namespace {

constexpr int kWindowRegion = IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_MW_BIND;

class Windows : public testing::Test {
 protected:
  uint32_t allocate(ibv_mw_type type) {
    return pair.b.engine().memory().insert_window(Pair::kPd, type);
  }

  // b binds `rkey` to part of its region.
  ibv_wc_status bind(uint32_t window_rkey, uint32_t rkey, uint64_t offset, uint64_t length,
                     unsigned access) {
    ibv_mw window{};
    window.rkey = window_rkey;
    ibv_mr mr{};
    mr.lkey = region.key;
    ibv_send_wr request{};
    request.opcode = IBV_WR_BIND_MW;
    request.send_flags = IBV_SEND_SIGNALED;
    request.bind_mw.mw = &window;
    request.bind_mw.rkey = rkey;
    request.bind_mw.bind_info = {&mr, region.address() + offset, length, access};
    return run_on_b(request);
  }

  ibv_wc_status invalidate(uint32_t rkey) {
    ibv_send_wr request{};
    request.opcode = IBV_WR_LOCAL_INV;
    request.send_flags = IBV_SEND_SIGNALED;
    request.invalidate_rkey = rkey;
    return run_on_b(request);
  }

  ibv_wc_status write(uint64_t address, uint32_t rkey, uint32_t length) {
    pair.post_send(IBV_WR_RDMA_WRITE, 1, {local.sge(0, length)}, [&](ibv_send_wr& request) {
      request.wr.rdma = {address, rkey};
    });
    pair.run();
    return pair.poll(pair.cq_a).at(0).status;
  }

  ibv_wc_status run_on_b(ibv_send_wr& request) {
    EXPECT_EQ(pair.b.engine().post_send(*pair.qp_b, request), 0);
    pair.run();
    const auto done = pair.poll(pair.cq_b);
    EXPECT_EQ(done.size(), 1U);
    return done.empty() ? IBV_WC_GENERAL_ERR : done[0].status;
  }

  Pair pair;
  Buffer local{pair.a, Pair::kPd, 4096, IBV_ACCESS_LOCAL_WRITE, 0x5A};
  Buffer region{pair.b, Pair::kPd, 4096, kWindowRegion};
};

TEST_F(Windows, GrantTheirRangeAndOnlyIt) {
  const uint32_t window = allocate(IBV_MW_TYPE_2);
  ASSERT_EQ(bind(window, window + 1, 100, 200, IBV_ACCESS_REMOTE_WRITE), IBV_WC_SUCCESS);
  EXPECT_EQ(write(region.address() + 100, window + 1, 200), IBV_WC_SUCCESS);
  EXPECT_EQ(region.bytes[100], std::byte{0x5A});
  EXPECT_EQ(write(region.address() + 101, window + 1, 200), IBV_WC_REM_ACCESS_ERR);
  EXPECT_EQ(region.bytes[300], std::byte{0});
}

TEST_F(Windows, GrantNothingBeforeTheyAreBound) {
  const uint32_t window = allocate(IBV_MW_TYPE_1);
  EXPECT_EQ(write(region.address(), window, 8), IBV_WC_REM_ACCESS_ERR);
}

TEST_F(Windows, GrantNothingUnderTheKeyTheyHadBefore) {
  const uint32_t window = allocate(IBV_MW_TYPE_1);
  ASSERT_EQ(bind(window, window + 1, 0, 64, IBV_ACCESS_REMOTE_WRITE), IBV_WC_SUCCESS);
  ASSERT_EQ(bind(window + 1, window + 2, 0, 64, IBV_ACCESS_REMOTE_WRITE), IBV_WC_SUCCESS);
  EXPECT_EQ(write(region.address(), window + 1, 8), IBV_WC_REM_ACCESS_ERR);
}

TEST_F(Windows, GrantNothingAfterTheyAreInvalidated) {
  const uint32_t window = allocate(IBV_MW_TYPE_2);
  ASSERT_EQ(bind(window, window + 1, 0, 64, IBV_ACCESS_REMOTE_WRITE), IBV_WC_SUCCESS);
  ASSERT_EQ(invalidate(window + 1), IBV_WC_SUCCESS);
  EXPECT_EQ(write(region.address(), window + 1, 8), IBV_WC_REM_ACCESS_ERR);
}

TEST_F(Windows, AreInvalidatedByAPeersSend) {
  const uint32_t window = allocate(IBV_MW_TYPE_2);
  ASSERT_EQ(bind(window, window + 1, 0, 64, IBV_ACCESS_REMOTE_WRITE), IBV_WC_SUCCESS);
  Pair::post_receive(pair.b, *pair.qp_b, 4, {region.sge(0, 64)});
  pair.post_send(IBV_WR_SEND_WITH_INV, 1, {local.sge(0, 64)},
                 [&](ibv_send_wr& request) { request.invalidate_rkey = window + 1; });
  pair.run();
  EXPECT_EQ(pair.poll(pair.cq_a).at(0).status, IBV_WC_SUCCESS);
  const ibv_wc received = pair.poll(pair.cq_b).at(0);
  EXPECT_EQ(received.wc_flags, unsigned{IBV_WC_WITH_INV});
  EXPECT_EQ(received.invalidated_rkey, window + 1);
  EXPECT_EQ(write(region.address(), window + 1, 8), IBV_WC_REM_ACCESS_ERR);
}

TEST_F(Windows, DoNotGrantWhatTheyWereNotBoundFor) {
  const uint32_t window = allocate(IBV_MW_TYPE_2);
  ASSERT_EQ(bind(window, window + 1, 0, 64, IBV_ACCESS_REMOTE_READ), IBV_WC_SUCCESS);
  EXPECT_EQ(write(region.address(), window + 1, 8), IBV_WC_REM_ACCESS_ERR);
}

TEST_F(Windows, OfZeroBasedAddressesCountFromTheirStart) {
  const uint32_t window = allocate(IBV_MW_TYPE_2);
  ASSERT_EQ(bind(window, window + 1, 512, 64, IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_ZERO_BASED),
            IBV_WC_SUCCESS);
  EXPECT_EQ(write(1, window + 1, 63), IBV_WC_SUCCESS);
  EXPECT_EQ(region.bytes[512], std::byte{0});
  EXPECT_EQ(region.bytes[513], std::byte{0x5A});
}

struct BadBinding {
  const char* name;
  uint64_t offset;
  uint64_t length;
  unsigned access;
  int region_access;
};

class RefusedBinding : public Windows, public testing::WithParamInterface<BadBinding> {};

TEST_P(RefusedBinding, FailsTheQueuePair) {
  const BadBinding& bad = GetParam();
  pair.b.engine().memory().find(region.key)->access = bad.region_access;
  const uint32_t window = allocate(IBV_MW_TYPE_2);
  EXPECT_EQ(bind(window, window + 1, bad.offset, bad.length, bad.access), IBV_WC_MW_BIND_ERR);
  EXPECT_EQ(pair.qp_b->state, IBV_QPS_ERR);
}

INSTANTIATE_TEST_SUITE_P(
    Cases, RefusedBinding,
    testing::Values(
        BadBinding{"BeyondTheRegion", 4000, 97, IBV_ACCESS_REMOTE_READ, kWindowRegion},
        BadBinding{"RegionDoesNotAllowIt", 0, 64, IBV_ACCESS_REMOTE_READ, IBV_ACCESS_LOCAL_WRITE},
        BadBinding{"WriteToReadOnlyMemory", 0, 64, IBV_ACCESS_REMOTE_WRITE, IBV_ACCESS_MW_BIND},
        BadBinding{"EmptyRange", 0, 0, IBV_ACCESS_REMOTE_READ, kWindowRegion}),
    [](const auto& info) { return info.param.name; });

TEST_F(Windows, BetweenOtherRequestsTakeTheirTurnUnderLoss) {
  pair.network.faults.drop = 0.2;
  Buffer remote(pair.a, Pair::kPd, 4096, IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE);
  uint32_t rkey = allocate(IBV_MW_TYPE_1);
  for (uint64_t id = 0; id < 40; ++id) {
    ibv_mw window{};
    window.rkey = rkey;
    ibv_mr mr{};
    mr.lkey = region.key;
    ibv_sge sge = region.sge(0, 64);
    ibv_send_wr request{};
    request.wr_id = id;
    request.send_flags = IBV_SEND_SIGNALED;
    if (id % 2 == 0) {
      request.opcode = IBV_WR_BIND_MW;
      request.bind_mw.mw = &window;
      request.bind_mw.rkey = ++rkey;
      request.bind_mw.bind_info = {&mr, region.address(), 64, IBV_ACCESS_REMOTE_READ};
    } else {
      request.opcode = IBV_WR_RDMA_WRITE;
      request.sg_list = &sge;
      request.num_sge = 1;
      request.wr.rdma = {remote.address(), remote.key};
    }
    ASSERT_EQ(pair.b.engine().post_send(*pair.qp_b, request), 0);
  }
  pair.run();
  const auto done = pair.poll(pair.cq_b);
  ASSERT_EQ(done.size(), 40U);
  for (uint64_t id = 0; id < 40; ++id) {
    EXPECT_EQ(done[id].wr_id, id);
    EXPECT_EQ(done[id].status, IBV_WC_SUCCESS);
  }
}

}  // namespace
}  // namespace verbena::test
