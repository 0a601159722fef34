// Converts addresses between GID form, socket addresses and text.

#include "soft/wire/address.h"

#include <arpa/inet.h>
#include <net/if.h>

#include <algorithm>

namespace verbena::wire {
namespace {

Address from_v4_bytes(const void* bytes4) {
  uint8_t quad[4];
  std::memcpy(quad, bytes4, sizeof quad);
  return Address::v4(quad[0], quad[1], quad[2], quad[3]);
}

std::optional<Address> parse_v6(const std::string& text) {
  const size_t percent = text.find('%');
  in6_addr raw;
  if (inet_pton(AF_INET6, text.substr(0, percent).c_str(), &raw) != 1) return std::nullopt;
  Address address = Address::from_gid(&raw);
  if (percent != std::string::npos) {
    address.scope = if_nametoindex(text.c_str() + percent + 1);
    if (address.scope == 0 || !address.is_link_local()) return std::nullopt;
  }
  return address;
}

}  // namespace

std::optional<Address> Address::from_sockaddr(const sockaddr* name, socklen_t length) {
  if (length < sizeof(sa_family_t)) return std::nullopt;
  if (name->sa_family == AF_INET && length >= sizeof(sockaddr_in)) {
    sockaddr_in in;
    std::memcpy(&in, name, sizeof in);
    return from_v4_bytes(&in.sin_addr);
  }
  if (name->sa_family == AF_INET6 && length >= sizeof(sockaddr_in6)) {
    sockaddr_in6 in6;
    std::memcpy(&in6, name, sizeof in6);
    Address address = from_gid(&in6.sin6_addr);
    if (address.is_link_local()) address.scope = in6.sin6_scope_id;
    return address;
  }
  return std::nullopt;
}

std::optional<Address> Address::parse(std::string_view text) {
  const std::string terminated(text);
  // A NUL inside would hide what follows it from inet_pton.
  if (terminated.find('\0') != std::string::npos) return std::nullopt;
  in_addr v4_raw;
  if (inet_pton(AF_INET, terminated.c_str(), &v4_raw) == 1) return from_v4_bytes(&v4_raw);
  return parse_v6(terminated);
}

bool Address::is_unspecified() const {
  const auto zero = [](uint8_t byte) { return byte == 0; };
  if (is_v4()) return std::all_of(gid.begin() + 12, gid.end(), zero);
  return std::all_of(gid.begin(), gid.end(), zero);
}

bool Address::is_loopback() const {
  if (is_v4()) return gid[12] == 127;
  static constexpr uint8_t kLoopback[16] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};
  return std::memcmp(gid.data(), kLoopback, sizeof kLoopback) == 0;
}

socklen_t Address::to_sockaddr(uint16_t port, sockaddr_storage& out) const {
  if (is_v4()) {
    sockaddr_in in{};
    in.sin_family = AF_INET;
    in.sin_port = htons(port);
    std::memcpy(&in.sin_addr, v4_bytes(), sizeof in.sin_addr);
    std::memcpy(&out, &in, sizeof in);
    return sizeof in;
  }
  sockaddr_in6 in6{};
  in6.sin6_family = AF_INET6;
  in6.sin6_port = htons(port);
  std::memcpy(&in6.sin6_addr, gid.data(), gid.size());
  if (is_link_local()) in6.sin6_scope_id = scope;
  std::memcpy(&out, &in6, sizeof in6);
  return sizeof in6;
}

std::string Address::to_string() const {
  char text[INET6_ADDRSTRLEN] = "";
  if (is_v4()) {
    inet_ntop(AF_INET, v4_bytes(), text, sizeof text);
    return text;
  }
  inet_ntop(AF_INET6, gid.data(), text, sizeof text);
  std::string result = text;
  if (is_link_local() && scope != 0) {
    char name[IF_NAMESIZE];
    result += '%';
    result += if_indextoname(scope, name) != nullptr ? std::string(name) : std::to_string(scope);
  }
  return result;
}

}  // namespace verbena::wire
