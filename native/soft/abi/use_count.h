// Counts who uses an object, so that it is not destroyed under them and its number stays within
// limits.
#pragma once

#include <atomic>
#include <cerrno>
#include <limits>

#include "soft/abi/guard.h"

namespace verbena::soft {

class UseCount {
 public:
  explicit UseCount(int limit = std::numeric_limits<int>::max()) : limit_(limit) {}
  UseCount(const UseCount&) = delete;
  UseCount& operator=(const UseCount&) = delete;

  bool in_use() const { return uses_.load(std::memory_order_acquire) > 0; }

 private:
  friend class Use;

  const int limit_;
  std::atomic<int> uses_{0};
};

// One use, for as long as it lives. Refuses with ENOMEM beyond the limit.
class Use {
 public:
  explicit Use(UseCount& of) : of_(of) {
    if (of_.uses_.fetch_add(1, std::memory_order_relaxed) < of_.limit_) return;
    of_.uses_.fetch_sub(1, std::memory_order_relaxed);
    throw Refusal{ENOMEM};
  }
  ~Use() { of_.uses_.fetch_sub(1, std::memory_order_release); }
  Use(const Use&) = delete;
  Use& operator=(const Use&) = delete;

 private:
  UseCount& of_;
};

}  // namespace verbena::soft
