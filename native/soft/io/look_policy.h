// Decides when a device whose packets pass through memory looks at what tells nobody: the network,
// who comes and goes, and whether others read what is there for them.
#pragma once

#include "soft/io/clock.h"

namespace verbena::io {

// A look is a system call, which takes longer than to handle a small packet that lies in memory. So
// while packets come through memory, a network that has none is looked at every now and then.
class LookPolicy {
 public:
  // Packets of the network wait for so long at most, when those in memory leave them waiting.
  static constexpr TimeNs kNetworkInterval = 20'000;
  // Neighbours that come and go wait for so long.
  static constexpr TimeNs kNeighbourInterval = 100'000;
  // Who does not sleep is to read within so long. Most do in a hundredth of it.
  static constexpr TimeNs kReadersPatience = 500'000;
  // After so long a time without packets the network counts as quiet.
  static constexpr TimeNs kQuietAfter = 100'000'000;

  bool network_due(TimeNs now) const { return now >= next_network_; }
  void on_network_looked_at(TimeNs now, bool found) {
    next_network_ = found ? now : now + kNetworkInterval;
    if (found) quiet_at_ = now + kQuietAfter;
  }
  bool network_is_quiet(TimeNs now) const { return now >= quiet_at_; }
  bool neighbours_due(TimeNs now) const { return now >= next_neighbours_; }
  void on_neighbours_looked_at(TimeNs now) { next_neighbours_ = now + kNeighbourInterval; }

  // Something was left for a reader that does not sleep.
  void on_left_to_read(TimeNs now) {
    if (next_readers_ == kNever) next_readers_ = now + kReadersPatience;
  }
  TimeNs next_readers() const { return next_readers_; }
  // `again` when there was something that is not read yet.
  void on_readers_looked_at(TimeNs now, bool again) {
    next_readers_ = again ? now + kReadersPatience : kNever;
  }

  // Whatever ended a sleep is to be found.
  void on_wakeup() { next_network_ = next_neighbours_ = 0; }

 private:
  TimeNs next_network_ = 0;
  TimeNs next_neighbours_ = 0;
  TimeNs next_readers_ = kNever;
  TimeNs quiet_at_ = 0;
};

}  // namespace verbena::io
