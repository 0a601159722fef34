// Draws scenarios.
#include "scenario.h"

#include <algorithm>
#include <initializer_list>

#include "shared_receives.h"

namespace verbena::test {
namespace {

constexpr uint32_t kMostBytes = 6000;
constexpr uint32_t kMostUnreliableBytes = 3000;

template <class Value>
Value one_of(SeededRandom& random, std::initializer_list<Value> values) {
  return values.begin()[random.below(static_cast<uint32_t>(values.size()))];
}

// Half of all start shortly before the wrap.
uint32_t starting_psn(SeededRandom& random) {
  return random.chance(0.5) ? 0xFFFFFF - random.below(60) : random.next() & 0xFFFFFF;
}

template <class Integer>
Integer between(SeededRandom& random, uint32_t lowest, uint32_t highest) {
  return static_cast<Integer>(lowest + random.below(highest - lowest + 1));
}

}  // namespace

Scenario::Scenario(uint64_t seed) : seed(seed) {
  SeededRandom random(seed);
  harsh = random.chance(0.5);
  hosts = between<uint32_t>(random, 2, 3);
  window_bytes = uint64_t{4096} << random.below(9);
  plan_faults(random);
  // Incidents show more of themselves on a network that works.
  if (harsh && random.chance(0.7)) plan_harsh_faults(random);
  for (auto count = between<uint32_t>(random, 1, 3); count > 0; --count) {
    connections.push_back(plan_connection(random));
  }
  for (uint32_t count = random.below(3); count > 0; --count) {
    unreliable.push_back(plan_unreliable(random));
  }
  shared_depth = between<uint32_t>(random, 1, 16);
  if (harsh && random.chance(0.8)) plan_incidents(random);
  for (uint32_t i = 0; i < hosts; ++i) {
    acknowledge_delays.push_back(one_of<TimeNs>(random, {0, 0, 50 * kUs, 500 * kUs, 4 * kMs}));
  }
}

// A retry count of seven outlasts what is lost at most here, so that nothing may fail.
void Scenario::plan_faults(SeededRandom& random) {
  faults.drop = one_of(random, {0.0, 0.0, 0.001, 0.01, 0.02, 0.05});
  faults.duplicate = one_of(random, {0.0, 0.0, 0.01, 0.1});
  faults.reorder = one_of(random, {0.0, 0.0, 0.05, 0.25});
  faults.spacing = 1 * kUs;
  faults.reorder_delay = 50 * faults.spacing;
  faults.delay = (1 * kUs) << random.below(10);
  link_faults.damage = one_of(random, {0.0, 0.0, 0.001, 0.02});
  link_faults.replay = one_of(random, {0.0, 0.0, 0.01, 0.05});
  memory_fault = one_of(random, {0.0, 0.0, 0.01, 0.1});
  heals_at = kSecond * random.below(3);
}

void Scenario::plan_harsh_faults(SeededRandom& random) {
  faults.drop = one_of(random, {0.001, 0.01, 0.02, 0.1, 0.3});
  if (random.chance(0.2)) faults.delay = between<TimeNs>(random, 1, 500) * kMs;
  if (random.chance(0.3)) link_faults.burst = 0.01;
  if (random.chance(0.2)) link_faults.refused = 0.01;
  link_faults.burst_frames = between<uint32_t>(random, 2, 100);
  if (random.chance(0.3)) link_faults.black_hole_to = between<uint32_t>(random, 1, hosts);
  if (random.chance(0.4)) {
    link_faults.selective =
        one_of(random, {SelectiveLoss::kAcks, SelectiveLoss::kNaks, SelectiveLoss::kReadResponses});
  }
  if (random.chance(0.3)) memory_fault = one_of(random, {0.1, 0.5});
  heals_at = between<TimeNs>(random, 1, 400) * kMs;
}

void Scenario::plan_incidents(SeededRandom& random) {
  for (auto count = between<uint32_t>(random, 1, 3); count > 0; --count) {
    incidents.push_back(
        {between<uint32_t>(random, 1, 40), random.below(static_cast<uint32_t>(connections.size())),
         random.below(2),
         one_of(random, {Incident::kDestroy, Incident::kError, Incident::kRevokeLocal,
                         Incident::kRevokeRemote, Incident::kPause, Incident::kStarve,
                         Incident::kTrespass, Incident::kStall, Incident::kReconnect})});
  }
}

UnreliablePlan Scenario::plan_unreliable(SeededRandom& random) const {
  UnreliablePlan plan{};
  PairOptions& options = plan.options;
  options.type = random.chance(0.5) ? IBV_QPT_UC : IBV_QPT_UD;
  options.mtu = between<ibv_mtu>(random, 1, 5);
  options.depth = between<uint32_t>(random, 1, 20);
  options.cq_depth = 2 * options.depth;
  options.psn_a = starting_psn(random);
  options.psn_b = starting_psn(random);
  options.signal_all = random.chance(0.3);
  uint32_t ends = 2;
  plan.most_bytes = std::min(4 * wire::mtu_bytes(options.mtu), kMostUnreliableBytes);
  if (options.type == IBV_QPT_UD) {
    ends = between<uint32_t>(random, 2, 4);
    plan.most_bytes = 1000;
  }
  for (uint32_t i = 0; i < ends; ++i) plan.hosts.push_back((i + random.below(2)) % hosts);
  plan.operations = between<uint32_t>(random, 5, 30);
  plan.may_overflow = harsh && memory_fault > 0;
  if (harsh && random.chance(0.3)) plan.error_at = between<uint32_t>(random, 1, 20);
  if (harsh && random.chance(0.3)) plan.destroy_at = between<uint32_t>(random, 1, 20);
  return plan;
}

ConnectionPlan Scenario::plan_connection(SeededRandom& random) const {
  ConnectionPlan plan{};
  PairOptions& options = plan.options;
  options.mtu = between<ibv_mtu>(random, 1, 5);
  options.depth = between<uint32_t>(random, 1, 40);
  options.psn_a = starting_psn(random);
  options.psn_b = starting_psn(random);
  options.timeout = between<uint8_t>(random, 8, 15);
  options.retry_count = harsh ? between<uint8_t>(random, 0, 7) : 7;
  options.rnr_retry = harsh ? between<uint8_t>(random, 0, 7) : 7;
  options.min_rnr_timer = between<uint8_t>(random, 1, 14);
  options.rd_atomic = between<uint8_t>(random, 1, 16);
  options.signal_all = random.chance(0.3);
  plan.hosts[0] = random.below(hosts);
  plan.hosts[1] = (plan.hosts[0] + between<uint32_t>(random, 1, hosts - 1)) % hosts;
  plan.operations = between<uint32_t>(random, 5, 60);
  plan.most_bytes = std::min(5 * wire::mtu_bytes(options.mtu), kMostBytes);
  for (bool& takes : plan.shared) takes = random.chance(0.3);
  const bool shared = plan.shared[0] || plan.shared[1];
  if (shared) {
    plan.most_bytes = std::min(plan.most_bytes, SharedReceives::kBytes);
  }
  plan.tight_cq = harsh && random.chance(0.1);
  plan.may_overflow = plan.tight_cq || (harsh && memory_fault > 0);
  options.cq_depth = plan.tight_cq ? between<uint32_t>(random, 1, 8) : 2 * options.depth;
  // More messages may come than the queue pair could have receives of its own.
  if (shared && !plan.tight_cq) options.cq_depth += plan.operations;
  return plan;
}

}  // namespace verbena::test
