// Registered memory: every access of the device, local or remote, is checked and translated here.
#pragma once

#include <cstddef>
#include <cstdint>

#include "soft/engine/key_table.h"

namespace verbena::engine {

struct MemoryRegion {
  uint32_t pd;
  std::byte* base;
  uint64_t length;
  // Address of the first byte in work requests and on the wire; the user's own address unless
  // chosen otherwise.
  uint64_t iova;
  int access;  // ibv_access_flags
};

class MemoryTable {
 public:
  explicit MemoryTable(RandomSource& random) : regions_(random, 1, 0xFFFFFFFE) {}

  // The key serves as lkey and as rkey.
  uint32_t insert(const MemoryRegion& region) { return regions_.insert(region); }
  void erase(uint32_t key) { regions_.erase(key); }
  MemoryRegion* find(uint32_t key) { return regions_.find(key); }

  // The bytes at `address`, or nullptr unless the key lives, belongs to `pd`, grants every bit of
  // `access`, and the whole range lies inside the region.
  std::byte* translate(uint32_t key, uint32_t pd, uint64_t address, uint64_t length,
                       int access) const {
    const MemoryRegion* region = regions_.find(key);
    if (region == nullptr || region->pd != pd || (region->access & access) != access)
      return nullptr;
    if (address < region->iova || length > region->length) return nullptr;
    if (address - region->iova > region->length - length) return nullptr;
    return region->base + (address - region->iova);
  }

 private:
  KeyTable<MemoryRegion> regions_;
};

}  // namespace verbena::engine
