// Tests that slabs are whole zeroed pages that live exactly as long as somebody holds them.
#include "verbs/slab.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>

#include "verbs/error.h"

namespace verbena::verbs {
namespace {

size_t page() {
  return static_cast<size_t>(sysconf(_SC_PAGESIZE));
}

bool is_mapped(const void* address) {
  unsigned char resident = 0;
  return mincore(const_cast<void*>(address), page(), &resident) == 0;
}

TEST(Slab, IsPageAlignedAndZeroedForAnySize) {
  for (const size_t bytes : {size_t{1}, page() - 1, page(), page() + 1, 10 * page() + 7}) {
    const Slab slab(bytes);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(slab.data()) % page(), 0U);
    EXPECT_EQ(slab.bytes(), bytes);
    EXPECT_TRUE(std::all_of(slab.data(), slab.data() + bytes, [](auto byte) { return byte == 0; }));
  }
}

TEST(Slab, IsWritableToItsLastByte) {
  const Slab slab(page() + 1);
  std::fill_n(slab.data(), slab.bytes(), uint8_t{0xff});
  EXPECT_EQ(slab.data()[page()], 0xff);
}

TEST(Slab, SaysThatThereIsNoMemory) {
  try {
    const Slab slab(size_t{1} << 60);
    FAIL();
  } catch (const Error& error) {
    EXPECT_STREQ(error.code(), "ERR_VERBENA_NO_MEMORY");
    EXPECT_EQ(error.error_number(), ENOMEM);
    EXPECT_EQ(error.operation(), "mmap");
  }
}

TEST(Slab, RefusesASizeThatWraps) {
  EXPECT_THROW(Slab(SIZE_MAX - 1), Error);
}

constexpr size_t kHuge = size_t{2} << 20;

uintptr_t huge_page_of(const Slab& slab) {
  return reinterpret_cast<uintptr_t>(slab.data()) / kHuge;
}

TEST(SlabTable, CutsSlabsOfOneSizeFromAHugePage) {
  SlabTable table;
  const auto first = table.allocate(kHuge / 2, false);
  const auto other_size = table.allocate(kHuge / 4, false);
  const auto second = table.allocate(kHuge / 2, false);
  const auto third = table.allocate(kHuge / 2, false);
  EXPECT_EQ(huge_page_of(*first), huge_page_of(*second));
  EXPECT_NE(huge_page_of(*first), huge_page_of(*other_size));
  EXPECT_NE(huge_page_of(*first), huge_page_of(*third));
  std::fill_n(first->data(), first->bytes(), uint8_t{1});
  std::fill_n(third->data(), third->bytes(), uint8_t{3});
  EXPECT_TRUE(
      std::all_of(second->data(), second->data() + kHuge / 2, [](auto byte) { return byte == 0; }));
}

TEST(SlabTable, NeverCutsTheSamePartAgain) {
  SlabTable table;
  const void* gone = table.allocate(kHuge / 2, false)->data();
  const auto second = table.allocate(kHuge / 2, false);
  EXPECT_EQ(second->data(), static_cast<const uint8_t*>(gone) + kHuge / 2);
}

TEST(SlabTable, KeepsAHugePageUntilItsLastSlabIsGone) {
  SlabTable table;
  auto first = table.allocate(kHuge / 2, false);
  auto second = table.allocate(kHuge / 2, false);
  const void* data = second->data();
  first.reset();
  EXPECT_TRUE(is_mapped(data));
  second.reset();
  EXPECT_FALSE(is_mapped(data));
}

TEST(SlabTable, FindsASlabByItsStartAlone) {
  SlabTable table;
  const auto slab = table.allocate(2 * page(), true);
  EXPECT_EQ(table.find(slab->data()), slab);
  EXPECT_EQ(table.find(slab->data() + page()), nullptr);
  EXPECT_EQ(table.find(nullptr), nullptr);
}

TEST(SlabTable, KeepsTheMemoryForAsLongAsSomebodyHoldsIt) {
  SlabTable table;
  auto buffer = table.allocate(page(), true);
  auto region = table.find(buffer->data());
  const void* data = buffer->data();
  table.forget(data);
  buffer.reset();
  EXPECT_EQ(table.find(data), nullptr);
  EXPECT_TRUE(is_mapped(data));
  region.reset();
  EXPECT_FALSE(is_mapped(data));
}

class Recycling : public testing::Test {
 protected:
  // What the collector found, full of sevens.
  const uint8_t* recycle(size_t bytes) {
    auto slab = table.allocate(bytes, true);
    std::fill_n(slab->data(), bytes, uint8_t{7});
    const uint8_t* data = slab->data();
    table.forget(data);
    table.recycle(std::move(slab));
    return data;
  }

  SlabTable table;
};

TEST_F(Recycling, GivesTheMemoryToTheNextOfItsSize) {
  const uint8_t* data = recycle(page());
  EXPECT_NE(table.allocate(2 * page(), false)->data(), data);
  const auto again = table.allocate(page(), false);
  EXPECT_EQ(again->data(), data);
  EXPECT_EQ(again->data()[0], 7);
  EXPECT_TRUE(again->pooled);
  EXPECT_EQ(table.find(data), again);
}

TEST_F(Recycling, ZeroesItForWhoAsks) {
  const uint8_t* data = recycle(page());
  const auto again = table.allocate(page(), true);
  EXPECT_EQ(again->data(), data);
  EXPECT_TRUE(std::all_of(data, data + page(), [](auto byte) { return byte == 0; }));
}

TEST_F(Recycling, LeavesAloneWhatSomebodyHolds) {
  auto slab = table.allocate(page(), true);
  const auto region = slab;
  table.forget(slab->data());
  table.recycle(std::move(slab));
  EXPECT_NE(table.allocate(page(), false), region);
}

TEST_F(Recycling, KeepsNoMoreThanItsLimit) {
  auto large = table.allocate(size_t{64} << 20, true);
  const void* data = large->data();
  table.forget(data);
  table.recycle(std::move(large));
  EXPECT_TRUE(is_mapped(data));
  auto small = table.allocate(page(), true);
  const void* unmapped = small->data();
  table.forget(unmapped);
  table.recycle(std::move(small));
  EXPECT_FALSE(is_mapped(unmapped));
}

}  // namespace
}  // namespace verbena::verbs
