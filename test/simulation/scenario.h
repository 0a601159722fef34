// What one seed decides before anything runs: devices, connections, what goes wrong and when.
#pragma once

#include <vector>

#include "support/simulated_pair.h"

namespace verbena::test {

// Frames of one kind that get lost while all others arrive.
enum class SelectiveLoss : uint8_t { kNone, kAcks, kNaks, kReadResponses };

// What the network of simulated_network.h does not do by itself.
struct LinkFaults {
  double damage = 0;  // bits or the length are wrong: the ICRC must tell
  double replay = 0;  // an old frame comes once more
  double burst = 0;   // the next `burst_frames` are lost
  uint32_t burst_frames = 0;
  double refused = 0;  // the socket takes none of the sender's next `burst_frames` (ENOBUFS)
  SelectiveLoss selective = SelectiveLoss::kNone;
  uint32_t black_hole_to = 0;  // nothing reaches this device (from 1 on); 0: none
};

// What happens to a connection while it works.
enum class Incident : uint8_t {
  kDestroy,       // one end's queue pair is destroyed
  kError,         // it goes to the error state
  kRevokeLocal,   // the region of what an end sends and receives goes
  kRevokeRemote,  // the region that its peer works on goes
  kPause,         // it drains and goes on
  kStarve,        // its completions are not polled for a while
  kTrespass,      // it asks for what it was not given
  kStall,         // its device gets no time for a while, and then finds that much has happened
  kReconnect,     // both ends are destroyed, and others take their place
};

struct PlannedIncident {
  uint32_t tick;
  uint32_t connection;
  uint32_t side;
  Incident kind;
};

struct ConnectionPlan {
  PairOptions options;
  uint32_t hosts[2];
  uint32_t operations;  // of each end
  uint32_t most_bytes;  // of a message
  bool shared[2];       // an end takes from the receives that its device shares
  bool tight_cq;        // so small that it may overflow
  bool may_overflow;    // for that, or since what is flushed finds no memory
};

// Ends of unreliable connections (two) or datagrams, one on each of `hosts`.
struct UnreliablePlan {
  PairOptions options;
  std::vector<uint32_t> hosts;
  uint32_t operations;  // of each end
  uint32_t most_bytes;  // of a message
  bool may_overflow;    // since what is flushed finds no memory
  uint32_t error_at;    // tick when the first end goes to error; 0: never
  uint32_t destroy_at;  // tick when it is destroyed

  uint32_t ends() const { return static_cast<uint32_t>(hosts.size()); }
};

struct Scenario {
  explicit Scenario(uint64_t seed);

  uint64_t seed;
  // Mild: everything must succeed. Harsh: what fails must have a reason.
  bool harsh;
  uint32_t hosts;
  uint64_t window_bytes;
  Faults faults;
  LinkFaults link_faults;
  double memory_fault;  // an allocation of a device fails
  TimeNs heals_at;      // no more faults from then on
  std::vector<ConnectionPlan> connections;
  std::vector<UnreliablePlan> unreliable;
  uint32_t shared_depth;
  std::vector<PlannedIncident> incidents;
  std::vector<TimeNs> acknowledge_delays;  // by host

  // Frames arrive in order, and once each at most.
  bool orderly() const {
    return faults.duplicate == 0 && faults.reorder == 0 && link_faults.replay == 0;
  }

 private:
  void plan_faults(SeededRandom& random);
  void plan_harsh_faults(SeededRandom& random);
  void plan_incidents(SeededRandom& random);
  UnreliablePlan plan_unreliable(SeededRandom& random) const;
  ConnectionPlan plan_connection(SeededRandom& random) const;
};

}  // namespace verbena::test
