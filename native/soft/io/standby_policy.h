// Decides whether the device's thread keeps away from the socket because the program's threads
// drive the lane.
#pragma once

#include <algorithm>
#include <utility>

#include "soft/io/clock.h"

namespace verbena::io {

// A program that polls drives the lane by itself, faster than a woken thread could. A program that
// spins on memory, or is busy most of the time, leaves packets waiting: for a while, doubled each
// time, the thread drives the lane whoever polls.
class StandbyPolicy {
 public:
  struct Times {
    // The program counts as polling for this long after it last drove the lane, so long may packets
    // wait; for longer, at most so long, when it has polled without a pause.
    TimeNs standby = 500'000;
    TimeNs standby_most = 2'000'000;
    // So long where the thread is told of packets that wait.
    TimeNs standby_told = 20'000'000;
    TimeNs thread_driven_least = 10'000'000;
    TimeNs thread_driven_most = kNsPerSecond;
    // After so long a time of standby that went well, earlier failures are forgotten.
    TimeNs good_behaviour = 20'000'000;
  };

  explicit StandbyPolicy(const Times& times)
      : times_(times), next_penalty_(times.thread_driven_least) {}

  // `last_poll` is when the program last drove the lane; 0 when it said that it stops.
  bool stands_by(TimeNs now, TimeNs last_poll) {
    if (gap_began_ != 0 && last_poll > gap_began_) judge(last_poll);
    return now >= thread_driven_until_ && now < standby_end(last_poll, last_poll);
  }
  // Of a standby that began at `since`. To look whether the program still polls costs it more than
  // a request does: the longer it has, the less often.
  TimeNs standby_end(TimeNs since, TimeNs last_poll, bool is_told = false) const {
    if (last_poll == 0) return 0;
    if (is_told) return last_poll + times_.standby_told;
    const TimeNs trusted = std::min((last_poll - since) / kPollsPerWait, times_.standby_most);
    return last_poll + std::max(times_.standby, trusted);
  }

  // The program went to sleep and said so.
  void on_handed_over() { next_penalty_ = times_.thread_driven_least; }

  // It stopped polling without a word, after `last_poll`; standby had begun at `since`.
  void on_expired(TimeNs since, TimeNs last_poll, bool packets_waiting) {
    if (last_poll - since >= times_.good_behaviour) next_penalty_ = times_.thread_driven_least;
    if (!packets_waiting) return;
    gap_began_ = last_poll;
    polled_for_ = last_poll - since;
  }

 private:
  // Packets wait for at most one part in so many of the time that it polled.
  static constexpr TimeNs kPollsPerWait = 16;

  // It polls again. Who polled for longer than it left packets waiting had other work to do, or was
  // kept from the processor: then the thread would be in its way.
  void judge(TimeNs polled_again) {
    const TimeNs gap = polled_again - std::exchange(gap_began_, 0);
    if (gap <= polled_for_) return;
    thread_driven_until_ = polled_again + next_penalty_;
    next_penalty_ = std::min(2 * next_penalty_, times_.thread_driven_most);
  }

  Times times_;
  TimeNs next_penalty_;
  TimeNs thread_driven_until_ = 0;
  // Of the gap that packets wait in, until the program polls again; 0 when there is none.
  TimeNs gap_began_ = 0;
  TimeNs polled_for_ = 0;
};

}  // namespace verbena::io
