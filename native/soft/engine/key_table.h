// A hash table from random 24- or 32-bit keys to values, and the drawing of keys that are not
// reused soon.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <unordered_map>
#include <utility>

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

  // Throws std::bad_alloc, and nothing has changed then.
  uint32_t insert(Value value) {
    for (;;) {
      const uint32_t key = draw();
      const auto [at, fresh] = entries_.try_emplace(key);
      if (!fresh) continue;
      at->second.value = std::move(value);
      ++live_;
      return key;
    }
  }

  // Needs no memory: what was given out can always be taken back.
  void erase(uint32_t key) {
    const auto found = entries_.find(key);
    if (found == entries_.end() || !found->second.value) return;
    found->second.value.reset();
    --live_;
    quarantine(key);
  }

  Value* find(uint32_t key) {
    const auto found = entries_.find(key);
    return found == entries_.end() || !found->second.value ? nullptr : &*found->second.value;
  }
  const Value* find(uint32_t key) const { return const_cast<KeyTable*>(this)->find(key); }

  template <class Visit>
  void for_each(Visit&& visit) {
    for (auto& [key, entry] : entries_) {
      if (entry.value) visit(*entry.value);
    }
  }

  size_t size() const { return live_; }

 private:
  static constexpr size_t kQuarantine = 65536;

  // Without a value it is in quarantine, whose next key it names.
  struct Entry {
    std::optional<Value> value;
    uint32_t next = 0;
  };

  void quarantine(uint32_t key) {
    if (entries_.size() - live_ == 1) {
      oldest_ = key;
    } else {
      entries_.find(newest_)->second.next = key;
    }
    newest_ = key;
    if (entries_.size() - live_ <= kQuarantine) return;
    const auto first = entries_.find(oldest_);
    oldest_ = first->second.next;
    entries_.erase(first);
  }

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
  std::unordered_map<uint32_t, Entry> entries_;
  size_t live_ = 0;
  uint32_t oldest_ = 0;  // of the quarantine, while it holds any
  uint32_t newest_ = 0;
};

}  // namespace verbena::engine
