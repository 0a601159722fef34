// Receives packets many at a time and hands them out one by one.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "soft/io/packet_capture.h"
#include "soft/io/udp_socket.h"

namespace verbena::io {

struct Datagram {
  wire::Address source;
  wire::Address destination;  // the socket's address: the device's, or a multicast group
  uint16_t source_port;
  // The UDP payload with its ICRC; valid until the next `fill`.
  std::span<std::byte> bytes;
  // Position in the message that the kernel put together (GRO): the likely IPv4 identification.
  uint32_t segment;
};

struct ReceiveCounters {
  uint64_t packets = 0;
  uint64_t bytes = 0;  // of UDP payload
  uint64_t messages = 0;
  uint64_t system_calls = 0;
  uint64_t truncated = 0;  // messages larger than any UDP datagram can be
  // Datagrams that the kernel dropped because the socket's buffer was full, as far as later ones
  // have told.
  uint64_t socket_drops = 0;
  uint64_t errors = 0;
  int last_error = 0;
};

// Not thread-safe; all calls with the lane locked.
class ReceiveBatch {
 public:
  // `capture` may be nullptr; both outlive this object.
  ReceiveBatch(UdpSocket& socket, PacketCapture* capture);
  ReceiveBatch(const ReceiveBatch&) = delete;
  ReceiveBatch& operator=(const ReceiveBatch&) = delete;

  // One system call; false when nothing was waiting. What `next` has not handed out yet is lost:
  // empty the batch first.
  bool fill() { return fill_from(socket_); }
  // The same from the socket of a multicast group.
  bool fill_from(UdpSocket& socket);
  // The next datagram of the batch, in order of arrival; nothing when it is used up.
  std::optional<Datagram> next();

  const ReceiveCounters& counters() const { return counters_; }

 private:
  static constexpr size_t kMaxMessages = 64;
  static constexpr size_t kSlotBytes = 64 << 10;
  // Large messages are taken a few at a time: they should still be in the cache when they are read,
  // and the lane should not be locked for long.
  static constexpr size_t kBatchBytesWanted = 256 << 10;
  static constexpr size_t kFewestMessages = 4;

  struct Slot {
    sockaddr_storage name;
    iovec data;
    alignas(
        cmsghdr) std::array<char, CMSG_SPACE(sizeof(int)) + CMSG_SPACE(sizeof(uint32_t))> control;
  };

  void restore_room(size_t index);
  // Both return how many messages came, or -1 with errno set.
  int receive_one(int fd);
  int receive_many(int fd);
  bool open_message();
  void read_controls(msghdr& header);
  void adapt(size_t bytes);

  UdpSocket& socket_;
  PacketCapture* capture_;
  UdpSocket* filled_from_ = nullptr;
  std::unique_ptr<std::byte[]> arena_;
  std::unique_ptr<Slot[]> slots_;
  std::unique_ptr<mmsghdr[]> headers_;

  size_t messages_wanted_ = kMaxMessages;
  bool alone_ = false;  // the last call that found any found one
  size_t message_count_ = 0;
  size_t message_next_ = 0;

  // The message being cut up.
  std::span<std::byte> rest_;
  size_t segment_bytes_ = 0;
  uint32_t segment_ = 0;
  wire::Address source_;
  uint16_t source_port_ = 0;

  ReceiveCounters counters_;
};

}  // namespace verbena::io
