// Sends forged packets to a device from a process that is none of its peers:
// `forge PACKETS SEED SERVER VICTIM...`, a victim being ADDRESS,QPN,PSN,RKEY,REGION,BYTES, what its
// peer knows, with PSN the next that the server expects. Each packet is right but for at least one
// field, and no packet would be carried out. Prints how many of each kind were sent, as JSON.
//
// A raw socket gives them any source address: this needs CAP_NET_RAW.
#include <arpa/inet.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "soft/wire/icrc.h"
#include "soft/wire/packet.h"
#include "soft/wire/psn.h"

namespace verbena::test {
namespace {

using wire::Opcode;

constexpr uint16_t kPort = 4791;
constexpr uint16_t kIpId = 1;  // the kernel would replace 0
constexpr size_t kIpAndUdp = sizeof(iphdr) + sizeof(udphdr);
constexpr size_t kBatch = 64;
constexpr size_t kLargest = 512;

struct Victim {
  in_addr address;
  uint32_t qpn;
  uint32_t psn;
  uint32_t rkey;
  uint64_t region;
  uint32_t bytes;
};

// What is wrong.
enum class Wrong : uint8_t {
  kQpn,
  kPsn,
  kSource,
  kSourcePort,
  kIcrc,
  // A wrong key or range at the right sequence number ends the connection, as it must: here the
  // number is wrong too.
  kKey,
  kBounds,
  kResponse,  // to a request that was never made
  kMalformed,
  kPartition,
  kTransport,
  kCount,
};

constexpr const char* kNames[] = {"qpn",       "psn",       "source",   "sourcePort",
                                  "icrc",      "key",       "bounds",   "response",
                                  "malformed", "partition", "transport"};
static_assert(std::size(kNames) == static_cast<size_t>(Wrong::kCount));

class Forger {
 public:
  Forger(uint64_t seed, in_addr server, std::vector<Victim> victims)
      : random_(seed), server_(server), victims_(std::move(victims)) {}

  // One IP packet; returns its bytes.
  size_t forge(Wrong wrong, std::byte* to) {
    const Victim& victim = victims_[below(static_cast<uint32_t>(victims_.size()))];
    wire::Bth bth{.opcode = opcode(wrong),
                  .dest_qpn = victim.qpn,
                  .ack_request = true,
                  .psn = wrong == Wrong::kPsn || wrong == Wrong::kKey || wrong == Wrong::kBounds
                             ? wire::psn_add(victim.psn, 1 + below(wire::kPsnMask))
                             : victim.psn};
    if (wrong == Wrong::kQpn) bth.dest_qpn = unused_qpn();
    if (wrong == Wrong::kPartition) bth.pkey = static_cast<uint16_t>(0x8000 | below(0x7FFF));
    std::byte* const payload = to + kIpAndUdp;
    std::byte* end = body(wire::write_bth(payload, bth), bth.opcode, victim, wrong);
    if (wrong == Wrong::kMalformed) end = spoil(payload, end);
    in_addr source = victim.address;
    uint16_t port = kPort;
    if (wrong == Wrong::kSource) source = strange_address();
    if (wrong == Wrong::kSourcePort) port = static_cast<uint16_t>(1 + below(kPort - 1));
    return finish(to, source, port, end, wrong == Wrong::kIcrc);
  }

 private:
  uint32_t below(uint32_t bound) { return static_cast<uint32_t>(random_() % bound); }

  uint32_t unused_qpn() {
    for (;;) {
      const uint32_t qpn = below(1U << 24);
      bool used = false;
      for (const Victim& victim : victims_) used = used || victim.qpn == qpn;
      if (!used) return qpn;
    }
  }

  in_addr strange_address() {
    for (;;) {
      const in_addr address{htonl(0x7F00'0001 + below(0xFF'FFFE))};
      bool known = false;
      for (const Victim& victim : victims_)
        known = known || victim.address.s_addr == address.s_addr;
      if (!known) return address;
    }
  }

