// Allocations of a device that fail, drawn from the scenario's seed.
#pragma once

#include "support/allocation_faults.h"
#include "support/simulated_network.h"

namespace verbena::test {

class MemoryFaults : public AllocationFaults {
 public:
  MemoryFaults(uint64_t seed, double probability) : random_(seed), probability_(probability) {}

  bool next_fails() override { return random_.chance(probability_); }
  void heal() { probability_ = 0; }

 private:
  SeededRandom random_;
  double probability_;
};

}  // namespace verbena::test
