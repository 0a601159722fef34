// The environment variables that configure the device for any program.
#pragma once

#include <infiniband/verbs.h>

#include <optional>
#include <string>

#include "soft/io/fault_injector.h"
#include "soft/wire/address.h"
#include "soft/wire/icrc.h"

namespace verbena::soft {

struct Settings {
  // VERBENA_SOFT_ADDR; without it, or with `auto`, a free loopback address is found.
  std::optional<wire::Address> address;
  // VERBENA_SOFT_MTU; without it, the largest that the interface carries.
  std::optional<ibv_mtu> mtu;
  // VERBENA_SOFT_ICRC=strict or solve, the latter for peers that count IPv4 identifications.
  wire::IcrcMode icrc_mode = wire::IcrcMode::kStrict;
  // VERBENA_SOFT_BUFFER: bytes of socket buffer each way, as the kernel counts them; without it, as
  // much as a device can use.
  std::optional<int> buffer_bytes;
  // VERBENA_SOFT_LOCAL=memory or udp: how packets go to devices of this machine.
  bool shares_memory = true;
  // VERBENA_SOFT_FAULTS
  std::optional<io::FaultPlan> faults;
  // VERBENA_SOFT_PCAP; empty for none.
  std::string capture_path;
  // VERBENA_SOFT_COUNTERS; empty for none.
  std::string counters_path;
  // VERBENA_SOFT_CONTROL; empty for none.
  std::string control_path;
};

// Throws OpenFailure for a value that makes no sense.
Settings read_settings();

}  // namespace verbena::soft
