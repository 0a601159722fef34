// 24-bit packet sequence numbers (IBTA volume 1, 9.7.2): they wrap, and at most 2^23 are
// outstanding.
#pragma once

#include <cstdint>

namespace verbena::wire {

constexpr uint32_t kPsnMask = 0xFFFFFF;

constexpr uint32_t psn_add(uint32_t psn, uint32_t count) {
  return (psn + count) & kPsnMask;
}

// a - b in [-2^23, 2^23 - 1]: negative when `a` lies before `b`.
constexpr int32_t psn_diff(uint32_t a, uint32_t b) {
  return static_cast<int32_t>((a - b) << 8) >> 8;
}

}  // namespace verbena::wire
