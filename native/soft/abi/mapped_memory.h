// Makes sure that memory can be used before the device is told to use it.
#pragma once

#include <cstddef>
#include <cstdint>

#include "soft/io/fork_guard.h"
#include "util/unique_fd.h"

namespace verbena::soft {

class MappedMemory {
 public:
  MappedMemory();

  // 0 when every byte can be used, EFAULT when a page is not mapped or does not permit the access,
  // or ENOMEM. Pages that might not be had later are brought in, as an adapter that pins them does;
  // private anonymous ones come when they are first touched.
  int check(const void* address, size_t length, bool writable) const;

 private:
  bool is_private(uintptr_t start, uintptr_t end, bool writable) const;

  // /proc/self/maps, of the process that opened it.
  util::UniqueFd maps_;
  io::ForkGuard fork_guard_;
};

}  // namespace verbena::soft
