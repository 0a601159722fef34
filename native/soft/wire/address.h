// Owns the address of a soft device: a GID, which is an IPv6 address or a mapped IPv4 one.

#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <cstdint>
#include <cstring>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>

namespace verbena::wire {

// The 16 bytes of a RoCE v2 GID; IPv4 a.b.c.d is ::ffff:a.b.c.d. All zeros means "no address".
struct Address {
  std::array<uint8_t, 16> gid{};
  // Interface index, for link-local IPv6 only. The wire does not carry it, so == ignores it.
  uint32_t scope = 0;

  static Address from_gid(const void* bytes16) {
    Address address;
    std::memcpy(address.gid.data(), bytes16, address.gid.size());
    return address;
  }

  static constexpr Address v4(uint8_t a, uint8_t b, uint8_t c, uint8_t d) {
    return Address{{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF, a, b, c, d}, 0};
  }

  // Empty for families other than AF_INET and AF_INET6, and for lengths too short for the family.
  static std::optional<Address> from_sockaddr(const sockaddr* name, socklen_t length);

  // Accepts `10.0.0.1`, `fd00::1`, `::ffff:10.0.0.1` and `fe80::1%eth0`.
  static std::optional<Address> parse(std::string_view text);

  bool is_v4() const {
    static constexpr uint8_t kMappedPrefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF};
    return std::memcmp(gid.data(), kMappedPrefix, sizeof kMappedPrefix) == 0;
  }

  bool is_unspecified() const;
  bool is_loopback() const;
  // 224.0.0.0/4 and ff00::/8.
  bool is_multicast() const { return is_v4() ? gid[12] >> 4 == 0xE : gid[0] == 0xFF; }
  // fe80::/10, the only addresses whose `scope` matters.
  bool is_link_local() const { return gid[0] == 0xFE && (gid[1] & 0xC0) == 0x80; }

  // The four bytes of an IPv4 address in wire order. Only for `is_v4()`.
  const uint8_t* v4_bytes() const { return gid.data() + 12; }

  // Writes a sockaddr_in or sockaddr_in6 and returns its length.
  socklen_t to_sockaddr(uint16_t port, sockaddr_storage& out) const;

  // Dotted quad for IPv4, the usual short form for IPv6, with `%interface` where there is a scope.
  std::string to_string() const;

  friend bool operator==(const Address& a, const Address& b) {
    return std::memcmp(a.gid.data(), b.gid.data(), a.gid.size()) == 0;
  }
};

static_assert(std::is_trivially_copyable_v<Address>);

}  // namespace verbena::wire

template <>
struct std::hash<verbena::wire::Address> {
  size_t operator()(const verbena::wire::Address& address) const noexcept {
    uint64_t words[2];
    std::memcpy(words, address.gid.data(), sizeof words);
    uint64_t mixed = (words[0] ^ (words[1] >> 29)) * 0x9E3779B97F4A7C15u;
    mixed = (mixed ^ words[1] ^ (mixed >> 32)) * 0xD6E8FEB86659FD93u;
    return static_cast<size_t>(mixed ^ (mixed >> 32));
  }
};
