// Checks that queues keep order and bounds while their memory grows to their depth.
#include <gtest/gtest.h>

#include "soft/engine/completion_queue.h"
#include "soft/engine/work_queue.h"

namespace verbena::engine {
namespace {

constexpr uint32_t kDepth = 37;

ibv_wc completion(uint64_t id) {
  ibv_wc wc = {};
  wc.wr_id = id;
  return wc;
}

uint64_t poll_one(CompletionQueue& queue) {
  ibv_wc wc = {};
  EXPECT_EQ(queue.poll(1, &wc), 1);
  return wc.wr_id;
}

TEST(CompletionQueues, KeepTheirOrderWhileTheyGrow) {
  CompletionQueue queue(kDepth, nullptr, nullptr);
  EXPECT_EQ(queue.depth(), kDepth);
  uint64_t pushed = 0, polled = 0;
  // Three in, two out: every size of the ring begins in the middle.
  while (pushed - polled < kDepth) {
    for (int i = 0; i < 3 && pushed - polled < kDepth; ++i) {
      ASSERT_EQ(queue.push(completion(pushed++), false), CompletionQueue::Push::kStored);
    }
    if (pushed - polled == kDepth) break;
    for (int i = 0; i < 2; ++i) ASSERT_EQ(poll_one(queue), polled++);
  }
  EXPECT_EQ(queue.push(completion(0), false), CompletionQueue::Push::kOverflow);
  while (polled < pushed) ASSERT_EQ(poll_one(queue), polled++);
}

TEST(CompletionQueues, KeepWhatIsWaitingWhenTheyAreResized) {
  CompletionQueue queue(kDepth, nullptr, nullptr);
  for (uint64_t id = 0; id < 20; ++id) queue.push(completion(id), false);
  EXPECT_FALSE(queue.resize(19));
  EXPECT_TRUE(queue.resize(21));
  EXPECT_EQ(queue.depth(), 21U);
  EXPECT_EQ(queue.push(completion(20), false), CompletionQueue::Push::kStored);
  EXPECT_EQ(queue.push(completion(21), false), CompletionQueue::Push::kOverflow);
  for (uint64_t id = 0; id <= 20; ++id) EXPECT_EQ(poll_one(queue), id);
}

TEST(SendQueues, KeepRequestsScatterListsAndInlineBytesWhileTheyGrow) {
  constexpr uint32_t kSges = 2, kInline = 3;
  SendQueue queue(kDepth, kSges, kInline);
  const auto check_oldest = [&] {
    const uint64_t number = queue.head();
    EXPECT_EQ(queue.at(number).id, number);
    EXPECT_EQ(queue.sges(number)[kSges - 1].addr, number);
    EXPECT_EQ(queue.inline_bytes(number)[kInline - 1], std::byte(number));
    queue.pop();
  };
  for (int turn = 0; !queue.full(); ++turn) {
    queue.make_room();
    const uint64_t number = queue.tail();
    queue.at(number).id = number;
    queue.sges(number)[kSges - 1].addr = number;
    queue.inline_bytes(number)[kInline - 1] = std::byte(number);
    queue.push();
    if (turn % 3 == 2) check_oldest();
  }
  EXPECT_EQ(queue.tail() - queue.head(), kDepth);
  while (!queue.empty()) check_oldest();
}

}  // namespace
}  // namespace verbena::engine
