// Two processes, each with a device of its own.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <thread>

#include "support/verbs_objects.h"

namespace verbena::test {
namespace {

using std::chrono::duration_cast;
using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

// What one side must know of the other.
struct Card {
  ibv_gid gid;
  uint32_t qpn;
  uint32_t psn;
  uint32_t rkey;
  uint64_t address;
};

class Pipe {
 public:
  Pipe() { EXPECT_EQ(pipe(ends_), 0); }
  ~Pipe() {
    close(ends_[0]);
    close(ends_[1]);
  }
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;

  template <class Value>
  bool send(const Value& value) const {
    return write(ends_[1], &value, sizeof value) == sizeof value;
  }
  template <class Value>
  bool receive(Value& value) const {
    return read(ends_[0], &value, sizeof value) == sizeof value;
  }

 private:
  int ends_[2];
};

// Exchanges cards over the pipes and connects.
Card meet(const Endpoint& self, uint32_t psn, const Pipe& out, const Pipe& in,
          const ConnectOptions& options) {
  const Card own{gid_of(self.context()), self.qp()->qp_num, psn, self.mr()->rkey, self.address()};
  EXPECT_TRUE(out.send(own));
  Card peer{};
  EXPECT_TRUE(in.receive(peer));
  ConnectOptions inbound = options;
  inbound.psn = peer.psn;
  EXPECT_EQ(self.to_init(options), 0);
  EXPECT_EQ(self.to_rtr(peer.gid, peer.qpn, inbound), 0);
  EXPECT_EQ(self.to_rts(psn, options), 0);
  // Nobody sends before both are ready.
  EXPECT_TRUE(out.send(own));
  Card again{};
  EXPECT_TRUE(in.receive(again));
  return peer;
}

class Processes : public testing::Test {
 protected:
  // Runs `serve(endpoint)` in a child process that the test then talks to.
  template <class Serve>
  void start_server(Serve&& serve) {
    server_ = fork();
    if (server_ != 0) return;
    {
      const ContextPtr context = open_soft_device();
      const Endpoint endpoint(context.get());
      meet(endpoint, 0x700000, to_client_, to_server_, options);
      serve(endpoint);
    }
    _exit(HasFailure() ? 1 : 0);
  }

  Card join(const Endpoint& endpoint) const {
    return meet(endpoint, 0xFFFFFE, to_server_, to_client_, options);
  }

  void TearDown() override {
    if (server_ <= 0) return;
    kill(server_, SIGKILL);
    waitpid(server_, nullptr, 0);
  }

