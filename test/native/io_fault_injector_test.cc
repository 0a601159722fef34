// Checks fault plans as text, the rates at which faults happen, and that a seed repeats them.

#include "soft/io/fault_injector.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "io_helpers.h"

namespace verbena::io {
namespace {

const wire::Address kPeer = wire::Address::v4(10, 0, 0, 2);

std::string complaint_about(std::string_view text) {
  Failure failure;
  EXPECT_FALSE(FaultPlan::parse(text, failure)) << text;
  EXPECT_EQ(failure.error, EINVAL);
  return failure.text;
}

TEST(FaultPlan, ReadsEveryKey) {
  Failure failure;
  const auto plan = FaultPlan::parse(
      "drop=0.01,dup=0.25,reorder=1,corrupt=1e-3,seed=18446744073709551615", failure);
  ASSERT_TRUE(plan) << failure.text;
  EXPECT_EQ(plan->drop, 0.01);
  EXPECT_EQ(plan->duplicate, 0.25);
  EXPECT_EQ(plan->reorder, 1);
  EXPECT_EQ(plan->corrupt, 0.001);
  EXPECT_EQ(plan->seed, UINT64_MAX);
}

TEST(FaultPlan, LeavesOutWhatIsNotNamed) {
  Failure failure;
  const auto plan = FaultPlan::parse("reorder=0.5", failure);
  ASSERT_TRUE(plan);
  EXPECT_EQ(plan->drop, 0);
  EXPECT_EQ(plan->corrupt, 0);
}

TEST(FaultPlan, NamesThePartThatIsWrongAndTheForm) {
  for (const char* text :
       {"drop", "drop=", "drop=x", "drop=-0.1", "drop=1.5", "drop=nan", "drop=0.1x", "loss=0.1",
        "seed=-1", "seed=1.5", "", "drop=0.1,", "drop=0.1,,dup=0.1", " drop=0.1",
        "drop=0.1;dup=0.1", "seed=18446744073709551616"}) {
    const std::string complaint = complaint_about(text);
    EXPECT_NE(complaint.find("drop=0.01,dup=0.01,reorder=0.02,corrupt=0.001,seed=7"),
              std::string::npos)
        << text;
  }
  EXPECT_NE(complaint_about("dup=0.1,drop=7").find("\"drop=7\""), std::string::npos);
}

// Keeps what left, in order.
class Recorder : public FaultInjector::Outlet {
 public:
  void put(const wire::Address& destination, std::span<const std::byte> packet) override {
    EXPECT_EQ(destination, kPeer);
    packets.emplace_back(packet.begin(), packet.end());
  }
  std::vector<Payload> packets;
};

uint32_t number_of(const Payload& packet) {
  uint32_t number;
  std::memcpy(&number, packet.data() + 12, sizeof number);
  return number;
}

Payload numbered(uint32_t number) {
  Payload packet = random_payload(64, number);
  std::memcpy(packet.data() + 12, &number, sizeof number);
  return packet;
}

struct Outcome {
  std::vector<Payload> packets;
  FaultCounters counters;
};

Outcome run(const FaultPlan& plan, uint32_t packets) {
  FaultInjector injector(plan);
  Recorder recorder;
  for (uint32_t number = 0; number < packets; ++number) {
    Payload packet = numbered(number);
    injector.pass(kPeer, packet, recorder);
  }
  injector.release_held(recorder);
  return {recorder.packets, injector.counters()};
}

TEST(FaultInjector, ChangesNothingWithoutFaults) {
  const Outcome plain = run({}, 1000);
  ASSERT_EQ(plain.packets.size(), 1000u);
  for (uint32_t i = 0; i < 1000; ++i) EXPECT_EQ(plain.packets[i], numbered(i));
}

TEST(FaultInjector, RepeatsItselfForASeedAndNotForAnother) {
  const FaultPlan plan{.drop = 0.1, .duplicate = 0.1, .reorder = 0.1, .corrupt = 0.1, .seed = 3};
  FaultPlan other = plan;
  other.seed = 4;
  EXPECT_EQ(run(plan, 2000).packets, run(plan, 2000).packets);
  EXPECT_NE(run(plan, 2000).packets, run(other, 2000).packets);
}

TEST(FaultInjector, KeepsTheRates) {
  const FaultPlan plan{.drop = 0.1, .duplicate = 0.05, .reorder = 0.02, .corrupt = 0.01, .seed = 8};
  const FaultCounters seen = run(plan, 100'000).counters;
  const auto near = [](uint64_t count, double expected) {
    // Five standard deviations and a bit.
    EXPECT_NEAR(static_cast<double>(count), expected, 5 * std::sqrt(expected) + 5);
  };
  near(seen.dropped, 10'000);
  near(seen.duplicated, 0.9 * 5'000);
  near(seen.reordered, 0.9 * 2'000);
  near(seen.corrupted, 0.9 * 1'000);
}

TEST(FaultInjector, DropsEverythingAtProbabilityOne) {
  EXPECT_TRUE(run({.drop = 1}, 500).packets.empty());
}

TEST(FaultInjector, SendsTwoCopiesOfADuplicate) {
  const Outcome doubled = run({.duplicate = 1}, 100);
  ASSERT_EQ(doubled.packets.size(), 200u);
  for (uint32_t i = 0; i < 200; ++i) EXPECT_EQ(doubled.packets[i], numbered(i / 2));
}

TEST(FaultInjector, FlipsOneOrTwoCoveredBitsOfACorruptPacket) {
  const Outcome corrupt = run({.corrupt = 1}, 5000);
  ASSERT_EQ(corrupt.packets.size(), 5000u);
  FaultInjector injector({.corrupt = 1});
  Recorder recorder;
  for (uint32_t i = 0; i < 5000; ++i) {
    const Payload original = numbered(i);
    Payload packet = original;
    injector.pass(kPeer, packet, recorder);
    int flipped = 0;
    for (size_t byte = 0; byte < packet.size(); ++byte) {
      flipped +=
          std::popcount(std::to_integer<uint8_t>(recorder.packets[i][byte] ^ original[byte]));
    }
    EXPECT_TRUE(flipped == 1 || flipped == 2) << flipped;
    EXPECT_EQ(recorder.packets[i][4], original[4]);
  }
}

TEST(FaultInjector, HoldsPacketsBackForAFewOthersOnly) {
  const Outcome reordered = run({.reorder = 0.3, .seed = 2}, 5000);
  ASSERT_EQ(reordered.packets.size(), 5000u);
  size_t overtaken = 0;
  uint32_t newest = 0;
  for (const Payload& packet : reordered.packets) {
    const uint32_t number = number_of(packet);
    if (number < newest) {
      ++overtaken;
      EXPECT_LE(newest - number, 8u);
    }
    newest = std::max(newest, number);
  }
  EXPECT_GT(overtaken, 800u);
}

TEST(FaultInjector, LetsGoOfHeldPacketsWhenAsked) {
  FaultInjector injector({.reorder = 1});
  Recorder recorder;
  Payload packet = numbered(1);
  injector.pass(kPeer, packet, recorder);
  EXPECT_TRUE(recorder.packets.empty());
  EXPECT_TRUE(injector.release_held(recorder));
  ASSERT_EQ(recorder.packets.size(), 1u);
  EXPECT_EQ(recorder.packets[0], numbered(1));
  EXPECT_FALSE(injector.release_held(recorder));
}

TEST(FaultInjector, PassesPacketsOnWhenItCanHoldNoMore) {
  const Outcome all_held = run({.reorder = 1, .seed = 6}, 1000);
  EXPECT_EQ(all_held.packets.size(), 1000u);
}

TEST(FaultInjector, DoesNotMixUpTheDrawsOfDifferentFaults) {
  // The same packets are dropped whatever else is on.
  const auto survivors = [](const FaultPlan& plan) {
    std::vector<bool> survived(1000);
    for (const Payload& packet : run(plan, 1000).packets) survived[number_of(packet)] = true;
    return survived;
  };
  EXPECT_EQ(survivors({.drop = 0.3, .seed = 1}),
            survivors({.drop = 0.3, .duplicate = 1, .seed = 1}));
}

}  // namespace
}  // namespace verbena::io
