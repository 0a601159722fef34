// Checks every CRC-32 implementation against a bit-by-bit reference at all small sizes.

#include "soft/wire/crc32.h"

#include <gtest/gtest.h>

#include <cstring>
#include <numeric>
#include <random>
#include <string>
#include <thread>
#include <vector>

namespace verbena::wire {
namespace {

uint32_t reference(uint32_t state, const uint8_t* data, size_t bytes) {
  for (size_t i = 0; i < bytes; ++i) {
    state ^= data[i];
    for (int bit = 0; bit < 8; ++bit) {
      state = (state >> 1) ^ ((state & 1) != 0 ? 0xEDB88320u : 0);
    }
  }
  return state;
}

std::vector<uint8_t> random_bytes(size_t bytes, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<uint8_t> data(bytes);
  for (auto& byte : data) byte = static_cast<uint8_t>(random());
  return data;
}

class EachImplementation : public testing::TestWithParam<Crc32Implementation> {};

TEST_P(EachImplementation, GivesTheStandardCheckValue) {
  EXPECT_EQ(~GetParam().update(kCrc32InitialState, "123456789", 9), 0xCBF43926u);
}

TEST_P(EachImplementation, AgreesWithTheReferenceAtEverySizeAndAlignment) {
  const auto data = random_bytes(1500 + 64, 1);
  for (size_t bytes = 0; bytes <= 1500; ++bytes) {
    const size_t offset = bytes % 61;
    const uint32_t state = 0x9E3779B9u * static_cast<uint32_t>(bytes + 1);
    ASSERT_EQ(GetParam().update(state, data.data() + offset, bytes),
              reference(state, data.data() + offset, bytes))
        << bytes << " bytes";
  }
}

TEST_P(EachImplementation, AgreesWithTheReferenceOnLargeInput) {
  const auto data = random_bytes(70'001, 2);
  EXPECT_EQ(GetParam().update(7, data.data(), data.size()), reference(7, data.data(), data.size()));
}

TEST_P(EachImplementation, ContinuesFromAnyCut) {
  const auto data = random_bytes(300, 3);
  const uint32_t whole = reference(kCrc32InitialState, data.data(), data.size());
  for (size_t cut = 0; cut <= data.size(); ++cut) {
    uint32_t state = GetParam().update(kCrc32InitialState, data.data(), cut);
    state = GetParam().update(state, data.data() + cut, data.size() - cut);
    ASSERT_EQ(state, whole) << "cut at " << cut;
  }
}

TEST_P(EachImplementation, CopiesExactlyTheSourceWhileComputing) {
  std::vector<size_t> sizes(600);
  std::iota(sizes.begin(), sizes.end(), 0);
  for (const size_t large : {1100u, 4096u, 4097u, 9001u}) sizes.push_back(large);
  for (const size_t bytes : sizes) {
    const auto source = random_bytes(bytes, bytes + 4);
    std::vector<uint8_t> destination(bytes + 2, 0xA5);
    const uint32_t state =
        GetParam().copy(0x12345678u, destination.data() + 1, source.data(), bytes);
    EXPECT_EQ(state, reference(0x12345678u, source.data(), bytes)) << bytes;
    EXPECT_TRUE(std::equal(source.begin(), source.end(), destination.begin() + 1)) << bytes;
    EXPECT_EQ(destination.front(), 0xA5) << bytes;
    EXPECT_EQ(destination.back(), 0xA5) << bytes;
  }
}

std::vector<Crc32Implementation> all_implementations() {
  const auto found = crc32_implementations();
  return {found.begin(), found.end()};
}

INSTANTIATE_TEST_SUITE_P(Crc32, EachImplementation, testing::ValuesIn(all_implementations()),
                         [](const auto& info) {
                           std::string name = info.param.name;
                           for (char& letter : name)
                             letter = std::isalnum(letter) != 0 ? letter : '_';
                           return name;
                         });

TEST(Crc32, ChoosesOneImplementationForAllThreads) {
  std::vector<const Crc32Implementation*> seen(8);
  std::vector<std::thread> threads;
  threads.reserve(seen.size());
  for (auto& slot : seen) threads.emplace_back([&slot] { slot = &crc32_chosen(); });
  for (auto& thread : threads) thread.join();
  for (const auto* choice : seen) EXPECT_EQ(choice, &crc32_chosen());
  EXPECT_EQ(~crc32_update(kCrc32InitialState, "123456789", 9), 0xCBF43926u);
}

TEST(Crc32, PowersOfXAdvanceAStateOverZeros) {
  const std::vector<uint8_t> zeros(5000, 0);
  for (const uint32_t bytes : {0u, 1u, 2u, 44u, 1100u, 5000u}) {
    const uint32_t state = 0xDEADBEEFu;
    EXPECT_EQ(crc32_multiply(state, crc32_power_of_x(bytes * 8)),
              reference(state, zeros.data(), bytes));
  }
}

TEST(Crc32, NegativePowersOfXUndoPositiveOnes) {
  for (const uint32_t exponent : {1u, 8u, 31u, 32u, 9000u, 123456u}) {
    const uint32_t forward = crc32_power_of_x(exponent);
    const uint32_t back = crc32_power_of_x(0xFFFFFFFFu - exponent);
    EXPECT_EQ(crc32_multiply(forward, back), 0x80000000u) << exponent;
  }
}

}  // namespace
}  // namespace verbena::wire
