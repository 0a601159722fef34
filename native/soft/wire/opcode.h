// The BTH opcodes that the device takes, and what each one carries (IBTA volume 1,
// table 38).
#pragma once

#include <cstdint>

namespace verbena::wire {

enum class Opcode : uint8_t {
  kSendFirst = 0x00,
  kSendMiddle = 0x01,
  kSendLast = 0x02,
  kSendLastImm = 0x03,
  kSendOnly = 0x04,
  kSendOnlyImm = 0x05,
  kWriteFirst = 0x06,
  kWriteMiddle = 0x07,
  kWriteLast = 0x08,
  kWriteLastImm = 0x09,
  kWriteOnly = 0x0A,
  kWriteOnlyImm = 0x0B,
  kReadRequest = 0x0C,
  kReadResponseFirst = 0x0D,
  kReadResponseMiddle = 0x0E,
  kReadResponseLast = 0x0F,
  kReadResponseOnly = 0x10,
  kAcknowledge = 0x11,
  kAtomicAcknowledge = 0x12,
  kCompareSwap = 0x13,
  kFetchAdd = 0x14,
  kSendLastInvalidate = 0x16,
  kSendOnlyInvalidate = 0x17,
  kAtomicWrite = 0x1D,
  // The unreliable connection's SENDs and WRITEs are these with the transport's bits.
  kDatagramSend = 0x64,
  kDatagramSendImm = 0x65,
};

// The top three bits of an opcode.
enum class Transport : uint8_t {
  kReliableConnection = 0x00,
  kUnreliableConnection = 0x20,
  kUnreliableDatagram = 0x60,
};

constexpr Opcode with_transport(Opcode reliable, Transport transport) {
  return static_cast<Opcode>(static_cast<uint8_t>(reliable) | static_cast<uint8_t>(transport));
}

// A distinct type: a flag is never compared with an opcode by accident.
enum class OpcodeFlag : uint16_t {
  kRequest = 1 << 0,
  kSend = 1 << 1,
  kWrite = 1 << 2,
  kRead = 1 << 3,
  kAtomic = 1 << 4,
  kStart = 1 << 5,    // FIRST or ONLY
  kEnd = 1 << 6,      // LAST or ONLY
  kPayload = 1 << 7,  // may carry payload
  kReth = 1 << 8,
  kAeth = 1 << 9,
  kAtomicEth = 1 << 10,
  kAtomicAckEth = 1 << 11,
  kImm = 1 << 12,
  kDeth = 1 << 13,
  kIeth = 1 << 14,
};

constexpr uint16_t operator|(OpcodeFlag a, OpcodeFlag b) {
  return static_cast<uint16_t>(static_cast<uint16_t>(a) | static_cast<uint16_t>(b));
}
constexpr uint16_t operator|(uint16_t a, OpcodeFlag b) {
  return static_cast<uint16_t>(a | static_cast<uint16_t>(b));
}

constexpr uint32_t kBthBytes = 12;
constexpr uint32_t kRethBytes = 16;
constexpr uint32_t kAethBytes = 4;
constexpr uint32_t kAtomicEthBytes = 28;
constexpr uint32_t kAtomicAckEthBytes = 8;
constexpr uint32_t kImmBytes = 4;
constexpr uint32_t kDethBytes = 8;
constexpr uint32_t kIethBytes = 4;
// Of any opcode that the device takes.
constexpr uint32_t kMaxHeaderBytes = kBthBytes + kAtomicEthBytes;

struct OpcodeInfo {
  const char* name;
  uint16_t flags;
  uint8_t header_bytes;  // BTH and extension headers
  Transport transport;

  constexpr bool has(OpcodeFlag flag) const { return (flags & static_cast<uint16_t>(flag)) != 0; }
};

// nullptr for an opcode that the device does not take: such a packet is dropped before anything
// else is read.
const OpcodeInfo* opcode_info(uint8_t opcode);

inline const OpcodeInfo& opcode_info(Opcode opcode) {
  return *opcode_info(static_cast<uint8_t>(opcode));
}

}  // namespace verbena::wire
