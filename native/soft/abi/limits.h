// What the device grants at most; queries report these numbers and the create functions hold to
// them.
#pragma once

#include <cstdint>

namespace verbena::soft {

constexpr int kMaxQp = 65536;
constexpr int kMaxQpWr = 32768;
constexpr int kMaxSge = 32;
constexpr int kMaxInlineBytes = 1024;
constexpr int kMaxCq = 65536;
constexpr int kMaxCqe = 1 << 22;
constexpr int kMaxMr = 1 << 20;
constexpr int kMaxMw = 1 << 20;
constexpr int kMaxSrq = 65536;
constexpr uint32_t kMaxSrqWr = 32768;
constexpr int kMaxPd = 65536;
constexpr int kMaxAh = 65536;
// The engine holds groups and their members to these numbers.
constexpr int kMaxMcastGroups = 256;
constexpr int kMaxMcastQpAttach = 56;
// The engine holds READ and atomic depths to the same number.
constexpr int kMaxRdAtomic = 16;
// The largest message that the engine takes.
constexpr uint32_t kMaxMessageBytes = 1U << 30;
constexpr uint8_t kPort = 1;
constexpr int kGidTableLength = 2;
constexpr uint16_t kDefaultPkey = 0xFFFF;

}  // namespace verbena::soft
