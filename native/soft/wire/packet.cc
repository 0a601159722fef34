// Parsing and writing of the transport headers.
#include "soft/wire/packet.h"

#include <algorithm>
#include <cstring>

namespace verbena::wire {

Packet::Packet(std::span<const std::byte> bytes) {
  std::memcpy(headers_.data(), bytes.data(), std::min(bytes.size(), headers_.size()));
}

std::optional<Packet> Packet::parse(std::span<const std::byte> bytes) {
  if (bytes.size() < kBthBytes) return std::nullopt;
  Packet packet(bytes);
  const OpcodeInfo* info = opcode_info(static_cast<uint8_t>(packet.headers_[0]));
  if (info == nullptr) return std::nullopt;
  if ((packet.headers_[1] & std::byte{0x0F}) != std::byte{0}) return std::nullopt;
  const size_t fixed = info->header_bytes + packet.pad_count();
  if (bytes.size() < fixed) return std::nullopt;
  if (!info->has(OpcodeFlag::kPayload) && bytes.size() != info->header_bytes) return std::nullopt;
  if (pad_bytes(static_cast<uint32_t>(bytes.size() - fixed)) != packet.pad_count()) {
    return std::nullopt;
  }
  packet.info_ = info;
  packet.payload_ = bytes.subspan(info->header_bytes, bytes.size() - fixed);
  return packet;
}

Reth Packet::reth() const {
  const std::byte* at = &headers_[kBthBytes];
  return {load_be64(at), load_be32(at + 8), load_be32(at + 12)};
}

Deth Packet::deth() const {
  const std::byte* at = &headers_[kBthBytes];
  return {load_be32(at), load_be24(at + 5)};
}

Aeth Packet::aeth() const {
  const std::byte* at = &headers_[kBthBytes];
  return {static_cast<uint8_t>(at[0]), load_be24(at + 1)};
}

AtomicEth Packet::atomic_eth() const {
  const std::byte* at = &headers_[kBthBytes];
  return {load_be64(at), load_be32(at + 8), load_be64(at + 12), load_be64(at + 20)};
}

uint64_t Packet::atomic_ack_original() const {
  return load_be64(&headers_[kBthBytes + kAethBytes]);
}

uint32_t Packet::ieth_rkey() const {
  return load_be32(&headers_[kBthBytes]);
}

uint32_t Packet::imm_be() const {
  uint32_t imm;
  std::memcpy(&imm, &headers_[info_->header_bytes - kImmBytes], sizeof imm);
  return imm;
}

std::byte* write_bth(std::byte* to, const Bth& bth) {
  to[0] = static_cast<std::byte>(bth.opcode);
  to[1] = static_cast<std::byte>((bth.solicited ? 0x80 : 0) | bth.pad_count << 4);
  store_be16(to + 2, bth.pkey);
  store_be32(to + 4, bth.dest_qpn);
  store_be32(to + 8, bth.psn | (bth.ack_request ? 0x8000'0000U : 0));
  return to + kBthBytes;
}

std::byte* write_reth(std::byte* to, const Reth& reth) {
  store_be64(to, reth.address);
  store_be32(to + 8, reth.rkey);
  store_be32(to + 12, reth.length);
  return to + kRethBytes;
}

std::byte* write_deth(std::byte* to, const Deth& deth) {
  store_be32(to, deth.qkey);
  store_be32(to + 4, deth.source_qpn);
  return to + kDethBytes;
}

std::byte* write_aeth(std::byte* to, const Aeth& aeth) {
  store_be32(to, static_cast<uint32_t>(aeth.syndrome) << 24 | aeth.msn);
  return to + kAethBytes;
}

std::byte* write_atomic_eth(std::byte* to, const AtomicEth& atomic) {
  store_be64(to, atomic.address);
  store_be32(to + 8, atomic.rkey);
  store_be64(to + 12, atomic.swap_add);
  store_be64(to + 20, atomic.compare);
  return to + kAtomicEthBytes;
}

std::byte* write_atomic_ack(std::byte* to, uint64_t original) {
  store_be64(to, original);
  return to + kAtomicAckEthBytes;
}

std::byte* write_ieth(std::byte* to, uint32_t rkey) {
  store_be32(to, rkey);
  return to + kIethBytes;
}

std::byte* write_imm(std::byte* to, uint32_t imm_be) {
  std::memcpy(to, &imm_be, sizeof imm_be);
  return to + kImmBytes;
}

}  // namespace verbena::wire
