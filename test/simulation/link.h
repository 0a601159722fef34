// What goes wrong on the way: damage, replays, bursts, black holes, loss of one kind of packet.
#pragma once

#include <vector>

#include "scenario.h"

namespace verbena::test {

// Decides for each frame whether it goes on to the network.
class Link {
 public:
  Link(Network& network, const Scenario& scenario, const std::vector<Address>& hosts);

  // False loses the frame. Throws a Violation when the ICRC does not notice damage that it must.
  bool passes(TimeNs now, const Frame& frame);
  uint64_t damaged() const { return damaged_; }

 private:
  bool swallowed(const Frame& frame);
  bool in_burst(const Frame& frame);
  void damage(const Frame& frame);
  void replay(TimeNs now, const Frame& frame);

  Network& network_;
  const LinkFaults faults_;
  const TimeNs heals_at_;
  const std::vector<Address>& hosts_;
  SeededRandom random_;
  uint32_t burst_left_ = 0;
  uint32_t refused_left_ = 0;
  Address refused_of_{};
  uint64_t damaged_ = 0;
  std::vector<Frame> history_;
};

}  // namespace verbena::test
