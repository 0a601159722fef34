// Decides whether the device's thread keeps away from the socket because the program's threads
// drive the lane.
#pragma once

#include <algorithm>

#include "soft/io/clock.h"

namespace verbena::io {

// A program that polls drives the lane by itself, faster than a woken thread could. A program that
// polled and then spins on memory, or is busy, leaves packets waiting: for a while, doubled each
// time, the thread drives the lane whoever polls.
class StandbyPolicy {
 public:
  struct Times {
    // The program counts as polling for this long after it last drove the lane. No packet waits
    // much longer than this.
    TimeNs standby = 500'000;
    TimeNs thread_driven_least = 10'000'000;
    TimeNs thread_driven_most = kNsPerSecond;
    // After so long a time of standby that went well, earlier failures are forgotten.
    TimeNs good_behaviour = 20'000'000;
  };

  explicit StandbyPolicy(const Times& times)
      : times_(times), next_penalty_(times.thread_driven_least) {}

  // `last_poll` is when the program last drove the lane; 0 when it said that it stops.
  bool stands_by(TimeNs now, TimeNs last_poll) const {
    return now >= thread_driven_until_ && now < standby_end(last_poll);
  }
  TimeNs standby_end(TimeNs last_poll) const {
    return last_poll == 0 ? 0 : last_poll + times_.standby;
  }

  // The program went to sleep and said so.
  void on_handed_over() { next_penalty_ = times_.thread_driven_least; }

  // It stopped polling without a word, since when standby had begun at `since`.
  void on_expired(TimeNs now, TimeNs since, bool packets_waiting) {
    if (now - since >= times_.good_behaviour) next_penalty_ = times_.thread_driven_least;
    if (!packets_waiting) return;
    thread_driven_until_ = now + next_penalty_;
    next_penalty_ = std::min(2 * next_penalty_, times_.thread_driven_most);
  }

 private:
  Times times_;
  TimeNs next_penalty_;
  TimeNs thread_driven_until_ = 0;
};

}  // namespace verbena::io
