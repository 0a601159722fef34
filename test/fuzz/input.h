// Reads decisions from a fuzzer's bytes; zeros when they are used up.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>

namespace verbena::test {

class Input {
 public:
  explicit Input(std::span<const std::byte> bytes) : bytes_(bytes) {}

  bool empty() const { return bytes_.empty(); }
  uint8_t byte() { return number<uint8_t>(); }
  uint32_t below(uint32_t bound) { return bound <= 256 ? byte() % bound : word() % bound; }
  bool flag() { return (byte() & 1) != 0; }
  uint32_t word() { return number<uint32_t>(); }
  uint64_t wide() { return number<uint64_t>(); }
  std::span<const std::byte> take(size_t count) {
    const auto taken = bytes_.first(std::min(count, bytes_.size()));
    bytes_ = bytes_.subspan(taken.size());
    return taken;
  }

 private:
  template <class Integer>
  Integer number() {
    Integer value = 0;
    for (const std::byte each : take(sizeof value)) {
      value = static_cast<Integer>(static_cast<uint64_t>(value) << 8 | static_cast<uint8_t>(each));
    }
    return value;
  }

  std::span<const std::byte> bytes_;
};

}  // namespace verbena::test
