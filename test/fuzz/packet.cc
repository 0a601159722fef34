// Fuzzes what a live queue pair receives: packets of any bytes, whose fields the input may have put
// right, between work of the program's own.
//
// Input: path MTU, then records of {what, argument, length (2 bytes), bytes}; the low three bits of
// `what` are the action, the others say what is put right in a packet.
#include "input.h"
#include "simulation/arena.h"
#include "simulation/check.h"
#include "support/simulated_pair.h"

namespace verbena::test {
namespace {

constexpr int kLocal = IBV_ACCESS_LOCAL_WRITE;
constexpr int kRemote = kLocal | IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ |
                        IBV_ACCESS_REMOTE_ATOMIC | IBV_ACCESS_MW_BIND;
constexpr uint32_t kRegionBytes = 32768;
constexpr uint32_t kMostPacket = 4400;
constexpr uint32_t kSlotBytes = 6000;

enum Right : uint8_t { kQpn = 0x08, kPsn = 0x10, kRkey = 0x20, kAddress = 0x40, kLength = 0x80 };

class Target {
 public:
  explicit Target(Input& input)
      : input_(input),
        random_(input.word()),
        pair_({.mtu = static_cast<ibv_mtu>(1 + input.below(5)), .depth = 8, .psn_a = kFirstPsn}),
        local_(pair_.a, Pair::kPd, kRegionBytes, kLocal, random_),
        remote_(pair_.b, Pair::kPd, kRegionBytes, kRemote, random_),
        granted_(remote_.grant(kSlotBytes, 8)),
        received_(local_of_b_.grant(kSlotBytes)) {
    Pair::post_receive(pair_.b, *pair_.qp_b, 1,
                       {{local_of_b_.address(received_.offset), kSlotBytes, local_of_b_.key()}});
  }

  void run() {
    while (!input_.empty()) record();
    pair_.run(200 * kMs);
    // What a packet with the right key does to the region is its sender's affair; beside it nothing
    // is written.
    for (const Arena* arena : {&local_, &remote_, &local_of_b_}) arena->check_edges();
  }

 private:
  static constexpr uint32_t kFirstPsn = 0xFFFFFC;

  void record() {
    const uint8_t what = input_.byte(), argument = input_.byte();
    const size_t length = input_.byte() << 8 | input_.byte();
    std::vector<std::byte> bytes;
    const auto given = input_.take(length % kMostPacket);
    bytes.assign(given.begin(), given.end());
    switch (what & 7) {
      case 5:
        return post(argument);
      case 6:
        return pair_.run((1 + argument) * 100 * kUs);
      case 7:
        return trouble(argument);
      case 4:
        return deliver(pair_.a, *pair_.qp_a, pair_.b.address(), bytes, what, argument);
      default:
        return deliver(pair_.b, *pair_.qp_b, pair_.a.address(), bytes, what, argument);
    }
  }

  void deliver(Host& host, const QueuePair& qp, const Address& from, std::vector<std::byte>& bytes,
               uint8_t what, uint8_t argument) {
    const bool to_b = &host == &pair_.b;
    const auto near = static_cast<uint32_t>(static_cast<int8_t>(argument));
    if (bytes.size() >= wire::kBthBytes) {
      if ((what & kQpn) != 0) wire::store_be32(&bytes[4], qp.qpn);
      const uint32_t psn = to_b ? qp.responder.expected_psn : qp.requester.una_psn;
      if ((what & kPsn) != 0) wire::store_be32(&bytes[8], (psn + near) & wire::kPsnMask);
    }
    if (bytes.size() >= wire::kBthBytes + wire::kRethBytes) {
      if ((what & kAddress) != 0) wire::store_be64(&bytes[12], remote_.address(8 * argument));
      if ((what & kRkey) != 0) wire::store_be32(&bytes[20], remote_.key());
      if ((what & kLength) != 0) {
        wire::store_be32(&bytes[24], static_cast<uint32_t>(bytes.size() - 28 - near % 4));
      }
    }
    host.receive(pair_.now, {from, host.address(), bytes});
    host.run(pair_.now);
  }

  void post(uint8_t argument) {
    static constexpr ibv_wr_opcode kOpcodes[] = {
        IBV_WR_SEND,      IBV_WR_SEND_WITH_IMM,        IBV_WR_RDMA_WRITE,
        IBV_WR_RDMA_READ, IBV_WR_ATOMIC_FETCH_AND_ADD, IBV_WR_ATOMIC_CMP_AND_SWP,
        IBV_WR_RDMA_READ, IBV_WR_RDMA_WRITE_WITH_IMM};
    const ibv_wr_opcode opcode = kOpcodes[argument & 7];
    const bool atomic =
        opcode == IBV_WR_ATOMIC_FETCH_AND_ADD || opcode == IBV_WR_ATOMIC_CMP_AND_SWP;
    const uint32_t length = atomic ? 8 : 160U * (argument >> 3);
    pair_.post_send(opcode, argument, {{local_.address(0), length, local_.key()}},
                    [&](ibv_send_wr& request) {
                      request.wr.atomic = {remote_.address(granted_.offset), 1, 0, remote_.key()};
                      if (atomic) return;
                      request.wr.rdma = {remote_.address(granted_.offset), remote_.key()};
                    });
    pair_.a.run(pair_.now);
  }

  void trouble(uint8_t argument) {
    switch (argument % 4) {
      case 0:
        return remote_.revoke();
      case 1:
        return local_.revoke();
      case 2:
        Pair::post_receive(pair_.b, *pair_.qp_b, argument, {{local_of_b_.address(0), 64, 1}});
        return;
      default:
        return Pair::to_error(argument < 128 ? pair_.a : pair_.b,
                              argument < 128 ? *pair_.qp_a : *pair_.qp_b);
    }
  }

  Input& input_;
  SeededRandom random_;
  Pair pair_;
  Arena local_;
  Arena remote_;
  Arena local_of_b_{pair_.b, Pair::kPd, kRegionBytes, kLocal, random_};
  Arena::Slot granted_;
  Arena::Slot received_;
};

}  // namespace
}  // namespace verbena::test

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  verbena::test::Input input(std::as_bytes(std::span(data, size)));
  verbena::test::Target(input).run();
  return 0;
}
