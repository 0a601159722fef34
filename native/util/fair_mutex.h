// Owns a mutex that a thread which takes it again and again does not keep from others.
#pragma once

#include <mutex>

namespace verbena::util {

/**
 * Whoever waits gets it before its last owner does: that one finds the turnstile taken. With a
 * plain mutex a thread that unlocks and locks in a loop nearly always wins against one that must
 * wake up first.
 */
class FairMutex {
 public:
  void lock() {
    const std::lock_guard turn(turnstile_);
    inner_.lock();
  }

  bool try_lock() {
    const std::unique_lock turn(turnstile_, std::try_to_lock);
    return turn && inner_.try_lock();
  }

  void unlock() { inner_.unlock(); }

  /** Around fork(): a child must not inherit a turnstile that another thread stood in. */
  void lock_for_fork() {
    turnstile_.lock();
    inner_.lock();
  }
  void unlock_after_fork() {
    inner_.unlock();
    turnstile_.unlock();
  }

 private:
  std::mutex turnstile_;
  std::mutex inner_;
};

}  // namespace verbena::util
