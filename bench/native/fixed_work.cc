// Fixed work for the transport, two engines on a network without faults, to count its instructions:
// see bench/instructions.mjs.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string_view>
#include <vector>

#include "support/simulated_pair.h"

using namespace verbena;

namespace {

constexpr uint32_t kDepth = 16;

struct Work {
  const char* name;
  ibv_wr_opcode opcode;
  uint32_t bytes;
  int rounds;  // of kDepth work requests
};

constexpr Work kWorks[] = {
    {"send-64", IBV_WR_SEND, 64, 500},
    {"write-64Ki", IBV_WR_RDMA_WRITE, 65536, 20},
    {"read-64Ki", IBV_WR_RDMA_READ, 65536, 20},
};

void require(bool condition) {
  if (!condition) std::abort();
}

}  // namespace

// What is counted, by this name.
extern "C" __attribute__((noinline)) void fixed_work(const Work& work, test::Pair& pair,
                                                     const test::Buffer& here,
                                                     const test::Buffer& there) {
  for (int round = 0; round < work.rounds; ++round) {
    for (uint64_t id = 0; id < kDepth; ++id) {
      if (work.opcode == IBV_WR_SEND) {
        require(test::Pair::post_receive(pair.b, *pair.qp_b, id, {there.sge(0, work.bytes)}) == 0);
      }
      require(pair.post_send(work.opcode, id, {here.sge(0, work.bytes)}, [&](ibv_send_wr& request) {
        request.wr.rdma.remote_addr = there.address();
        request.wr.rdma.rkey = there.key;
      }) == 0);
    }
    pair.run();
    require(pair.poll(pair.cq_a).size() == kDepth);
    pair.poll(pair.cq_b);
  }
}

int main(int count, char** arguments) {
  for (const Work& work : kWorks) {
    if (count < 2 || arguments[1] != std::string_view(work.name)) continue;
    test::Pair pair({.mtu = IBV_MTU_4096, .depth = kDepth});
    constexpr int kAccess =
        IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ;
    test::Buffer here(pair.a, test::Pair::kPd, work.bytes, kAccess);
    test::Buffer there(pair.b, test::Pair::kPd, work.bytes, kAccess);
    fixed_work(work, pair, here, there);
    return 0;
  }
  for (const Work& work : kWorks) std::puts(work.name);
  return 2;
}
