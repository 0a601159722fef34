// Owns the invariant CRC of RoCE v2 packets (IBTA volume 1, 7.8.1 and annex A17.3.3), as seen from
// a UDP socket.

#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "soft/wire/address.h"

namespace verbena::wire {

inline constexpr size_t kIcrcBytes = 4;
// What an ICRC needs at least: a whole BTH, because one of its bytes is masked.
inline constexpr size_t kIcrcMinimumBytes = 12;

// The two ends of a packet, all of it covered by the ICRC. Ports in host byte order.
struct UdpFlow {
  Address source;
  Address destination;
  uint16_t source_port;
  uint16_t destination_port;
};

// The ICRC of a UDP payload from BTH to padding (`kIcrcMinimumBytes` at least, 65,503 at most).
// `ip_id` is the IPv4 identification, which the ICRC covers; IPv6 ignores it. DF is assumed set,
// as RoCE senders set it.
uint32_t icrc_compute(const UdpFlow& flow, uint16_t ip_id, std::span<const std::byte> bytes);

// Writes the ICRC in wire order, which is little-endian unlike everything else in a packet.
void icrc_store(std::byte* to, uint32_t icrc);

// Sockets hide the IPv4 identification from receivers. The ICRC is linear in it, so that the one
// identification that explains a residual can be solved for. What that costs is strength.
enum class IcrcMode {
  // Identifications 0 to 63, all that a sender of GSO bursts uses: 26 bits of check are left.
  kStrict,
  // Any identification, for peers whose stack counts them: 16 bits of check are left.
  kSolve,
};

inline constexpr uint32_t kStrictIpIds = 64;

struct IcrcVerdict {
  bool valid;
  // The identification that the packet was sent with; only if valid, and 0 for IPv6.
  uint16_t ip_id;
};

// Checks a UDP payload that ends in its ICRC. `ip_id_hint`, the likely identification, is tried
// first; a hint that is right gets the full 32 bits of check. Too short a payload is not valid.
IcrcVerdict icrc_check(const UdpFlow& flow, std::span<const std::byte> bytes, uint16_t ip_id_hint,
                       IcrcMode mode);

}  // namespace verbena::wire
