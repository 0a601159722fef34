// The AETH syndrome: acknowledge, receiver-not-ready and negative acknowledge codes (IBTA volume
// 1, 9.7.5.2).
#pragma once

#include <array>
#include <cstdint>

namespace verbena::wire {

constexpr uint8_t kAckNoCredits = 0x1F;  // ACK whose credit field is not used
constexpr uint8_t kNakPsnSequence = 0x60;
constexpr uint8_t kNakInvalidRequest = 0x61;
constexpr uint8_t kNakRemoteAccess = 0x62;
constexpr uint8_t kNakRemoteOperational = 0x63;

enum class SyndromeKind : uint8_t { kAck = 0, kRnrNak = 1, kReserved = 2, kNak = 3 };

constexpr SyndromeKind syndrome_kind(uint8_t syndrome) {
  return (syndrome & 0x80) != 0 ? SyndromeKind::kReserved
                                : static_cast<SyndromeKind>(syndrome >> 5 & 3);
}

constexpr uint8_t rnr_syndrome(uint8_t timer_code) {
  return static_cast<uint8_t>(0x20 | (timer_code & 0x1F));
}

// IBTA volume 1, table 45: the shortest wait after an RNR NAK, in nanoseconds.
constexpr int64_t rnr_wait_ns(uint8_t timer_code) {
  constexpr std::array<int32_t, 32> kHundredthsOfMs = {
      65536, 1,    2,    3,    4,    6,     8,     12,    16,    24,   32,
      48,    64,   96,   128,  192,  256,   384,   512,   768,   1024, 1536,
      2048,  3072, 4096, 6144, 8192, 12288, 16384, 24576, 32768, 49152};
  return kHundredthsOfMs[timer_code & 0x1F] * int64_t{10'000};
}

// IBTA volume 1, 9.7.6.1.3: local ACK timeout, 4.096 µs × 2^code; code 0 means no timer.
constexpr int64_t ack_timeout_ns(uint8_t code) {
  return code == 0 ? 0 : int64_t{4096} << (code & 0x1F);
}

}  // namespace verbena::wire
