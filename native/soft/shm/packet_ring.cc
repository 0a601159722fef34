// Writes and reads the records of a ring.
#include "soft/shm/packet_ring.h"

#include <bit>
#include <cstring>
#include <new>

namespace verbena::shm {
namespace {

constexpr size_t kAlignment = alignof(uint64_t);
static_assert(sizeof(RecordHeader) == kAlignment);
constexpr size_t kSmallestRing = 4096;
constexpr size_t kLargestRing = 64 << 20;

constexpr size_t record_bytes(size_t bytes) {
  return sizeof(RecordHeader) + (bytes + kAlignment - 1) / kAlignment * kAlignment;
}

void store_header(std::byte* at, uint32_t bytes) {
  const RecordHeader header{bytes, 0};
  std::memcpy(at, &header, sizeof header);
}

}  // namespace

bool is_ring_memory(size_t bytes) {
  const size_t capacity = bytes - kPositionsBytes;
  return bytes > kPositionsBytes && std::has_single_bit(capacity) && capacity >= kSmallestRing &&
         capacity <= kLargestRing;
}

RingWriter::RingWriter(std::span<std::byte> memory)
    : positions_(*new (memory.data()) RingPositions{}), data_(memory.subspan(kPositionsBytes)) {}

// How much can be written from `position` on.
size_t RingWriter::room_to(uint64_t position) {
  const uint64_t used = position - taken_;
  if (used <= data_.size()) return data_.size() - used;
  return 0;  // more was taken than written, says a broken reader
}

std::byte* RingWriter::reserve(size_t bytes) {
  const size_t offset = position_ & (data_.size() - 1);
  if (offset >= kWorthReturning && position_ == published_) return_to_beginning();
  const size_t wanted = record_bytes(bytes);
  const size_t begin = position_ & (data_.size() - 1);
  const size_t skipped = begin + wanted <= data_.size() ? 0 : data_.size() - begin;
  if (room_to(position_) < skipped + wanted) {
    taken_ = positions_.taken.load(std::memory_order_acquire);
    if (room_to(position_) < skipped + wanted) return nullptr;
  }
  if (skipped > 0) {
    store_header(&data_[begin], kSkipsToBeginning);
    position_ += skipped;
  }
  reserved_ = bytes;
  return &data_[position_ & (data_.size() - 1)] + sizeof(RecordHeader);
}

void RingWriter::return_to_beginning() {
  taken_ = positions_.taken.load(std::memory_order_acquire);
  if (taken_ != position_) return;
  const size_t begin = position_ & (data_.size() - 1);
  store_header(&data_[begin], kSkipsToBeginning);
  position_ += data_.size() - begin;
}

void RingWriter::commit() {
  store_header(&data_[position_ & (data_.size() - 1)], static_cast<uint32_t>(reserved_));
  position_ += record_bytes(reserved_);
}

bool RingWriter::publish() {
  if (published_ == position_) return false;
  published_ = position_;
  positions_.written.store(position_);  // before the writer looks whether the reader sleeps
  return true;
}

RingReader::RingReader(std::span<std::byte> memory)
    : positions_(std::launder(reinterpret_cast<RingPositions*>(memory.data()))),
      data_(memory.subspan(kPositionsBytes)),
      broken_(false) {}

std::optional<std::span<const std::byte>> RingReader::give_up() {
  broken_ = true;
  return std::nullopt;
}

std::optional<std::span<const std::byte>> RingReader::next() {
  while (waiting()) {
    const uint64_t written = positions_->written.load(std::memory_order_acquire);
    const uint64_t there = written - position_;
    if (there > data_.size() || there < sizeof(RecordHeader) || there % kAlignment != 0) {
      return give_up();
    }
    const size_t begin = position_ & (data_.size() - 1);
    RecordHeader header;
    std::memcpy(&header, &data_[begin], sizeof header);
    const size_t to_end = data_.size() - begin;
    if (header.bytes == kSkipsToBeginning) {
      if (there < to_end) return give_up();
      position_ += to_end;
      continue;
    }
    const size_t whole = record_bytes(header.bytes);
    if (whole > there || whole > to_end) return give_up();
    position_ += whole;
    // The writer's core has it; it comes while this packet is handled.
    __builtin_prefetch(&data_[position_ & (data_.size() - 1)]);
    return data_.subspan(begin + sizeof header, header.bytes);
  }
  return std::nullopt;
}

void RingReader::release() {
  if (released_ == position_) return;
  released_ = position_;
  positions_->taken.store(position_, std::memory_order_release);
}

}  // namespace verbena::shm
