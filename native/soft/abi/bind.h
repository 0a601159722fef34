// Finds the device's address and what its link carries.
#pragma once

#include <infiniband/verbs.h>

#include <cstdint>
#include <memory>

#include "soft/abi/settings.h"
#include "soft/io/udp_socket.h"
#include "soft/wire/address.h"

namespace verbena::soft {

// Throws OpenFailure.
std::unique_ptr<io::UdpSocket> open_socket(const Settings& settings);

struct Link {
  uint32_t interface_index;
  ibv_mtu mtu;
};

// Throws OpenFailure when the interface carries less than is asked for.
Link find_link(const Settings& settings, const wire::Address& address);

}  // namespace verbena::soft
