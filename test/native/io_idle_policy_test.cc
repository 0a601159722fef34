// Checks when a thread that polls in vain spins, yields and sleeps.

#include "soft/io/idle_policy.h"

#include <gtest/gtest.h>

namespace verbena::io {
namespace {

using Action = IdlePolicy::Action;

constexpr TimeNs kStart = 5 * kNsPerSecond;

IdlePolicy out_of_patience() {
  IdlePolicy policy;
  for (uint32_t i = 0; i < IdlePolicy::kPatiencePolls; ++i) {
    EXPECT_EQ(policy.after_idle_poll(kStart), Action::kPollAgain);
  }
  return policy;
}

// Out of patience, and back at `back` from the second of two long yields.
IdlePolicy crowded(TimeNs back) {
  IdlePolicy policy = out_of_patience();
  policy.on_yielded(back - 2 * IdlePolicy::kLongYield, back - IdlePolicy::kLongYield);
  policy.on_yielded(back - IdlePolicy::kLongYield, back);
  return policy;
}

TEST(IdlePolicy, SpinsFirstAndThenYields) {
  IdlePolicy policy = out_of_patience();
  EXPECT_EQ(policy.after_idle_poll(kStart), Action::kYield);
  EXPECT_EQ(policy.after_idle_poll(kStart), Action::kYield);
}

TEST(IdlePolicy, SpinsAgainAfterWork) {
  IdlePolicy policy = out_of_patience();
  policy.on_work();
  EXPECT_EQ(policy.after_idle_poll(kStart), Action::kPollAgain);
}

TEST(IdlePolicy, KeepsYieldingToThreadsThatYieldBack) {
  IdlePolicy policy = out_of_patience();
  policy.on_yielded(kStart, kStart + IdlePolicy::kLongYield - 1);
  EXPECT_EQ(policy.after_idle_poll(kStart), Action::kYield);
}

TEST(IdlePolicy, SleepsForAWhileWhenYieldsTakeLong) {
  const TimeNs back = kStart + IdlePolicy::kLongYield;
  IdlePolicy policy = crowded(back);
  EXPECT_EQ(policy.after_idle_poll(back), Action::kSleep);
  policy.on_slept(back + IdlePolicy::kCrowdedFor - 1);
  EXPECT_EQ(policy.after_idle_poll(back + IdlePolicy::kCrowdedFor - 1), Action::kSleep);
  const TimeNs end = back + IdlePolicy::kCrowdedFor;
  EXPECT_EQ(policy.after_idle_poll(end), Action::kYield);
  policy.on_yielded(end, end + IdlePolicy::kLongYield);
  EXPECT_EQ(policy.after_idle_poll(end + IdlePolicy::kLongYield), Action::kSleep) << "still";
}

// The host has the core now and then.
TEST(IdlePolicy, ForgivesALongYieldAmongShortOnes) {
  IdlePolicy policy = out_of_patience();
  TimeNs now = kStart;
  for (int round = 0; round < 10; ++round) {
    policy.on_yielded(now, now + IdlePolicy::kLongYield);
    now += IdlePolicy::kLongYield;
    EXPECT_EQ(policy.after_idle_poll(now), Action::kYield);
    policy.on_yielded(now, now + 1000);
    now += 1000;
    EXPECT_EQ(policy.after_idle_poll(now), Action::kYield);
  }
}

TEST(IdlePolicy, LeavesAProgramItsThreadThatDoesOtherThingsBetweenItsPolls) {
  IdlePolicy policy = out_of_patience();
  TimeNs now = kStart;
  for (int turn = 0; turn < 100; ++turn) {
    now += IdlePolicy::kOtherThings + 1;
    EXPECT_EQ(policy.after_idle_poll(now), Action::kPollAgain);
  }
}

TEST(IdlePolicy, DoesNotTakeItsOwnYieldsAndSleepsForOtherThings) {
  TimeNs back = kStart + IdlePolicy::kLongYield;
  IdlePolicy policy = crowded(back);
  EXPECT_EQ(policy.after_idle_poll(back), Action::kSleep);
  back += IdlePolicy::kLongestSleep;
  policy.on_slept(back);
  EXPECT_EQ(policy.after_idle_poll(back), Action::kSleep);
}

TEST(IdlePolicy, SpinsFirstOnACrowdedMachineToo) {
  const TimeNs back = kStart + IdlePolicy::kLongYield;
  IdlePolicy policy = crowded(back);
  policy.on_work();
  EXPECT_EQ(policy.after_idle_poll(back), Action::kPollAgain);
}

}  // namespace
}  // namespace verbena::io
