// Which way packets leave: through memory to a device of this machine, else by the network.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "soft/engine/ports.h"
#include "soft/io/transmit_batch.h"
#include "soft/shm/neighbours.h"

namespace verbena::soft {

// Memory damages nothing, so that packets have no ICRC there. All calls with the lane locked.
class Route final : public engine::PacketSink {
 public:
  // `neighbours` may be nullptr; both outlive this.
  Route(io::TransmitBatch& network, shm::Neighbours* neighbours)
      : network_(network), neighbours_(neighbours) {}

  std::byte* reserve(const wire::Address& destination, size_t bytes) override {
    ring_ = neighbours_ == nullptr ? nullptr : neighbours_->ring_to(destination);
    if (ring_ == nullptr) return network_.reserve(destination, bytes);
    reserved_ = bytes;
    std::byte* room = ring_->reserve(bytes);
    is_full_ = room == nullptr;
    return is_full_ ? overflow_.data() : room;
  }
  void commit() override {
    if (!open_) return;
    if (ring_ == nullptr) return network_.commit();
    if (is_full_) {
      ++dropped_;
      return;
    }
    ring_->commit();
    unpublished_ += reserved_;
    if (unpublished_ >= kWorthPublishing) publish();
  }
  // Sends everything. True when something is left to a neighbour that does not sleep.
  bool flush() {
    network_.flush();
    publish();
    return std::exchange(left_to_read_, false);
  }
  // While it is not open, packets are lost.
  void set_open(bool open) { open_ = open; }

  // Packets that neither the kernel nor a neighbour had room for.
  uint64_t dropped() const { return network_.counters().dropped() + dropped_; }

 private:
  // The other end gets to work on these while more are written.
  static constexpr size_t kWorthPublishing = 16 << 10;

  void publish() {
    if (neighbours_ != nullptr) left_to_read_ |= neighbours_->publish();
    unpublished_ = 0;
  }

  io::TransmitBatch& network_;
  shm::Neighbours* const neighbours_;
  bool open_ = true;
  shm::RingWriter* ring_ = nullptr;  // of the packet that was reserved
  size_t reserved_ = 0;
  bool is_full_ = false;
  size_t unpublished_ = 0;
  bool left_to_read_ = false;
  uint64_t dropped_ = 0;
  // Where what is lost is written to.
  std::array<std::byte, io::TransmitBatch::kMaxPacketBytes> overflow_;
};

}  // namespace verbena::soft
