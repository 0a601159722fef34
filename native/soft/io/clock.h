// The clock of the device: nanoseconds of CLOCK_MONOTONIC.
#pragma once

#include <time.h>

#include <cstdint>
#include <limits>

namespace verbena::io {

using TimeNs = int64_t;
constexpr TimeNs kNever = std::numeric_limits<TimeNs>::max();
constexpr TimeNs kNsPerSecond = 1'000'000'000;

inline timespec to_timespec(TimeNs ns) {
  return {static_cast<time_t>(ns / kNsPerSecond), static_cast<long>(ns % kNsPerSecond)};
}

inline TimeNs read_clock(clockid_t clock) {
  timespec now;
  clock_gettime(clock, &now);  // cannot fail for clocks that every kernel has
  return now.tv_sec * kNsPerSecond + now.tv_nsec;
}

inline TimeNs monotonic_now() {
  return read_clock(CLOCK_MONOTONIC);
}

}  // namespace verbena::io
