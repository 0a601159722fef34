// Which way packets go between queue pairs of one machine: through memory, unless something needs
// the network.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <string>
#include <thread>

#include "support/device_counters.h"
#include "support/unreliable_endpoints.h"
#include "support/verbs_objects.h"

namespace verbena::test {
namespace {

class Local : public testing::Test {
 protected:
  void SetUp() override { setenv("VERBENA_SOFT_LOCAL", "memory", 1); }
  void TearDown() override {
    for (const char* name :
         {"VERBENA_SOFT_LOCAL", "VERBENA_SOFT_FAULTS", "VERBENA_SOFT_PCAP", "VERBENA_SOFT_ADDR"}) {
      unsetenv(name);
    }
  }

  static void exchange(const Pair& pair, uint64_t id) {
    ASSERT_EQ(pair.b.post_receive(id, 0, 100), 0);
    ASSERT_EQ(pair.a.post_send(id, 0, 100), 0);
    pair.b.expect(id);
    pair.a.expect(id);
  }
  // How many packets of so many exchanges came through memory, once any does.
  static uint64_t local_packets(const Pair& pair, uint64_t exchanges) {
    const auto counted = [&] { return device_counter(pair.context.get(), "rx_local_packets"); };
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (counted() == 0 && std::chrono::steady_clock::now() < end) exchange(pair, 1);
    const uint64_t before = counted();
    for (uint64_t id = 0; id < exchanges; ++id) exchange(pair, id);
    return counted() - before;
  }
  static uint64_t local_packets_at_all(const Pair& pair) {
    for (uint64_t id = 0; id < 200; ++id) exchange(pair, id);
    EXPECT_GT(device_counter(pair.context.get(), "rx_packets"), 200U);
    return device_counter(pair.context.get(), "rx_local_packets");
  }
};

TEST_F(Local, PacketsGoThroughMemoryFromWhenItIsAgreedOn) {
  const Pair pair;
  const uint64_t all_before = device_counter(pair.context.get(), "rx_packets");
  const uint64_t local = local_packets(pair, 100);
  EXPECT_GE(local, 200U) << "100 SENDs and their acknowledges";
  EXPECT_GE(device_counter(pair.context.get(), "rx_packets"), all_before + local);
}

TEST_F(Local, TheNetworkCanBeAskedFor) {
  setenv("VERBENA_SOFT_LOCAL", "udp", 1);
  EXPECT_EQ(local_packets_at_all(Pair()), 0U);
}

TEST_F(Local, FaultsAreInjectedOnTheNetwork) {
  setenv("VERBENA_SOFT_FAULTS", "drop=0.05,seed=3", 1);
  EXPECT_EQ(local_packets_at_all(Pair()), 0U);
}

TEST_F(Local, CapturesSeeEveryPacket) {
  const auto path = std::filesystem::temp_directory_path() /
                    ("verbena-local-" + std::to_string(getpid()) + ".pcap");
  setenv("VERBENA_SOFT_PCAP", path.c_str(), 1);
  EXPECT_EQ(local_packets_at_all(Pair()), 0U);
  EXPECT_GT(std::filesystem::file_size(path), 200U * 100);
  std::filesystem::remove(path);
}

TEST_F(Local, OtherValuesAreRefused) {
  setenv("VERBENA_SOFT_LOCAL", "fast", 1);
  EXPECT_EQ(open_soft_device(), nullptr);
  EXPECT_EQ(errno, EINVAL);
}

TEST_F(Local, LargeTransfersAndManyAtOnceArriveWhole) {
  EndpointOptions large;
  large.buffer_bytes = 16 << 20;
  const Pair pair(large, {.mtu = IBV_MTU_4096});
  ASSERT_GT(local_packets(pair, 1), 0U);
  constexpr uint32_t kBytes = 4 << 20;
  pair.a.fill(0, 2 * kBytes, 5);
  pair.b.fill(2 * kBytes, 2 * kBytes, 6);
  // Both ways at once, more than a ring holds.
  for (uint64_t i = 0; i < 2; ++i) {
    ASSERT_EQ(pair.a.post_rdma(IBV_WR_RDMA_WRITE, i, pair.b, i * kBytes, kBytes), 0);
    ASSERT_EQ(pair.b.post_rdma(IBV_WR_RDMA_WRITE, i, pair.a, (2 + i) * kBytes, kBytes), 0);
  }
  for (uint64_t i = 0; i < 2; ++i) pair.a.expect(i);
  for (uint64_t i = 0; i < 2; ++i) pair.b.expect(i);
  EXPECT_EQ(std::memcmp(pair.a.buffer(), pair.b.buffer(), 4 * kBytes), 0);
  std::memset(pair.b.buffer(), 0, kBytes);
  ASSERT_EQ(pair.b.post_rdma(IBV_WR_RDMA_READ, 7, pair.a, 0, kBytes), 0);
  pair.b.expect(7);
  EXPECT_EQ(std::memcmp(pair.a.buffer(), pair.b.buffer(), kBytes), 0);
  EXPECT_EQ(device_counter(pair.context.get(), "retransmits"), 0U) << "the ring had room for all";
  EXPECT_EQ(device_counter(pair.context.get(), "send_failures"), 0U);
}

TEST_F(Local, AForkedChildLeavesTheRingsAlone) {
  const Pair pair;
  ASSERT_GT(local_packets(pair, 1), 0U);
  // Nobody takes it yet, so that it is sent again and again.
  ASSERT_EQ(pair.a.post_send(7, 0, 100), 0);
  const pid_t child = fork();
  if (child == 0) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(100);
    ibv_wc completion{};
    while (std::chrono::steady_clock::now() < end) ibv_poll_cq(pair.a.cq(), 1, &completion);
    _exit(0);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_EQ(pair.b.post_receive(7, 0, 100), 0);
  pair.b.expect(7);
  pair.a.expect(7);
  EXPECT_GE(local_packets(pair, 100), 200U);
}

// What two processes have to know of each other's unreliable endpoint.
struct Peer {
  ibv_gid gid;
  uint32_t qpn;
  uint32_t rkey;
  uint64_t address;
};

// An endpoint of this process, connected to one of the process at the other end of the socket.
struct Side {
  explicit Side(int socket) {
    options.buffer_bytes = 1 << 20;
    endpoint.emplace(context.get(), options);
    const Peer own{gid_of(context.get()), endpoint->qp()->qp_num, endpoint->mr()->rkey,
                   endpoint->address()};
    EXPECT_EQ(write(socket, &own, sizeof own), static_cast<ssize_t>(sizeof own));
    EXPECT_EQ(read(socket, &peer, sizeof peer), static_cast<ssize_t>(sizeof peer));
    bring_up_unreliable(*endpoint, peer.qpn, {}, peer.gid);
  }

