// The UDP socket of a device: bound to one address, exclusive, set up for RoCE v2.
#pragma once

#include <cstdint>
#include <memory>
#include <utility>

#include "soft/io/failure.h"
#include "soft/io/fork_guard.h"
#include "soft/wire/address.h"

namespace verbena::io {

constexpr uint16_t kRocePort = 4791;

struct UdpSocketOptions {
  uint16_t port = kRocePort;
  // Asked of the kernel for each direction; what it grants may be less.
  int buffer_bytes = 8 << 20;
};

// Non-blocking and close-on-exec. Not connected: only then does IPv4 send identification 0.
class UdpSocket {
 public:
  // nullptr with `failure` filled in when the address cannot be had.
  static std::unique_ptr<UdpSocket> open(const wire::Address& address,
                                         const UdpSocketOptions& options, Failure& failure);
  // One that receives what is sent to a multicast group and arrives on the device's interface. Any
  // number of processes may have it. nullptr with errno set.
  static std::unique_ptr<UdpSocket> join(const UdpSocket& device, const wire::Address& group);
  ~UdpSocket();
  UdpSocket(const UdpSocket&) = delete;
  UdpSocket& operator=(const UdpSocket&) = delete;

  int fd() const { return fd_; }
  const wire::Address& address() const { return address_; }
  uint16_t port() const { return options_.port; }
  // As the kernel counts: every packet costs its bytes and several hundred more.
  int receive_buffer_bytes() const { return receive_buffer_bytes_; }
  int send_buffer_bytes() const { return send_buffer_bytes_; }
  // How many datagrams the kernel has dropped since this was last told of a total, which wraps.
  uint32_t new_drops(uint32_t total) { return total - std::exchange(drops_seen_, total); }
  // In a forked child the socket is still the parent's: nothing may be sent or received.
  bool in_forked_child() const { return fork_guard_.in_child(); }

 private:
  UdpSocket(int fd, const wire::Address& address, const UdpSocketOptions& options);

  static std::unique_ptr<UdpSocket> make(const wire::Address& address,
                                         const UdpSocketOptions& options, Failure& failure);

  int fd_;
  wire::Address address_;
  UdpSocketOptions options_;
  int receive_buffer_bytes_ = 0;
  int send_buffer_bytes_ = 0;
  uint32_t drops_seen_ = 0;
  ForkGuard fork_guard_;
};

}  // namespace verbena::io
