// Binds the socket, to a free loopback address when none is asked for.
#include "soft/abi/bind.h"

#include <cerrno>
#include <string>

#include "soft/abi/open_failure.h"
#include "soft/abi/random.h"
#include "soft/io/interface.h"
#include "soft/wire/mtu.h"

namespace verbena::soft {
namespace {

// 127.0.0.0/16 is left to people, who choose from it by hand.
wire::Address draw_loopback_address() {
  uint8_t bytes[3];
  do {
    fill_random(bytes, sizeof bytes);
  } while (bytes[0] == 0 || bytes[2] == 0 || bytes[2] == 255);
  return wire::Address::v4(127, bytes[0], bytes[1], bytes[2]);
}

// The largest path MTU whose packets fit, with 80 bytes for the headers; 0 when none does.
int largest_mtu(uint32_t interface_mtu) {
  constexpr uint32_t kHeaderBytes = 80;
  int code = IBV_MTU_4096;
  while (code > 0 && wire::mtu_bytes(static_cast<uint32_t>(code)) + kHeaderBytes > interface_mtu) {
    --code;
  }
  return wire::mtu_code_valid(static_cast<uint32_t>(code)) ? code : 0;
}

}  // namespace

std::unique_ptr<io::UdpSocket> open_socket(const Settings& settings) {
  constexpr int kDraws = 16;
  io::UdpSocketOptions options;
  // The kernel grants twice what it is asked for.
  if (settings.buffer_bytes) options.buffer_bytes = *settings.buffer_bytes / 2;
  io::Failure failure;
  for (int draws = settings.address ? 1 : kDraws; draws > 0; --draws) {
    const wire::Address address = settings.address ? *settings.address : draw_loopback_address();
    if (auto socket = io::UdpSocket::open(address, options, failure)) return socket;
    if (failure.error != EADDRINUSE) break;
  }
  throw OpenFailure{failure};
}

Link find_link(const Settings& settings, const wire::Address& address) {
  constexpr uint32_t kEthernetMtu = 1500;
  const auto interface = io::interface_of(address);
  const uint32_t interface_mtu = interface ? interface->mtu : kEthernetMtu;
  const int largest = largest_mtu(interface_mtu);
  const int wanted = settings.mtu ? static_cast<int>(*settings.mtu) : largest;
  if (largest == 0 || wanted > largest) {
    const std::string name = interface ? interface->name : "the interface";
    throw OpenFailure{
        {EINVAL, name + " with its MTU of " + std::to_string(interface_mtu) +
                     " bytes cannot carry packets of " +
                     std::to_string(wire::mtu_bytes(static_cast<uint32_t>(std::max(wanted, 1)))) +
                     " bytes and 80 bytes of headers; set VERBENA_SOFT_MTU lower, or the "
                     "interface's MTU higher with `ip link set`"}};
  }
  return {interface ? interface->index : 0, static_cast<ibv_mtu>(wanted)};
}

}  // namespace verbena::soft
