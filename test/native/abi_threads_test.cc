// Many threads use the device at once.
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "support/verbs_objects.h"

namespace verbena::test {
namespace {

constexpr int kThreads = 10;

template <class Body>
void in_threads(Body body) {
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) threads.emplace_back(body, i);
  for (std::thread& thread : threads) thread.join();
}

TEST(Threads, EachWithItsOwnQueuePairs) {
  const ContextPtr context = open_soft_device();
  in_threads([&](int thread) {
    const Endpoint a(context.get());
    const Endpoint b(context.get());
    connect(a, b);
    for (uint64_t round = 0; round < 200; ++round) {
      const uint32_t bytes = 1 + static_cast<uint32_t>(round * 37 % 8000);
      a.fill(0, bytes, static_cast<unsigned>(thread) + static_cast<unsigned>(round));
      ASSERT_EQ(b.post_receive(round, 0, bytes), 0);
      ASSERT_EQ(a.post_send(round, 0, bytes), 0);
      ASSERT_EQ(b.expect(round).byte_len, bytes);
      a.expect(round);
      ASSERT_EQ(a.text(0, bytes), b.text(0, bytes));
    }
  });
}

TEST(Threads, AllOnOneQueuePair) {
  EndpointOptions options;
  options.send_wr = 1024;
  options.cqe = 4096;
  Pair pair(options);
  std::atomic<int> posted{0};
  in_threads([&](int) {
    ibv_sge sge = pair.a.sge(0, 8);
    ibv_send_wr request{};
    request.sg_list = &sge;
    request.num_sge = 1;
    request.opcode = IBV_WR_ATOMIC_FETCH_AND_ADD;
    request.send_flags = IBV_SEND_SIGNALED;
    request.wr.atomic.remote_addr = pair.b.address(512);
    request.wr.atomic.rkey = pair.b.mr()->rkey;
    request.wr.atomic.compare_add = 1;
    for (int i = 0; i < 100; ++i) {
      ASSERT_EQ(pair.a.post(request), 0);
      ++posted;
    }
  });
  for (int i = 0; i < posted; ++i) pair.a.expect(0);
  EXPECT_EQ(pair.b.word(512), static_cast<uint64_t>(kThreads * 100));
}

TEST(Threads, ManyPollOneCompletionQueue) {
  EndpointOptions options;
  options.send_wr = 1000;
  options.cqe = 2000;
  Pair pair(options);
  for (uint64_t id = 0; id < 1000; ++id) {
    ASSERT_EQ(pair.a.post_rdma(IBV_WR_RDMA_WRITE, id, pair.b, 0, 64), 0);
  }
  std::array<std::atomic<int>, 1000> seen{};
  std::atomic<int> total{0};
  in_threads([&](int) {
    while (total < 1000) {
      ibv_wc completions[8];
      const int count = ibv_poll_cq(pair.a.cq(), 8, completions);
      ASSERT_GE(count, 0);
      for (int i = 0; i < count; ++i) ++seen[completions[i].wr_id];
      total += count;
    }
  });
  for (const auto& count : seen) EXPECT_EQ(count, 1);
}

TEST(Threads, ObjectsComeAndGoWhileOthersWork) {
  const ContextPtr context = open_soft_device();
  in_threads([&](int) {
    for (int round = 0; round < 20; ++round) {
      const ContextPtr other = open_soft_device();
      const Endpoint a(context.get());
      const Endpoint b(other.get());
      connect(a, b);
      ASSERT_EQ(a.post_rdma(IBV_WR_RDMA_WRITE, 1, b, 0, 5000), 0);
      a.expect(1);
      ASSERT_EQ(a.post_rdma(IBV_WR_RDMA_WRITE, 2, b, 0, 5000), 0);  // destroyed under way
    }
  });
}

// Queue pairs of one completion queue come and go while others poll it and their peers send.
TEST(Threads, QueuePairsAreDestroyedUnderLoad) {
  constexpr int kRounds = 30;
  const ContextPtr context = open_soft_device();
  const PdPtr pd(ibv_alloc_pd(context.get()));
  const CqPtr cq(ibv_create_cq(context.get(), 4096, nullptr, nullptr, 0));
  std::atomic<int> working{kThreads / 2};
  std::atomic<int> polled{0};
  in_threads([&](int thread) {
    if (thread % 2 == 0) {
      while (working > 0) {
        ibv_wc completions[8];
        const int count = ibv_poll_cq(cq.get(), 8, completions);
        ASSERT_GE(count, 0);
        polled += count;
      }
      return;
    }
    for (int round = 0; round < kRounds; ++round) {
      const Endpoint a(context.get(), {.shared_cq = cq.get()});
      const Endpoint b(context.get(), {.shared_cq = cq.get()});
      connect(a, b);
      for (uint64_t id = 0; id < 8; ++id) {
        EXPECT_EQ(a.post_rdma(IBV_WR_RDMA_WRITE, id, b, 0, 3000), 0);
        EXPECT_EQ(b.post_rdma(IBV_WR_RDMA_READ, id, a, 4096, 3000), 0);
      }
      // Most are destroyed with all their work under way; the last ones live to see it complete.
      while (round == kRounds - 1 && polled == 0) std::this_thread::yield();
    }
    --working;
  });
}

}  // namespace
}  // namespace verbena::test
