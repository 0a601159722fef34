// Opens device sockets and explains why one cannot be opened.

#include "soft/io/udp_socket.h"

#include <netinet/in.h>
#include <netinet/udp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>

#include "soft/io/interface.h"
#include "soft/io/socket_holder.h"

namespace verbena::io {
namespace {

struct SocketOption {
  int level;
  int name;
  int value;
  const char* text;
};

// Every one of these is needed for packets to be right or losses to be seen.
constexpr SocketOption kCommonOptions[] = {
    {SOL_UDP, UDP_GRO, 1, "UDP_GRO"},
    {SOL_SOCKET, SO_RXQ_OVFL, 1, "SO_RXQ_OVFL"},
};
constexpr SocketOption kIpv4Options[] = {
    // Sets DF and, on a socket that is not connected, identification 0.
    {IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO, "IP_MTU_DISCOVER"},
};
constexpr SocketOption kIpv6Options[] = {
    {IPPROTO_IPV6, IPV6_V6ONLY, 1, "IPV6_V6ONLY"},
    {IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_DO, "IPV6_MTU_DISCOVER"},
    // RoCE senders may leave the UDP checksum zero; without this the kernel drops such packets.
    {SOL_UDP, UDP_NO_CHECK6_RX, 1, "UDP_NO_CHECK6_RX"},
};

template <size_t kCount>
bool set_all(int fd, const SocketOption (&options)[kCount], Failure& failure) {
  for (const SocketOption& option : options) {
    if (setsockopt(fd, option.level, option.name, &option.value, sizeof option.value) == 0)
      continue;
    failure = {errno, std::string("the kernel refused the socket option ") + option.text + ": " +
                          std::strerror(errno) + "; the soft device needs Linux 5.0 or newer"};
    return false;
  }
  return true;
}

// Returns what was granted. Less than asked is no failure: windows are derived from the grant.
int size_buffer(int fd, int force_option, int option, int bytes) {
  if (setsockopt(fd, SOL_SOCKET, force_option, &bytes, sizeof bytes) != 0) {
    setsockopt(fd, SOL_SOCKET, option, &bytes, sizeof bytes);  // clipped to the sysctl's limit
  }
  int granted = 0;
  socklen_t length = sizeof granted;
  getsockopt(fd, SOL_SOCKET, option, &granted, &length);
  return granted;
}

std::string way_to_another_address(const wire::Address& address) {
  if (address.is_loopback() && address.is_v4()) {
    return "set VERBENA_SOFT_ADDR to another address of 127.0.0.0/8, such as " +
           wire::Address::v4(127, address.gid[13], address.gid[14],
                             static_cast<uint8_t>(address.gid[15] % 250 + 2))
               .to_string() +
           " (all of them are there)";
  }
  return "add an address with `ip addr add ADDRESS/PREFIX dev INTERFACE` and set VERBENA_SOFT_ADDR "
         "to it";
}

std::string explain_in_use(const wire::Address& address, uint16_t port) {
  std::string holder = describe_udp_holder(address, port);
  if (holder.empty()) holder = "another socket";
  return holder + " has it already, and a device belongs to one process; " +
         way_to_another_address(address);
}

std::string explain_not_available() {
  std::string text = "no interface of this machine has it; set VERBENA_SOFT_ADDR to one of";
  const char* separator = " ";
  for (const Interface& interface : list_interfaces()) {
    text += separator + interface.address.to_string();
    separator = ", ";
  }
  return text + ", or add it with `ip addr add`";
}

void explain_bind(int error, const wire::Address& address, uint16_t port, Failure& failure) {
  failure.error = error;
  failure.text =
      "cannot open UDP port " + std::to_string(port) + " of " + address.to_string() + ": ";
  if (error == EADDRINUSE) {
    failure.text += explain_in_use(address, port);
  } else if (error == EADDRNOTAVAIL) {
    failure.text += explain_not_available();
  } else {
    failure.text += std::strerror(error);
  }
}

bool is_device_address(const wire::Address& address, Failure& failure) {
  const bool multicast = address.is_v4() ? address.gid[12] >= 224 : address.gid[0] == 0xFF;
  if (!address.is_unspecified() && !multicast) return true;
  failure = {EINVAL, address.to_string() +
                         " is not the address of one interface; a device needs one, because its "
                         "address is part of every packet's checksum"};
  return false;
}

template <class Value>
bool set_option(int fd, int level, int name, const Value& value) {
  return setsockopt(fd, level, name, &value, sizeof value) == 0;
}

uint32_t interface_index(const wire::Address& address) {
  const auto interface = interface_of(address);
  return interface ? interface->index : 0;
}

// Without this, the routing table decides where a datagram to a group leaves, whatever its source.
// It fails for an address that has just gone, from which nothing can be sent.
void send_multicast_from(int fd, const wire::Address& address) {
  if (address.is_v4()) {
    ip_mreqn from{};
    std::memcpy(&from.imr_address, address.v4_bytes(), sizeof from.imr_address);
    set_option(fd, IPPROTO_IP, IP_MULTICAST_IF, from);
  } else {
    set_option(fd, IPPROTO_IPV6, IPV6_MULTICAST_IF, interface_index(address));
  }
}

// Bound to the group, so that the destination of what arrives is known; shared with the other
// processes of this machine that are members; and not for what arrives on other interfaces.
bool join_ipv4(int fd, const wire::Address& device, const wire::Address& group, uint16_t port) {
  sockaddr_storage name{};
  const socklen_t length = group.to_sockaddr(port, name);
  ip_mreqn membership{};
  std::memcpy(&membership.imr_multiaddr, group.v4_bytes(), sizeof membership.imr_multiaddr);
  std::memcpy(&membership.imr_address, device.v4_bytes(), sizeof membership.imr_address);
  return set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1) &&
         set_option(fd, IPPROTO_IP, IP_MULTICAST_ALL, 0) &&
         bind(fd, reinterpret_cast<const sockaddr*>(&name), length) == 0 &&
         set_option(fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, membership);
}

bool join_ipv6(int fd, const wire::Address& device, const wire::Address& group, uint16_t port) {
  sockaddr_in6 name{};
  name.sin6_family = AF_INET6;
  name.sin6_port = htons(port);
  name.sin6_scope_id = interface_index(device);
  std::memcpy(&name.sin6_addr, group.gid.data(), sizeof name.sin6_addr);
  const ipv6_mreq membership{name.sin6_addr, name.sin6_scope_id};
  return set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1) &&
         set_option(fd, IPPROTO_IPV6, IPV6_MULTICAST_ALL, 0) &&
         bind(fd, reinterpret_cast<const sockaddr*>(&name), sizeof name) == 0 &&
         set_option(fd, IPPROTO_IPV6, IPV6_ADD_MEMBERSHIP, membership);
}

}  // namespace

