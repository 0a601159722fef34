// Counts who uses an object, so that it is not destroyed under them.
#pragma once

#include <atomic>

namespace verbena::soft {

class UseCount {
 public:
  UseCount() = default;
  UseCount(const UseCount&) = delete;
  UseCount& operator=(const UseCount&) = delete;

  bool in_use() const { return uses_.load(std::memory_order_acquire) > 0; }

 private:
  friend class Use;

  std::atomic<int> uses_{0};
};

// One use, for as long as it lives.
class Use {
 public:
  explicit Use(UseCount& of) : of_(of) { of_.uses_.fetch_add(1, std::memory_order_relaxed); }
  ~Use() { of_.uses_.fetch_sub(1, std::memory_order_release); }
  Use(const Use&) = delete;
  Use& operator=(const Use&) = delete;

 private:
  UseCount& of_;
};

}  // namespace verbena::soft
