// The courteous mutex: who waits is not passed over by the thread in the background.
#include "util/courteous_mutex.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <mutex>
#include <thread>

namespace verbena::util {
namespace {

/** Longer than it takes to wake a thread that waits. */
void work() {
  const auto end = std::chrono::steady_clock::now() + std::chrono::microseconds(200);
  while (std::chrono::steady_clock::now() < end) {
  }
}

/** How often a thread that does nothing else takes it again while this one waits for it, in all. */
int times_passed_over(CourteousMutex& mutex, int rounds) {
  std::atomic<bool> enough = false;
  std::atomic<int> taken = 0;
  std::thread greedy([&] {
    while (!enough) {
      mutex.lock_after_others();
      const std::lock_guard lock(mutex, std::adopt_lock);
      ++taken;
      work();
    }
  });
  int passed = 0;
  for (int round = 0; round < rounds; ++round) {
    const int before = taken;
    while (taken == before) std::this_thread::yield();
    const int waited_since = taken;
    const std::lock_guard lock(mutex);
    passed += taken - waited_since;
  }
  enough = true;
  greedy.join();
  return passed;
}

// Now and then the scheduler stops a thread just before it waits. A plain mutex makes it thousands.
TEST(CourteousMutex, goes_to_who_waits) {
  CourteousMutex mutex;
  EXPECT_LE(times_passed_over(mutex, 300), 300);
}

TEST(CourteousMutex, is_not_had_by_two) {
  CourteousMutex mutex;
  int count = 0;
  const auto add = [&] {
    for (int i = 0; i < 20'000; ++i) {
      const std::lock_guard lock(mutex);
      ++count;
    }
  };
  std::thread other(add);
  add();
  other.join();
  EXPECT_EQ(count, 40'000);
}

TEST(CourteousMutex, is_wanted_while_somebody_waits) {
  CourteousMutex mutex;
  mutex.lock();
  EXPECT_FALSE(mutex.is_wanted());
  std::thread other([&] { const std::lock_guard lock(mutex); });
  while (!mutex.is_wanted()) std::this_thread::yield();
  mutex.unlock();
  other.join();
  EXPECT_FALSE(mutex.is_wanted());
}

TEST(CourteousMutex, is_refused_while_another_has_it) {
  CourteousMutex mutex;
  mutex.lock();
  std::thread([&] { EXPECT_FALSE(mutex.try_lock()); }).join();
  mutex.unlock();
  EXPECT_TRUE(mutex.try_lock());
  mutex.unlock();
}

}  // namespace
}  // namespace verbena::util
