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

}  // namespace
}  // namespace verbena::io
