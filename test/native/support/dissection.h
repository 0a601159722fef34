// Captures: as bytes, as tshark dissects them, and as our own parser does.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <functional>
#include <iterator>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <sstream>
#include <string>
#include <vector>

#include "soft/wire/icrc.h"
#include "soft/wire/packet.h"

namespace verbena::test {

// The UDP payloads of a capture that the soft device wrote, in order.
inline std::vector<std::vector<std::byte>> read_udp_payloads(const std::string& path) {
  constexpr size_t kFileHeader = 24, kRecordHeader = 16, kUdpHeader = 8;
  std::ifstream file(path, std::ios::binary);
  const std::string all{std::istreambuf_iterator<char>(file), {}};
  std::vector<std::vector<std::byte>> payloads;
  for (size_t at = kFileHeader; at + kRecordHeader < all.size();) {
    uint32_t length;
    std::memcpy(&length, &all[at + 8], sizeof length);
    const auto record = std::as_bytes(std::span(all).subspan(at + kRecordHeader, length));
    const size_t ip_header = record[0] >> 4 == std::byte{4} ? 20 : 40;
    const auto payload = record.subspan(ip_header + kUdpHeader);
    payloads.emplace_back(payload.begin(), payload.end());
    at += kRecordHeader + length;
  }
  return payloads;
}

// One line for each packet that `filter` lets through, with `options` as tshark knows them. Its
// guess that payload is RPC-over-RDMA is switched off.
inline std::vector<std::string> tshark(const std::string& path, const std::string& filter,
                                       const std::string& options = "") {
  const std::string command = "tshark -n -r '" + path + "' --disable-protocol rpcordma -Y '" +
                              filter + "' " + options + " 2>/dev/null";
  std::unique_ptr<FILE, int (*)(FILE*)> pipe(popen(command.c_str(), "r"), pclose);
  EXPECT_NE(pipe, nullptr);
  std::string output;
  std::array<char, 4096> part;
  while (const size_t count = fread(part.data(), 1, part.size(), pipe.get())) {
    output.append(part.data(), count);
  }
  EXPECT_EQ(pclose(pipe.release()), 0) << command;
  std::vector<std::string> lines;
  std::istringstream stream(output);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

// A value as tshark prints it: numbers become decimal, bytes stay what they are.
inline std::string plain(std::string value) {
  if (value == "True") return "1";
  if (value == "False") return "0";
  std::erase(value, ':');
  return value.starts_with("0x") ? std::to_string(std::stoull(value, nullptr, 16)) : value;
}

// The fields of each packet, in order; a field that a packet does not have is empty.
inline std::vector<std::vector<std::string>> dissect(const std::string& path,
                                                     std::span<const std::string> fields) {
  std::string options = "-T fields -E occurrence=f";
  for (const std::string& field : fields) options += " -e " + field;
  std::vector<std::vector<std::string>> rows;
  for (const std::string& line : tshark(path, "infiniband", options)) {
    std::vector<std::string>& row = rows.emplace_back();
    std::istringstream columns(line);
    for (std::string value; std::getline(columns, value, '\t');) row.push_back(plain(value));
    row.resize(fields.size());
  }
  return rows;
}

inline std::string hex(std::span<const std::byte> bytes) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (const std::byte byte : bytes) {
    text += kDigits[std::to_integer<unsigned>(byte) >> 4];
    text += kDigits[std::to_integer<unsigned>(byte) & 15];
  }
  return text;
}

// All digits of a 32-bit or 64-bit number.
template <class Integer>
std::string hex_of(Integer value) {
  std::array<char, 17> text;
  std::snprintf(text.data(), text.size(), "%0*lx", static_cast<int>(2 * sizeof value),
                static_cast<unsigned long>(value));
  return text.data();
}

inline std::string number(uint64_t value) {
  return std::to_string(value);
}

// A field of the headers, under tshark's name without its `infiniband.`.
struct Field {
  const char* name;
  // What a packet's opcode must have; every packet has the BTH.
  std::optional<wire::OpcodeFlag> flag;
  std::function<std::string(const wire::Packet&)> value;
};

inline const std::vector<Field>& fields() {
  constexpr auto kAlways = std::nullopt;
  static const std::vector<Field> table = {
      {"bth.opcode", kAlways, [](auto& p) { return number(static_cast<uint8_t>(p.opcode())); }},
      {"bth.se", kAlways, [](auto& p) { return number(p.solicited()); }},
      {"bth.padcnt", kAlways, [](auto& p) { return number(p.pad_count()); }},
      {"bth.p_key", kAlways, [](auto& p) { return number(p.pkey()); }},
      {"bth.destqp", kAlways, [](auto& p) { return number(p.dest_qpn()); }},
      {"bth.a", kAlways, [](auto& p) { return number(p.ack_request()); }},
      {"bth.psn", kAlways, [](auto& p) { return number(p.psn()); }},
      {"reth.va", wire::OpcodeFlag::kReth, [](auto& p) { return number(p.reth().address); }},
      {"reth.r_key", wire::OpcodeFlag::kReth, [](auto& p) { return number(p.reth().rkey); }},
      {"reth.dmalen", wire::OpcodeFlag::kReth, [](auto& p) { return number(p.reth().length); }},
      // tshark names the first two of an AtomicETH as it does those of a RETH.
      {"reth.va", wire::OpcodeFlag::kAtomicEth,
       [](auto& p) { return number(p.atomic_eth().address); }},
      {"reth.r_key", wire::OpcodeFlag::kAtomicEth,
       [](auto& p) { return number(p.atomic_eth().rkey); }},
      {"atomiceth.swapdt", wire::OpcodeFlag::kAtomicEth,
       [](auto& p) { return number(p.atomic_eth().swap_add); }},
      {"atomiceth.cmpdt", wire::OpcodeFlag::kAtomicEth,
       [](auto& p) { return number(p.atomic_eth().compare); }},
      {"aeth.syndrome", wire::OpcodeFlag::kAeth, [](auto& p) { return number(p.aeth().syndrome); }},
      {"aeth.msn", wire::OpcodeFlag::kAeth, [](auto& p) { return number(p.aeth().msn); }},
      {"atomicacketh.origremdt", wire::OpcodeFlag::kAtomicAckEth,
       [](auto& p) { return number(p.atomic_ack_original()); }},
      {"immdt", wire::OpcodeFlag::kImm, [](auto& p) { return hex_of(be32toh(p.imm_be())); }},
      {"ieth", wire::OpcodeFlag::kIeth, [](auto& p) { return hex_of(p.ieth_rkey()); }},
      {"deth.q_key", wire::OpcodeFlag::kDeth, [](auto& p) { return number(p.deth().qkey); }},
      {"deth.srcqp", wire::OpcodeFlag::kDeth, [](auto& p) { return number(p.deth().source_qpn); }},
  };
  return table;
}

using Fields = std::map<std::string, std::string>;  // only those that the packet has

inline constexpr char kPayload[] = "data.data";  // with the padding
inline constexpr char kIcrc[] = "infiniband.invariant.crc";
// The first word behind the BTH of an opcode that tshark does not know.
inline constexpr char kUnknown[] = "infiniband.vendor";

inline std::vector<std::string> field_names() {
  std::set<std::string> names{kPayload, kIcrc, kUnknown};
  for (const Field& field : fields()) names.insert(std::string("infiniband.") + field.name);
  return {names.begin(), names.end()};
}

// `known` is whether tshark knows the opcode.
inline Fields as_we_parse(std::span<const std::byte> bytes, bool known) {
  const auto packet = wire::Packet::parse(bytes.first(bytes.size() - wire::kIcrcBytes));
  if (!packet) return {{"malformed", hex(bytes)}};
  Fields found;
  for (const Field& field : fields()) {
    const bool present = !field.flag || (known && packet->has(*field.flag));
    if (present) found[std::string("infiniband.") + field.name] = field.value(*packet);
  }
  if (!known) {
    found[kUnknown] = hex(bytes.subspan(wire::kBthBytes, 4));
    return found;
  }
  uint32_t icrc;
  std::memcpy(&icrc, &bytes[bytes.size() - wire::kIcrcBytes], sizeof icrc);
  found[kIcrc] = number(be32toh(icrc));
  const auto payload = bytes.subspan(packet->info().header_bytes);
  if (payload.size() > wire::kIcrcBytes) {
    found[kPayload] = hex(payload.first(payload.size() - wire::kIcrcBytes));
  }
  return found;
}

inline std::vector<Fields> as_tshark_has_it(const std::string& path) {
  const std::vector<std::string> names = field_names();
  std::vector<Fields> packets;
  for (const auto& row : dissect(path, names)) {
    Fields& packet = packets.emplace_back();
    for (size_t i = 0; i < names.size(); ++i) {
      if (!row[i].empty()) packet[names[i]] = row[i];
    }
  }
  return packets;
}

}  // namespace verbena::test
