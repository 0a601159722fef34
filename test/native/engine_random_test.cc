// Random programs on a random network: whatever is lost, each request completes once, in order,
// with its bytes. A failure prints its seed; VERBENA_SEED=N runs that seed alone, VERBENA_SEEDS=N
// that many.
#include <gtest/gtest.h>

#include <cstdlib>

#include "support/simulated_pair.h"

namespace verbena::test {
namespace {

constexpr int kLocal = IBV_ACCESS_LOCAL_WRITE;
constexpr int kRemote =
    kLocal | IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ | IBV_ACCESS_REMOTE_ATOMIC;
constexpr uint32_t kSlotBytes = 3000;
constexpr uint32_t kOperations = 60;
constexpr size_t kCounterOffset = size_t{kOperations} * kSlotBytes;

PairOptions random_options(SeededRandom& random, uint64_t seed) {
  PairOptions options;
  options.seed = seed;
  options.mtu = static_cast<ibv_mtu>(1 + random.below(5));
  options.depth = 1 + random.below(70);
  options.psn_a = random.chance(0.5) ? 0xFFFFFF - random.below(60) : random.next() & 0xFFFFFF;
  options.psn_b = random.chance(0.5) ? 0xFFFFFF - random.below(60) : random.next() & 0xFFFFFF;
  options.timeout = static_cast<uint8_t>(8 + random.below(8));
  options.retry_count = 7;
  options.rnr_retry = 7;
  options.min_rnr_timer = static_cast<uint8_t>(1 + random.below(14));
  options.rd_atomic = static_cast<uint8_t>(1 + random.below(16));
  options.signal_all = random.chance(0.5);
  options.window_bytes = 4096U << random.below(9);
  return options;
}

Faults random_faults(SeededRandom& random) {
  const auto level = [&](double most) {
    return random.chance(0.5) ? 0 : most * random.below(100) / 100;
  };
  Faults faults;
  faults.drop = level(0.12);
  faults.duplicate = level(0.1);
  faults.reorder = level(0.25);
  faults.delay = 1 * kUs << random.below(10);
  return faults;
}

// One host's program: what it posts, and what must then be true.
class Program {
 public:
  Program(Host& host, QueuePair& qp, CompletionQueue& cq, Host& peer, uint64_t seed)
      : random_(seed),
        host_(host),
        qp_(qp),
        cq_(cq),
        local_(host, Pair::kPd, kCounterOffset + 8, kLocal),
        results_(host, Pair::kPd, kCounterOffset + 8, kLocal),
        target_(peer, Pair::kPd, kCounterOffset + 8, kRemote),
        source_(peer, Pair::kPd, kCounterOffset + 8, kRemote),
        received_(peer, Pair::kPd, kCounterOffset + 8, kLocal) {
    for (auto& byte : local_.bytes) byte = static_cast<std::byte>(random_.next());
    for (auto& byte : source_.bytes) byte = static_cast<std::byte>(random_.next());
  }

  void post_some() {
    for (uint32_t burst = 1 + random_.below(8); burst > 0 && posted_ < kOperations; --burst) {
      if (!post_one()) return;
    }
  }

  // The peer's receives for this program's sends.
  void post_receives(Host& peer, QueuePair& peer_qp) {
    for (uint32_t burst = random_.below(5); burst > 0 && receives_posted_ < sends_posted_;
         --burst) {
      const size_t offset = size_t{receives_posted_} * kSlotBytes;
      if (Pair::post_receive(peer, peer_qp, receives_posted_,
                             {received_.sge(offset, kSlotBytes)}) != 0)
        return;
      ++receives_posted_;
    }
  }

  void collect() {
    std::array<ibv_wc, 256> found{};
    const int count = cq_.poll(static_cast<int>(found.size()), found.data());
    for (const ibv_wc& completion : std::span(found).first(static_cast<size_t>(count))) {
      ASSERT_EQ(completion.status, IBV_WC_SUCCESS) << ibv_wc_status(completion.status);
      if ((completion.opcode & IBV_WC_RECV) != 0) {
        ++peer_receives_;
        continue;
      }
      ASSERT_GE(completion.wr_id, completed_) << "completed twice or out of order";
      completed_ = completion.wr_id + 1;
    }
  }

  bool done() const { return completed_ == kOperations; }
  uint64_t completed() const { return completed_; }
  uint32_t sends() const { return static_cast<uint32_t>(sends_.size()); }
  uint32_t peer_receives() const { return peer_receives_; }

  void check() const {
    for (const auto& [id, length] : writes_) expect_equal(local_, id, target_, id, length);
    for (const auto& [id, length] : reads_) expect_equal(source_, id, results_, id, length);
    for (size_t i = 0; i < sends_.size(); ++i) {
      expect_equal(local_, sends_[i].first, received_, i, sends_[i].second);
    }
    uint64_t counter = 0;
    std::memcpy(&counter, &target_.bytes[kCounterOffset], 8);
    EXPECT_EQ(counter, atomics_);
  }