UdpSocket::UdpSocket(int fd, const wire::Address& address, const UdpSocketOptions& options)
    : fd_(fd), address_(address), options_(options) {}

UdpSocket::~UdpSocket() {
  close(fd_);
}

// Set up, but not bound.
std::unique_ptr<UdpSocket> UdpSocket::make(const wire::Address& address,
                                           const UdpSocketOptions& options, Failure& failure) {
  const bool v4 = address.is_v4();
  const int fd = socket(v4 ? AF_INET : AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) {
    failure = {errno, std::string("cannot make a UDP socket for ") + (v4 ? "IPv4" : "IPv6") + ": " +
                          std::strerror(errno)};
    return nullptr;
  }
  std::unique_ptr<UdpSocket> made(new UdpSocket(fd, address, options));
  if (!set_all(fd, kCommonOptions, failure)) return nullptr;
  if (!(v4 ? set_all(fd, kIpv4Options, failure) : set_all(fd, kIpv6Options, failure))) {
    return nullptr;
  }
  made->receive_buffer_bytes_ = size_buffer(fd, SO_RCVBUFFORCE, SO_RCVBUF, options.buffer_bytes);
  made->send_buffer_bytes_ = size_buffer(fd, SO_SNDBUFFORCE, SO_SNDBUF, options.buffer_bytes);
  return made;
}

std::unique_ptr<UdpSocket> UdpSocket::open(const wire::Address& address,
                                           const UdpSocketOptions& options, Failure& failure) {
  if (!is_device_address(address, failure)) return nullptr;
  auto opened = make(address, options, failure);
  if (opened == nullptr) return nullptr;
  sockaddr_storage name{};
  const socklen_t length = address.to_sockaddr(options.port, name);
  if (bind(opened->fd_, reinterpret_cast<const sockaddr*>(&name), length) != 0) {
    explain_bind(errno, address, options.port, failure);
    return nullptr;
  }
  send_multicast_from(opened->fd_, address);
  return opened;
}

std::unique_ptr<UdpSocket> UdpSocket::join(const UdpSocket& device, const wire::Address& group) {
  Failure failure;
  auto joined = make(group, device.options_, failure);
  if (joined == nullptr) {
    errno = failure.error;
    return nullptr;
  }
  const bool done = group.is_v4() ? join_ipv4(joined->fd_, device.address_, group, device.port())
                                  : join_ipv6(joined->fd_, device.address_, group, device.port());
  if (!done) return nullptr;
  return joined;
}

}  // namespace verbena::io
