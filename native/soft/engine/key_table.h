// A hash table from random 24- or 32-bit keys to values, and the drawing of keys that are not
// reused soon.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <unordered_map>
#include <unordered_set>

#include "soft/engine/ports.h"

namespace verbena::engine {

// Keys are handed out at random, so that they cannot be guessed, and a key that was given back is
// in quarantine until `kQuarantine` others were: a late packet for its old owner must not reach a
// new one.
template <typename Value>
class KeyTable {
 public:
  KeyTable(RandomSource& random, uint32_t lowest, uint32_t highest)
      : random_(random), lowest_(lowest), highest_(highest) {}

  uint32_t insert(Value value) {
    for (;;) {
      const uint32_t key = draw();
      if (quarantined_.contains(key)) continue;
      if (entries_.try_emplace(key, value).second) return key;
    }
  }

  void erase(uint32_t key) {
    if (entries_.erase(key) == 0) return;
    quarantined_.insert(key);
    quarantine_.push_back(key);
    if (quarantine_.size() <= kQuarantine) return;
    quarantined_.erase(quarantine_.front());
    quarantine_.pop_front();
  }

  Value* find(uint32_t key) {
    const auto found = entries_.find(key);
    return found == entries_.end() ? nullptr : &found->second;
  }
  const Value* find(uint32_t key) const { return const_cast<KeyTable*>(this)->find(key); }

  template <class Visit>
  void for_each(Visit&& visit) {
    for (auto& [key, value] : entries_) visit(value);
  }

  size_t size() const { return entries_.size(); }

 private:
  static constexpr size_t kQuarantine = 65536;

  // The bits above the range's width are masked off, then draws outside the range rejected: no
  // modulo bias.
  uint32_t draw() {
    const uint32_t mask = highest_ <= 0xFFFFFF ? 0xFFFFFF : 0xFFFFFFFF;
    for (;;) {
      const uint32_t key = random_.next() & mask;
      if (key >= lowest_ && key <= highest_) return key;
    }
  }

  RandomSource& random_;
  uint32_t lowest_;
  uint32_t highest_;
  std::unordered_map<uint32_t, Value> entries_;
  std::deque<uint32_t> quarantine_;
  std::unordered_set<uint32_t> quarantined_;
};

}  // namespace verbena::engine
