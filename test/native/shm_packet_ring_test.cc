// Packets through a ring: whole, in order, never more than fit; and what a hostile other side can
// do.
#include "soft/shm/packet_ring.h"

#include <gtest/gtest.h>

#include <cstring>
#include <deque>
#include <random>
#include <thread>
#include <vector>

namespace verbena::shm {
namespace {

constexpr size_t kCapacity = 4096;

class Ring : public testing::Test {
 protected:
  std::span<std::byte> memory() { return std::as_writable_bytes(std::span(words_)); }
  std::byte* data() { return memory().subspan(kPositionsBytes).data(); }
  RingPositions& positions() { return *reinterpret_cast<RingPositions*>(memory().data()); }

  // A packet that begins with its number; false when there was no room.
  bool write(uint32_t number, size_t bytes) {
    std::byte* at = writer.reserve(bytes);
    if (at == nullptr) return false;
    std::memset(at, static_cast<int>(number & 0xFF), bytes);
    std::memcpy(at, &number, std::min(bytes, sizeof number));
    writer.commit();
    return true;
  }
  // Publishes one record whose header says what it likes, at the beginning.
  void forge(RecordHeader header, uint64_t written) {
    std::memcpy(data(), &header, sizeof header);
    positions().written.store(written);
  }

 private:
  alignas(64) std::vector<uint64_t> words_ = std::vector<uint64_t>(ring_memory_bytes(kCapacity) /
                                                                   sizeof(uint64_t));

