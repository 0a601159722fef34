// A device and its memory on the simulated network.
#pragma once

#include <algorithm>
#include <cstring>
#include <vector>

#include "soft/engine/engine.h"
#include "support/allocation_faults.h"
#include "support/simulated_network.h"

namespace verbena::test {

using engine::CompletionQueue;
using engine::Engine;
using engine::QueuePair;

struct QpEvent {
  uint32_t qpn;
  ibv_event_type type;
};

// A device: an engine whose packets go to the network.
class Host : public engine::EventSink, private engine::PacketSink {
 public:
  Host(Network& network, Address address, uint64_t seed, uint64_t window_bytes = 1 << 20)
      : network_(network),
        address_(address),
        random_(seed),
        engine_({window_bytes, address}, random_, *this, counters) {}

  Engine& engine() { return engine_; }
  const Address& address() const { return address_; }
  TimeNs next() const {
    if (!engine_.wants_transmit()) return engine_.next_timeout();
    return engine_.owes_acknowledge_only() ? std::min(waits_until_, engine_.next_timeout()) : 0;
  }
  void receive(TimeNs now, const Frame& frame) {
    const AllocationScope scope(memory_faults);
    engine_.on_packet(now, frame.from, frame.bytes);
  }
  void run(TimeNs now) {
    const AllocationScope scope(memory_faults);
    now_ = now;
    engine_.on_timeout(now);
    if (acknowledges_wait(now)) return;
    engine_.transmit(now, *this);
  }
  // Calls the engine as a program does that tries again when there is no memory.
  template <class Call>
  auto insist(Call&& call) {
    for (;;) {
      try {
        const AllocationScope scope(memory_faults);
        return call(engine_);
      } catch (const std::bad_alloc&) {
      }
    }
  }
  void on_qp_event(QueuePair& qp, ibv_event_type type) override {
    const AllocationScope scope(nullptr);
    events.push_back({qp.qpn, type});
  }
  void on_cq_error(CompletionQueue&) override { ++cq_errors; }

  AllocationFaults* memory_faults = nullptr;
  // For how long acknowledges wait for something to leave with, when nothing else is to be sent.
  TimeNs acknowledge_delay = 0;
  engine::Counters counters;
  std::vector<QpEvent> events;
  void on_srq_limit(engine::SharedReceiveQueue&) override { ++srq_limits; }
  int cq_errors = 0;
  int srq_limits = 0;

 private:
  bool acknowledges_wait(TimeNs now) {
    const bool may = acknowledge_delay > 0 && engine_.owes_acknowledge_only() &&
                     (waits_until_ == 0 || now < waits_until_);
    if (!may) {
      waits_until_ = 0;
    } else if (waits_until_ == 0) {
      waits_until_ = now + acknowledge_delay;
    }
    return may;
  }
  std::byte* reserve(const Address& destination, size_t bytes) override {
    const AllocationScope scope(nullptr);
    frame_ = {address_, destination, std::vector<std::byte>(bytes)};
    return frame_.bytes.data();
  }
  void commit() override {
    const AllocationScope scope(nullptr);
    network_.send(now_, std::move(frame_));
  }

  Network& network_;
  Address address_;
  SeededRandom random_;
  TimeNs now_ = 0;
  TimeNs waits_until_ = 0;
  Frame frame_;
  Engine engine_;
};

// Memory registered at its own address.
struct Buffer {
  Buffer(Host& host, uint32_t pd, size_t bytes, int access, uint8_t fill = 0)
      : host(host), bytes(bytes, std::byte{fill}) {
    key = host.engine().memory().insert(
        {pd, this->bytes.data(), bytes, reinterpret_cast<uint64_t>(this->bytes.data()), access});
  }
  ~Buffer() { host.engine().memory().erase(key); }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  uint64_t address() const { return reinterpret_cast<uint64_t>(bytes.data()); }
  ibv_sge sge(size_t offset, size_t length) const {
    return {address() + offset, static_cast<uint32_t>(length), key};
  }

  Host& host;
  std::vector<std::byte> bytes;
  uint32_t key;
};

}  // namespace verbena::test
