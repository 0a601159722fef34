// Calls that find no memory: each fails whole, and succeeds when there is memory again.
#include <gtest/gtest.h>

#include <cerrno>
#include <cstdlib>
#include <new>

#include "support/simulated_pair.h"

namespace {

// Allocations of this thread until one fails; negative when none does.
thread_local int allocations_left = -1;

}  // namespace

void* operator new(size_t bytes) {
  if (allocations_left == 0) throw std::bad_alloc();
  if (allocations_left > 0) --allocations_left;
  void* memory = std::malloc(bytes == 0 ? 1 : bytes);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

void operator delete(void* memory) noexcept {
  std::free(memory);
}

void operator delete(void* memory, size_t) noexcept {
  std::free(memory);
}

namespace verbena::test {
namespace {

constexpr int kMostAllocations = 100;

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
        allocations_left = after;
        body();
        done = true;
      } catch (const std::bad_alloc&) {
      }
      allocations_left = -1;
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
  allocations_left = 0;
  engine.memory().erase(key);
  engine.memory().erase_window(window);
  engine.destroy_qp(*qp);
  allocations_left = -1;
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

}  // namespace
}  // namespace verbena::test
