// Packets as bytes: a received one is checked once and then read through accessors that cannot
// fail.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "soft/wire/byte_order.h"
#include "soft/wire/opcode.h"

namespace verbena::wire {

// Base transport header (IBTA volume 1, 9.2).
struct Bth {
  Opcode opcode;
  bool solicited = false;
  uint8_t pad_count = 0;
  uint16_t pkey = 0xFFFF;
  uint32_t dest_qpn = 0;
  bool ack_request = false;
  uint32_t psn = 0;
};

struct Reth {
  uint64_t address;
  uint32_t rkey;
  uint32_t length;
};

// Datagram extended transport header: who sends, and the key that lets it.
struct Deth {
  uint32_t qkey;
  uint32_t source_qpn;
};

struct Aeth {
  uint8_t syndrome;
  uint32_t msn;
};

struct AtomicEth {
  uint64_t address;
  uint32_t rkey;
  uint64_t swap_add;
  uint64_t compare;
};

// The headers are read once, into a copy: `bytes` may be memory that its sender can still write to.
class Packet {
 public:
  // `bytes` is the UDP payload without the ICRC. Empty when the opcode is unknown, the transport
  // version is not 0, or the length does not hold the opcode's headers and padding.
  static std::optional<Packet> parse(std::span<const std::byte> bytes);

  const OpcodeInfo& info() const { return *info_; }
  Opcode opcode() const { return static_cast<Opcode>(headers_[0]); }
  bool has(OpcodeFlag flag) const { return info_->has(flag); }
  bool solicited() const { return (headers_[1] & std::byte{0x80}) != std::byte{0}; }
  uint32_t pad_count() const { return static_cast<uint32_t>(headers_[1] >> 4) & 3; }
  uint16_t pkey() const { return load_be16(&headers_[2]); }
  uint32_t dest_qpn() const { return load_be24(&headers_[5]); }
  bool ack_request() const { return (headers_[8] & std::byte{0x80}) != std::byte{0}; }
  uint32_t psn() const { return load_be24(&headers_[9]); }
  std::span<const std::byte> payload() const { return payload_; }

  // Each of these only where info().has() the header; all follow the BTH in this order.
  Reth reth() const;
  Deth deth() const;
  Aeth aeth() const;
  AtomicEth atomic_eth() const;
  uint64_t atomic_ack_original() const;
  uint32_t ieth_rkey() const;
  // Immediate data as it stands on the wire: network byte order, as in ibv_wc.
  uint32_t imm_be() const;

 private:
  explicit Packet(std::span<const std::byte> bytes);

  std::array<std::byte, kMaxHeaderBytes> headers_;  // what comes first, as far as it goes
  const OpcodeInfo* info_ = nullptr;
  std::span<const std::byte> payload_;
};

constexpr uint32_t pad_bytes(uint32_t payload_bytes) {
  return -payload_bytes & 3;
}

// Each writes its header at `to` and returns the byte after it.
std::byte* write_bth(std::byte* to, const Bth& bth);
std::byte* write_reth(std::byte* to, const Reth& reth);
std::byte* write_deth(std::byte* to, const Deth& deth);
std::byte* write_aeth(std::byte* to, const Aeth& aeth);
std::byte* write_atomic_eth(std::byte* to, const AtomicEth& atomic);
std::byte* write_atomic_ack(std::byte* to, uint64_t original);
std::byte* write_ieth(std::byte* to, uint32_t rkey);
std::byte* write_imm(std::byte* to, uint32_t imm_be);

}  // namespace verbena::wire
