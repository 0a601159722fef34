// Tests that a slot table's indices find their own object and nothing else.
#include "util/slot_table.h"

#include <gtest/gtest.h>

#include <set>

namespace verbena::util {
namespace {

uint32_t insert(SlotTable<int>& table, int& object) {
  const uint32_t index = table.reserve().value();
  table.bind(index, object);
  return index;
}

TEST(SlotTable, FindsWhatWasBound) {
  SlotTable<int> table;
  int first = 1;
  int second = 2;
  const uint32_t a = insert(table, first);
  const uint32_t b = insert(table, second);
  EXPECT_EQ(table.find(a), &first);
  EXPECT_EQ(table.find(b), &second);
  EXPECT_EQ(table.size(), 2U);
}

TEST(SlotTable, FindsNothingBeforeBinding) {
  SlotTable<int> table;
  EXPECT_EQ(table.find(table.reserve().value()), nullptr);
}

TEST(SlotTable, ZeroAndUnknownIndicesFindNothing) {
  SlotTable<int> table;
  int object = 1;
  const uint32_t index = insert(table, object);
  EXPECT_NE(index, 0U);
  EXPECT_EQ(table.find(0), nullptr);
  EXPECT_EQ(table.find(index + 1), nullptr);
  EXPECT_EQ(table.find(0xffff'ffff), nullptr);
}

TEST(SlotTable, StaleIndexDoesNotFindTheNextTenant) {
  SlotTable<int> table;
  int first = 1;
  int second = 2;
  const uint32_t stale = insert(table, first);
  EXPECT_TRUE(table.erase(stale));
  const uint32_t fresh = insert(table, second);
  EXPECT_EQ(table.find(stale), nullptr);
  EXPECT_EQ(table.find(fresh), &second);
  EXPECT_FALSE(table.erase(stale));
  EXPECT_EQ(table.find(fresh), &second);
}

TEST(SlotTable, DoesNotRepeatAnIndexForAllGenerations) {
  SlotTable<int> table;
  int object = 1;
  std::set<uint32_t> seen;
  for (uint32_t round = 0; round < SlotTable<int>::kMaxGeneration; ++round) {
    const uint32_t index = insert(table, object);
    EXPECT_TRUE(seen.insert(index).second) << "round " << round;
    table.erase(index);
  }
  EXPECT_EQ(table.size(), 0U);
}

TEST(SlotTable, ReusesTheSlotThatWasFreeLongest) {
  SlotTable<int> table;
  int object = 1;
  const uint32_t a = insert(table, object);
  const uint32_t b = insert(table, object);
  table.erase(b);
  table.erase(a);
  const uint32_t mask = SlotTable<int>::kMaxSlots - 1;
  EXPECT_EQ(insert(table, object) & mask, b & mask);
  EXPECT_EQ(insert(table, object) & mask, a & mask);
}

TEST(SlotTable, RefusesMoreThanItsSlots) {
  SlotTable<int> table;
  uint32_t last = 0;
  for (uint32_t slot = 0; slot < SlotTable<int>::kMaxSlots; ++slot) last = table.reserve().value();
  EXPECT_FALSE(table.reserve().has_value());
  table.erase(last);
  EXPECT_TRUE(table.reserve().has_value());
}

}  // namespace
}  // namespace verbena::util
