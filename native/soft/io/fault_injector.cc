// Reads fault plans and applies them.

#include "soft/io/fault_injector.h"

#include <cerrno>
#include <charconv>
#include <string>

namespace verbena::io {
namespace {

// The ICRC does not cover this byte of the BTH: a change there need not be noticed by anyone.
constexpr size_t kUncoveredByte = 4;

Failure complain(std::string_view part, const std::string& why) {
  return {EINVAL, "VERBENA_SOFT_FAULTS: \"" + std::string(part) + "\": " + why +
                      "; write it like drop=0.01,dup=0.01,reorder=0.02,corrupt=0.001,seed=7"};
}

template <typename Number>
bool parse_number(std::string_view text, Number& number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && end == text.data() + text.size();
}

double* find_probability(FaultPlan& plan, std::string_view key) {
  if (key == "drop") return &plan.drop;
  if (key == "dup") return &plan.duplicate;
  if (key == "reorder") return &plan.reorder;
  if (key == "corrupt") return &plan.corrupt;
  return nullptr;
}

// Empty when `part` was understood.
std::string parse_part(std::string_view part, FaultPlan& plan) {
  const size_t equals = part.find('=');
  if (equals == std::string_view::npos) return "there is no \"=\" in it";
  const std::string_view key = part.substr(0, equals);
  const std::string_view value = part.substr(equals + 1);
  if (key == "seed") {
    if (parse_number(value, plan.seed)) return "";
    return "a seed is a whole number below 2^64";
  }
  double* probability = find_probability(plan, key);
  if (probability == nullptr) return "the keys are drop, dup, reorder, corrupt and seed";
  double number;
  // Written so that "nan" is refused, too.
  if (!parse_number(value, number) || !(number >= 0 && number <= 1)) {
    return "a probability is a number from 0 to 1";
  }
  *probability = number;
  return "";
}

}  // namespace

std::optional<FaultPlan> FaultPlan::parse(std::string_view text, Failure& failure) {
  FaultPlan plan;
  for (size_t start = 0; start <= text.size();) {
    const size_t comma = std::min(text.find(',', start), text.size());
    const std::string_view part = text.substr(start, comma - start);
    const std::string trouble = parse_part(part, plan);
    if (!trouble.empty()) {
      failure = complain(part, trouble);
      return std::nullopt;
    }
    start = comma + 1;
  }
  return plan;
}

// What is held back needs no memory later: it happens in the middle of sending.
FaultInjector::FaultInjector(const FaultPlan& plan)
    : plan_(plan), random_state_(plan.seed), held_(kHeldAtMost) {
  for (Held& slot : held_) slot.packet.reserve(kLargestPacket);
}

// SplitMix64.
uint64_t FaultInjector::draw() {
  random_state_ += 0x9E3779B97F4A7C15u;
  uint64_t mixed = random_state_;
  mixed = (mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9u;
  mixed = (mixed ^ (mixed >> 27)) * 0x94D049BB133111EBu;
  return mixed ^ (mixed >> 31);
}

bool FaultInjector::chance(double probability) {
  return static_cast<double>(draw() >> 11) * 0x1p-53 < probability;
}

void FaultInjector::pass(const wire::Address& destination, std::span<std::byte> packet,
                         Outlet& outlet) {
  // All are drawn for every packet, so that one probability does not change what another does.
  const bool drop = chance(plan_.drop);
  const bool duplicate = chance(plan_.duplicate);
  const bool reorder = chance(plan_.reorder);
  const bool damage = chance(plan_.corrupt);
  ++counters_.packets;
  if (drop) {
    ++counters_.dropped;
  } else {
    if (damage) corrupt(packet);
    const bool held = reorder && hold(destination, packet);
    if (held) ++counters_.reordered;
    if (duplicate) ++counters_.duplicated;
    const int copies = (held ? 0 : 1) + (duplicate ? 1 : 0);
    for (int copy = 0; copy < copies; ++copy) outlet.put(destination, packet);
  }
  let_overtaken_go(outlet);
}

void FaultInjector::corrupt(std::span<std::byte> packet) {
  ++counters_.corrupted;
  const uint64_t first = draw() % (packet.size() * 8);
  // Two bits at different places, or one: never a change that undoes itself.
  const uint64_t bits[] = {first, first + 1 + draw() % (packet.size() * 8 - 1)};
  const size_t flips = 1 + draw() % 2;
  bool flipped = false;
  for (size_t flip = 0; flip < flips; ++flip) {
    const uint64_t bit = bits[flip] % (packet.size() * 8);
    if (bit / 8 == kUncoveredByte) continue;
    packet[bit / 8] ^= std::byte(1u << bit % 8);
    flipped = true;
  }
  if (!flipped) packet.back() ^= std::byte{1};
}

bool FaultInjector::hold(const wire::Address& destination, std::span<const std::byte> packet) {
  for (Held& slot : held_) {
    if (slot.packets_to_pass != 0) continue;
    slot.destination = destination;
    slot.packet.assign(packet.begin(), packet.end());
    // One more than are to overtake it, because the held packet itself is counted down at once.
    slot.packets_to_pass = 2 + static_cast<uint32_t>(draw() % kOvertakenByAtMost);
    return true;
  }
  return false;
}

void FaultInjector::let_overtaken_go(Outlet& outlet) {
  for (Held& slot : held_) {
    if (slot.packets_to_pass == 0 || --slot.packets_to_pass != 0) continue;
    outlet.put(slot.destination, slot.packet);
  }
}

bool FaultInjector::release_held(Outlet& outlet) {
  bool released = false;
  for (Held& slot : held_) {
    if (slot.packets_to_pass == 0) continue;
    slot.packets_to_pass = 0;
    outlet.put(slot.destination, slot.packet);
    released = true;
  }
  return released;
}

}  // namespace verbena::io
