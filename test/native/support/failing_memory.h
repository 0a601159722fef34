// Allocation that fails as allocation_faults.h says. One file of a program includes this. The
// compiler takes malloc and delete for a mismatch where these functions are inlined.
#pragma once

#include <cstdlib>
#include <new>

#include "support/allocation_faults.h"

[[gnu::noinline]] void* operator new(size_t bytes) {
  using verbena::test::allocation_faults;
  if (allocation_faults != nullptr && allocation_faults->next_fails()) throw std::bad_alloc();
  void* memory = std::malloc(bytes == 0 ? 1 : bytes);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

[[gnu::noinline]] void operator delete(void* memory) noexcept {
  std::free(memory);
}

[[gnu::noinline]] void operator delete(void* memory, size_t) noexcept {
  std::free(memory);
}
