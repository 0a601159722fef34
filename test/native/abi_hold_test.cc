// Holds back what is posted to several queue pairs, so that it leaves together.
#include <gtest/gtest.h>

#include <thread>

#include "support/verbs_objects.h"

extern "C" const void* verbena_soft_counters(ibv_context* context);
extern "C" void verbena_soft_hold(ibv_context* context);
extern "C" void verbena_soft_release(ibv_context* context);

namespace verbena::test {
namespace {

class Hold : public testing::Test {
 protected:
  Hold() { connect(c, d); }

  // The device's first counter.
  uint64_t packets_sent() const {
    const auto* const sent = static_cast<const uint64_t*>(verbena_soft_counters(context()));
    return __atomic_load_n(sent, __ATOMIC_RELAXED);
  }
  ibv_context* context() const { return pair.context.get(); }

  void post_on_both(uint64_t id) {
    ASSERT_EQ(pair.b.post_receive(id, 0, 100), 0);
    ASSERT_EQ(d.post_receive(id, 0, 100), 0);
    ASSERT_EQ(pair.a.post_send(id, 0, 100), 0);
    ASSERT_EQ(c.post_send(id, 0, 100), 0);
  }

  void expect_on_both(uint64_t id) {
    for (const Endpoint* each : {&pair.a, &pair.b, &c, &d}) each->expect(id);
  }

  Pair pair;
  Endpoint c{context()};
  Endpoint d{context()};
};

TEST_F(Hold, LetsNothingLeaveUntilTheRelease) {
  bool held = false;
  // The device's own thread may drive the lane at any time, but not each time.
  for (uint64_t id = 1; id <= 100 && !held; ++id) {
    const uint64_t before = packets_sent();
    verbena_soft_hold(context());
    post_on_both(id);
    held = packets_sent() == before;
    verbena_soft_release(context());
    EXPECT_GE(packets_sent(), before + 2);
    expect_on_both(id);
  }
  EXPECT_TRUE(held);
}

TEST_F(Hold, DoesNotConcernOtherThreads) {
  verbena_soft_hold(context());
  const uint64_t before = packets_sent();
  std::thread([&] { post_on_both(1); }).join();
  EXPECT_GE(packets_sent(), before + 2);
  verbena_soft_release(context());
  expect_on_both(1);
}

TEST_F(Hold, IsOverAfterTheRelease) {
  verbena_soft_hold(context());
  verbena_soft_release(context());
  const uint64_t before = packets_sent();
  post_on_both(1);
  EXPECT_GE(packets_sent(), before + 2);
  expect_on_both(1);
}

// Whoever polls in between drives the lane: nothing waits for ever.
TEST_F(Hold, KeepsNothingFromWhoeverPolls) {
  verbena_soft_hold(context());
  post_on_both(1);
  expect_on_both(1);
  verbena_soft_release(context());
}

}  // namespace
}  // namespace verbena::test
