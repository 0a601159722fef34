// The order of events: frames, timers, programs, incidents, healing, the end.
#include "world.h"

#include <algorithm>
#include <utility>

#include "check.h"

namespace verbena::test {
namespace {

constexpr uint32_t kMostTicks = 4000;
constexpr TimeNs kShortestAckTimeout = 10 * kMs;
constexpr TimeNs kLongestRnrWait = 2 * kMs;  // of the timer codes that scenarios use
constexpr TimeNs kHealingSlack = 50 * kMs;

std::vector<Address> addresses(uint32_t hosts) {
  std::vector<Address> all;
  for (uint32_t i = 0; i < hosts; ++i) all.push_back(Address::v4(10, 0, 0, uint8_t(1 + i)));
  return all;
}

TimeNs ack_timeout(const ConnectionPlan& plan) {
  return std::max(kShortestAckTimeout, TimeNs{4096} << plan.options.timeout);
}

}  // namespace

World::World(uint64_t seed)
    : scenario_(seed),
      random_(seed ^ 0x3017D),
      network_(seed),
      addresses_(addresses(scenario_.hosts)),
      stalls_(scenario_.hosts),
      link_(network_, scenario_, addresses_),
      memory_faults_(seed ^ 0x3E3047, scenario_.memory_fault) {
  for (uint32_t i = 0; i < scenario_.hosts; ++i) {
    hosts_.push_back(
        std::make_unique<Host>(network_, addresses_[i], seed * 8 + i, scenario_.window_bytes));
    hosts_.back()->memory_faults = &memory_faults_;
    hosts_.back()->acknowledge_delay = scenario_.acknowledge_delays[i];
    share_receives(i);
  }
  network_.faults = scenario_.faults;
  network_.filter = [this](const Frame& frame) { return link_.passes(now_, frame); };
  for (uint32_t i = 0; i < scenario_.connections.size(); ++i) {
    current_.push_back(0);
    connect(i);
  }
  for (const UnreliablePlan& plan : scenario_.unreliable) connect_unreliable(plan);
}

void World::connect_unreliable(const UnreliablePlan& plan) {
  constexpr uint32_t kFirstPd = 1000;
  auto& ends = unreliable_.emplace_back();
  std::vector<UnreliableEnd*> all;
  for (const uint32_t host : plan.hosts) {
    const uint32_t pd = kFirstPd + random_.below(1000);
    ends.push_back(std::make_unique<UnreliableEnd>(*hosts_[host], plan, scenario_.orderly(), pd,
                                                   random_.next()));
    all.push_back(ends.back().get());
  }
  for (const auto& end : ends) end->join(all);
}

void World::play_unreliable(uint32_t tick) {
  for (size_t i = 0; i < unreliable_.size(); ++i) {
    const UnreliablePlan& plan = scenario_.unreliable[i];
    if (plan.error_at == tick && tick > 0) unreliable_[i].front()->to_error();
    if (plan.destroy_at == tick && tick > 0) unreliable_[i].front()->destroy();
    for (const auto& end : unreliable_[i]) {
      end->post();
      if (random_.chance(0.5)) end->collect();
    }
  }
}

// Enough for all messages of all lives of the connections that take from it.
void World::share_receives(uint32_t host) {
  uint32_t most = 0;
  for (uint32_t i = 0; i < scenario_.connections.size(); ++i) {
    const ConnectionPlan& plan = scenario_.connections[i];
    const auto lives = 1 + std::ranges::count_if(scenario_.incidents, [i](const auto& incident) {
                         return incident.connection == i && incident.kind == Incident::kReconnect;
                       });
    for (uint32_t side = 0; side < 2; ++side) {
      const bool takes = plan.shared[side] && plan.hosts[side] == host;
      if (takes) most += (plan.operations + 1) * static_cast<uint32_t>(lives);
    }
  }
  shared_.push_back(most == 0 ? nullptr
                              : std::make_unique<SharedReceives>(
                                    *hosts_[host], scenario_.shared_depth, most, random_.next()));
}

SharedReceives* World::shared_of(const ConnectionPlan& plan, uint32_t side) {
  return plan.shared[side] ? shared_[plan.hosts[side]].get() : nullptr;
}

void World::connect(uint32_t index) {
  const ConnectionPlan& plan = scenario_.connections[index];
  Connection& made = connections_.emplace_back();
  made.plan = index;
  const auto life = static_cast<uint32_t>(connections_.size());
  for (uint32_t side = 0; side < 2; ++side) {
    made.ends[side] = std::make_unique<End>(*hosts_[plan.hosts[side]], plan, scenario_.harsh,
                                            2 * life + side, shared_of(plan, side), random_.next());
  }
  const PairOptions& options = plan.options;
  made.ends[0]->connect_to(*made.ends[1], options.psn_a, options.psn_b, options);
  made.ends[1]->connect_to(*made.ends[0], options.psn_b, options.psn_a, options);
  current_[index] = connections_.size() - 1;
}

Outcome World::run() {
  bool healed = false;
  TimeNs watch_until = engine::kNever;
  const TimeNs longest = scenario_.faults.delay > kMs ? scenario_.faults.delay : 3 * kMs;
  for (uint32_t at = 0; !(healed && watch_until == engine::kNever && settled()); ++at) {
    hold(at < kMostTicks, "not done after a long time");
    play_incidents(at);
    play_unreliable(at);
    tick(healed);
    advance(random_.below(static_cast<uint32_t>(longest)));
    if (!healed && (now_ >= scenario_.heals_at || settled())) {
      heal();
      healed = true;
      watch_until = now_ + retry_period();
    }
    if (now_ < watch_until || !healed) continue;
    check_progress();
    watch_until = engine::kNever;
  }
  finish();
  uint64_t digest = network_.sent;
  for (const Connection& each : connections_) {
    for (const auto& end : each.ends) digest = digest * 31 + end->digest();
  }
  return {digest, network_.sent};
}

void World::advance(TimeNs limit) {
  const TimeNs until = now_ + limit;
  for (;;) {
    TimeNs next = network_.next();
    for (size_t i = 0; i < hosts_.size(); ++i) {
      next = std::min(next, stalled(i) ? stalls_[i].until : hosts_[i]->next());
    }
    next = std::max(next, now_);
    if (next > until) break;
    now_ = next;
    while (!network_.empty() && network_.next() <= now_) arrive(network_.pop());
    for (size_t i = 0; i < hosts_.size(); ++i) run(i);
    for (const size_t index : current_) {
      for (const auto& end : connections_[index].ends) end->check_state();
    }
    for (const auto& shared : shared_) {
      if (shared != nullptr) shared->check_state();
    }
    for (const auto& ends : unreliable_) {
      for (const auto& end : ends) end->check_state();
    }
  }
  now_ = until;
}

// A socket holds so many frames while nobody looks.
void World::arrive(const Frame& frame) {
  constexpr size_t kMostWaiting = 100;
  const auto to = static_cast<size_t>(std::ranges::find(addresses_, frame.to) - addresses_.begin());
  if (!stalled(to)) return hosts_[to]->receive(now_, frame);
  if (stalls_[to].waiting.size() < kMostWaiting) stalls_[to].waiting.push_back(frame);
}

void World::run(size_t host) {
  if (stalled(host)) return;
  for (const Frame& frame : std::exchange(stalls_[host].waiting, {})) {
    hosts_[host]->receive(now_, frame);
  }
  hosts_[host]->run(now_);
}

// Until the network heals at most.
void World::stall(uint32_t host) {
  const TimeNs longest = kMs * (1 + random_.below(300));
  stalls_[host].until = std::min(now_ + longest, scenario_.heals_at);
}

void World::tick(bool eager) {
  for (const auto& shared : shared_) {
    if (shared != nullptr) shared->post(eager || random_.chance(0.3));
  }
  for (const size_t index : current_) {
    for (const auto& end : connections_[index].ends) {
      end->post_sends();
      end->post_receives(eager || random_.chance(0.3));
      end->collect();
    }
  }
}

void World::play_incidents(uint32_t tick) {
  for (const PlannedIncident& incident : scenario_.incidents) {
    if (incident.tick == tick) play(incident);
    // What was paused or starved goes on a little later.
    const bool passes = incident.kind == Incident::kPause || incident.kind == Incident::kStarve;
    if (!passes || incident.tick + 10 != tick) continue;
    End& end = *connections_[current_[incident.connection]].ends[incident.side];
    end.resume();
  }
}

void World::play(const PlannedIncident& incident) {
  Connection& connection = connections_[current_[incident.connection]];
  End& end = *connection.ends[incident.side];
  switch (incident.kind) {
    case Incident::kDestroy:
      return end.destroy();
    case Incident::kError:
      return end.to_error();
    case Incident::kRevokeLocal:
      return end.revoke_local();
    case Incident::kRevokeRemote:
      return end.revoke_remote();
    case Incident::kPause:
      return end.pause();
    case Incident::kStarve:
      return end.starve();
    case Incident::kTrespass:
      return end.trespass();
    case Incident::kStall:
      return stall(scenario_.connections[incident.connection].hosts[incident.side]);
    case Incident::kReconnect:
      connection.ends[0]->destroy();
      connection.ends[1]->destroy();
      return connect(incident.connection);
  }
}

// Each connection has done its work, or lost an end.
bool World::settled() const {
  for (const auto& ends : unreliable_) {
    if (!std::ranges::all_of(ends, [](const auto& end) { return end->done(); })) return false;
  }
  return std::ranges::all_of(current_, [this](size_t index) {
    const auto& ends = connections_[index].ends;
    const bool done = ends[0]->done() && ends[1]->done();
    if (done || (!ends[0]->alive() && !ends[1]->alive())) return true;
    // One that lives on alone fails when it has something to say, and else never learns.
    if (ends[0]->alive() && ends[1]->alive()) return false;
    return !(ends[0]->alive() ? *ends[0] : *ends[1]).outstanding();
  });
}

void World::heal() {
  network_.faults = {};
  memory_faults_.heal();
  for (const size_t index : current_) {
    Connection& each = connections_[index];
    each.watched = each.ends[0]->alive() && each.ends[1]->alive();
    for (size_t side = 0; side < 2 && each.watched; ++side) {
      each.una_at_heal[side] = each.ends[side]->una_psn();
      each.completed_at_heal[side] = each.ends[side]->completed();
    }
  }
}

// The longest that any may have to wait: for its timer, and for a receiver that is not ready
// before and after it.
TimeNs World::retry_period() const {
  TimeNs longest = 0;
  for (const ConnectionPlan& plan : scenario_.connections) {
    longest = std::max(longest, ack_timeout(plan));
  }
  // What is on the way is not overtaken.
  return longest + scenario_.faults.delay + 2 * kLongestRnrWait + kHealingSlack;
}

void World::check_progress() {
  for (Connection& each : connections_) {
    if (!std::exchange(each.watched, false)) continue;
    if (!each.ends[0]->alive() || !each.ends[1]->alive()) continue;
    for (size_t side = 0; side < 2; ++side) {
      const End& end = *each.ends[side];
      if (end.done() || end.paused()) continue;
      hold(end.una_psn() != each.una_at_heal[side] ||
               end.completed() != each.completed_at_heal[side],
           "no progress within a retry period of healing");
    }
  }
}

// What is unreliable for the network's sake alone is not so on one that is whole.
void World::speak_at_last() {
  for (const auto& ends : unreliable_) {
    for (const auto& end : ends) {
      for (const auto& each : ends) {
        each->collect();
        each->listen_at_last();
      }
      end->speak_at_last();
      advance(kSecond);
      for (const auto& each : ends) each->collect();
      end->check_heard_at_last();
    }
  }
}

// What is in flight settles, everything is flushed and destroyed, and nothing is left.
void World::finish() {
  advance(std::max(kSecond, scenario_.heals_at - now_));
  speak_at_last();
  for_each_end([](auto& end) { end.to_error(); });
  advance(kSecond);
  for (const Connection& each : connections_) {
    for (const auto& end : each.ends) end->resume();
  }
  for_each_end([](auto& end) { end.collect(); });
  for_each_end([](auto& end) { end.check_end(); });
  for (const auto& shared : shared_) {
    if (shared != nullptr) shared->check_end();
  }
  for_each_end([](auto& end) { end.destroy(); });
  connections_.clear();
  unreliable_.clear();
  shared_.clear();
  for (const auto& host : hosts_) {
    hold(host->engine().holdings() == engine::Holdings{}, "something is left in an engine");
    hold(scenario_.harsh || host->cq_errors == 0, "a queue of completions overflowed");
  }
}

}  // namespace verbena::test
