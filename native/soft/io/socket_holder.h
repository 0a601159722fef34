// Finds out which process holds a UDP port, for error messages.
#pragma once

#include <cstdint>
#include <string>

#include "soft/wire/address.h"

namespace verbena::io {

// "process 1234 (node)", or as much of it as this user may see; empty when nobody seems to.
std::string describe_udp_holder(const wire::Address& address, uint16_t port);

}  // namespace verbena::io
