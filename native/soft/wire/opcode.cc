// The opcode table: one row an opcode, the header length derived from the headers it names.
#include "soft/wire/opcode.h"

#include <algorithm>
#include <array>

namespace verbena::wire {
namespace {

using enum OpcodeFlag;

constexpr uint8_t header_bytes(uint16_t flags) {
  uint32_t bytes = kBthBytes;
  const auto add = [&](OpcodeFlag flag, uint32_t size) {
    if ((flags & static_cast<uint16_t>(flag)) != 0) bytes += size;
  };
  add(kReth, kRethBytes);
  add(kAeth, kAethBytes);
  add(kAtomicEth, kAtomicEthBytes);
  add(kAtomicAckEth, kAtomicAckEthBytes);
  add(kImm, kImmBytes);
  add(kDeth, kDethBytes);
  add(kIeth, kIethBytes);
  return static_cast<uint8_t>(bytes);
}

constexpr uint16_t kSendRequest = kRequest | kSend | kPayload;
constexpr uint16_t kWriteRequest = kRequest | kWrite | kPayload;
constexpr uint16_t kReadResponse = kRead | kPayload;
constexpr uint16_t kNone = 0;

struct Row {
  Opcode opcode;
  const char* name;
  uint16_t flags;
};

constexpr std::array kRows = {
    Row{Opcode::kSendFirst, "SEND_FIRST", kSendRequest | kStart},
    Row{Opcode::kSendMiddle, "SEND_MIDDLE", kSendRequest},
    Row{Opcode::kSendLast, "SEND_LAST", kSendRequest | kEnd},
    Row{Opcode::kSendLastImm, "SEND_LAST_IMM", kSendRequest | kEnd | kImm},
    Row{Opcode::kSendOnly, "SEND_ONLY", kSendRequest | kStart | kEnd},
    Row{Opcode::kSendOnlyImm, "SEND_ONLY_IMM", kSendRequest | kStart | kEnd | kImm},
    Row{Opcode::kWriteFirst, "WRITE_FIRST", kWriteRequest | kStart | kReth},
    Row{Opcode::kWriteMiddle, "WRITE_MIDDLE", kWriteRequest},
    Row{Opcode::kWriteLast, "WRITE_LAST", kWriteRequest | kEnd},
    Row{Opcode::kWriteLastImm, "WRITE_LAST_IMM", kWriteRequest | kEnd | kImm},
    Row{Opcode::kWriteOnly, "WRITE_ONLY", kWriteRequest | kStart | kEnd | kReth},
    Row{Opcode::kWriteOnlyImm, "WRITE_ONLY_IMM", kWriteRequest | kStart | kEnd | kReth | kImm},
    Row{Opcode::kReadRequest, "READ_REQUEST", kRequest | kRead | kStart | kEnd | kReth},
    Row{Opcode::kReadResponseFirst, "READ_RESPONSE_FIRST", kReadResponse | kStart | kAeth},
    Row{Opcode::kReadResponseMiddle, "READ_RESPONSE_MIDDLE", kReadResponse},
    Row{Opcode::kReadResponseLast, "READ_RESPONSE_LAST", kReadResponse | kEnd | kAeth},
    Row{Opcode::kReadResponseOnly, "READ_RESPONSE_ONLY", kReadResponse | kStart | kEnd | kAeth},
    Row{Opcode::kAcknowledge, "ACKNOWLEDGE", kNone | kAeth},
    Row{Opcode::kAtomicAcknowledge, "ATOMIC_ACKNOWLEDGE", kAtomic | kAeth | kAtomicAckEth},
    Row{Opcode::kCompareSwap, "COMPARE_SWAP", kRequest | kAtomic | kStart | kEnd | kAtomicEth},
    Row{Opcode::kFetchAdd, "FETCH_ADD", kRequest | kAtomic | kStart | kEnd | kAtomicEth},
    Row{Opcode::kSendLastInvalidate, "SEND_LAST_INVALIDATE", kSendRequest | kEnd | kIeth},
    Row{Opcode::kSendOnlyInvalidate, "SEND_ONLY_INVALIDATE", kSendRequest | kStart | kEnd | kIeth},
    Row{Opcode::kAtomicWrite, "ATOMIC_WRITE",
        kRequest | kAtomic | kStart | kEnd | kReth | kPayload},
};

constexpr uint16_t kDatagram = kSendRequest | kStart | kEnd | kDeth;

constexpr auto kTable = [] {
  std::array<OpcodeInfo, 256> table{};
  const auto enter = [&table](Opcode opcode, const char* name, uint16_t flags,
                              Transport transport) {
    table[static_cast<uint8_t>(opcode)] = {name, flags, header_bytes(flags), transport};
  };
  for (const Row& row : kRows) {
    enter(row.opcode, row.name, row.flags, Transport::kReliableConnection);
    const bool unreliable =
        (row.flags & (kSend | kWrite)) != 0 && (row.flags & (kNone | kIeth)) == 0;
    if (!unreliable) continue;
    enter(with_transport(row.opcode, Transport::kUnreliableConnection), row.name, row.flags,
          Transport::kUnreliableConnection);
  }
  enter(Opcode::kDatagramSend, "UD_SEND_ONLY", kDatagram, Transport::kUnreliableDatagram);
  enter(Opcode::kDatagramSendImm, "UD_SEND_ONLY_IMM", kDatagram | kImm,
        Transport::kUnreliableDatagram);
  return table;
}();
static_assert(std::all_of(kTable.begin(), kTable.end(), [](const OpcodeInfo& info) {
  return info.header_bytes <= kMaxHeaderBytes;
}));

}  // namespace

const OpcodeInfo* opcode_info(uint8_t opcode) {
  const OpcodeInfo& info = kTable[opcode];
  return info.name == nullptr ? nullptr : &info;
}

}  // namespace verbena::wire
