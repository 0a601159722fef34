// What the tests of the io layer share: addresses of their own, sockets, and waiting for packets.
#pragma once

#include <gtest/gtest.h>
#include <poll.h>
#include <unistd.h>

#include <cstddef>
#include <memory>
#include <random>
#include <vector>

#include "soft/io/udp_socket.h"

namespace verbena::io {

using Payload = std::vector<std::byte>;

// Four addresses per process, so that tests that run at once do not meet.
inline wire::Address test_address(int number) {
  const auto pid = static_cast<uint32_t>(getpid());
  return wire::Address::v4(127, static_cast<uint8_t>(64 + (pid >> 14) % 64),
                           static_cast<uint8_t>(pid >> 6),
                           static_cast<uint8_t>((pid % 64) << 2 | number % 4));
}

inline std::unique_ptr<UdpSocket> open_socket(const wire::Address& address,
                                              const UdpSocketOptions& options = {}) {
  Failure failure;
  auto socket = UdpSocket::open(address, options, failure);
  EXPECT_NE(socket, nullptr) << failure.text;
  return socket;
}

// False when nothing came within five seconds.
inline bool wait_readable(const UdpSocket& socket) {
  pollfd waiting{socket.fd(), POLLIN, 0};
  return poll(&waiting, 1, 5000) == 1;
}

inline Payload random_payload(size_t bytes, uint64_t seed) {
  std::mt19937_64 random(seed);
  Payload payload(bytes);
  for (auto& byte : payload) byte = std::byte(random());
  return payload;
}

}  // namespace verbena::io
