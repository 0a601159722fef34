// Writes and reads the records of a ring.
#include "soft/shm/packet_ring.h"

#include <cstring>
#include <new>

namespace verbena::shm {
namespace {

constexpr size_t kAlignment = alignof(uint64_t);
static_assert(sizeof(RecordHeader) == kAlignment);

constexpr size_t record_bytes(size_t bytes) {
  return sizeof(RecordHeader) + (bytes + kAlignment - 1) / kAlignment * kAlignment;
}

void store_header(std::byte* at, uint32_t bytes) {
  const RecordHeader header{bytes, 0};
  std::memcpy(at, &header, sizeof header);
}

}  // namespace

RingWriter::RingWriter(std::span<std::byte> memory)
    : positions_(*new (memory.data()) RingPositions{}), data_(memory.subspan(kPositionsBytes)) {}

size_t RingWriter::room() const {
  const uint64_t used = position_ - taken_;
  if (used <= data_.size()) return data_.size() - used;
  return 0;  // more was taken than written, says a broken reader
}

std::byte* RingWriter::reserve(size_t bytes) {
  if (offset() >= kWorthReturning && position_ == published_) return_to_beginning();
  const size_t wanted = record_bytes(bytes);
  const size_t begin = offset();
  const size_t skipped = begin + wanted <= data_.size() ? 0 : data_.size() - begin;
  if (room() < skipped + wanted) {
    taken_ = positions_.taken.load(std::memory_order_acquire);
    if (room() < skipped + wanted) return nullptr;
  }
  if (skipped > 0) {
    store_header(&data_[begin], kSkipsToBeginning);
    position_ += skipped;
  }
  reserved_ = bytes;
  return &data_[offset()] + sizeof(RecordHeader);
}

// Not by a skip, which would keep all behind it from being written to until the reader has seen it.
void RingWriter::return_to_beginning() {
  taken_ = positions_.taken.load(std::memory_order_acquire);
  if (taken_ != position_) return;
  base_ = position_;
  positions_.base.store(base_, std::memory_order_relaxed);  // before what is published next
}

void RingWriter::commit() {
  store_header(&data_[offset()], static_cast<uint32_t>(reserved_));
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
    if (position_ == released_) base_ = positions_->base.load(std::memory_order_relaxed);
    const uint64_t there = written - position_;
    const size_t begin = (position_ - base_) & (data_.size() - 1);
    if (there > data_.size() || there < sizeof(RecordHeader) || (there | begin) % kAlignment != 0) {
      return give_up();
    }
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
    __builtin_prefetch(&data_[(position_ - base_) & (data_.size() - 1)]);
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