  Opcode opcode(Wrong wrong) {
    static constexpr Opcode kRequests[] = {Opcode::kSendOnly,    Opcode::kWriteOnly,
                                           Opcode::kWriteOnly,   Opcode::kReadRequest,
                                           Opcode::kCompareSwap, Opcode::kFetchAdd};
    static constexpr Opcode kResponses[] = {Opcode::kAcknowledge, Opcode::kReadResponseOnly,
                                            Opcode::kAtomicAcknowledge};
    if (wrong == Wrong::kResponse) return kResponses[below(std::size(kResponses))];
    const bool keyed = wrong == Wrong::kKey || wrong == Wrong::kBounds;
    const Opcode chosen = keyed ? kRequests[1 + below(std::size(kRequests) - 1)]
                                : kRequests[below(std::size(kRequests))];
    if (wrong != Wrong::kTransport) return chosen;
    return wire::with_transport(Opcode::kWriteOnly, wire::Transport::kUnreliableConnection);
  }

  std::byte* body(std::byte* at, Opcode opcode, const Victim& victim, Wrong wrong) {
    const wire::OpcodeInfo& info = wire::opcode_info(opcode);
    const uint32_t length = 8 * (1 + below(16));
    const uint32_t rkey =
        wrong == Wrong::kKey ? victim.rkey ^ (1 + below(0x7FFFFFFF)) : victim.rkey;
    uint64_t address = victim.region + 8 * below((victim.bytes - length) / 8);
    if (wrong == Wrong::kBounds) address = victim.region + victim.bytes - below(length);
    if (info.has(wire::OpcodeFlag::kReth)) at = wire::write_reth(at, {address, rkey, length});
    if (info.has(wire::OpcodeFlag::kAtomicEth)) {
      at = wire::write_atomic_eth(at, {address & ~uint64_t{7}, rkey, 1, 0});
    }
    if (info.has(wire::OpcodeFlag::kAeth)) at = wire::write_aeth(at, {0x1F, 1});
    if (info.has(wire::OpcodeFlag::kAtomicAckEth)) at = wire::write_atomic_ack(at, 1);
    if (!info.has(wire::OpcodeFlag::kPayload)) return at;
    std::memset(at, 0xF0, length);
    return at + length;
  }

  // An opcode that there is not, another version of the transport, or not even all headers.
  std::byte* spoil(std::byte* payload, std::byte* end) {
    switch (below(3)) {
      case 0:
        payload[0] = static_cast<std::byte>(0xE0 | below(0x20));
        return end;
      case 1:
        payload[1] = static_cast<std::byte>(1 + below(15));
        return end;
      default:
        payload[0] = static_cast<std::byte>(Opcode::kCompareSwap);
        return payload + wire::kBthBytes + 4 * below(7);
    }
  }

  size_t finish(std::byte* to, in_addr source, uint16_t port, std::byte* end, bool damage) {
    const std::byte* const payload = to + kIpAndUdp;
    const std::span<const std::byte> covered(payload, end);
    const wire::UdpFlow flow{address_of(source), address_of(server_), port, kPort};
    wire::icrc_store(end,
                     wire::icrc_compute(flow, kIpId, covered) ^ (damage ? 1U << below(32) : 0));
    const auto total = static_cast<uint16_t>(end + wire::kIcrcBytes - to);
    iphdr ip{};
    ip.version = 4;
    ip.ihl = 5;
    ip.tot_len = htons(total);
    ip.id = htons(kIpId);
    ip.frag_off = htons(IP_DF);
    ip.ttl = 64;
    ip.protocol = IPPROTO_UDP;
    ip.saddr = source.s_addr;
    ip.daddr = server_.s_addr;
    udphdr udp{};
    udp.source = htons(port);
    udp.dest = htons(kPort);
    udp.len = htons(static_cast<uint16_t>(total - sizeof ip));
    std::memcpy(to, &ip, sizeof ip);
    std::memcpy(to + sizeof ip, &udp, sizeof udp);
    return total;
  }

