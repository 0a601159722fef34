// Faults of the links, drawn from the scenario's seed.
#include "link.h"

#include "check.h"
#include "soft/wire/icrc.h"
#include "soft/wire/syndrome.h"

namespace verbena::test {
namespace {

constexpr size_t kHistory = 512;
constexpr uint16_t kPort = 4791;

bool is_of_kind(SelectiveLoss kind, const wire::Packet& packet) {
  if (packet.has(wire::OpcodeFlag::kRequest)) return false;
  const bool acknowledge = packet.opcode() == wire::Opcode::kAcknowledge;
  if (kind == SelectiveLoss::kReadResponses) return packet.has(wire::OpcodeFlag::kRead);
  if (!acknowledge) return false;
  const bool ack = wire::syndrome_kind(packet.aeth().syndrome) == wire::SyndromeKind::kAck;
  return ack == (kind == SelectiveLoss::kAcks);
}

}  // namespace

Link::Link(Network& network, const Scenario& scenario, const std::vector<Address>& hosts)
    : network_(network),
      faults_(scenario.link_faults),
      heals_at_(scenario.heals_at),
      hosts_(hosts),
      random_(scenario.seed ^ 0x11B5) {}

bool Link::passes(TimeNs now, const Frame& frame) {
  if (now >= heals_at_) return true;
  if (random_.chance(faults_.replay)) replay(now, frame);
  if (swallowed(frame) || in_burst(frame)) return false;
  if (!random_.chance(faults_.damage)) return true;
  damage(frame);
  return false;
}

bool Link::swallowed(const Frame& frame) {
  const uint32_t hole = faults_.black_hole_to;
  if (hole != 0 && frame.to == hosts_[hole - 1]) return true;
  if (faults_.selective == SelectiveLoss::kNone) return false;
  const auto packet = wire::Packet::parse(frame.bytes);
  hold(packet.has_value(), "an engine sent what none would take");
  return is_of_kind(faults_.selective, *packet);
}

bool Link::in_burst(const Frame& frame) {
  if (burst_left_ > 0) {
    --burst_left_;
    return true;
  }
  if (random_.chance(faults_.burst)) burst_left_ = faults_.burst_frames;
  if (refused_left_ == 0 && random_.chance(faults_.refused)) {
    refused_left_ = faults_.burst_frames;
    refused_of_ = frame.from;
  }
  if (refused_left_ == 0 || !(refused_of_ == frame.from)) return false;
  --refused_left_;
  return true;
}

// A device drops what the ICRC condemns, so that a damaged frame is a lost one if the check finds
// it. It must find a single bit; of other damage one in 2^26 may pass (docs/soft-device.md), and
// is lost here too.
void Link::damage(const Frame& frame) {
  ++damaged_;
  const wire::UdpFlow flow{frame.from, frame.to, kPort, kPort};
  std::vector<std::byte> bytes = frame.bytes;
  bytes.resize(bytes.size() + wire::kIcrcBytes);
  wire::icrc_store(&bytes[frame.bytes.size()], wire::icrc_compute(flow, 0, frame.bytes));
  const uint32_t how = random_.below(4);
  const auto flip = [&](uint32_t bits) {
    for (; bits > 0; --bits) {
      const uint32_t bit = random_.below(static_cast<uint32_t>(bytes.size() * 8));
      bytes[bit / 8] ^= static_cast<std::byte>(1U << bit % 8);
    }
  };
  if (how == 0) flip(1);
  if (how == 1) flip(2 + random_.below(16));
  if (how == 2) bytes.resize(random_.below(static_cast<uint32_t>(bytes.size())));
  if (how == 3) {
    for (uint32_t more = 1 + random_.below(64); more > 0; --more) {
      bytes.push_back(static_cast<std::byte>(random_.next()));
    }
  }
  const bool noticed = !icrc_check(flow, bytes, 0, wire::IcrcMode::kStrict).valid;
  // The ICRC leaves out the fifth byte, which switches may change.
  const bool masked = bytes.size() == frame.bytes.size() + wire::kIcrcBytes &&
                      std::equal(bytes.begin(), bytes.begin() + 4, frame.bytes.begin()) &&
                      std::equal(bytes.begin() + 5, bytes.begin() + 12, frame.bytes.begin() + 5);
  hold(noticed || how != 0 || masked, "the ICRC missed a single wrong bit");
}

void Link::replay(TimeNs now, const Frame& frame) {
  if (history_.size() < kHistory) {
    history_.push_back(frame);
  } else {
    history_[random_.below(kHistory)] = frame;
  }
  network_.inject(now, history_[random_.below(static_cast<uint32_t>(history_.size()))]);
}

}  // namespace verbena::test
