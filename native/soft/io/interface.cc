// Reads the interfaces from the kernel.

#include "soft/io/interface.h"

#include <ifaddrs.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <bit>
#include <cstring>
#include <memory>

namespace verbena::io {
namespace {

// 0 for an interface that has just gone.
uint32_t mtu_of(int socket, const char* name) {
  ifreq request{};
  std::strncpy(request.ifr_name, name, IFNAMSIZ - 1);
  if (ioctl(socket, SIOCGIFMTU, &request) != 0) return 0;
  return static_cast<uint32_t>(request.ifr_mtu);
}

socklen_t sockaddr_bytes(const sockaddr& name) {
  return name.sa_family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6);
}

uint32_t count_prefix_bits(const sockaddr& netmask) {
  const auto mask = wire::Address::from_sockaddr(&netmask, sockaddr_bytes(netmask));
  if (!mask) return 128;
  const size_t start = netmask.sa_family == AF_INET ? 12 : 0;
  uint32_t bits = static_cast<uint32_t>(start) * 8;
  for (size_t i = start; i < mask->gid.size(); ++i) bits += std::popcount(mask->gid[i]);
  return bits;
}

bool same_network(const wire::Address& a, const wire::Address& b, uint32_t prefix_bits) {
  const size_t whole = prefix_bits / 8;
  if (std::memcmp(a.gid.data(), b.gid.data(), whole) != 0) return false;
  const uint32_t rest = prefix_bits % 8;
  return rest == 0 || (a.gid[whole] ^ b.gid[whole]) >> (8 - rest) == 0;
}

}  // namespace

std::vector<Interface> list_interfaces() {
  std::vector<Interface> found;
  ifaddrs* head = nullptr;
  const int socket = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (getifaddrs(&head) == 0) {
    const std::unique_ptr<ifaddrs, decltype(&freeifaddrs)> owner(head, &freeifaddrs);
    for (const ifaddrs* entry = head; entry != nullptr; entry = entry->ifa_next) {
      if (entry->ifa_addr == nullptr || entry->ifa_netmask == nullptr) continue;
      const auto address =
          wire::Address::from_sockaddr(entry->ifa_addr, sockaddr_bytes(*entry->ifa_addr));
      if (!address) continue;  // a link-layer entry
      // The kernel does not always set the family of a netmask.
      sockaddr_storage netmask{};
      std::memcpy(&netmask, entry->ifa_netmask, sockaddr_bytes(*entry->ifa_addr));
      netmask.ss_family = entry->ifa_addr->sa_family;
      found.push_back({entry->ifa_name, if_nametoindex(entry->ifa_name),
                       mtu_of(socket, entry->ifa_name), (entry->ifa_flags & IFF_UP) != 0,
                       (entry->ifa_flags & IFF_LOOPBACK) != 0, *address,
                       count_prefix_bits(reinterpret_cast<const sockaddr&>(netmask))});
    }
  }
  if (socket >= 0) close(socket);
  return found;
}

std::optional<Interface> interface_of(const wire::Address& address) {
  for (Interface& candidate : list_interfaces()) {
    const bool scope_fits =
        !address.is_link_local() || address.scope == 0 || address.scope == candidate.index;
    if (candidate.address == address && scope_fits) return std::move(candidate);
    if (candidate.loopback && address.is_v4() &&
        same_network(candidate.address, address, candidate.prefix_bits)) {
      candidate.address = address;
      return std::move(candidate);
    }
  }
  return std::nullopt;
}

}  // namespace verbena::io
