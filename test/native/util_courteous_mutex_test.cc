// The courteous mutex: who waits is not passed over by the thread in the background.
#include "util/courteous_mutex.h"

#include <gtest/gtest.h>
#include <sched.h>
#include <unistd.h>

#include <atomic>
#include <fstream>
#include <mutex>
#include <string>
#include <thread>

namespace verbena::util {
namespace {

/** Whether the kernel has put the thread to sleep. */
bool sleeps(pid_t thread) {
  std::ifstream stat("/proc/self/task/" + std::to_string(thread) + "/stat");
  std::string text;
  std::getline(stat, text);
  return text.find(") S ") != std::string::npos;
}

/** One processor, and a thread that wakes up does not displace the one that runs. */
void share_one_processor() {
  cpu_set_t first;
  CPU_ZERO(&first);
  CPU_SET(static_cast<size_t>(sched_getcpu()), &first);
  ASSERT_EQ(sched_setaffinity(0, sizeof first, &first), 0);
  const sched_param none{};
  ASSERT_EQ(sched_setscheduler(0, SCHED_BATCH, &none), 0);
}

/** Whether a thread that waits has had it when its last owner gets it again. */
bool goes_to_who_waits(CourteousMutex& mutex) {
  bool had = false;
  mutex.lock();
  std::atomic<pid_t> id{0};
  std::thread other([&] {
    id = gettid();
    const std::lock_guard lock(mutex);
    had = true;
  });
  while (!mutex.is_wanted() || !sleeps(id)) std::this_thread::yield();
  mutex.unlock();
  mutex.lock_after_others();
  const bool result = had;
  mutex.unlock();
  other.join();
  return result;
}

// It gives way for a limited time, so a loaded machine may now and then not wake the other in it. A
// plain mutex fails nearly always.
TEST(CourteousMutex, goes_to_who_waits) {
  int times = 0;
  std::thread([&] {
    share_one_processor();
    CourteousMutex mutex;
    for (int round = 0; round < 100; ++round) times += goes_to_who_waits(mutex) ? 1 : 0;
  }).join();
  EXPECT_GE(times, 90);
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
