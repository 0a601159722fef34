// Computes and checks ICRCs over an IP and UDP header that it makes up as the kernel would.

#include "soft/wire/icrc.h"

#include <array>
#include <atomic>
#include <cassert>
#include <cstring>

#include "soft/wire/crc32.h"
#include "soft/wire/opcode.h"

namespace verbena::wire {
namespace {

// The CRC state after eight bytes of 0xFF, which stand for the missing link header.
constexpr uint32_t kAfterDummyLrh = 0xDEBB20E3u;

constexpr size_t kIpv4Bytes = 20;
constexpr size_t kIpv6Bytes = 40;
constexpr size_t kUdpBytes = 8;
constexpr size_t kBthMaskedByte = 4;
constexpr size_t kLargestPayload = 65507;

// Bytes between the end of the IPv4 identification and the end of the IP header.
constexpr size_t kIpv4AfterIpId = 14;

// The headers up to and with the BTH, variant fields all ones.
class MaskedHeaders {
 public:
  MaskedHeaders(const UdpFlow& flow, uint16_t ip_id, const std::byte* bth, size_t udp_payload) {
    const auto udp_length = static_cast<uint16_t>(kUdpBytes + udp_payload);
    if (flow.source.is_v4()) {
      put_ipv4(flow, ip_id, udp_length);
    } else {
      put_ipv6(flow, udp_length);
    }
    put16(flow.source_port);
    put16(flow.destination_port);
    put16(udp_length);
    put16(0xFFFF);  // checksum
    std::memcpy(&bytes_[size_], bth, kBthBytes);
    bytes_[size_ + kBthMaskedByte] = 0xFF;
    size_ += kBthBytes;
  }

  const uint8_t* data() const { return bytes_.data(); }
  size_t size() const { return size_; }

 private:
  void put_ipv4(const UdpFlow& flow, uint16_t ip_id, uint16_t udp_length) {
    put16(0x45FF);  // version, header length, TOS
    put16(static_cast<uint16_t>(kIpv4Bytes + udp_length));
    put16(ip_id);
    put16(0x4000);  // DF, no fragment
    put16(0xFF11);  // TTL, UDP
    put16(0xFFFF);  // checksum
    put(flow.source.v4_bytes(), 4);
    put(flow.destination.v4_bytes(), 4);
  }

  void put_ipv6(const UdpFlow& flow, uint16_t udp_length) {
    put16(0x6FFF);  // version, traffic class, flow label
    put16(0xFFFF);
    put16(udp_length);
    put16(0x11FF);  // UDP, hop limit
    put(flow.source.gid.data(), 16);
    put(flow.destination.gid.data(), 16);
  }

  void put16(uint16_t value) {
    bytes_[size_++] = static_cast<uint8_t>(value >> 8);
    bytes_[size_++] = static_cast<uint8_t>(value);
  }

  void put(const uint8_t* from, size_t count) {
    std::memcpy(&bytes_[size_], from, count);
    size_ += count;
  }

  std::array<uint8_t, kIpv6Bytes + kUdpBytes + kBthBytes> bytes_;
  size_t size_ = 0;
};

// x^-n mod P for the n bits from the start of the IPv4 identification to the end of what the
// ICRC covers; 0 is "not computed yet". Any thread may fill a slot, always with the same value.
std::array<std::atomic<uint32_t>, kLargestPayload / 4 + 1> rewinds;

uint32_t rewind_to_ip_id(size_t bytes) {
  std::atomic<uint32_t>& slot = rewinds[bytes / 4];
  uint32_t rewind = slot.load(std::memory_order_relaxed);
  if (rewind == 0) {
    const size_t after = 2 + kIpv4AfterIpId + kUdpBytes + bytes;
    rewind = crc32_power_of_x(0xFFFFFFFFu - static_cast<uint32_t>(8 * after));
    slot.store(rewind, std::memory_order_relaxed);
  }
  return rewind;
}

// The difference between the true identification and the assumed one that explains why ICRCs
// differ by `residual`; above 0xFFFF when there is none. A CRC state absorbs a byte by XOR before
// it moves on, so wound back to the identification the residual is the difference itself.
uint32_t solve_ip_id(uint32_t residual, size_t bytes) {
  const uint32_t difference = crc32_multiply(residual, rewind_to_ip_id(bytes));
  if (difference > 0xFFFF) return difference;
  return (difference & 0xFF) << 8 | difference >> 8;  // the first wire byte is the low one
}

uint32_t icrc_load(const std::byte* from) {
  uint32_t icrc = 0;
  for (int byte = 3; byte >= 0; --byte) icrc = icrc << 8 | std::to_integer<uint32_t>(from[byte]);
  return icrc;
}

}  // namespace

uint32_t icrc_compute(const UdpFlow& flow, uint16_t ip_id, std::span<const std::byte> bytes) {
  assert(bytes.size() >= kIcrcMinimumBytes && bytes.size() <= kLargestPayload - kIcrcBytes);
  const MaskedHeaders headers(flow, ip_id, bytes.data(), bytes.size() + kIcrcBytes);
  const Crc32Implementation& crc = crc32_chosen();
  const uint32_t state = crc.update(kAfterDummyLrh, headers.data(), headers.size());
  return ~crc.update(state, bytes.data() + kBthBytes, bytes.size() - kBthBytes);
}

void icrc_store(std::byte* to, uint32_t icrc) {
  for (size_t byte = 0; byte < kIcrcBytes; ++byte) to[byte] = std::byte(icrc >> (8 * byte));
}

IcrcVerdict icrc_check(const UdpFlow& flow, std::span<const std::byte> bytes, uint16_t ip_id_hint,
                       IcrcMode mode) {
  constexpr IcrcVerdict kInvalid{false, 0};
  if (bytes.size() < kIcrcMinimumBytes + kIcrcBytes || bytes.size() > kLargestPayload) {
    return kInvalid;
  }
  const auto covered = bytes.first(bytes.size() - kIcrcBytes);
  const uint32_t received = icrc_load(bytes.data() + covered.size());
  const bool hidden_id = flow.source.is_v4();
  const uint32_t residual = icrc_compute(flow, ip_id_hint, covered) ^ received;
  if (residual == 0) return {true, hidden_id ? ip_id_hint : uint16_t{0}};
  // RoCE pads to whole words; other lengths are not worth solving for.
  if (!hidden_id || covered.size() % 4 != 0) return kInvalid;
  const uint32_t difference = solve_ip_id(residual, covered.size());
  if (difference > 0xFFFF) return kInvalid;
  const auto ip_id = static_cast<uint16_t>(ip_id_hint ^ difference);
  if (mode == IcrcMode::kStrict && ip_id >= kStrictIpIds) return kInvalid;
  return {true, ip_id};
}

}  // namespace verbena::wire
