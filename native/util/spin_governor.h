// Owns the decision whether spinning before sleep is worth its cost, from how recent spins ended.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>

namespace verbena::util {

/**
 * Spinning pays while completions arrive sooner than a sleeping thread wakes. The last eight spins
 * are remembered; when none of them found work, only every sixteenth chance is used, as a probe.
 * A spin yields its core, and under load it may get that back only when others have had their time,
 * long after a sleeping thread would have been woken. That is so now and then on any machine; where
 * it goes on, none pays for some time.
 */
class SpinGovernor {
 public:
  static constexpr uint32_t kProbeInterval = 16;
  /** More than a busy peer takes for what it is asked. */
  static constexpr uint64_t kLongLossNs = 1'000'000;
  /** The share of time that may be lost: one part in so many. */
  static constexpr uint64_t kTimePerLoss = 16;
  /** What may be lost on top of that, as it happens. */
  static constexpr uint64_t kAllowanceNs = 10'000'000;

  /** Asked once before each sleep. */
  bool should_spin(uint64_t now_ns) {
    if (now_ns + kAllowanceNs * kTimePerLoss < made_up_for_at_ns_) return false;
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

  /** A spin that was to end at `deadline_ns` had its core only at `now_ns`. */
  void record_end(uint64_t deadline_ns, uint64_t now_ns) {
    if (now_ns < deadline_ns + kLongLossNs) return;
    made_up_for_at_ns_ =
        std::max(made_up_for_at_ns_, now_ns) + kTimePerLoss * (now_ns - deadline_ns);
  }

  int recent_hits() const { return std::popcount(history_); }

 private:
  uint8_t history_ = 0;
  uint32_t refused_ = 0;
  /** When all that was lost is no more than the share of the time that has passed. */
  uint64_t made_up_for_at_ns_ = 0;
};

}  // namespace verbena::util