  EndpointOptions options = of_type(IBV_QPT_UC);
  ContextPtr context = open_soft_device();
  std::optional<Endpoint> endpoint;
  Peer peer{};
};

// Writes a burst for each byte that comes, of so many KiB.
void write_bursts(int socket) {
  Side side(socket);
  char byte = 0;
  while (read(socket, &byte, 1) == 1) {
    ibv_sge sge = side.endpoint->sge(0, static_cast<uint8_t>(byte) * 1024U);
    ibv_send_wr request{};
    request.sg_list = &sge;
    request.num_sge = 1;
    request.opcode = IBV_WR_RDMA_WRITE;
    request.send_flags = IBV_SEND_SIGNALED;
    request.wr.rdma.remote_addr = side.peer.address;
    request.wr.rdma.rkey = side.peer.rkey;
    if (side.endpoint->post(request) != 0) _exit(2);
    side.endpoint->expect(0);
    if (write(socket, &byte, 1) != 1) _exit(3);
  }
}

// A program may look once, silence the bell with that, handle a part of what came, and look no
// more.
TEST_F(Local, WhatAProgramLeavesInTheRingIsNotSleptOver) {
  int sockets[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets), 0);
  const pid_t child = fork();
  if (child == 0) {
    close(sockets[0]);
    write_bursts(sockets[1]);
    _exit(testing::Test::HasFailure() ? 1 : 0);
  }
  close(sockets[1]);
  {
    const Side side(sockets[0]);
    const auto received = [&] { return device_counter(side.context.get(), "rx_local_packets"); };
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    ibv_wc completion{};
    const auto ask_for = [&](uint8_t packets) {
      EXPECT_EQ(write(sockets[0], &packets, 1), 1);
      ibv_poll_cq(side.endpoint->cq(), 1, &completion);
    };
    const auto wait = [&](auto&& done) {
      while (!done() && std::chrono::steady_clock::now() < end) std::this_thread::yield();
      return done();
    };
    char byte = 0;
    while (received() == 0) {
      ask_for(1);
      ASSERT_EQ(read(sockets[0], &byte, 1), 1);
    }
    for (int round = 0; round < 200; ++round) {
      // So that the device sleeps.
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
      const uint64_t before = received();
      ask_for(200);
      while (received() == before) ibv_poll_cq(side.endpoint->cq(), 1, &completion);
      ASSERT_TRUE(wait([&] { return received() >= before + 200; }))
          << "in round " << round << " " << received() - before << " packets came";
      ASSERT_EQ(read(sockets[0], &byte, 1), 1);
    }
  }
  close(sockets[0]);
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

TEST_F(Local, AClosedPortLosesThem) {
  const auto path = std::filesystem::temp_directory_path() /
                    ("verbena-local-" + std::to_string(getpid()) + ".fifo");
  setenv("VERBENA_SOFT_CONTROL", path.c_str(), 1);
  const Pair pair({}, {.timeout = 8, .retry_count = 1});
  unsetenv("VERBENA_SOFT_CONTROL");
  ASSERT_GT(local_packets(pair, 1), 0U);
  const int fd = open(path.c_str(), O_WRONLY | O_CLOEXEC);
  ASSERT_EQ(write(fd, "port down\n", 10), 10);
  ibv_async_event event{};
  ASSERT_EQ(ibv_get_async_event(pair.context.get(), &event), 0);
  ibv_ack_async_event(&event);
  const uint64_t before = device_counter(pair.context.get(), "rx_local_packets");
  ASSERT_EQ(pair.a.post_send(9, 0, 100), 0);
  pair.a.expect(9, IBV_WC_RETRY_EXC_ERR);
  EXPECT_EQ(device_counter(pair.context.get(), "rx_local_packets"), before);
  close(fd);
}

}  // namespace
}  // namespace verbena::test
