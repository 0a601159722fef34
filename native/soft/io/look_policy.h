// Decides how often a device that gets its packets through memory looks at the network as well.
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

  bool network_due(TimeNs now) const { return now >= next_network_; }
  void on_network_looked_at(TimeNs now, bool found) {
    next_network_ = found ? now : now + kNetworkInterval;
  }
  bool neighbours_due(TimeNs now) const { return now >= next_neighbours_; }
  void on_neighbours_looked_at(TimeNs now) { next_neighbours_ = now + kNeighbourInterval; }

  // Whatever ended a sleep is to be found.
  void on_wakeup() { next_network_ = next_neighbours_ = 0; }

 private:
  TimeNs next_network_ = 0;
  TimeNs next_neighbours_ = 0;
};

}  // namespace verbena::io
