// Owns the layout of the rings shared with JavaScript: the same numbers as src/native/addon.ts.
#pragma once

#include <cstdint>

namespace verbena::verbs {

namespace completion {
inline constexpr uint32_t kWords = 8;
enum Word : uint32_t { kQpIndex, kWrId, kStatus, kOpcode, kByteLen, kImm, kFlags, kVendorError };
inline constexpr uint32_t kWithImm = 1;
inline constexpr uint32_t kPostFailed = 0x8000'0000;
}  // namespace completion

namespace post {
inline constexpr uint32_t kWords = 16;
/** Words of descriptor 0, the header. */
inline constexpr uint32_t kCount = 0;
inline constexpr uint32_t kTransfers = 1;
enum Word : uint32_t {
  kQpIndex,
  kOpcode,
  kFlags,
  kWrId,
  kMrIndex,
  kLocalOffset,
  kLength,
  kImm,
  kRemoteAddressLow,
  kRemoteAddressHigh,
  kRkey,
  kCompareAddLow = 12,
  kCompareAddHigh,
  kSwapLow,
  kSwapHigh
};
enum Opcode : uint32_t {
  kSend,
  kSendWithImm,
  kWrite,
  kWriteWithImm,
  kRead,
  kCompareSwap,
  kFetchAdd,
  kReceive
};
enum Flag : uint32_t { kSignaled = 1, kSolicited = 2, kInline = 4, kFence = 8 };
inline constexpr uint32_t kAllFlags = kSignaled | kSolicited | kInline | kFence;
}  // namespace post

/** One record of the completion ring. */
struct CompletionRecord {
  uint32_t words[completion::kWords];
};
static_assert(sizeof(CompletionRecord) == completion::kWords * sizeof(uint32_t));

/** A work request id holds the queue pair's index above JavaScript's 32-bit id. */
inline uint64_t join_wr_id(uint32_t qp_index, uint32_t wr_id) {
  return static_cast<uint64_t>(qp_index) << 32 | wr_id;
}
inline uint32_t qp_index_of(uint64_t joined) {
  return static_cast<uint32_t>(joined >> 32);
}
inline uint32_t wr_id_of(uint64_t joined) {
  return static_cast<uint32_t>(joined);
}

}  // namespace verbena::verbs