  ConnectOptions options;
  Pipe to_client_;
  Pipe to_server_;
  pid_t server_ = -1;
};

ibv_send_wr one_sided(ibv_wr_opcode opcode, ibv_sge& sge, const Card& peer, uint64_t offset) {
  ibv_send_wr request{};
  request.wr_id = 1;
  request.sg_list = &sge;
  request.num_sge = 1;
  request.opcode = opcode;
  request.send_flags = IBV_SEND_SIGNALED;
  request.wr.rdma.remote_addr = peer.address + offset;
  request.wr.rdma.rkey = peer.rkey;
  return request;
}

TEST_F(Processes, EchoEveryMessage) {
  constexpr uint64_t kMessages = 500;
  start_server([](const Endpoint& endpoint) {
    for (uint64_t i = 0; i < kMessages; ++i) {
      ASSERT_EQ(endpoint.post_receive(i, 0, 8000), 0);
      const ibv_wc received = endpoint.expect(i);
      ASSERT_EQ(endpoint.post_send(i, 0, received.byte_len), 0);
      endpoint.expect(i);
    }
  });
  const ContextPtr context = open_soft_device();
  const Endpoint client(context.get());
  join(client);
  for (uint64_t i = 0; i < kMessages; ++i) {
    const uint32_t bytes = 1 + static_cast<uint32_t>(i * 97 % 8000);
    client.fill(0, bytes, static_cast<unsigned>(i));
    ASSERT_EQ(client.post_receive(2, 8192, 8000), 0);
    ASSERT_EQ(client.post_send(1, 0, bytes), 0);
    for (int completions = 0; completions < 2; ++completions) {
      const auto completion = client.poll_one();
      ASSERT_TRUE(completion.has_value());
      ASSERT_EQ(completion->status, IBV_WC_SUCCESS);
    }
    ASSERT_EQ(client.text(0, bytes), client.text(8192, bytes));
  }
}

// As an adapter acknowledges a message, whatever becomes of the program that received it.
TEST_F(Processes, AcknowledgeWhatAProgramReceivedThatExits) {
  start_server([](const Endpoint& endpoint) {
    ASSERT_EQ(endpoint.post_receive(1, 0, 8), 0);
    endpoint.expect(1);
    std::exit(0);
  });
  const ContextPtr context = open_soft_device();
  const Endpoint client(context.get());
  join(client);
  // Meanwhile the server polls, so that its device leaves it alone.
  std::this_thread::sleep_for(milliseconds(20));
  ASSERT_EQ(client.post_send(2, 0, 8), 0);
  EXPECT_EQ(client.expect(2).status, IBV_WC_SUCCESS);
}

constexpr auto kBusy = milliseconds(50);

// Polls, which tells the device that the program does, and then computes for a long time.
void be_busy(const Endpoint& endpoint, milliseconds polling) {
  for (;;) {
    const auto polled = steady_clock::now() + polling;
    do {
      ibv_wc completion{};
      ASSERT_EQ(ibv_poll_cq(endpoint.cq(), 1, &completion), 0);
    } while (steady_clock::now() < polled);
    const auto end = steady_clock::now() + kBusy;
    while (steady_clock::now() < end) {
    }
  }
}

// READs one after the other, at various times. A few may be the doing of a busy machine.
void expect_reads_not_to_wait(const Endpoint& client, const Card& peer) {
  constexpr int kReads = 100;
  constexpr int kMostSlow = 3;
  int slow = 0;
  microseconds worst{0};
  for (int i = 0; i < kReads; ++i) {
    std::this_thread::sleep_for(microseconds(7919 * (i % 5)));
    ibv_sge sge = client.sge(0, 8);
    const auto start = steady_clock::now();
    ASSERT_EQ(client.post(one_sided(IBV_WR_RDMA_READ, sge, peer, 0)), 0);
    client.expect(1);
    const auto latency = duration_cast<microseconds>(steady_clock::now() - start);
    worst = std::max(worst, latency);
    if (latency > kBusy / 5) ++slow;
  }
  EXPECT_LE(slow, kMostSlow) << "of " << kReads << "; the worst took " << worst.count() << " us";
}

TEST_F(Processes, OneSidedOperationsDoNotWaitForABusyProgram) {
  start_server([](const Endpoint& endpoint) { be_busy(endpoint, milliseconds(0)); });
  const ContextPtr context = open_soft_device();
  const Endpoint client(context.get());
  expect_reads_not_to_wait(client, join(client));
}

// Its device looks seldom whether it still polls, and is told when packets wait, once the network
// is quiet.
TEST_F(Processes, OneSidedOperationsDoNotWaitForABusyProgramThatSaysWhenItSleeps) {
  start_server([](const Endpoint& endpoint) {
    ASSERT_EQ(endpoint.post_receive(1, 0, 8), 0);
    ASSERT_EQ(ibv_req_notify_cq(endpoint.cq(), 0), 0);
    endpoint.expect(1);
    be_busy(endpoint, kBusy);
  });
  const ContextPtr context = open_soft_device();
  const Endpoint client(context.get());
  const Card peer = join(client);
  ASSERT_EQ(client.post_send(2, 0, 8), 0);
  client.expect(2);
  for (int round = 0; round < 3; ++round) expect_reads_not_to_wait(client, peer);
}

TEST_F(Processes, AKilledPeerIsNoticed) {
  // About a second in all: before it is killed, a peer that a busy machine keeps waiting answers.
  options.timeout = 16;
  options.retry_count = 3;
  start_server([](const Endpoint&) { pause(); });
  const ContextPtr context = open_soft_device();
  const Endpoint client(context.get());
  const Card peer = join(client);
  ibv_sge sge = client.sge(0, 4096);
  ASSERT_EQ(client.post(one_sided(IBV_WR_RDMA_WRITE, sge, peer, 0)), 0);
  client.expect(1);
  kill(server_, SIGKILL);
  ASSERT_EQ(waitpid(server_, nullptr, 0), server_);
  server_ = -1;
  ASSERT_EQ(client.post(one_sided(IBV_WR_RDMA_WRITE, sge, peer, 0)), 0);
  client.expect(1, IBV_WC_RETRY_EXC_ERR);
}

TEST_F(Processes, AStoppedPeerIsWaitedForWithinTheRetries) {
  options.timeout = 17;  // half a second
  start_server([](const Endpoint&) { pause(); });
  const ContextPtr context = open_soft_device();
  const Endpoint client(context.get());
  const Card peer = join(client);
  kill(server_, SIGSTOP);
  ASSERT_EQ(waitpid(server_, nullptr, WUNTRACED), server_);
  ibv_sge sge = client.sge(0, 4096);
  ASSERT_EQ(client.post(one_sided(IBV_WR_RDMA_READ, sge, peer, 0)), 0);
  EXPECT_FALSE(client.poll_one(milliseconds(200)).has_value());
  kill(server_, SIGCONT);
  client.expect(1);
}

}  // namespace
}  // namespace verbena::test
