// Tests when spinning before sleep is allowed.
#include "util/spin_governor.h"

#include <gtest/gtest.h>

namespace verbena::util {
namespace {

int allowed(SpinGovernor& governor, int chances) {
  int count = 0;
  for (int chance = 0; chance < chances; ++chance) count += governor.should_spin(0) ? 1 : 0;
  return count;
}

TEST(SpinGovernor, ProbesSeldomWhileNothingIsFound) {
  SpinGovernor governor;
  EXPECT_EQ(allowed(governor, 160), 10);
}

TEST(SpinGovernor, SpinsAfterAHit) {
  SpinGovernor governor;
  governor.record(true);
  EXPECT_EQ(allowed(governor, 100), 100);
}

TEST(SpinGovernor, StopsAfterEightMisses) {
  SpinGovernor governor;
  governor.record(true);
  for (int miss = 0; miss < 7; ++miss) {
    governor.record(false);
    EXPECT_TRUE(governor.should_spin(0)) << "after miss " << miss + 1;
  }
  governor.record(false);
  EXPECT_EQ(allowed(governor, SpinGovernor::kProbeInterval - 1), 0);
  EXPECT_TRUE(governor.should_spin(0));
}

TEST(SpinGovernor, AnEarlyWakeupCountsAsAHit) {
  SpinGovernor governor;
  governor.record_early_wakeup();
  EXPECT_EQ(governor.recent_hits(), 1);
  EXPECT_TRUE(governor.should_spin(0));
}

TEST(SpinGovernor, RestsAfterItsCoreWasAwayForLong) {
  constexpr uint64_t kMs = 1'000'000;
  SpinGovernor governor;
  governor.record(true);
  governor.record_end(100 * kMs, 101 * kMs - 1);
  EXPECT_TRUE(governor.should_spin(101 * kMs)) << "after a loss that is short";
  governor.record_end(100 * kMs, 110 * kMs);
  const uint64_t rested = 110 * kMs + SpinGovernor::kRestPerLoss * 10 * kMs;
  governor.record_early_wakeup();
  EXPECT_FALSE(governor.should_spin(rested - 1)) << "whatever came meanwhile";
  EXPECT_TRUE(governor.should_spin(rested));
}

}  // namespace
}  // namespace verbena::util
