// Queue-pair numbers and keys cannot be guessed: they are spread evenly, have nothing to do with
// the one before, and do not come again soon.
#include <gtest/gtest.h>

#include <array>
#include <unordered_map>
#include <vector>

#include "support/verbs_objects.h"

namespace verbena::test {
namespace {

constexpr size_t kDraws = 100'000;
constexpr size_t kQuarantine = 65'536;  // of soft/engine/key_table.h

// With 255 degrees of freedom chi-square is about 255, and 450 once in 10^12.
void expect_even(const std::vector<uint32_t>& values, unsigned shift, uint32_t mask) {
  std::vector<double> seen(mask + 1);
  for (const uint32_t value : values) ++seen[value >> shift & mask];
  const double expected = static_cast<double>(values.size()) / (mask + 1);
  double chi_square = 0;
  for (const double count : seen) chi_square += (count - expected) * (count - expected) / expected;
  EXPECT_LT(chi_square, 450) << "bits from " << shift;
}

// Of 100,000 draws from 2^24, 0.2 lie that near the one before; 8 would be one chance in 10^10.
void expect_no_neighbours(const std::vector<uint32_t>& values) {
  size_t near = 0;
  for (size_t i = 1; i < values.size(); ++i) {
    const auto distance = static_cast<int64_t>(values[i]) - values[i - 1];
    if (distance >= -16 && distance <= 16) ++near;
  }
  EXPECT_LT(near, 8U);
}

// Each was given back before the next was drawn.
void expect_no_early_reuse(const std::vector<uint32_t>& values) {
  std::unordered_map<uint32_t, size_t> last;
  for (size_t i = 0; i < values.size(); ++i) {
    const auto [found, fresh] = last.try_emplace(values[i], i);
    EXPECT_TRUE(fresh || i - found->second > kQuarantine);
    found->second = i;
  }
}

class Randomness : public testing::Test {
 protected:
  ContextPtr context = open_soft_device();
  PdPtr pd{ibv_alloc_pd(context.get())};
  CqPtr cq{ibv_create_cq(context.get(), 4, nullptr, nullptr, 0)};
};

TEST_F(Randomness, OfQueuePairNumbers) {
  std::vector<uint32_t> numbers;
  for (size_t i = 0; i < kDraws; ++i) {
    ibv_qp_init_attr attributes{};
    attributes.send_cq = attributes.recv_cq = cq.get();
    attributes.cap = {1, 1, 1, 1, 0};
    attributes.qp_type = IBV_QPT_RC;
    const QpPtr qp(ibv_create_qp(pd.get(), &attributes));
    ASSERT_NE(qp, nullptr);
    numbers.push_back(qp->qp_num);
    ASSERT_GT(qp->qp_num, 1U);
    ASSERT_LT(qp->qp_num, 0xFFFFFFU);
  }
  for (const unsigned shift : {0U, 8U, 16U}) expect_even(numbers, shift, 0xFF);
  expect_no_neighbours(numbers);
  expect_no_early_reuse(numbers);
}

// A key of a region has 31 bits; the top one tells windows.
TEST_F(Randomness, OfKeys) {
  std::array<std::byte, 64> bytes{};
  std::vector<uint32_t> keys;
  for (size_t i = 0; i < kDraws; ++i) {
    const MrPtr mr(ibv_reg_mr(pd.get(), bytes.data(), bytes.size(), IBV_ACCESS_REMOTE_READ));
    ASSERT_NE(mr, nullptr);
    keys.push_back(mr->rkey);
  }
  for (const unsigned shift : {0U, 8U, 16U, 23U}) expect_even(keys, shift, 0xFF);
  expect_no_neighbours(keys);
  expect_no_early_reuse(keys);
}

}  // namespace
}  // namespace verbena::test
