// Registered memory and windows on it: every access of the device, local or remote, is checked and
// translated here.
#pragma once

#include <infiniband/verbs.h>

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
  // Windows bound to it: while there are some, it cannot be deregistered.
  uint32_t windows = 0;

  // Without wrap: the whole range lies inside.
  bool holds(uint64_t address, uint64_t bytes) const {
    return address >= iova && bytes <= length && address - iova <= length - bytes;
  }
};

// What a bind request asks for.
struct Binding {
  uint32_t window_rkey;  // before
  uint32_t rkey;         // after
  uint32_t region_key;
  uint64_t address;
  uint64_t length;  // 0 unbinds
  int access;
};

struct MemoryWindow {
  uint32_t pd;
  ibv_mw_type type;
  uint32_t rkey;
  bool bound = false;
  uint32_t qpn = 0;  // type 2: reachable through this queue pair only
  uint32_t region_key = 0;
  uint64_t address = 0;
  uint64_t length = 0;
  int access = 0;
};

class MemoryTable {
 public:
  explicit MemoryTable(RandomSource& random)
      : regions_(random, 1, kHighestRegionKey), windows_(random, kLowestWindow, kHighestWindow) {}

  // The key serves as lkey and as rkey.
  uint32_t insert(const MemoryRegion& region) { return regions_.insert(region); }
  void erase(uint32_t key) { regions_.erase(key); }
  size_t regions() const { return regions_.size(); }
  size_t windows() const { return windows_.size(); }
  MemoryRegion* find(uint32_t key) { return regions_.find(key); }

  // Returns the window's first rkey, which grants nothing until it is bound.
  uint32_t insert_window(uint32_t pd, ibv_mw_type type);
  void erase_window(uint32_t rkey);
  // 0 or an errno value. `qpn` is that of the queue pair that binds.
  int bind_window(const Binding& binding, uint32_t pd, uint32_t qpn);
  // Of a bound window of type 2; false for any other key.
  bool invalidate_window(uint32_t rkey, uint32_t pd);

  // The bytes at `address`, or nullptr unless the key lives, belongs to `pd`, grants every bit of
  // `access`, and the whole range lies inside the region.
  std::byte* translate(uint32_t key, uint32_t pd, uint64_t address, uint64_t length,
                       int access) const {
    const MemoryRegion* region = regions_.find(key);
    if (region == nullptr || region->pd != pd || (region->access & access) != access)
      return nullptr;
    if (!region->holds(address, length)) return nullptr;
    return region->base + (address - region->iova);
  }

  // The same for a peer of queue pair `qpn`, whose key may also be a window's.
  std::byte* translate_remote(uint32_t key, uint32_t pd, uint32_t qpn, uint64_t address,
                              uint64_t length, int access) const {
    if (key <= kHighestRegionKey) return translate(key, pd, address, length, access);
    return translate_window(key, pd, qpn, address, length, access);
  }

 private:
  // The low 8 bits of a window's rkey are its user's to change; the rest is its place in the table,
  // and the top bit tells windows from regions.
  static constexpr uint32_t kUserBits = 8;
  static constexpr uint32_t kHighestRegionKey = 0x7FFF'FFFF;
  static constexpr uint32_t kLowestWindow = 0x80'0000;
  static constexpr uint32_t kHighestWindow = 0xFF'FFFE;

  MemoryWindow* find_window(uint32_t rkey);
  void unbind(MemoryWindow& window);
  std::byte* translate_window(uint32_t key, uint32_t pd, uint32_t qpn, uint64_t address,
                              uint64_t length, int access) const;

  KeyTable<MemoryRegion> regions_;
  KeyTable<MemoryWindow> windows_;
};

}  // namespace verbena::engine
