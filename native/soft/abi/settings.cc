// Reads and checks the environment variables.
#include "soft/abi/settings.h"

#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <cstring>

#include "soft/abi/open_failure.h"

namespace verbena::soft {
namespace {

// An empty variable counts as not set.
const char* variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr || *value == '\0' ? nullptr : value;
}

[[noreturn]] void refuse(const char* name, const char* value, const std::string& wanted) {
  throw OpenFailure{{EINVAL, std::string(name) + "=" + value + ": " + wanted}};
}

std::optional<wire::Address> read_address() {
  constexpr const char* kName = "VERBENA_SOFT_ADDR";
  const char* value = variable(kName);
  if (value == nullptr || std::strcmp(value, "auto") == 0) return std::nullopt;
  const auto address = wire::Address::parse(value);
  if (!address) {
    refuse(kName, value,
           "want an IPv4 or IPv6 address of this machine, such as 127.0.0.2, or auto");
  }
  return address;
}

std::optional<ibv_mtu> read_mtu() {
  constexpr const char* kName = "VERBENA_SOFT_MTU";
  const char* value = variable(kName);
  if (value == nullptr) return std::nullopt;
  for (const int code : {IBV_MTU_256, IBV_MTU_512, IBV_MTU_1024, IBV_MTU_2048, IBV_MTU_4096}) {
    if (std::to_string(128 << code) == value) return static_cast<ibv_mtu>(code);
  }
  refuse(kName, value, "want 256, 512, 1024, 2048 or 4096");
}

wire::IcrcMode read_icrc_mode() {
  constexpr const char* kName = "VERBENA_SOFT_ICRC";
  const char* value = variable(kName);
  if (value == nullptr || std::strcmp(value, "strict") == 0) return wire::IcrcMode::kStrict;
  if (std::strcmp(value, "solve") == 0) return wire::IcrcMode::kSolve;
  refuse(kName, value, "want strict, or solve for soft-RoCE and adapters as peers");
}

std::optional<int> read_buffer_bytes() {
  constexpr const char* kName = "VERBENA_SOFT_BUFFER";
  constexpr int kLeast = 65'536, kMost = 1 << 30;
  const char* value = variable(kName);
  if (value == nullptr) return std::nullopt;
  const char* end = value + std::strlen(value);
  int bytes = 0;
  const auto [rest, error] = std::from_chars(value, end, bytes);
  if (error == std::errc{} && rest == end && bytes >= kLeast && bytes <= kMost) return bytes;
  refuse(kName, value, "want a number of bytes from 65536 to 1073741824");
}

bool read_shares_memory() {
  constexpr const char* kName = "VERBENA_SOFT_LOCAL";
  const char* value = variable(kName);
  if (value == nullptr || std::strcmp(value, "memory") == 0) return true;
  if (std::strcmp(value, "udp") == 0) return false;
  refuse(kName, value, "want memory, or udp to have packets on this machine take the network too");
}

std::optional<io::FaultPlan> read_faults() {
  const char* value = variable("VERBENA_SOFT_FAULTS");
  if (value == nullptr) return std::nullopt;
  io::Failure failure;
  auto plan = io::FaultPlan::parse(value, failure);
  if (!plan) throw OpenFailure{failure};
  return plan;
}

std::string read_path(const char* name) {
  const char* value = variable(name);
  return value == nullptr ? "" : value;
}

}  // namespace

Settings read_settings() {
  return {read_address(),
          read_mtu(),
          read_icrc_mode(),
          read_buffer_bytes(),
          read_shares_memory(),
          read_faults(),
          read_path("VERBENA_SOFT_PCAP"),
          read_path("VERBENA_SOFT_COUNTERS"),
          read_path("VERBENA_SOFT_CONTROL")};
}

}  // namespace verbena::soft
