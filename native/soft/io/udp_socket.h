// The UDP socket of a device: bound to one address, exclusive, set up for RoCE v2.
#pragma once

#include <cstdint>
#include <memory>

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
  ~UdpSocket();
  UdpSocket(const UdpSocket&) = delete;
  UdpSocket& operator=(const UdpSocket&) = delete;

  int fd() const { return fd_; }
  const wire::Address& address() const { return address_; }
  uint16_t port() const { return port_; }
  // As the kernel counts: every packet costs its bytes and several hundred more.
  int receive_buffer_bytes() const { return receive_buffer_bytes_; }
  int send_buffer_bytes() const { return send_buffer_bytes_; }
  // In a forked child the socket is still the parent's: nothing may be sent or received.
  bool in_forked_child() const { return fork_guard_.in_child(); }

 private:
  UdpSocket(int fd, const wire::Address& address, uint16_t port);

  int fd_;
  wire::Address address_;
  uint16_t port_;
  int receive_buffer_bytes_ = 0;
  int send_buffer_bytes_ = 0;
  ForkGuard fork_guard_;
};

}  // namespace verbena::io
