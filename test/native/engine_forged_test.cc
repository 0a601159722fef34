// What forged and foreign packets do to a device: nothing, or no more than to their own connection;
// and what a reliable connection cannot tell from its peer's own.
#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "support/simulated_pair.h"

namespace verbena::test {
namespace {

constexpr int kLocal = IBV_ACCESS_LOCAL_WRITE;
constexpr int kRemote =
    kLocal | IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ | IBV_ACCESS_REMOTE_ATOMIC;
constexpr uint32_t kBytes = 64;

std::vector<std::byte> write_packet(const QueuePair& to, uint32_t psn, const Buffer& target,
                                    std::byte fill) {
  std::vector<std::byte> bytes(wire::kBthBytes + wire::kRethBytes + kBytes, fill);
  std::byte* at = wire::write_bth(
      bytes.data(), {.opcode = wire::Opcode::kWriteOnly, .dest_qpn = to.qpn, .psn = psn});
  wire::write_reth(at, {target.address(), target.key, kBytes});
  return bytes;
}

// SECURITY.md says so. An RC packet names no sender but its source address, so that whoever can
// send with it, and knows both numbers, writes in the peer's name; and the peer's own packet is
// then acknowledged as a repeated one.
TEST(Forged, APacketWithTheRightAddressNumberAndPsnIsBelieved) {
  Pair pair;
  Buffer local(pair.a, Pair::kPd, kBytes, kLocal, 0x11);
  Buffer remote(pair.b, Pair::kPd, kBytes, kRemote);
  const Address& spoofed = pair.a.address();
  pair.b.receive(0, {spoofed, pair.b.address(),
                     write_packet(*pair.qp_b, pair.options.psn_a, remote, std::byte{0x66})});
  EXPECT_EQ(remote.bytes[0], std::byte{0x66});
  pair.post_send(IBV_WR_RDMA_WRITE, 1, {local.sge(0, kBytes)}, [&](ibv_send_wr& request) {
    request.wr.rdma = {remote.address(), remote.key};
  });
  pair.run();
  const auto done = pair.poll(pair.cq_a);
  ASSERT_EQ(done.size(), 1U);
  EXPECT_EQ(done[0].status, IBV_WC_SUCCESS);
  EXPECT_EQ(remote.bytes[0], std::byte{0x66});
  EXPECT_EQ(pair.b.counters.duplicate_requests, 1U);
}

TEST(Forged, ThatPacketFromAnotherAddressOrWithAnotherPsnIsNot) {
  Pair pair;
  Buffer remote(pair.b, Pair::kPd, kBytes, kRemote);
  const auto right = write_packet(*pair.qp_b, pair.options.psn_a, remote, std::byte{0x66});
  pair.b.receive(0, {Address::v4(10, 0, 0, 9), pair.b.address(), right});
  EXPECT_EQ(pair.b.counters.bad_peer, 1U);
  for (const uint32_t away : {1U, 0xFFFFFFU, 0x800000U, 0x7FFFFFU}) {
    const uint32_t psn = wire::psn_add(pair.options.psn_a, away);
    pair.b.receive(0, {pair.a.address(), pair.b.address(),
                       write_packet(*pair.qp_b, psn, remote, std::byte{0x66})});
  }
  EXPECT_EQ(remote.bytes, std::vector<std::byte>(kBytes));
  EXPECT_EQ(pair.qp_b->state, IBV_QPS_RTS);
  EXPECT_EQ(pair.qp_b->responder.expected_psn, pair.options.psn_a);
}

constexpr size_t kClients = 8;

// Clients of one server, each with a protection domain, a queue pair and a region of its own there.
struct Clients {
  struct Client {
    Client(Clients& all, uint32_t pd)
        : cq(64, nullptr, nullptr),
          server_cq(64, nullptr, nullptr),
          qp(all.create(all.host, 1, cq)),
          server_qp(all.create(all.server, pd, server_cq)),
          buffer(all.host, 1, kBytes, kLocal, 0x5C),
          region(all.server, pd, kBytes, kRemote, 0xA7) {
      const PairOptions options;
      connect(all.host, *qp, 1, all.server, *server_qp, 2, options);
      connect(all.server, *server_qp, 2, all.host, *qp, 1, options);
    }

    CompletionQueue cq;
    CompletionQueue server_cq;
    QueuePair* qp;
    QueuePair* server_qp;
    Buffer buffer;
    Buffer region;
  };

  QueuePair* create(Host& at, uint32_t pd, CompletionQueue& cq) {
    return at.engine().create_qp({pd, &cq, &cq, 16, 16, 4, 4, 64, true, nullptr});
  }

  Clients() {
    for (uint32_t i = 0; i < kClients; ++i) all.push_back(std::make_unique<Client>(*this, 10 + i));
  }

  // The completion's status of client `by` using the key and address of client `of`.
  ibv_wc_status use(size_t by, size_t of, ibv_wr_opcode opcode) {
    Client& client = *all[by];
    const Buffer& target = all[of]->region;
    const bool atomic = opcode == IBV_WR_ATOMIC_FETCH_AND_ADD;
    ibv_sge sge = client.buffer.sge(0, atomic ? 8 : kBytes);
    ibv_send_wr request{};
    request.opcode = opcode;
    request.sg_list = &sge;
    request.num_sge = 1;
    if (atomic) {
      request.wr.atomic = {target.address(), 1, 0, target.key};
    } else {
      request.wr.rdma = {target.address(), target.key};
    }
    EXPECT_EQ(host.engine().post_send(*client.qp, request), 0);
    run();
    ibv_wc done{};
    EXPECT_EQ(client.cq.poll(1, &done), 1);
    return done.status;
  }

  void run() {
    for (TimeNs now = 0; now < kMs; now += kUs) {
      host.run(now);
      server.run(now);
      while (!network.empty() && network.next() <= now) {
        const Frame frame = network.pop();
        (frame.to == host.address() ? host : server).receive(now, frame);
      }
    }
  }

  Network network{1};
  Host host{network, Address::v4(10, 0, 0, 1), 1};
  Host server{network, Address::v4(10, 0, 0, 2), 2};
  std::vector<std::unique_ptr<Client>> all;
};

// Each key, by each client, in each way: a foreign one ends the connection that tried it, and no
// other.
TEST(Forged, EveryForeignKeyIsRefused) {
  for (const ibv_wr_opcode opcode :
       {IBV_WR_RDMA_WRITE, IBV_WR_RDMA_READ, IBV_WR_ATOMIC_FETCH_AND_ADD}) {
    for (size_t by = 0; by < kClients; ++by) {
      for (size_t of = 0; of < kClients; ++of) {
        Clients clients;
        const bool own = by == of;
        EXPECT_EQ(clients.use(by, of, opcode), own ? IBV_WC_SUCCESS : IBV_WC_REM_ACCESS_ERR);
        if (own) continue;
        for (size_t i = 0; i < kClients; ++i) {
          const auto& client = *clients.all[i];
          EXPECT_EQ(client.region.bytes, std::vector(kBytes, std::byte{0xA7}));
          EXPECT_EQ(client.buffer.bytes, std::vector(kBytes, std::byte{0x5C}));
          EXPECT_EQ(client.server_qp->state, i == by ? IBV_QPS_ERR : IBV_QPS_RTS);
        }
      }
    }
  }
}

}  // namespace
}  // namespace verbena::test
