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

}  // namespace

UdpSocket::UdpSocket(int fd, const wire::Address& address, uint16_t port)
    : fd_(fd), address_(address), port_(port) {}

UdpSocket::~UdpSocket() {
  close(fd_);
}

std::unique_ptr<UdpSocket> UdpSocket::open(const wire::Address& address,
                                           const UdpSocketOptions& options, Failure& failure) {
  if (!is_device_address(address, failure)) return nullptr;
  const bool v4 = address.is_v4();
  const int fd = socket(v4 ? AF_INET : AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) {
    failure = {errno, std::string("cannot make a UDP socket for ") + (v4 ? "IPv4" : "IPv6") + ": " +
                          std::strerror(errno)};
    return nullptr;
  }
  std::unique_ptr<UdpSocket> opened(new UdpSocket(fd, address, options.port));
  if (!set_all(fd, kCommonOptions, failure)) return nullptr;
  if (!(v4 ? set_all(fd, kIpv4Options, failure) : set_all(fd, kIpv6Options, failure))) {
    return nullptr;
  }
  opened->receive_buffer_bytes_ = size_buffer(fd, SO_RCVBUFFORCE, SO_RCVBUF, options.buffer_bytes);
  opened->send_buffer_bytes_ = size_buffer(fd, SO_SNDBUFFORCE, SO_SNDBUF, options.buffer_bytes);
  sockaddr_storage name{};
  const socklen_t length = address.to_sockaddr(options.port, name);
  if (bind(fd, reinterpret_cast<const sockaddr*>(&name), length) != 0) {
    explain_bind(errno, address, options.port, failure);
    return nullptr;
  }
  return opened;
}

}  // namespace verbena::io
