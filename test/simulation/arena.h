// Registered memory in which every byte that nobody was granted is known, so that a stray write is
// seen.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "support/simulated_host.h"

namespace verbena::test {

class Arena {
 public:
  // Never granted: what is sent and read comes from the first bytes, and lies between canaries
  // besides.
  static constexpr uint32_t kSourceBytes = 8192;
  static constexpr uint32_t kMaxSge = 4;

  struct Slot {
    uint32_t offset;
    uint32_t length;
  };

  Arena(Host& host, uint32_t pd, uint32_t bytes, int access, SeededRandom& random);
  ~Arena() { revoke(); }
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  uint32_t key() const { return key_; }
  uint32_t size() const { return static_cast<uint32_t>(bytes_.size()) - 2 * kMargin; }
  // As work requests name it.
  uint64_t address(uint32_t offset) const { return iova_ + offset; }
  const std::byte* at(uint32_t offset) const { return &bytes_[kMargin + offset]; }
  uint64_t number_at(uint32_t offset) const;

  // Space that the device may write to; what was there is canary.
  Slot grant(uint32_t length, uint32_t alignment = 1);
  // The device is done with it: canary again, from now on.
  void retire(const Slot& slot);
  // A random range that can be sent or read from.
  Slot source(uint32_t length, SeededRandom& random) const;

  // Work requests name it in up to kMaxSge pieces, some of them empty.
  void split(Slot whole, SeededRandom& random, std::vector<ibv_sge>& sges) const;

  bool holds(const Slot& slot, std::span<const std::byte> data) const;
  // Each byte is `data`'s or was never written: what a request leaves that failed half-way.
  bool holds_nothing_but(const Slot& slot, std::span<const std::byte> data) const;

  // Takes the key away; the bytes must not change any more.
  void revoke();
  bool revoked() const { return !key_lives_; }
  // Throws a Violation when anything was written that is not in a granted slot.
  void check() const;
  // The same of what lies around the region alone.
  void check_edges() const;

 private:
  static constexpr uint32_t kMargin = 1024;  // what trespasses stays within
  static constexpr uint32_t kGap = 8;

  std::span<const std::byte> canary(size_t from, size_t count) const;
  bool intact(size_t from, size_t to) const;
  std::span<const std::byte> bytes_of(const Slot& slot) const;

  struct Granted {
    Slot slot;
    bool retired;
  };

  Host& host_;
  std::vector<std::byte> bytes_;
  size_t phase_;
  uint64_t iova_;
  uint32_t key_;
  bool key_lives_ = true;
  uint32_t free_ = kSourceBytes;
  std::vector<Granted> granted_;
  std::vector<std::byte> frozen_;  // as they were when the key was taken away
};

}  // namespace verbena::test
