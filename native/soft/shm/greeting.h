// What two devices of one machine tell each other before packets pass through memory.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <type_traits>

#include "soft/wire/address.h"
#include "util/unique_fd.h"

namespace verbena::shm {

inline constexpr uint32_t kGreeting = 0x5652'4201;  // "VRB", version 1

// From the one that will write, with the descriptor of the ring.
struct Hello {
  uint32_t greeting = kGreeting;
  uint32_t unused = 0;
  std::array<uint8_t, 16> gid{};  // its address
};

// From the one that will read, with the descriptors of its attention and its doorbell.
struct Welcome {
  uint32_t greeting = kGreeting;
};

// Never blocks. False when it could not be sent, as a whole.
bool send_greeting(const util::UniqueFd& socket, std::span<const std::byte> message,
                   std::span<const int> descriptors);

enum class Received { kNothing, kMessage, kEnd };

// `kEnd` also for what is no such message with so many descriptors, one or two.
Received receive_greeting(const util::UniqueFd& socket, std::span<std::byte> message,
                          std::span<util::UniqueFd> descriptors);

template <class Message>
std::span<std::byte> bytes_of(Message& message) {
  static_assert(std::is_trivially_copyable_v<Message>);
  return std::as_writable_bytes(std::span(&message, 1));
}

// A socket of the abstract namespace, which is that of the network namespace, as addresses are.
// Empty, with errno set, when it cannot be had: nobody listens, or another user does.
util::UniqueFd listen_as(const wire::Address& address);
util::UniqueFd call(const wire::Address& address);
// The next that calls; empty, with errno set, when none does or none can be answered.
util::UniqueFd answer(const util::UniqueFd& listener);
// Whether the other end belongs to this process's user.
bool is_own_user(const util::UniqueFd& socket);

}  // namespace verbena::shm