  static wire::Address address_of(in_addr address) {
    const uint32_t host = ntohl(address.s_addr);
    return wire::Address::v4(static_cast<uint8_t>(host >> 24), static_cast<uint8_t>(host >> 16),
                             static_cast<uint8_t>(host >> 8), static_cast<uint8_t>(host));
  }

  std::mt19937_64 random_;
  in_addr server_;
  std::vector<Victim> victims_;
};

// Sends the batch whole: a socket that is full for now is asked again.
void send_all(int fd, std::span<mmsghdr> messages) {
  while (!messages.empty()) {
    const int sent = sendmmsg(fd, messages.data(), static_cast<unsigned>(messages.size()), 0);
    if (sent < 0 && errno != ENOBUFS && errno != EAGAIN && errno != EINTR) {
      std::perror("forge: sendmmsg");
      std::exit(1);
    }
    if (sent > 0) messages = messages.subspan(static_cast<size_t>(sent));
  }
}

void run(Forger& forger, uint64_t packets, uint64_t seed, in_addr server) {
  const int fd = socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW);
  if (fd < 0) {
    std::perror("forge: a raw socket");
    std::exit(1);
  }
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_addr = server;
  std::mt19937_64 random(~seed);
  std::array<uint64_t, static_cast<size_t>(Wrong::kCount)> sent{};
  std::array<std::array<std::byte, kLargest>, kBatch> buffers;
  std::array<iovec, kBatch> pieces;
  std::array<mmsghdr, kBatch> messages{};
  while (packets > 0) {
    const size_t count = std::min<uint64_t>(packets, kBatch);
    for (size_t i = 0; i < count; ++i) {
      const auto wrong = static_cast<Wrong>(random() % sent.size());
      ++sent[static_cast<size_t>(wrong)];
      pieces[i] = {buffers[i].data(), forger.forge(wrong, buffers[i].data())};
      messages[i].msg_hdr = {&to, sizeof to, &pieces[i], 1, nullptr, 0, 0};
    }
    send_all(fd, std::span(messages).first(count));
    packets -= count;
  }
  close(fd);
  std::printf("{");
  for (size_t i = 0; i < sent.size(); ++i) {
    std::printf("%s\"%s\":%llu", i == 0 ? "" : ",", kNames[i],
                static_cast<unsigned long long>(sent[i]));
  }
  std::printf("}\n");
}

Victim victim_of(const char* text) {
  std::array<char, 16> address;
  Victim victim{};
  unsigned long long region = 0;
  const int found = std::sscanf(text, "%15[^,],%u,%u,%u,%llu,%u", address.data(), &victim.qpn,
                                &victim.psn, &victim.rkey, &region, &victim.bytes);
  if (found != 6 || inet_pton(AF_INET, address.data(), &victim.address) != 1) {
    std::fprintf(stderr, "forge: %s is no ADDRESS,QPN,PSN,RKEY,REGION,BYTES\n", text);
    std::exit(2);
  }
  victim.region = region;
  return victim;
}

}  // namespace
}  // namespace verbena::test

int main(int count, char** words) {
  in_addr server{};
  if (count < 5 || inet_pton(AF_INET, words[3], &server) != 1) {
    std::fprintf(stderr, "usage: forge PACKETS SEED SERVER VICTIM...\n");
    return 2;
  }
  std::vector<verbena::test::Victim> victims;
  for (int i = 4; i < count; ++i) victims.push_back(verbena::test::victim_of(words[i]));
  const uint64_t seed = std::strtoull(words[2], nullptr, 10);
  verbena::test::Forger forger(seed, server, victims);
  verbena::test::run(forger, std::strtoull(words[1], nullptr, 10), seed, server);
  return 0;
}
