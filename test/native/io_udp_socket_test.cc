// Checks device sockets: how they are set up, that they are exclusive, and what errors say.

#include "soft/io/udp_socket.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <string>

#include "io_helpers.h"
#include "soft/io/interface.h"

namespace verbena::io {
namespace {

int get_option(const UdpSocket& socket, int level, int name) {
  int value = -1;
  socklen_t length = sizeof value;
  EXPECT_EQ(getsockopt(socket.fd(), level, name, &value, &length), 0);
  return value;
}

TEST(UdpSocket, IsCloseOnExecAndNonBlocking) {
  const auto socket = open_socket(test_address(0));
  ASSERT_TRUE(socket);
  EXPECT_NE(fcntl(socket->fd(), F_GETFD) & FD_CLOEXEC, 0);
  EXPECT_NE(fcntl(socket->fd(), F_GETFL) & O_NONBLOCK, 0);
}

TEST(UdpSocket, TurnsOnWhatRoceNeeds) {
  const auto socket = open_socket(test_address(0));
  ASSERT_TRUE(socket);
  EXPECT_EQ(get_option(*socket, SOL_UDP, UDP_GRO), 1);
  EXPECT_EQ(get_option(*socket, SOL_SOCKET, SO_RXQ_OVFL), 1);
  EXPECT_EQ(get_option(*socket, IPPROTO_IP, IP_MTU_DISCOVER), IP_PMTUDISC_DO);
}

TEST(UdpSocket, ReadsBackTheBufferThatWasGranted) {
  const auto socket = open_socket(test_address(0), {.port = kRocePort, .buffer_bytes = 300'000});
  ASSERT_TRUE(socket);
  EXPECT_EQ(socket->receive_buffer_bytes(), get_option(*socket, SOL_SOCKET, SO_RCVBUF));
  EXPECT_EQ(socket->send_buffer_bytes(), get_option(*socket, SOL_SOCKET, SO_SNDBUF));
  EXPECT_GT(socket->receive_buffer_bytes(), 0);
}

TEST(UdpSocket, LetsAnotherLoopbackAddressHaveTheSamePort) {
  const auto first = open_socket(test_address(0));
  const auto second = open_socket(test_address(1));
  EXPECT_TRUE(first && second);
}

TEST(UdpSocket, RefusesAnAddressInUseAndNamesTheWayOut) {
  const auto first = open_socket(test_address(0));
  Failure failure;
  EXPECT_EQ(UdpSocket::open(test_address(0), {}, failure), nullptr);
  EXPECT_EQ(failure.error, EADDRINUSE);
  EXPECT_NE(failure.text.find(test_address(0).to_string()), std::string::npos) << failure.text;
  EXPECT_NE(failure.text.find("VERBENA_SOFT_ADDR"), std::string::npos) << failure.text;
  EXPECT_NE(failure.text.find("process " + std::to_string(getpid()) + " ("), std::string::npos)
      << failure.text;
}

TEST(UdpSocket, NamesAnotherProcessThatHoldsTheAddress) {
  const wire::Address address = test_address(2);
  std::array<int, 2> ready;
  ASSERT_EQ(pipe(ready.data()), 0);
  const pid_t holder = fork();
  if (holder == 0) {
    Failure failure;
    const auto socket = UdpSocket::open(address, {}, failure);
    const char answer = socket ? 'y' : 'n';
    if (write(ready[1], &answer, 1) == 1) pause();
    _exit(1);
  }
  char answer = 0;
  EXPECT_EQ(read(ready[0], &answer, 1), 1);
  EXPECT_EQ(answer, 'y');
  Failure failure;
  EXPECT_EQ(UdpSocket::open(address, {}, failure), nullptr);
  EXPECT_NE(failure.text.find("process " + std::to_string(holder) + " ("), std::string::npos)
      << failure.text;
  kill(holder, SIGKILL);
  waitpid(holder, nullptr, 0);
  close(ready[0]);
  close(ready[1]);
  EXPECT_TRUE(open_socket(address)) << "the address must be free once its holder is gone";
}

TEST(UdpSocket, ReportsAWildcardSocketThatHoldsThePort) {
  const int wildcard = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  sockaddr_in any{};
  any.sin_family = AF_INET;
  ASSERT_EQ(bind(wildcard, reinterpret_cast<sockaddr*>(&any), sizeof any), 0);
  socklen_t length = sizeof any;
  ASSERT_EQ(getsockname(wildcard, reinterpret_cast<sockaddr*>(&any), &length), 0);
  Failure failure;
  EXPECT_EQ(UdpSocket::open(test_address(0), {.port = ntohs(any.sin_port)}, failure), nullptr);
  EXPECT_NE(failure.text.find("process " + std::to_string(getpid())), std::string::npos)
      << failure.text;
  close(wildcard);
}

TEST(UdpSocket, RefusesAnAddressThatNoInterfaceHasAndListsThose) {
  Failure failure;
  EXPECT_EQ(UdpSocket::open(wire::Address::v4(203, 0, 113, 77), {}, failure), nullptr);
  EXPECT_EQ(failure.error, EADDRNOTAVAIL);
  EXPECT_NE(failure.text.find("no interface"), std::string::npos) << failure.text;
  EXPECT_NE(failure.text.find("127.0.0.1"), std::string::npos) << failure.text;
}

TEST(UdpSocket, RefusesAddressesThatAreNoDevice) {
  for (const char* text : {"0.0.0.0", "::", "224.0.0.1", "ff02::1"}) {
    Failure failure;
    EXPECT_EQ(UdpSocket::open(*wire::Address::parse(text), {}, failure), nullptr) << text;
    EXPECT_EQ(failure.error, EINVAL) << text;
    EXPECT_FALSE(failure.text.empty());
  }
}

TEST(UdpSocket, KnowsThatItIsInAForkedChild) {
  const auto socket = open_socket(test_address(0));
  ASSERT_TRUE(socket);
  EXPECT_FALSE(socket->in_forked_child());
  const pid_t child = fork();
  if (child == 0) _exit(socket->in_forked_child() ? 0 : 1);
  int status = -1;
  waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
  EXPECT_FALSE(socket->in_forked_child());
}

// What the ICRC needs, seen on the wire by a raw socket, which ordinary users may not open.
TEST(UdpSocket, SendsIdentificationZeroAndForbidsFragments) {
  const int raw = ::socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_UDP);
  if (raw < 0) GTEST_SKIP() << "raw sockets need CAP_NET_RAW";
  const auto from = open_socket(test_address(0));
  const auto to = open_socket(test_address(1));
  ASSERT_TRUE(from && to);
  sockaddr_storage name{};
  const socklen_t length = to->address().to_sockaddr(kRocePort, name);
  const timeval patience{5, 0};
  setsockopt(raw, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  int seen = 0;
  for (int packet = 0; packet < 3; ++packet) {
    ASSERT_EQ(
        sendto(from->fd(), "0123456789abcdef", 16, 0, reinterpret_cast<sockaddr*>(&name), length),
        16);
  }
  while (seen < 3) {
    std::array<uint8_t, 2048> buffer;
    ASSERT_GT(recv(raw, buffer.data(), buffer.size(), 0), 28);
    iphdr header;
    std::memcpy(&header, buffer.data(), sizeof header);
    if (std::memcmp(&header.saddr, from->address().v4_bytes(), 4) != 0) continue;
    EXPECT_EQ(header.id, 0);
    EXPECT_EQ(ntohs(header.frag_off), 0x4000);
    ++seen;
  }
  close(raw);
}

TEST(Interface, FindsTheLoopbackOneForAnyAddressOfItsNetwork) {
  const auto loopback = interface_of(wire::Address::v4(127, 201, 3, 4));
  ASSERT_TRUE(loopback);
  EXPECT_TRUE(loopback->loopback);
  EXPECT_GE(loopback->mtu, 1500u);
  EXPECT_EQ(loopback->address, wire::Address::v4(127, 201, 3, 4));
  EXPECT_FALSE(interface_of(wire::Address::v4(203, 0, 113, 77)));
}

TEST(Interface, FindsEveryListedAddressAgain) {
  const auto all = list_interfaces();
  ASSERT_FALSE(all.empty());
  for (const Interface& listed : all) {
    const auto found = interface_of(listed.address);
    ASSERT_TRUE(found) << listed.address.to_string();
    EXPECT_EQ(found->name, listed.name);
    EXPECT_GT(found->mtu, 0u);
    EXPECT_LE(found->prefix_bits, 128u);
  }
}

}  // namespace
}  // namespace verbena::io
