// Tells whether this process is a fork of the one in which an object was made.
#pragma once

#include <cstdint>

namespace verbena::io {

// A forked child has the parent's descriptors but not its threads, and perhaps its locked locks:
// what holds a guard must not send, write or join there. Costs one load to ask.
class ForkGuard {
 public:
  ForkGuard();
  bool in_child() const;

 private:
  uint32_t generation_;
};

}  // namespace verbena::io
