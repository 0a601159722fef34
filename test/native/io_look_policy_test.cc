// How long packets of the network wait while others come through memory.
#include "soft/io/look_policy.h"

#include <gtest/gtest.h>

namespace verbena::io {
namespace {

TEST(LookPolicy, ANetworkThatHasNothingIsLookedAtNowAndThen) {
  LookPolicy policy;
  EXPECT_TRUE(policy.network_due(1));
  policy.on_network_looked_at(1000, false);
  EXPECT_FALSE(policy.network_due(1000 + LookPolicy::kNetworkInterval - 1));
  EXPECT_TRUE(policy.network_due(1000 + LookPolicy::kNetworkInterval));
}

TEST(LookPolicy, ANetworkThatHadSomethingIsLookedAtAgain) {
  LookPolicy policy;
  policy.on_network_looked_at(1000, true);
  EXPECT_TRUE(policy.network_due(1000));
}

TEST(LookPolicy, WhatEndedASleepIsFound) {
  LookPolicy policy;
  policy.on_network_looked_at(1000, false);
  policy.on_neighbours_looked_at(1000);
  EXPECT_FALSE(policy.neighbours_due(1001));
  policy.on_wakeup();
  EXPECT_TRUE(policy.network_due(1001));
  EXPECT_TRUE(policy.neighbours_due(1001));
}

TEST(LookPolicy, ReadersAreLookedAtWhileSomethingIsLeftForThem) {
  LookPolicy policy;
  EXPECT_EQ(policy.next_readers(), kNever);
  policy.on_left_to_read(1000);
  policy.on_left_to_read(2000);
  EXPECT_EQ(policy.next_readers(), 1000 + LookPolicy::kReadersPatience);
  policy.on_readers_looked_at(700'000, true);
  EXPECT_EQ(policy.next_readers(), 700'000 + LookPolicy::kReadersPatience);
  policy.on_readers_looked_at(1'300'000, false);
  EXPECT_EQ(policy.next_readers(), kNever);
}

TEST(LookPolicy, ANetworkIsQuietSomeTimeAfterItsLastPacket) {
  LookPolicy policy;
  EXPECT_TRUE(policy.network_is_quiet(1000));
  policy.on_network_looked_at(1000, true);
  policy.on_network_looked_at(2000, false);
  EXPECT_FALSE(policy.network_is_quiet(1000 + LookPolicy::kQuietAfter - 1));
  EXPECT_TRUE(policy.network_is_quiet(1000 + LookPolicy::kQuietAfter));
}

}  // namespace
}  // namespace verbena::io
