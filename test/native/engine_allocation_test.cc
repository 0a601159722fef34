// Calls that find no memory: each fails whole, and succeeds when there is memory again. What was
// done before needs none.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "support/failing_memory.h"
#include "support/simulated_pair.h"

namespace verbena::test {
namespace {

constexpr int kMostAllocations = 100;

// There is no memory after so many allocations.
class Shortage : public AllocationFaults {
 public:
  explicit Shortage(int after) : left_(after) {}
  bool next_fails() override { return left_ == 0 || left_-- == 0; }

 private:
  int left_;
};

class OutOfMemory : public testing::Test {
 protected:
  // Runs `body` with no memory after 0, 1, 2, … allocations until it succeeds. What failed left
  // nothing behind.
  template <class Body>
  void fail_everywhere(Body&& body) {
    const engine::Holdings before = pair.b.engine().holdings();
    int failures = 0;
    for (int after = 0; after < kMostAllocations; ++after) {
      bool done = false;
      try {
        Shortage shortage(after);
        const AllocationScope scope(&shortage);
        body();
        done = true;
      } catch (const std::bad_alloc&) {
      }
      if (done) {
        EXPECT_GT(failures, 0) << "it needed no memory";
        return;
      }
      ++failures;
      ASSERT_EQ(pair.b.engine().holdings(), before) << "after " << after << " allocations";
    }
    FAIL() << "it never succeeded";
  }

  Pair pair;
  Engine& engine = pair.b.engine();
};

TEST_F(OutOfMemory, CreatesNoQueuePair) {
  QueuePair* qp = nullptr;
  fail_everywhere([&] {
    qp = engine.create_qp({Pair::kPd, &pair.cq_b, &pair.cq_b, 8, 8, 4, 4, 64, true, nullptr});
  });
  engine.destroy_qp(*qp);
}

TEST_F(OutOfMemory, RegistersNothing) {
  uint32_t key = 0, window = 0;
  std::array<std::byte, 8> bytes{};
  fail_everywhere([&] { key = engine.memory().insert({Pair::kPd, bytes.data(), 8, 0, 0}); });
  fail_everywhere([&] { window = engine.memory().insert_window(Pair::kPd, IBV_MW_TYPE_1); });
  engine.memory().erase(key);
  engine.memory().erase_window(window);
}

// Memory is what somebody who destroys things has too little of.
TEST_F(OutOfMemory, TakesAwayAllTheSame) {
  std::array<std::byte, 8> bytes{};
  const engine::Holdings before = engine.holdings();
  const uint32_t key = engine.memory().insert({Pair::kPd, bytes.data(), 8, 0, 0});
  const uint32_t window = engine.memory().insert_window(Pair::kPd, IBV_MW_TYPE_2);
  QueuePair* qp =
      engine.create_qp({Pair::kPd, &pair.cq_b, &pair.cq_b, 8, 8, 4, 4, 64, true, nullptr});
  ASSERT_EQ(engine.join_group(*qp, Address::v4(239, 1, 2, 3)), 0);
  {
    Shortage shortage(0);
    const AllocationScope scope(&shortage);
    engine.memory().erase(key);
    engine.memory().erase_window(window);
    engine.destroy_qp(*qp);
  }
  EXPECT_EQ(engine.holdings(), before);
}

TEST_F(OutOfMemory, ConnectsNothing) {
  const Address strange = Address::v4(10, 9, 8, 7);
  ibv_qp_attr attributes{};
  attributes.ah_attr.is_global = 1;
  attributes.ah_attr.port_num = 1;
  std::memcpy(&attributes.ah_attr.grh.dgid, strange.gid.data(), 16);
  QueuePair* qp =
      engine.create_qp({Pair::kPd, &pair.cq_b, &pair.cq_b, 8, 8, 4, 4, 64, true, nullptr});
  fail_everywhere([&] { engine.modify_qp(*qp, attributes, IBV_QP_AV); });
  ASSERT_NE(qp->path, nullptr);
  EXPECT_EQ(qp->path->address, strange);
  engine.destroy_qp(*qp);
}

// One allocation of a device fails while it handles packets.
class OneFailure : public AllocationFaults {
 public:
  explicit OneFailure(int number) : left_(number) {}
  bool next_fails() override { return left_-- == 0; }
  bool happened() const { return left_ < 0; }