 protected:
  RingWriter writer{memory()};
  RingReader reader{memory()};
};

TEST_F(Ring, PacketsComeOutAsTheyWentIn) {
  ASSERT_TRUE(write(7, 100));
  ASSERT_TRUE(write(8, 13));
  EXPECT_FALSE(reader.waiting()) << "before they are published";
  EXPECT_TRUE(writer.publish());
  EXPECT_FALSE(writer.publish()) << "again, with nothing new";
  ASSERT_TRUE(reader.waiting());
  for (const size_t bytes : {100, 13}) {
    const auto packet = reader.next();
    ASSERT_TRUE(packet);
    EXPECT_EQ(packet->size(), bytes);
  }
  EXPECT_FALSE(reader.next());
  EXPECT_FALSE(reader.broken());
}

TEST_F(Ring, WhatWasReservedAndNotCommittedIsReservedAnew) {
  ASSERT_NE(writer.reserve(500), nullptr);
  ASSERT_TRUE(write(3, 20));
  writer.publish();
  const auto packet = reader.next();
  ASSERT_TRUE(packet);
  EXPECT_EQ(packet->size(), 20U);
  EXPECT_FALSE(reader.next());
}

TEST_F(Ring, IsFullUntilTheReaderReleases) {
  uint32_t count = 0;
  while (write(count, 100)) ++count;
  EXPECT_EQ(count, kCapacity / 112);
  writer.publish();
  while (reader.next()) {
  }
  EXPECT_FALSE(write(count, 100)) << "read, but not released";
  reader.release();
  EXPECT_TRUE(write(count, 100));
}

TEST_F(Ring, APacketLargerThanTheRingHasNoRoom) {
  EXPECT_FALSE(write(1, kCapacity));
  EXPECT_TRUE(write(1, kCapacity - sizeof(RecordHeader)));
}

TEST_F(Ring, AgreesWithAQueueWhateverTheSizesAndTheTurns) {
  std::random_device device;
  const auto seed = device();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  std::deque<std::pair<uint32_t, size_t>> expected;
  uint32_t number = 0;
  size_t published = 0;
  for (int step = 0; step < 200'000; ++step) {
    switch (random() % 4) {
      case 0:
      case 1: {
        const size_t bytes = 4 + random() % (random() % 8 == 0 ? 2000 : 120);
        if (write(number, bytes)) expected.emplace_back(number++, bytes);
        break;
      }
      case 2:
        writer.publish();
        published = expected.size();
        break;
      default:
        for (auto packet = reader.next(); packet; packet = reader.next()) {
          ASSERT_GT(published, 0U);
          --published;
          uint32_t got = 0;
          std::memcpy(&got, packet->data(), sizeof got);
          ASSERT_EQ(got, expected.front().first);
          ASSERT_EQ(packet->size(), expected.front().second);
          ASSERT_TRUE(std::all_of(packet->begin() + sizeof got, packet->end(),
                                  [got](std::byte b) { return b == std::byte(got & 0xFF); }));
          expected.pop_front();
        }
        ASSERT_EQ(published, 0U) << "all that was published is there";
        reader.release();
    }
  }
  EXPECT_GT(number, 10'000U);
  EXPECT_FALSE(reader.broken());
}

TEST_F(Ring, CarriesPacketsBetweenThreads) {
  constexpr uint32_t kPackets = 300'000;
  std::thread other([this] {
    for (uint32_t number = 0; number < kPackets;) {
      if (write(number, 4 + number % 300)) ++number;
      writer.publish();
    }
  });
  for (uint32_t number = 0; number < kPackets;) {
    const auto packet = reader.next();
    if (!packet) {
      ASSERT_FALSE(reader.broken());
      reader.release();
      std::this_thread::yield();
      continue;
    }
    uint32_t got = 0;
    std::memcpy(&got, packet->data(), sizeof got);
    ASSERT_EQ(got, number);
    ASSERT_EQ(packet->size(), 4 + number % 300);
    ++number;
  }
  other.join();
}

TEST(LargeRing, LittleTrafficStaysAtItsBeginning) {
  constexpr size_t kLarge = 1 << 20;
  std::vector<uint64_t> words(ring_memory_bytes(kLarge) / sizeof(uint64_t));
  const auto memory = std::as_writable_bytes(std::span(words));
  RingWriter writer(memory);
  RingReader reader(memory);
  size_t farthest = 0;
  for (int i = 0; i < 100'000; ++i) {
    std::byte* at = writer.reserve(64);
    ASSERT_NE(at, nullptr);
    farthest = std::max(farthest, static_cast<size_t>(at - memory.data()) - kPositionsBytes);
    writer.commit();
    writer.publish();
    ASSERT_TRUE(reader.next());
    reader.release();
  }
  EXPECT_LT(farthest, 128U << 10);
}

TEST(RingMemory, HasAPowerOfTwoAndItsPositions) {
  EXPECT_TRUE(is_ring_memory(ring_memory_bytes(4096)));
  EXPECT_TRUE(is_ring_memory(ring_memory_bytes(4 << 20)));
  for (const size_t bytes : {size_t{0}, size_t{4096}, size_t{8191}, size_t{4 * 4096},
                             ring_memory_bytes(size_t{1} << 40), SIZE_MAX}) {
    EXPECT_FALSE(is_ring_memory(bytes)) << bytes;
  }
}

TEST(NoRing, HasNothingWaiting) {
  RingReader none;
  EXPECT_FALSE(none.waiting());
  EXPECT_FALSE(none.next());
  none.release();
}

// --- what the writer's process may have written

struct Forgery {
  const char* what;
  RecordHeader header;
  uint64_t written;
};

class ForgedRing : public Ring, public testing::WithParamInterface<Forgery> {};

TEST_P(ForgedRing, IsBrokenAndReadNoFurther) {
  forge(GetParam().header, GetParam().written);
  EXPECT_FALSE(reader.next());
  EXPECT_TRUE(reader.broken());
  EXPECT_FALSE(reader.waiting());
}

INSTANTIATE_TEST_SUITE_P(
    Kinds, ForgedRing,
    testing::Values(Forgery{"more than the ring holds", {8, 0}, kCapacity + 8},
                    Forgery{"less than there was", {8, 0}, uint64_t{0} - 8},
                    Forgery{"half a header", {8, 0}, 4}, Forgery{"a crooked position", {8, 0}, 17},
                    Forgery{"a record that is not all there", {100, 0}, 64},
                    Forgery{"a record beyond the end", {kCapacity, 0}, kCapacity},
                    Forgery{"the largest length but one", {0xFFFF'FFFE, 0}, kCapacity},
                    Forgery{"a skip over what is not there", {kSkipsToBeginning, 0}, 64}),
    [](const auto& each) {
      std::string name = each.param.what;
      std::erase(name, ' ');
      return name;
    });

TEST_F(Ring, AReaderThatTookMoreThanThereWasGetsNothingMore) {
  positions().taken.store(1 << 20);
  uint32_t count = 0;
  while (count < 2 * kCapacity && write(count, 100)) ++count;
  EXPECT_LT(count, kCapacity);
}

}  // namespace
}  // namespace verbena::shm
