// Collects outgoing packets and sends them with as few system calls as possible.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "soft/io/fault_injector.h"
#include "soft/io/packet_capture.h"
#include "soft/io/udp_socket.h"
#include "soft/wire/icrc.h"

namespace verbena::io {

struct TransmitCounters {
  uint64_t packets = 0;
  uint64_t bytes = 0;  // of UDP payload
  uint64_t messages = 0;
  uint64_t system_calls = 0;
  // Packets that the kernel did not take: its buffer was full; too large for the path; for any
  // other reason.
  uint64_t dropped_full = 0;
  uint64_t dropped_too_large = 0;
  uint64_t dropped_other = 0;
  int last_error = 0;  // errno of the latest drop

  uint64_t dropped() const { return dropped_full + dropped_too_large + dropped_other; }
};

// A run of equal-size packets to one destination is one message, which the kernel cuts up (GSO).
// What cannot be sent is dropped and counted: the protocol recovers, as from any loss. Not
// thread-safe; all calls with the lane locked.
class TransmitBatch : private FaultInjector::Outlet {
 public:
  // Largest packet from BTH to padding.
  static constexpr size_t kMaxPacketBytes = 9216;

  // `faults` and `capture` may be nullptr; all outlive this object.
  TransmitBatch(UdpSocket& socket, FaultInjector* faults, PacketCapture* capture);
  ~TransmitBatch() override = default;
  TransmitBatch(const TransmitBatch&) = delete;
  TransmitBatch& operator=(const TransmitBatch&) = delete;

  // Room for one packet of exactly `bytes`, from BTH to padding and a multiple of four. Never
  // fails: a full batch is sent first. Without a `commit` the room is reserved anew.
  std::byte* reserve(const wire::Address& destination, size_t bytes);
  // Adds the ICRC to the packet in the room that was reserved last, and the packet to the batch.
  void commit();
  // Sends everything.
  void flush();
  // Lets go of packets that fault injection holds back; call it when there is nothing else to do.
  // True if any left.
  bool release_held();

  const TransmitCounters& counters() const { return counters_; }
  // False once the kernel or an interface has refused GSO; packets then leave one by one.
  bool uses_gso() const { return gso_; }

 private:
  static constexpr size_t kArenaBytes = 256 << 10;
  static constexpr size_t kMaxBursts = 256;
  static constexpr size_t kMaxSegments = 64;
  static constexpr size_t kMaxBurstBytes = 65507;

  struct Burst {
    wire::Address destination;
    uint32_t offset;
    uint32_t bytes;
    uint16_t segment_bytes;
    uint16_t segments;
    bool closed;
  };

  // What the kernel is given for one burst. The pointers inside are set once.
  struct Message {
    sockaddr_storage name;
    iovec data;
    alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(uint16_t))> control;
  };

  void put(const wire::Address& destination, std::span<const std::byte> packet) override;
  void make_room(size_t bytes);
  bool joins_last_burst(const wire::Address& destination, size_t bytes) const;
  uint16_t append(const wire::Address& destination, size_t bytes);
  void prepare(size_t index, const Burst& burst);
  int send_from(size_t next);
  void send_bursts();
  void on_send_error(const Burst& burst, int error);
  void send_one_by_one(const Burst& burst);
  void drop(uint64_t packets, int error);
  void record_sent(const Burst& burst);
  wire::UdpFlow flow_to(const wire::Address& destination) const;
  static std::span<std::byte> segment_of(std::byte* arena, const Burst& burst, size_t index);

  UdpSocket& socket_;
  FaultInjector* faults_;
  PacketCapture* capture_;
  bool gso_;

  std::unique_ptr<std::byte[]> arena_;
  size_t arena_used_ = 0;
  std::array<Burst, kMaxBursts> bursts_;
  size_t burst_count_ = 0;
  std::unique_ptr<Message[]> messages_;
  std::unique_ptr<mmsghdr[]> headers_;

  wire::Address reserved_destination_;
  size_t reserved_bytes_ = 0;
  // With faults on, packets are written here and copied by `put`, as often as the injector says.
  std::unique_ptr<std::byte[]> scratch_;
  TransmitCounters counters_;
};

}  // namespace verbena::io