 private:
  int left_;
};

// Work of every kind, more at once than anything has room for at first.
class Exchange {
 public:
  explicit Exchange(AllocationFaults& faults)
      : pair({.rd_atomic = 16}),
        from(pair.a, Pair::kPd, kBytes, IBV_ACCESS_LOCAL_WRITE, 7),
        to(pair.b, Pair::kPd, kBytes,
           IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ |
               IBV_ACCESS_REMOTE_ATOMIC) {
    for (Host* host : {&pair.a, &pair.b}) host->memory_faults = &faults;
    work();
  }

  void work() {
    ++times;
    for (uint32_t i = 0; i < kOfEach; ++i) post(i);
    pair.run();
  }

  void expect_all_done() {
    const auto sent = pair.poll(pair.cq_a);
    const auto received = pair.poll(pair.cq_b);
    ASSERT_EQ(sent.size(), 5 * kOfEach);
    ASSERT_EQ(received.size(), 2 * kOfEach);
    for (size_t i = 0; i < sent.size(); ++i) {
      EXPECT_EQ(sent[i].status, IBV_WC_SUCCESS);
      EXPECT_EQ(sent[i].wr_id, i);
    }
    for (const ibv_wc& each : received) EXPECT_EQ(each.status, IBV_WC_SUCCESS);
    uint64_t sum = 0;
    std::memcpy(&sum, to.bytes.data(), sizeof sum);
    EXPECT_EQ(sum, times * kOfEach);
    const auto written = std::span(to.bytes).subspan(kAt, kLength);
    EXPECT_TRUE(std::ranges::all_of(written, [](std::byte each) { return each == std::byte{7}; }));
  }

  Pair pair;

 private:
  static constexpr uint32_t kOfEach = 12;
  static constexpr size_t kBytes = 8192, kAt = 64, kLength = 2500;

  void post(uint32_t round) {
    for (uint64_t id : {2 * round, 2 * round + 1}) {
      Pair::post_receive(pair.b, *pair.qp_b, id, {to.sge(4096, 4096)});
    }
    const auto remote = [this](ibv_send_wr& request) {
      request.wr.rdma = {to.address() + kAt, to.key};
    };
    const auto counter = [this](ibv_send_wr& request) {
      request.wr.atomic = {to.address(), 1, 0, to.key};
    };
    uint64_t id = 5 * round;
    pair.post_send(IBV_WR_SEND, id++, {from.sge(0, kLength)});
    pair.post_send(IBV_WR_RDMA_WRITE, id++, {from.sge(0, kLength)}, remote);
    pair.post_send(IBV_WR_RDMA_READ, id++, {from.sge(4096, kLength)}, remote);
    pair.post_send(IBV_WR_ATOMIC_FETCH_AND_ADD, id++, {from.sge(8000, 8)}, counter);
    pair.post_send(IBV_WR_RDMA_WRITE_WITH_IMM, id++, {from.sge(0, kLength)}, remote);
  }

  uint64_t times = 0;
  Buffer from;
  Buffer to;
};

// A packet that finds no memory is one that was lost, on whichever side and however far it got.
TEST(OutOfMemoryOnTheWay, IsRepairedWhereverItHappens) {
  uint64_t dropped = 0;
  int number = 0;
  for (;; ++number) {
    OneFailure failure(number);
    Exchange exchange(failure);
    ASSERT_NO_FATAL_FAILURE(exchange.expect_all_done()) << "without allocation " << number;
    if (!failure.happened()) break;
    dropped += exchange.pair.a.counters.out_of_memory + exchange.pair.b.counters.out_of_memory;
  }
  EXPECT_GT(number, 10) << "it hardly needs memory";
  EXPECT_GT(dropped, 0U);
}

// Fails none.
class AllocationCount : public AllocationFaults {
 public:
  bool next_fails() override {
    ++count;
    return false;
  }

  int count = 0;
};

TEST(SteadyState, TakesNoMemory) {
  AllocationCount allocations;
  Exchange exchange(allocations);
  ASSERT_NO_FATAL_FAILURE(exchange.expect_all_done());
  EXPECT_GT(allocations.count, 0) << "the first time of all";
  allocations.count = 0;
  for (int again = 0; again < 3; ++again) {
    exchange.work();
    ASSERT_NO_FATAL_FAILURE(exchange.expect_all_done());
  }
  EXPECT_EQ(allocations.count, 0);
}

}  // namespace
}  // namespace verbena::test