 private:
  static void expect_equal(const Buffer& a, uint64_t slot_a, const Buffer& b, uint64_t slot_b,
                           uint32_t length) {
    EXPECT_EQ(std::memcmp(&a.bytes[slot_a * kSlotBytes], &b.bytes[slot_b * kSlotBytes], length), 0);
  }

  bool post_one() {
    const uint64_t id = posted_;
    const uint32_t length = random_.chance(0.2) ? random_.below(8) : random_.below(kSlotBytes);
    const uint32_t kind = random_.below(4);
    ibv_send_wr request{};
    ibv_sge sge = local_.sge(id * kSlotBytes, length);
    request.wr_id = id;
    request.sg_list = &sge;
    request.num_sge = 1;
    const bool last = id + 1 == kOperations;
    request.send_flags = last || random_.chance(0.5) ? IBV_SEND_SIGNALED : 0;
    if (random_.chance(0.1)) request.send_flags |= IBV_SEND_FENCE;
    const auto target = [&](const Buffer& buffer, size_t offset) {
      request.wr.rdma = {buffer.address() + offset, buffer.key};
    };
    if (kind == 0) {
      request.opcode = IBV_WR_SEND;
    } else if (kind == 1) {
      request.opcode = IBV_WR_RDMA_WRITE;
      target(target_, id * kSlotBytes);
    } else if (kind == 2) {
      request.opcode = IBV_WR_RDMA_READ;
      sge = results_.sge(id * kSlotBytes, length);
      target(source_, id * kSlotBytes);
    } else {
      request.opcode = IBV_WR_ATOMIC_FETCH_AND_ADD;
      sge = results_.sge(kCounterOffset, 8);
      request.wr.atomic = {target_.address() + kCounterOffset, 1, 0, target_.key};
    }
    if (host_.engine().post_send(qp_, request) != 0) return false;
    ++posted_;
    if (kind == 0) sends_.emplace_back(id, length);
    if (kind == 1) writes_.emplace_back(id, length);
    if (kind == 2) reads_.emplace_back(id, length);
    if (kind == 3) ++atomics_;
    sends_posted_ = static_cast<uint32_t>(sends_.size());
    return true;
  }

  using Done = std::vector<std::pair<uint64_t, uint32_t>>;

  SeededRandom random_;
  Host& host_;
  QueuePair& qp_;
  CompletionQueue& cq_;
  Buffer local_;
  Buffer results_;
  Buffer target_;
  Buffer source_;
  Buffer received_;
  uint64_t posted_ = 0;
  uint64_t completed_ = 0;
  uint32_t sends_posted_ = 0;
  uint32_t receives_posted_ = 0;
  uint32_t peer_receives_ = 0;
  uint64_t atomics_ = 0;
  Done sends_;
  Done writes_;
  Done reads_;
};

void run_seed(uint64_t seed) {
  SeededRandom random(seed);
  Pair pair(random_options(random, seed));
  pair.network.faults = random_faults(random);
  Program a(pair.a, *pair.qp_a, pair.cq_a, pair.b, seed + 1);
  Program b(pair.b, *pair.qp_b, pair.cq_b, pair.a, seed + 2);
  for (int step = 0; step < 20000 && !(a.done() && b.done()); ++step) {
    a.post_some();
    b.post_some();
    a.post_receives(pair.b, *pair.qp_b);
    b.post_receives(pair.a, *pair.qp_a);
    pair.run(random.below(3) * kMs);
    a.collect();
    b.collect();
    if (testing::Test::HasFailure()) return;
  }
  pair.run();
  a.collect();
  b.collect();
  ASSERT_TRUE(a.done() && b.done()) << a.completed() << " and " << b.completed() << " completed";
  EXPECT_EQ(b.peer_receives(), a.sends());
  EXPECT_EQ(a.peer_receives(), b.sends());
  a.check();
  b.check();
}

TEST(RandomPrograms, CompleteOnceInOrderWithTheirBytes) {
  const char* one = std::getenv("VERBENA_SEED");
  const char* many = std::getenv("VERBENA_SEEDS");
  const uint64_t first = one != nullptr ? std::strtoull(one, nullptr, 10) : 1;
  const uint64_t count = one != nullptr    ? 1
                         : many != nullptr ? std::strtoull(many, nullptr, 10)
                                           : 300;
  for (uint64_t seed = first; seed < first + count; ++seed) {
    run_seed(seed);
    if (HasFailure()) {
      FAIL() << "replay: VERBENA_SEED=" << seed << " engine_random_test";
    }
  }
}

}  // namespace
}  // namespace verbena::test
