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

constexpr size_t kSmallest = 4096;

class BothEnds : public testing::Test {
 protected:
  explicit BothEnds(size_t capacity) : words_(ring_memory_bytes(capacity) / sizeof(uint64_t)) {}

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
  std::vector<uint64_t> words_;

 protected:
  RingWriter writer{memory()};
  RingReader reader{memory()};
};

// One that is full now and then, and one that begins anew.
class Ring : public BothEnds, public testing::WithParamInterface<size_t> {
 protected:
  Ring() : BothEnds(GetParam()) {}
};

TEST_P(Ring, PacketsComeOutAsTheyWentIn) {
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

TEST_P(Ring, WhatWasReservedAndNotCommittedIsReservedAnew) {
  ASSERT_NE(writer.reserve(500), nullptr);
  ASSERT_TRUE(write(3, 20));
  writer.publish();
  const auto packet = reader.next();
  ASSERT_TRUE(packet);
  EXPECT_EQ(packet->size(), 20U);
  EXPECT_FALSE(reader.next());
}

TEST_P(Ring, IsFullUntilTheReaderReleases) {
  uint32_t count = 0;
  while (write(count, 100)) ++count;
  EXPECT_EQ(count, GetParam() / 112);
  writer.publish();
  while (reader.next()) {
  }
  EXPECT_FALSE(write(count, 100)) << "read, but not released";
  reader.release();
  EXPECT_TRUE(write(count, 100));
}

TEST_P(Ring, APacketLargerThanTheRingHasNoRoom) {
  EXPECT_FALSE(write(1, GetParam()));
  EXPECT_TRUE(write(1, GetParam() - sizeof(RecordHeader)));
}

TEST_P(Ring, AgreesWithAQueueWhateverTheSizesAndTheTurns) {
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

TEST_P(Ring, CarriesPacketsBetweenThreads) {
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

INSTANTIATE_TEST_SUITE_P(Sizes, Ring, testing::Values(kSmallest, 256 << 10));

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
  // And there is room for all that it holds when the reader comes late.
  size_t room = 0;
  while (writer.reserve(4000) != nullptr) {
    writer.commit();
    writer.publish();
    room += 4008;
  }
  EXPECT_GT(room, kLarge - 4008);
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

class ForgedRing : public BothEnds, public testing::WithParamInterface<Forgery> {
 protected:
  ForgedRing() : BothEnds(kSmallest) {}
};

TEST_P(ForgedRing, IsBrokenAndReadNoFurther) {
  forge(GetParam().header, GetParam().written);
  EXPECT_FALSE(reader.next());
  EXPECT_TRUE(reader.broken());
  EXPECT_FALSE(reader.waiting());
}

INSTANTIATE_TEST_SUITE_P(
    Kinds, ForgedRing,
    testing::Values(Forgery{"more than the ring holds", {8, 0}, kSmallest + 8},
                    Forgery{"less than there was", {8, 0}, uint64_t{0} - 8},
                    Forgery{"half a header", {8, 0}, 4}, Forgery{"a crooked position", {8, 0}, 17},
                    Forgery{"a record that is not all there", {100, 0}, 64},
                    Forgery{"a record beyond the end", {kSmallest, 0}, kSmallest},
                    Forgery{"the largest length but one", {0xFFFF'FFFE, 0}, kSmallest},
                    Forgery{"a skip over what is not there", {kSkipsToBeginning, 0}, 64}),
    [](const auto& each) {
      std::string name = each.param.what;
      std::erase(name, ' ');
      return name;
    });

TEST_P(Ring, AReaderThatTookMoreThanThereWasGetsNothingMore) {
  positions().taken.store(1 << 20);
  uint32_t count = 0;
  while (count < 2 * GetParam() && write(count, 100)) ++count;
  EXPECT_LT(count, GetParam());
}

}  // namespace
}  // namespace verbena::shm
