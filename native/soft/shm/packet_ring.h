// A ring of packets in memory that two processes share: one writes, the other reads.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

namespace verbena::shm {

// What both sides see first; each side writes to a cache line of its own. Positions count bytes
// since the beginning.
struct RingPositions {
  alignas(64) std::atomic<uint64_t> written{0};  // up to here there are whole records
  std::atomic<uint64_t> base{0};                 // is at the beginning of the memory
  alignas(64) std::atomic<uint64_t> taken{0};    // up to here there is room again
};
static_assert(std::atomic<uint64_t>::is_always_lock_free);

// A record is its length and, from a multiple of eight on, its bytes, all in one piece. Memory that
// the other side may write to is never trusted: positions that cannot be are those of a broken
// ring.
struct RecordHeader {
  uint32_t bytes;
  uint32_t unused;
};

// To the ring's beginning from here.
inline constexpr uint32_t kSkipsToBeginning = 0xFFFF'FFFF;
inline constexpr size_t kPositionsBytes = 4096;  // whole pages before whole pages

// How much memory a ring of so many bytes takes; `capacity` is a power of two, a page at least.
constexpr size_t ring_memory_bytes(size_t capacity) {
  return kPositionsBytes + capacity;
}

// Neither is thread-safe; the other side may be any thread of any process.
class RingWriter {
 public:
  // Of fresh, zeroed memory, which outlives this.
  explicit RingWriter(std::span<std::byte> memory);

  // Room for a record of so many bytes; nullptr when there is none. Reserved again unless
  // committed.
  std::byte* reserve(size_t bytes);
  void commit();
  // What was committed can be read from now on. False when there is nothing new.
  bool publish();
  // What was published, and how much of that was taken, in bytes since the beginning.
  uint64_t published() const { return published_; }
  uint64_t taken() const { return positions_.taken.load(std::memory_order_acquire); }

 private:
  size_t offset() const { return (position_ - base_) & (data_.size() - 1); }
  size_t room() const;
  void return_to_beginning();

  // A ring that was emptied begins anew from here on, so that little traffic stays in the cache,
  // and touches little of the memory.
  static constexpr size_t kWorthReturning = 64 << 10;

  RingPositions& positions_;
  std::span<std::byte> data_;
  uint64_t position_ = 0;  // of the next record
  uint64_t base_ = 0;
  uint64_t published_ = 0;
  uint64_t taken_ = 0;  // as last seen
  size_t reserved_ = 0;
};

class RingReader {
 public:
  // Of no ring: nothing ever waits.
  RingReader() = default;
  explicit RingReader(std::span<std::byte> memory);

  bool waiting() const { return !broken_ && positions_->written.load() != position_; }
  // The next record, whose bytes the writer can still change; they stay until `release`.
  std::optional<std::span<const std::byte>> next();
  // Gives back the room of all records that `next` returned.
  void release();
  // The other side wrote what no ring can have: nothing is read any more.
  bool broken() const { return broken_; }

 private:
  std::optional<std::span<const std::byte>> give_up();

  RingPositions* positions_ = nullptr;
  std::span<std::byte> data_;
  uint64_t position_ = 0;
  uint64_t base_ = 0;  // does not change while there are records
  uint64_t released_ = 0;
  bool broken_ = true;
};

}  // namespace verbena::shm
