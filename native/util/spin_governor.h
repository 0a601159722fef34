// Owns the decision whether spinning before sleep is worth its cost, from how recent spins ended.
#pragma once

#include <bit>
#include <cstdint>

namespace verbena::util {

/**
 * Spinning pays while completions arrive sooner than a sleeping thread wakes. The last eight spins
 * are remembered; when none of them found work, only every sixteenth chance is used, as a probe.
 */
class SpinGovernor {
 public:
  static constexpr uint32_t kProbeInterval = 16;

  /** Asked once before each sleep. */
  bool should_spin() {
    if (history_ != 0) return true;
    if (++refused_ < kProbeInterval) return false;
    refused_ = 0;
    return true;
  }

  void record(bool found_work) {
    history_ = static_cast<uint8_t>(history_ << 1 | (found_work ? 1 : 0));
  }

  /** A sleep that ended so soon that a spin would have found the work counts as a spin that did. */
  void record_early_wakeup() { record(true); }

  int recent_hits() const { return std::popcount(history_); }

 private:
  uint8_t history_ = 0;
  uint32_t refused_ = 0;
};

}  // namespace verbena::util
