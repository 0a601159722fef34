// The addresses of this machine's network interfaces, and their MTUs.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "soft/wire/address.h"

namespace verbena::io {

struct Interface {
  std::string name;
  uint32_t index;
  uint32_t mtu;
  bool up;
  bool loopback;
  wire::Address address;
  // An address belongs to the interface's network when this many of its 128 GID bits agree.
  uint32_t prefix_bits;
};

// One entry per address, in the kernel's order; empty when the kernel does not tell.
std::vector<Interface> list_interfaces();

// The interface that has the address. All of 127.0.0.0/8 is on the loopback interface.
std::optional<Interface> interface_of(const wire::Address& address);

}  // namespace verbena::io
