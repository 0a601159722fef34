// Loses, duplicates, reorders and corrupts outgoing packets on request, the same way for the same
// seed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "soft/io/failure.h"
#include "soft/wire/address.h"

namespace verbena::io {

// Probabilities per packet.
struct FaultPlan {
  double drop = 0;
  double duplicate = 0;
  double reorder = 0;
  double corrupt = 0;
  uint64_t seed = 1;

  // From `drop=0.01,dup=0.01,reorder=0.02,corrupt=0.001,seed=7`, every part optional.
  static std::optional<FaultPlan> parse(std::string_view text, Failure& failure);
};

struct FaultCounters {
  uint64_t packets = 0;
  uint64_t dropped = 0;
  uint64_t duplicated = 0;
  uint64_t reordered = 0;
  uint64_t corrupted = 0;
};

class FaultInjector {
 public:
  // Where packets go that leave. Called from inside `pass` and `release_held`.
  class Outlet {
   public:
    virtual ~Outlet() = default;
    virtual void put(const wire::Address& destination, std::span<const std::byte> packet) = 0;
  };

  static constexpr size_t kLargestPacket = 9220;

  explicit FaultInjector(const FaultPlan& plan);

  // Decides what becomes of one whole packet (at least a BTH and an ICRC), and may change its
  // bytes. Packets held back before leave after it when they have let enough others pass.
  void pass(const wire::Address& destination, std::span<std::byte> packet, Outlet& outlet);

  // Lets go of every packet held back; call it when there is nothing else to do. False when there
  // was none.
  bool release_held(Outlet& outlet);

  const FaultCounters& counters() const { return counters_; }

 private:
  struct Held {
    wire::Address destination;
    std::vector<std::byte> packet;
    uint32_t packets_to_pass = 0;  // 0: the slot is free
  };

  static constexpr size_t kHeldAtMost = 16;
  static constexpr uint32_t kOvertakenByAtMost = 8;

  uint64_t draw();
  bool chance(double probability);
  void corrupt(std::span<std::byte> packet);
  bool hold(const wire::Address& destination, std::span<const std::byte> packet);
  void let_overtaken_go(Outlet& outlet);

  FaultPlan plan_;
  uint64_t random_state_;
  std::vector<Held> held_;
  FaultCounters counters_;
};

}  // namespace verbena::io
