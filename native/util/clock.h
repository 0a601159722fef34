// Owns the reading of the monotonic clock.
#pragma once

#include <cstdint>
#include <ctime>

namespace verbena::util {

inline uint64_t monotonic_ns() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000U + static_cast<uint64_t>(now.tv_nsec);
}

}  // namespace verbena::util
