// Looks at packets as they are on the wire, in a network namespace whose loopback interface cuts
// bursts up.

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <array>
#include <cstdlib>
#include <cstring>
#include <fstream>

#include "io_helpers.h"
#include "soft/io/transmit_batch.h"
#include "soft/wire/icrc.h"

namespace verbena::io {
namespace {

constexpr int kPackets = 60;
constexpr int kCannot = 100;  // no right to make a namespace, or no tools

// A network namespace of its own; without root, in a user namespace in which this user is root.
bool unshare_network() {
  const uid_t user = geteuid();
  if (user == 0) return unshare(CLONE_NEWNET) == 0;
  if (unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0) return false;
  std::ofstream map("/proc/self/uid_map");
  map << "0 " << user << " 1" << std::flush;
  return map.good();
}

// The queueing discipline lets 3000 bytes pass at once, and so has to cut every burst up. The
// kernel enters the route to an IPv6 address some time after the address.
bool enter_namespace() {
  return unshare_network() &&
         std::system(
             "{ ip link set lo up && ip addr add fd00:77::1/128 dev lo nodad && "
             "ip addr add fd00:77::2/128 dev lo nodad && "
             "tc qdisc add dev lo root tbf rate 20gbit burst 3000 limit 10mb && "
             "for end in 1 2; do until ip -6 route get fd00:77::$end | grep -q ^local; do :; done; "
             "done; } 2>/dev/null") == 0;
}

void send_burst(const wire::Address& from, const wire::Address& to) {
  const auto socket = open_socket(from);
  TransmitBatch batch(*socket, nullptr, nullptr);
  for (int i = 0; i < kPackets; ++i) {
    const Payload payload = random_payload(i == kPackets - 1 ? 100 : 1036, i);
    std::memcpy(batch.reserve(to, payload.size()), payload.data(), payload.size());
    batch.commit();
  }
  batch.flush();
  if (batch.counters().messages != 1) std::abort();  // it was not a burst
}

// How many packets came with the next identification and an ICRC that covers it.
int count_good(int raw, const wire::Address& from, const wire::Address& to) {
  const timeval patience{5, 0};
  setsockopt(raw, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  int good = 0;
  std::array<std::byte, 65536> buffer;
  for (int i = 0; i < kPackets; ++i) {
    const ssize_t bytes = recv(raw, buffer.data(), buffer.size(), 0);
    if (bytes < 48) break;
    iphdr header;
    std::memcpy(&header, buffer.data(), sizeof header);
    const std::span payload(buffer.data() + 28, static_cast<size_t>(bytes) - 28);
    const uint16_t ip_id = ntohs(header.id);
    const wire::UdpFlow flow{from, to, kRocePort, kRocePort};
    const wire::IcrcVerdict verdict =
        wire::icrc_check(flow, payload, ip_id, wire::IcrcMode::kStrict);
    const bool no_fragments = ntohs(header.frag_off) == 0x4000;
    good += verdict.valid && verdict.ip_id == ip_id && ip_id == i && no_fragments ? 1 : 0;
  }
  return good;
}

// Exit status of the child: the number of good packets, or kCannot.
int look_at_ipv4_burst() {
  if (!enter_namespace()) return kCannot;
  const auto from = wire::Address::v4(127, 0, 0, 2);
  const auto to = wire::Address::v4(127, 0, 0, 3);
  const int raw = socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_UDP);
  if (raw < 0) return kCannot;
  const auto receiver = open_socket(to);  // or the kernel would answer "port unreachable"
  send_burst(from, to);
  return count_good(raw, from, to);
}

// IPv6 raw sockets give the UDP packet without the IP header; there is nothing in it that the ICRC
// needs.
int look_at_ipv6_burst() {
  if (!enter_namespace()) return kCannot;
  const auto from = *wire::Address::parse("fd00:77::1");
  const auto to = *wire::Address::parse("fd00:77::2");
  const int raw = socket(AF_INET6, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_UDP);
  if (raw < 0) return kCannot;
  const timeval patience{5, 0};
  setsockopt(raw, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  const auto receiver = open_socket(to);
  send_burst(from, to);
  int good = 0;
  std::array<std::byte, 65536> buffer;
  for (int i = 0; i < kPackets; ++i) {
    const ssize_t bytes = recv(raw, buffer.data(), buffer.size(), 0);
    if (bytes < 28) break;
    const std::span payload(buffer.data() + 8, static_cast<size_t>(bytes) - 8);
    const wire::UdpFlow flow{from, to, kRocePort, kRocePort};
    good += wire::icrc_check(flow, payload, 0, wire::IcrcMode::kStrict).valid ? 1 : 0;
  }
  return good;
}

int run_in_child(int (*look)()) {
  const pid_t child = fork();
  if (child == 0) _exit(look());
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TEST(Wire, CarriesIdentificationsAndIcrcsThatAgree) {
  const int good = run_in_child(look_at_ipv4_burst);
  if (good == kCannot) GTEST_SKIP() << "needs a network namespace, raw sockets, ip and tc";
  EXPECT_EQ(good, kPackets);
}

TEST(Wire, CarriesRightIcrcsOverIpv6) {
  const int good = run_in_child(look_at_ipv6_burst);
  if (good == kCannot) GTEST_SKIP() << "needs a network namespace, raw sockets, ip and tc";
  EXPECT_EQ(good, kPackets);
}

}  // namespace
}  // namespace verbena::io
