// Memory windows: binding, invalidation, and access through them (IBTA volume 1, 10.6.7).
#include "soft/engine/memory_table.h"

#include <cerrno>

namespace verbena::engine {
namespace {

// Local write says nothing about a window, and is accepted as adapters do.
constexpr int kWindowAccess = IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE |
                              IBV_ACCESS_REMOTE_READ | IBV_ACCESS_REMOTE_ATOMIC |
                              IBV_ACCESS_ZERO_BASED;
constexpr int kChangingAccess = IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_ATOMIC;

bool may_bind(const MemoryRegion& region, const Binding& binding, uint32_t pd) {
  if (region.pd != pd || (region.access & IBV_ACCESS_MW_BIND) == 0) return false;
  const bool changes = (binding.access & kChangingAccess) != 0;
  if (changes && (region.access & IBV_ACCESS_LOCAL_WRITE) == 0) return false;
  return region.holds(binding.address, binding.length);
}

}  // namespace

uint32_t MemoryTable::insert_window(uint32_t pd, ibv_mw_type type) {
  const uint32_t place = windows_.insert({pd, type, 0});
  return windows_.find(place)->rkey = place << kUserBits;
}

void MemoryTable::erase_window(uint32_t rkey) {
  MemoryWindow* window = windows_.find(rkey >> kUserBits);
  if (window == nullptr) return;
  unbind(*window);
  windows_.erase(rkey >> kUserBits);
}

int MemoryTable::bind_window(const Binding& binding, uint32_t pd, uint32_t qpn) {
  MemoryWindow* window = find_window(binding.window_rkey);
  if (window == nullptr || window->pd != pd) return EINVAL;
  if (binding.rkey >> kUserBits != binding.window_rkey >> kUserBits) return EINVAL;
  if ((binding.access & ~kWindowAccess) != 0) return EINVAL;
  const bool type2 = window->type == IBV_MW_TYPE_2;
  if (type2 && (window->bound || binding.length == 0)) return EINVAL;
  MemoryRegion* region = binding.length == 0 ? nullptr : regions_.find(binding.region_key);
  if (binding.length != 0 && (region == nullptr || !may_bind(*region, binding, pd))) return EINVAL;
  unbind(*window);
  window->rkey = binding.rkey;
  if (region == nullptr) return 0;
  ++region->windows;
  window->bound = true;
  window->qpn = type2 ? qpn : 0;
  window->region_key = binding.region_key;
  window->address = binding.address;
  window->length = binding.length;
  window->access = binding.access;
  return 0;
}

bool MemoryTable::invalidate_window(uint32_t rkey, uint32_t pd) {
  MemoryWindow* window = find_window(rkey);
  if (window == nullptr || window->pd != pd || window->type != IBV_MW_TYPE_2 || !window->bound) {
    return false;
  }
  unbind(*window);
  return true;
}

MemoryWindow* MemoryTable::find_window(uint32_t rkey) {
  MemoryWindow* window = windows_.find(rkey >> kUserBits);
  return window == nullptr || window->rkey != rkey ? nullptr : window;
}

void MemoryTable::unbind(MemoryWindow& window) {
  if (!window.bound) return;
  window.bound = false;
  if (MemoryRegion* region = regions_.find(window.region_key); region != nullptr) --region->windows;
}

std::byte* MemoryTable::translate_window(uint32_t key, uint32_t pd, uint32_t qpn, uint64_t address,
                                         uint64_t length, int access) const {
  const MemoryWindow* window = windows_.find(key >> kUserBits);
  if (window == nullptr || window->rkey != key || !window->bound || window->pd != pd) {
    return nullptr;
  }
  if (window->qpn != 0 && window->qpn != qpn) return nullptr;
  if ((window->access & access) != access) return nullptr;
  const bool zero_based = (window->access & IBV_ACCESS_ZERO_BASED) != 0;
  const uint64_t first = zero_based ? 0 : window->address;
  if (address < first || length > window->length) return nullptr;
  const uint64_t offset = address - first;
  if (offset > window->length - length) return nullptr;
  return translate(window->region_key, pd, window->address + offset, length, 0);
}

}  // namespace verbena::engine
