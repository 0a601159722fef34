// What may wait while a program polls: acknowledges for its answers, posts for more posts.
#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <string_view>
#include <thread>

#include "support/device_counters.h"
#include "support/verbs_objects.h"

namespace verbena::test {
namespace {

constexpr auto kPatience = std::chrono::seconds(20);

class Waiting : public testing::Test {
 protected:
  uint64_t counter(std::string_view name) const { return device_counter(pair.context.get(), name); }

  // The device's own thread may drive the lane at any time, but not each time.
  static bool some_time(const std::function<bool()>& happens) {
    const auto end = std::chrono::steady_clock::now() + kPatience;
    while (std::chrono::steady_clock::now() < end) {
      if (happens()) return true;
    }
    return false;
  }

  static void post_many(const Pair& on, uint64_t messages) {
    for (uint64_t id = 0; id < messages; ++id) ASSERT_EQ(on.b.post_receive(id, 0, 100), 0);
    for (uint64_t id = 0; id < messages; ++id) ASSERT_EQ(on.a.post_send(id, 0, 100), 0);
  }

  void expect_many(uint64_t messages) {
    for (uint64_t id = 0; id < messages; ++id) pair.b.expect(id);
    for (uint64_t id = 0; id < messages; ++id) pair.a.expect(id);
  }

  Pair pair;
};

TEST_F(Waiting, AcknowledgesLeaveWithTheAnswer) {
  EXPECT_TRUE(some_time([this] {
    EXPECT_EQ(pair.b.post_receive(1, 0, 100), 0);
    EXPECT_EQ(pair.a.post_receive(2, 0, 100), 0);
    const uint64_t before = counter("acks_sent");
    EXPECT_EQ(pair.a.post_send(3, 0, 100), 0);
    pair.b.expect(1);
    const bool waited = counter("acks_sent") == before;
    EXPECT_EQ(pair.b.post_send(4, 0, 100), 0);
    EXPECT_GE(counter("acks_sent"), before + 1);
    for (int completions = 0; completions < 2; ++completions) EXPECT_TRUE(pair.a.poll_one());
    pair.b.expect(4);
    return waited;
  }));
}

TEST_F(Waiting, AcknowledgesLeaveWithTheNextPollWhereThereIsNoAnswer) {
  EXPECT_TRUE(some_time([this] {
    EXPECT_EQ(pair.b.post_receive(1, 0, 100), 0);
    const uint64_t before = counter("acks_sent");
    EXPECT_EQ(pair.a.post_send(3, 0, 100), 0);
    pair.b.expect(1);
    const bool waited = counter("acks_sent") == before;
    ibv_wc none;
    EXPECT_EQ(ibv_poll_cq(pair.b.cq(), 1, &none), 0);
    pair.a.expect(3);
    return waited;
  }));
}

TEST_F(Waiting, AcknowledgesLeaveBeforeTheirQueuePairGoes) {
  EXPECT_TRUE(some_time([this] {
    const Pair another;
    EXPECT_EQ(another.b.post_receive(1, 0, 100), 0);
    const uint64_t before = counter("acks_sent");
    EXPECT_EQ(another.a.post_send(3, 0, 100), 0);
    another.b.expect(1);
    const bool waited = counter("acks_sent") == before;
    EXPECT_EQ(another.b.to_state(IBV_QPS_ERR), 0);
    EXPECT_GE(counter("acks_sent"), before + 1);
    another.a.expect(3);
    return waited;
  }));
}

TEST_F(Waiting, PostsGatherWhileMuchIsOnTheWay) {
  constexpr uint64_t kMessages = 20;
  EXPECT_TRUE(some_time([this] {
    const uint64_t before = counter("tx_packets");
    post_many(pair, kMessages);
    const bool gathered = counter("tx_packets") < before + kMessages;
    expect_many(kMessages);
    return gathered;
  }));
}

// No poll follows the posts.
TEST_F(Waiting, PostsLeaveWhereNobodyPolls) {
  constexpr uint64_t kMessages = 20;
  for (int round = 0; round < 20; ++round) {
    const uint64_t before = counter("tx_packets");
    post_many(pair, kMessages);
    EXPECT_TRUE(some_time([&] { return counter("tx_packets") >= before + kMessages; }));
    expect_many(kMessages);
  }
}

TEST_F(Waiting, PostsLeaveBeforeTheirQueuePairGoes) {
  constexpr uint64_t kMessages = 20;
  EXPECT_TRUE(some_time([this] {
    const Pair another;
    const uint64_t before = counter("tx_packets");
    post_many(another, kMessages);
    const bool gathered = counter("tx_packets") < before + kMessages;
    EXPECT_EQ(another.a.to_state(IBV_QPS_ERR), 0);
    EXPECT_GE(counter("tx_packets"), before + kMessages);
    for (uint64_t id = 0; id < kMessages; ++id) another.b.expect(id);
    return gathered;
  }));
}

TEST_F(Waiting, TheFirstPostsDoNotWait) {
  const uint64_t before = counter("tx_packets");
  ASSERT_EQ(pair.b.post_receive(1, 0, 100), 0);
  ASSERT_EQ(pair.a.post_send(1, 0, 100), 0);
  EXPECT_GE(counter("tx_packets"), before + 1);
  pair.b.expect(1);
  pair.a.expect(1);
}

}  // namespace
}  // namespace verbena::test
