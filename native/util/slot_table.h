// Owns a table of objects addressed by an index that carries a generation, so that an index kept
// after its object is gone finds nothing instead of the slot's next tenant.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <vector>

namespace verbena::util {

/** Holds pointers that it does not own. Not thread-safe: one table per thread. */
template <class T>
class SlotTable {
 public:
  static constexpr unsigned kSlotBits = 20;
  static constexpr uint32_t kMaxSlots = 1U << kSlotBits;
  static constexpr uint32_t kMaxGeneration = (1U << (32 - kSlotBits)) - 1;

  /** A new index, never 0, that finds nothing yet; no value when all slots are taken. */
  std::optional<uint32_t> reserve() {
    const auto slot = take_slot();
    if (!slot) return std::nullopt;
    slots_[*slot].taken = true;
    ++size_;
    return slots_[*slot].generation << kSlotBits | *slot;
  }

  /** Makes a reserved index find the object. */
  void bind(uint32_t index, T& object) {
    if (holds(index)) slots_[slot_of(index)].object = &object;
  }

  /** The object, or null when the index was never given out or its object is gone. */
  T* find(uint32_t index) const { return holds(index) ? slots_[slot_of(index)].object : nullptr; }

  /** False when the index is not taken. */
  bool erase(uint32_t index) {
    if (!holds(index)) return false;
    Slot& slot = slots_[slot_of(index)];
    slot.object = nullptr;
    slot.taken = false;
    // Generation 0 is left out, so that zeroed memory is never a valid index.
    slot.generation = slot.generation % kMaxGeneration + 1;
    free_.push_back(slot_of(index));
    --size_;
    return true;
  }

  uint32_t size() const { return size_; }

 private:
  struct Slot {
    T* object = nullptr;
    uint32_t generation = 1;
    bool taken = false;
  };

  static uint32_t slot_of(uint32_t index) { return index & (kMaxSlots - 1); }

  bool holds(uint32_t index) const {
    const uint32_t slot = slot_of(index);
    return slot < slots_.size() && slots_[slot].taken &&
           slots_[slot].generation == index >> kSlotBits;
  }

  /** The slot that has been free longest, so that an index comes back as late as possible. */
  std::optional<uint32_t> take_slot() {
    if (!free_.empty()) {
      const uint32_t slot = free_.front();
      free_.pop_front();
      return slot;
    }
    if (slots_.size() >= kMaxSlots) return std::nullopt;
    slots_.emplace_back();
    return static_cast<uint32_t>(slots_.size() - 1);
  }

  std::vector<Slot> slots_;
  std::deque<uint32_t> free_;
  uint32_t size_ = 0;
};

}  // namespace verbena::util
