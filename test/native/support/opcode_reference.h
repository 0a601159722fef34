// The opcodes that the device takes, written down a second time from the specification (IBTA
// volume 1, table 38; annexes A17 and A19), to hold the device's own table against.
#pragma once

#include <array>
#include <cstdint>

namespace verbena::test {

enum class Position : uint8_t { kFirst, kMiddle, kLast, kOnly };
enum class Family : uint8_t { kSend, kWrite, kRead, kAtomic, kAtomicWrite, kResponse };

struct OpcodeReference {
  uint8_t opcode;
  uint32_t header_bytes;  // with the BTH
  bool payload;
  Family family;
  Position position;
  bool invalidates = false;
};

inline constexpr std::array kReliableOpcodes = {
    OpcodeReference{0x00, 12, true, Family::kSend, Position::kFirst},
    OpcodeReference{0x01, 12, true, Family::kSend, Position::kMiddle},
    OpcodeReference{0x02, 12, true, Family::kSend, Position::kLast},
    OpcodeReference{0x03, 16, true, Family::kSend, Position::kLast},
    OpcodeReference{0x04, 12, true, Family::kSend, Position::kOnly},
    OpcodeReference{0x05, 16, true, Family::kSend, Position::kOnly},
    OpcodeReference{0x06, 28, true, Family::kWrite, Position::kFirst},
    OpcodeReference{0x07, 12, true, Family::kWrite, Position::kMiddle},
    OpcodeReference{0x08, 12, true, Family::kWrite, Position::kLast},
    OpcodeReference{0x09, 16, true, Family::kWrite, Position::kLast},
    OpcodeReference{0x0A, 28, true, Family::kWrite, Position::kOnly},
    OpcodeReference{0x0B, 32, true, Family::kWrite, Position::kOnly},
    OpcodeReference{0x0C, 28, false, Family::kRead, Position::kOnly},
    OpcodeReference{0x0D, 16, true, Family::kResponse, Position::kFirst},
    OpcodeReference{0x0E, 12, true, Family::kResponse, Position::kMiddle},
    OpcodeReference{0x0F, 16, true, Family::kResponse, Position::kLast},
    OpcodeReference{0x10, 16, true, Family::kResponse, Position::kOnly},
    OpcodeReference{0x11, 16, false, Family::kResponse, Position::kOnly},
    OpcodeReference{0x12, 24, false, Family::kResponse, Position::kOnly},
    OpcodeReference{0x13, 40, false, Family::kAtomic, Position::kOnly},
    OpcodeReference{0x14, 40, false, Family::kAtomic, Position::kOnly},
    OpcodeReference{0x16, 16, true, Family::kSend, Position::kLast, true},
    OpcodeReference{0x17, 16, true, Family::kSend, Position::kOnly, true},
    OpcodeReference{0x1D, 28, true, Family::kAtomicWrite, Position::kOnly},
};

// Of an unreliable connection: SENDs and WRITEs with 0x20 added. Of datagrams: 0x64 and 0x65.
inline constexpr uint8_t kUnreliableBit = 0x20;
inline constexpr uint8_t kLastUnreliable = 0x2B;
inline constexpr OpcodeReference kDatagram{0x64, 20, true, Family::kSend, Position::kOnly};
inline constexpr OpcodeReference kDatagramImm{0x65, 24, true, Family::kSend, Position::kOnly};

// nullptr for an opcode that the device does not take.
inline const OpcodeReference* opcode_reference(uint8_t opcode) {
  if (opcode == kDatagram.opcode) return &kDatagram;
  if (opcode == kDatagramImm.opcode) return &kDatagramImm;
  const bool unreliable = opcode >= kUnreliableBit && opcode <= kLastUnreliable;
  const uint8_t reliable = unreliable ? opcode - kUnreliableBit : opcode;
  for (const OpcodeReference& each : kReliableOpcodes) {
    if (each.opcode == reliable) return &each;
  }
  return nullptr;
}

// Whether a UDP payload of `length` bytes without its ICRC holds the headers of its opcode, and
// payload and padding as its pad count says.
inline bool well_formed(uint8_t opcode, size_t length, uint32_t pad) {
  const OpcodeReference* reference = opcode_reference(opcode);
  if (reference == nullptr || length < reference->header_bytes + pad) return false;
  const size_t behind = length - reference->header_bytes;
  return reference->payload ? behind % 4 == 0 : behind == 0;
}

}  // namespace verbena::test
