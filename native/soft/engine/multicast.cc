// Multicast groups: which queue pairs are members, and the delivery to all of them.
#include <algorithm>
#include <cerrno>

#include "soft/engine/engine.h"

namespace verbena::engine {

int Engine::join_group(QueuePair& qp, const wire::Address& group) {
  const auto found = groups_.find(group);
  if (found == groups_.end()) {
    if (groups_.size() >= kMostGroups) return ENOMEM;
    groups_.emplace(group, std::vector{&qp});
  } else {
    std::vector<QueuePair*>& members = found->second;
    if (std::find(members.begin(), members.end(), &qp) != members.end()) return 0;
    if (members.size() >= kMostGroupMembers) return ENOMEM;
    members.push_back(&qp);
  }
  ++qp.groups;
  return 0;
}

int Engine::leave_group(QueuePair& qp, const wire::Address& group) {
  const auto found = groups_.find(group);
  if (found == groups_.end() || std::erase(found->second, &qp) == 0) return EINVAL;
  if (found->second.empty()) groups_.erase(found);
  --qp.groups;
  return 0;
}

// Needs no memory, as all that takes away.
void Engine::leave_groups(QueuePair& qp) {
  if (qp.groups == 0) return;
  for (auto& [group, members] : groups_) std::erase(members, &qp);
  std::erase_if(groups_, [](const auto& group) { return group.second.empty(); });
  qp.groups = 0;
}

// Every member gets a copy but the sender, which knows what it sent; a member that cannot take
// it does not keep it from the others.
void Engine::on_group_packet(const wire::Address& source, const wire::Address& group,
                             std::span<const std::byte> bytes) {
  constexpr uint32_t kGroupQpn = 0xFFFFFF;  // stands for all of them
  const auto packet = parse(bytes);
  if (!packet) return;
  const auto found = groups_.find(group);
  if (packet->dest_qpn() != kGroupQpn || found == groups_.end()) {
    ++counters_.unknown_qpn;
    return;
  }
  if (packet->info().transport != wire::Transport::kUnreliableDatagram) {
    ++counters_.bad_transport;
    return;
  }
  for (QueuePair* qp : found->second) {
    const bool sender = source == options_.address && packet->deth().source_qpn == qp->qpn;
    if (sender) continue;
    try {
      on_datagram(*qp, source, group, *packet);
    } catch (const std::bad_alloc&) {
      ++counters_.out_of_memory;
    }
  }
}

}  // namespace verbena::engine
