// Decides what a thread of the program that polls in vain does before it polls again.
#pragma once

#include <cstdint>

#include "soft/io/clock.h"

namespace verbena::io {

// Spinning is fastest, but where more threads spin than there are cores, the peer that is waited
// for may need this one: so it is offered. A thread that computes takes the offer for the rest of
// its time slice, milliseconds a round trip; a sleeper that a packet wakes gets the core back at
// once. So offers that are taken for long, one after the other, make the thread sleep on the socket
// for a while; a single one may be the doing of the host, who has the core now and then.
class IdlePolicy {
 public:
  enum class Action { kPollAgain, kYield, kSleep };

  static constexpr uint32_t kPatiencePolls = 32;
  static constexpr TimeNs kLongYield = 200'000;
  static constexpr TimeNs kCrowdedFor = 20'000'000;
  // What the program would wait for and no packet announces, it sees this late.
  static constexpr TimeNs kLongestSleep = 100'000;
  // Polls further apart are those of a program that has other things to do, an event loop say: its
  // time is its own.
  static constexpr TimeNs kOtherThings = 10'000;

  void on_work() { idle_polls_ = 0; }

  // `now` is when the poll began.
  Action after_idle_poll(TimeNs now) {
    if (now - left_at_ > kOtherThings) idle_polls_ = 0;
    left_at_ = now;
    if (idle_polls_ < kPatiencePolls) {
      ++idle_polls_;
      return Action::kPollAgain;
    }
    return now < crowded_until_ ? Action::kSleep : Action::kYield;
  }

  void on_yielded(TimeNs from, TimeNs until) {
    const bool is_long = until - from >= kLongYield;
    if (is_long && last_was_long_) crowded_until_ = until + kCrowdedFor;
    last_was_long_ = is_long;
    left_at_ = until;
  }

  void on_slept(TimeNs until) { left_at_ = until; }

 private:
  uint32_t idle_polls_ = 0;
  bool last_was_long_ = false;
  TimeNs crowded_until_ = 0;
  // When the program was last given its thread back, or shortly before.
  TimeNs left_at_ = 0;
};

}  // namespace verbena::io
