// Owns a registered memory region and keeps the memory under it alive.
#pragma once

#include <infiniband/verbs.h>

#include <cstdint>
#include <memory>

#include "verbs/protection_domain.h"

namespace verbena::verbs {

class MemoryRegion {
 public:
  /**
   * `iova` is the first address on the wire, and in a work request that is not inline: as far into
   * a page as `address` is. `memory` is released after the region is deregistered.
   */
  MemoryRegion(std::shared_ptr<ProtectionDomain> pd, std::shared_ptr<void> memory, void* address,
               uint64_t iova, size_t length, unsigned access);
  MemoryRegion(const MemoryRegion&) = delete;
  MemoryRegion& operator=(const MemoryRegion&) = delete;
  ~MemoryRegion();

  uint32_t lkey() const { return lkey_; }
  uint32_t rkey() const { return rkey_; }
  size_t length() const { return length_; }
  uint8_t* address() const { return address_; }
  uint64_t iova() const { return iova_; }

  bool contains(uint64_t offset, uint64_t bytes) const {
    return offset <= length_ && bytes <= length_ - offset;
  }

  /** Idempotent. */
  void close();

 private:
  ChildOf<ProtectionDomain> pd_;
  const Functions& functions_;
  std::shared_ptr<void> memory_;
  uint8_t* address_;
  uint64_t iova_;
  size_t length_;
  ibv_mr* mr_;
  uint32_t lkey_ = 0;
  uint32_t rkey_ = 0;
};

}  // namespace verbena::verbs
