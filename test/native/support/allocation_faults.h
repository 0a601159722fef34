// Says which allocations fail. Only programs that include failing_memory.h listen.
#pragma once

#include <utility>

namespace verbena::test {

class AllocationFaults {
 public:
  virtual ~AllocationFaults() = default;
  virtual bool next_fails() = 0;
};

// Those of this thread; null when none fails.
inline thread_local AllocationFaults* allocation_faults = nullptr;

// Has them apply, or with null not apply, for a while.
class AllocationScope {
 public:
  explicit AllocationScope(AllocationFaults* faults)
      : before_(std::exchange(allocation_faults, faults)) {}
  ~AllocationScope() { allocation_faults = before_; }
  AllocationScope(const AllocationScope&) = delete;
  AllocationScope& operator=(const AllocationScope&) = delete;

 private:
  AllocationFaults* before_;
};

}  // namespace verbena::test
