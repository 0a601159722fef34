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

constexpr uint64_t kMs = 1'000'000;

// Spins that end at `from`, each so late, until one is refused; how many were allowed.
int lose_until_refused(SpinGovernor& governor, uint64_t& now, uint64_t loss) {
  int spins = 0;
  for (; governor.should_spin(now) && spins < 1000; ++spins) {
    governor.record_end(now, now + loss);
    now += loss;
  }
  return spins;
}

TEST(SpinGovernor, BearsALossNowAndThen) {
  SpinGovernor governor;
  governor.record(true);
  for (uint64_t second = 1; second < 1000; ++second) {
    const uint64_t now = second * 1000 * kMs;
    ASSERT_TRUE(governor.should_spin(now)) << second;
    governor.record_end(now, now + 5 * kMs);
    ASSERT_TRUE(governor.should_spin(now + 5 * kMs)) << second;
  }
}

TEST(SpinGovernor, RestsWhileItLosesMoreThanItsShare) {
  constexpr uint64_t kLoss = 2 * kMs;
  SpinGovernor governor;
  governor.record(true);
  uint64_t now = 1000 * kMs;
  EXPECT_EQ(lose_until_refused(governor, now, kLoss), 6) << "what is allowed, and one more";
  governor.record_early_wakeup();
  EXPECT_FALSE(governor.should_spin(now)) << "whatever came meanwhile";
  // For a long time from here on, one part in 16 is lost.
  const uint64_t since = now;
  uint64_t lost = 0;
  for (; now < since + 10'000 * kMs; now += kMs / 10) {
    if (!governor.should_spin(now)) continue;
    governor.record_end(now, now + kLoss);
    now += kLoss;
    lost += kLoss;
  }
  EXPECT_NEAR(static_cast<double>(lost) / static_cast<double>(now - since), 1.0 / 16, 0.005);
}

TEST(SpinGovernor, ShortLossesAreNone) {
  SpinGovernor governor;
  governor.record(true);
  uint64_t now = 1000 * kMs;
  EXPECT_EQ(lose_until_refused(governor, now, SpinGovernor::kLongLossNs - 1), 1000);
}

}  // namespace
}  // namespace verbena::util
