// Runs one scenario in virtual time, checking all the while.
#pragma once

#include <memory>
#include <vector>

#include "end.h"
#include "link.h"
#include "memory_faults.h"
#include "scenario.h"

namespace verbena::test {

struct Outcome {
  uint64_t digest;  // of all that completed
  uint64_t frames;
};

class World {
 public:
  explicit World(uint64_t seed);

  // Throws a Violation.
  Outcome run();

 private:
  struct Connection {
    uint32_t plan;
    std::unique_ptr<End> ends[2];
    bool watched = false;  // it must move on after the network healed
    uint32_t una_at_heal[2] = {};
    size_t completed_at_heal[2] = {};
  };

  void share_receives(uint32_t host);
  SharedReceives* shared_of(const ConnectionPlan& plan, uint32_t side);
  void connect(uint32_t plan);
  void advance(TimeNs limit);
  void tick(bool eager);
  void play_incidents(uint32_t tick);
  void play(const PlannedIncident& incident);
  bool settled() const;
  void heal();
  void check_progress();
  void finish();
  TimeNs retry_period() const;

  const Scenario scenario_;
  SeededRandom random_;
  Network network_;
  std::vector<Address> addresses_;
  std::vector<std::unique_ptr<Host>> hosts_;
  Link link_;
  MemoryFaults memory_faults_;
  std::vector<std::unique_ptr<SharedReceives>> shared_;  // by host
  std::vector<Connection> connections_;  // those of later lives behind those of earlier ones
  std::vector<size_t> current_;          // by plan
  TimeNs now_ = 0;
};

}  // namespace verbena::test
