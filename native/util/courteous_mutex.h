// Owns a mutex that a thread in the background, which takes it again and again, leaves to others.
#pragma once

#include <sched.h>

#include <atomic>
#include <mutex>

namespace verbena::util {

/**
 * With a plain mutex a thread that unlocks and locks in a loop nearly always wins against one that
 * must wake up first. Here it waits until those have had it; they do not wait for each other's
 * turn, so that several short locks in a row cost one wake-up.
 */
class CourteousMutex {
 public:
  void lock() {
    ++waiting_;
    inner_.lock();
    --waiting_;
  }
  bool try_lock() { return inner_.try_lock(); }
  void unlock() { inner_.unlock(); }

  /** For the thread in the background. It gives way for a limited time only. */
  void lock_after_others() {
    for (int yields = 0; is_wanted() && yields < kMostYields; ++yields) sched_yield();
    inner_.lock();
  }

  /** Whether somebody waits for it. */
  bool is_wanted() const { return waiting_.load() > 0; }

 private:
  /** Longer than it takes to wake a thread. */
  static constexpr int kMostYields = 1000;

  std::mutex inner_;
  std::atomic<int> waiting_{0};
};

}  // namespace verbena::util
