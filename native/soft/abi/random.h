// Random numbers for QPNs and keys, from the kernel.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "soft/engine/ports.h"

namespace verbena::soft {

// Asks the kernel for many at once. Not thread-safe.
class KernelRandom final : public engine::RandomSource {
 public:
  uint32_t next() override;

 private:
  std::array<uint32_t, 64> numbers_{};
  size_t left_ = 0;
};

// Fills the whole range; there is no failure after the kernel's pool is initialised.
void fill_random(void* to, size_t bytes);

}  // namespace verbena::soft
