// Runs one scenario in virtual time, checking all the while.
#pragma once

#include <memory>
#include <vector>

#include "end.h"
#include "link.h"
#include "memory_faults.h"
#include "scenario.h"
#include "unreliable_end.h"

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

  void connect_unreliable(const UnreliablePlan& plan);
  void play_unreliable(uint32_t tick);
  void share_receives(uint32_t host);
  SharedReceives* shared_of(const ConnectionPlan& plan, uint32_t side);
  void connect(uint32_t plan);
  void advance(TimeNs limit);
  void tick(bool eager);
  void play_incidents(uint32_t tick);
  void play(const PlannedIncident& incident);
  void stall(uint32_t host);
  bool stalled(size_t host) const { return now_ < stalls_[host].until; }
  void arrive(const Frame& frame);
  void run(size_t host);
  bool settled() const;
  void heal();
  void check_progress();
  void speak_at_last();
  void finish();
  template <class Visit>
  void for_each_end(Visit&& visit) {
    for (const Connection& each : connections_) {
      for (const auto& end : each.ends) visit(*end);
    }
    for (const auto& ends : unreliable_) {
      for (const auto& end : ends) visit(*end);
    }
  }
  TimeNs retry_period() const;

  const Scenario scenario_;
  SeededRandom random_;
  Network network_;
  std::vector<Address> addresses_;
  std::vector<std::unique_ptr<Host>> hosts_;
  struct Stall {
    TimeNs until = 0;
    std::vector<Frame> waiting;  // in the socket
  };
  std::vector<Stall> stalls_;  // by host
  Link link_;
  MemoryFaults memory_faults_;
  std::vector<std::unique_ptr<SharedReceives>> shared_;                  // by host
  std::vector<std::vector<std::unique_ptr<UnreliableEnd>>> unreliable_;  // by plan
  std::vector<Connection> connections_;  // those of later lives behind those of earlier ones
  std::vector<size_t> current_;          // by plan
  TimeNs now_ = 0;
};

}  // namespace verbena::test
