// Devices of one machine make acquaintance, are woken for packets, and notice who goes; and who may
// not have a ring.
#include "soft/shm/neighbours.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstring>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "soft/shm/greeting.h"

namespace verbena::shm {
namespace {

wire::Address address_of(int number) {
  const auto pid = static_cast<uint32_t>(getpid());
  return wire::Address::v4(127, static_cast<uint8_t>(128 + (pid >> 14) % 64),
                           static_cast<uint8_t>(pid >> 6),
                           static_cast<uint8_t>((pid % 64) << 2 | number % 4));
}

bool is_readable(int fd, int timeout_ms = 0) {
  pollfd waiting{fd, POLLIN, 0};
  return poll(&waiting, 1, timeout_ms) == 1;
}

struct Device {
  explicit Device(int number) : address(address_of(number)), neighbours(Neighbours::open(address)) {
    EXPECT_NE(neighbours, nullptr);
  }

  bool send(const Device& to, std::string_view text) {
    RingWriter* ring = neighbours->ring_to(to.address);
    std::byte* at = ring == nullptr ? nullptr : ring->reserve(text.size());
    if (at == nullptr) return false;
    std::memcpy(at, text.data(), text.size());
    ring->commit();
    left_to_read = neighbours->publish();
    return true;
  }
  // All that has come, with the last byte of who sent it.
  std::vector<std::string> take() {
    std::vector<std::string> texts;
    neighbours->receive(
        [&](const wire::Address& from, std::span<const std::byte> bytes) {
          const std::string text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
          texts.push_back(std::to_string(from.gid[15] % 4) + text);
        },
        [this] { ++settled; });
    return texts;
  }

  wire::Address address;
  std::unique_ptr<Neighbours> neighbours;
  int settled = 0;
  // By the last that was sent, to somebody who does not sleep.
  bool left_to_read = false;
};

void serve(const std::vector<const Device*>& devices) {
  for (int round = 0; round < 3; ++round) {
    for (const Device* device : devices) device->neighbours->serve();
  }
}

using Texts = std::vector<std::string>;

class Acquaintance : public testing::Test {
 protected:
  void meet() {
    a.neighbours->meet(b.address);
    b.neighbours->meet(a.address);
    serve({&a, &b});
  }

  Device a{0};
  Device b{1};
};

TEST_F(Acquaintance, PacketsTakeTheNetworkUntilTheOtherHasTheRing) {
  EXPECT_FALSE(a.send(b, "before"));
  a.neighbours->meet(b.address);
  EXPECT_FALSE(a.send(b, "called"));
  EXPECT_TRUE(is_readable(b.neighbours->fd())) << "b is called";
  b.neighbours->serve();
  b.neighbours->serve();
  EXPECT_FALSE(a.send(b, "answered, but not heard"));
  const auto changed = a.neighbours->serve();
  ASSERT_EQ(changed.size(), 1U);
  EXPECT_EQ(changed[0], b.address);
  EXPECT_TRUE(a.send(b, "now"));
  EXPECT_EQ(b.take(), Texts{"0now"});
  EXPECT_FALSE(b.send(a, "the other way")) << "that is another ring";
}

TEST_F(Acquaintance, GoesBothWays) {
  meet();
  EXPECT_TRUE(a.send(b, "ping"));
  EXPECT_EQ(b.take(), Texts{"0ping"});
  EXPECT_TRUE(b.send(a, "pong"));
  EXPECT_EQ(a.take(), Texts{"1pong"});
}

TEST_F(Acquaintance, MayBeWithOneself) {
  a.neighbours->meet(a.address);
  serve({&a});
  EXPECT_TRUE(a.send(a, "hm"));
  EXPECT_EQ(a.take(), Texts{"0hm"});
}

TEST_F(Acquaintance, WhatTookTheNetworkBeforeIsTakenFirst) {
  meet();
  a.send(b, "1");
  b.take();
  EXPECT_EQ(b.settled, 1);
  a.send(b, "2");
  b.take();
  EXPECT_EQ(b.settled, 1) << "nothing takes the network any more";
}

TEST_F(Acquaintance, IsMadeOnce) {
  meet();
  a.send(b, "first");
  a.neighbours->meet(b.address);
  serve({&a, &b});
  a.send(b, "second");
  EXPECT_EQ(b.take(), (Texts{"0first", "0second"}));
  EXPECT_EQ(b.settled, 1);
}

TEST_F(Acquaintance, NobodyThereIsNoNeighbour) {
  a.neighbours->meet(address_of(2));
  EXPECT_EQ(a.neighbours->serve().size(), 0U);
  EXPECT_EQ(a.neighbours->ring_to(address_of(2)), nullptr);
}

TEST_F(Acquaintance, EndsWithTheOneThatReads) {
  meet();
  b.neighbours.reset();
  ASSERT_TRUE(is_readable(a.neighbours->fd()));
  const auto changed = a.neighbours->serve();
  ASSERT_EQ(changed.size(), 1U);
  EXPECT_EQ(changed[0], b.address);
  EXPECT_EQ(a.neighbours->ring_to(b.address), nullptr);
  EXPECT_FALSE(a.neighbours->any_source());
}

TEST_F(Acquaintance, CanBeMadeAgainWithWhoComesBack) {
  meet();
  b.neighbours.reset();
  a.neighbours->serve();
  b.neighbours = Neighbours::open(b.address);
  meet();
  EXPECT_TRUE(a.send(b, "again"));
  EXPECT_EQ(b.take(), Texts{"0again"});
}

TEST_F(Acquaintance, WhatWasWrittenBeforeTheEndIsTaken) {
  meet();
  a.send(b, "last words");
  a.neighbours.reset();
  b.neighbours->serve();
  EXPECT_TRUE(b.neighbours->any_source());
  EXPECT_EQ(b.take(), Texts{"0last words"});
  EXPECT_FALSE(b.neighbours->any_source());
}

TEST_F(Acquaintance, AKilledProcessIsNoNeighbourAnyMore) {
  int ready[2];
  ASSERT_EQ(pipe(ready), 0);
  const wire::Address address = address_of(2);
  const pid_t child = fork();
  if (child == 0) {
    const auto own = Neighbours::open(address);
    if (own == nullptr || write(ready[1], "", 1) != 1) _exit(1);
    for (;;) {
      is_readable(own->fd(), -1);
      own->serve();
    }
  }
  char byte;
  ASSERT_EQ(read(ready[0], &byte, 1), 1);
  a.neighbours->meet(address);
  while (a.neighbours->ring_to(address) == nullptr) {
    ASSERT_TRUE(is_readable(a.neighbours->fd(), 10'000));
    a.neighbours->serve();
  }
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  ASSERT_TRUE(is_readable(a.neighbours->fd(), 10'000));
  a.neighbours->serve();
  EXPECT_EQ(a.neighbours->ring_to(address), nullptr);
  close(ready[0]);
  close(ready[1]);
}

// --- sleeping

TEST_F(Acquaintance, TheDoorbellRingsForWhoSleepsOnly) {
  meet();
  a.send(b, "awake");
  EXPECT_FALSE(is_readable(b.neighbours->fd()));
  b.neighbours->begin_sleep();
  EXPECT_TRUE(b.neighbours->waiting()) << "must not be slept over";
  b.take();
  a.send(b, "asleep");
  EXPECT_TRUE(is_readable(b.neighbours->fd()));
  b.neighbours->end_sleep();
  b.neighbours->serve();
  EXPECT_FALSE(is_readable(b.neighbours->fd())) << "once served, it is silent";
  a.send(b, "awake again");
  EXPECT_FALSE(is_readable(b.neighbours->fd()));
}

TEST_F(Acquaintance, TheDoorbellRingsForEachSleep) {
  meet();
  for (int i = 0; i < 3; ++i) {
    b.neighbours->begin_sleep();
    a.send(b, "up");
    EXPECT_TRUE(is_readable(b.neighbours->fd())) << i;
    b.neighbours->end_sleep();
    b.neighbours->serve();
    b.take();
  }
}

TEST_F(Acquaintance, WhoNeitherReadsNorSleepsIsReminded) {
  meet();
  a.send(b, "one");
  EXPECT_TRUE(a.left_to_read);
  EXPECT_TRUE(a.neighbours->remind()) << "it has had no time yet";
  EXPECT_FALSE(is_readable(b.neighbours->doorbell()));
  EXPECT_FALSE(a.neighbours->remind()) << "once is enough";
  EXPECT_TRUE(is_readable(b.neighbours->doorbell()));
  b.neighbours->serve();
  EXPECT_FALSE(is_readable(b.neighbours->doorbell()));
  a.send(b, "two");
  EXPECT_FALSE(a.neighbours->remind());
  EXPECT_FALSE(is_readable(b.neighbours->doorbell())) << "it is known by now";
  EXPECT_EQ(b.take(), (Texts{"0one", "0two"}));
  EXPECT_FALSE(a.neighbours->remind());
  a.send(b, "three");
  EXPECT_TRUE(a.neighbours->remind());
  EXPECT_FALSE(a.neighbours->remind());
  EXPECT_TRUE(is_readable(b.neighbours->doorbell())) << "for the next it is reminded again";
}

TEST_F(Acquaintance, WhoReadsOrSleepsIsNotReminded) {
  meet();
  a.send(b, "one");
  EXPECT_TRUE(a.neighbours->remind());
  b.take();
  a.send(b, "two");
  EXPECT_TRUE(a.neighbours->remind()) << "that is another one";
  b.take();
  EXPECT_FALSE(a.neighbours->remind());
  EXPECT_FALSE(is_readable(b.neighbours->doorbell()));
  b.neighbours->begin_sleep();
  a.send(b, "three");
  EXPECT_FALSE(a.left_to_read) << "it was woken";
  b.neighbours->end_sleep();
}

// Another thread of b's serves the doorbell, takes what is there, and goes.
TEST_F(Acquaintance, WhoStillSleepsWhenAnotherSilencedTheDoorbellIsWokenAgain) {
  meet();
  b.neighbours->begin_sleep();
  a.send(b, "one");
  b.neighbours->serve();
  b.take();
  ASSERT_FALSE(is_readable(b.neighbours->fd()));
  a.send(b, "two");
  EXPECT_TRUE(is_readable(b.neighbours->fd()));
  b.neighbours->end_sleep();
}

TEST_F(Acquaintance, NoPacketIsSleptOver) {
  meet();
  constexpr int kPackets = 20'000;
  std::atomic<int> taken{0};
  std::thread reader([&] {
    while (taken.load() < kPackets) {
      b.neighbours->begin_sleep();
      const bool woken = b.neighbours->waiting() || is_readable(b.neighbours->fd(), 10'000);
      b.neighbours->end_sleep();
      ASSERT_TRUE(woken) << taken.load();
      b.neighbours->serve();
      taken += static_cast<int>(b.take().size());
    }
  });
  // One at a time, so that the reader is about to sleep when the next comes.
  for (int sent = 1; sent <= kPackets; ++sent) {
    ASSERT_TRUE(a.send(b, "x"));
    while (taken.load() < sent && sent % 4 != 0) std::this_thread::yield();
    while (sent - taken.load() > 100) std::this_thread::yield();
  }
  reader.join();
  EXPECT_EQ(taken.load(), kPackets);
}

// --- who is not let in

class Stranger : public testing::Test {
 protected:
  // What the device says to a message with these descriptors.
  Received answer_to(std::span<const std::byte> message, std::span<const int> descriptors) {
    EXPECT_TRUE(send_greeting(socket, message, descriptors));
    serve({&device});
    Welcome welcome;
    std::array<util::UniqueFd, 2> given;
    return receive_greeting(socket, bytes_of(welcome), given);
  }

  Device device{0};
  util::UniqueFd socket = call(device.address);
  SharedMemory ring =
      make_shared_memory(ring_memory_bytes(Neighbours::kRingBytes), Others::kMayWrite);
  Hello hello;
};

TEST_F(Stranger, IsWelcomeWithARing) {
  const int fd = ring.fd.get();
  EXPECT_EQ(answer_to(bytes_of(hello), {&fd, 1}), Received::kMessage);
  EXPECT_TRUE(device.neighbours->any_source());
}

TEST_F(Stranger, OfAnotherVersionIsSentAway) {
  hello.greeting++;
  const int fd = ring.fd.get();
  EXPECT_EQ(answer_to(bytes_of(hello), {&fd, 1}), Received::kEnd);
  EXPECT_FALSE(device.neighbours->any_source());
}

TEST_F(Stranger, WithHalfAMessageIsSentAway) {
  const int fd = ring.fd.get();
  EXPECT_EQ(answer_to(bytes_of(hello).first(8), {&fd, 1}), Received::kEnd);
}

TEST_F(Stranger, WithTooManyDescriptorsIsSentAway) {
  const std::array fds{ring.fd.get(), ring.fd.get()};
  EXPECT_EQ(answer_to(bytes_of(hello), fds), Received::kEnd);
}

TEST_F(Stranger, WhoseMemoryIsNoRingIsSentAway) {
  const SharedMemory crooked = make_shared_memory(4 * 4096, Others::kMayWrite);
  const int fd = crooked.fd.get();
  EXPECT_EQ(answer_to(bytes_of(hello), {&fd, 1}), Received::kEnd);
}

// Whoever could shrink it could end this process: a page that is gone is a bus error.
TEST_F(Stranger, WhoseMemoryCouldShrinkIsSentAway) {
  const util::UniqueFd loose(memfd_create("test", MFD_CLOEXEC));
  ASSERT_EQ(ftruncate(loose.get(), ring_memory_bytes(Neighbours::kRingBytes)), 0);
  const int fd = loose.get();
  EXPECT_EQ(answer_to(bytes_of(hello), {&fd, 1}), Received::kEnd);
}

TEST_F(Stranger, WhoseDescriptorIsNoMemoryIsSentAway) {
  const util::UniqueFd other(eventfd(0, EFD_CLOEXEC));
  const int fd = other.get();
  EXPECT_EQ(answer_to(bytes_of(hello), {&fd, 1}), Received::kEnd);
}

TEST_F(Stranger, WhoWritesWhatNoRingHasIsSentAway) {
  const int fd = ring.fd.get();
  ASSERT_EQ(answer_to(bytes_of(hello), {&fd, 1}), Received::kMessage);
  auto& positions = *reinterpret_cast<RingPositions*>(ring.mapping.memory().data());
  positions.written.store(12345);
  EXPECT_EQ(device.take(), Texts{});
  serve({&device});
  EXPECT_FALSE(device.neighbours->any_source());
  Welcome again;
  std::array<util::UniqueFd, 2> given;
  EXPECT_EQ(receive_greeting(socket, bytes_of(again), given), Received::kEnd);
}

TEST_F(Stranger, WhoSaysMoreThanHelloIsSentAway) {
  const int fd = ring.fd.get();
  ASSERT_EQ(answer_to(bytes_of(hello), {&fd, 1}), Received::kMessage);
  EXPECT_EQ(answer_to(bytes_of(hello), {&fd, 1}), Received::kEnd);
}

// Zeroes are a ring full of packets without a byte.
TEST_F(Stranger, WhoWritesWithoutEndHasATurnLikeOthers) {
  const int fd = ring.fd.get();
  ASSERT_EQ(answer_to(bytes_of(hello), {&fd, 1}), Received::kMessage);
  auto& positions = *reinterpret_cast<RingPositions*>(ring.mapping.memory().data());
  positions.written.store(Neighbours::kRingBytes);
  EXPECT_LE(device.take().size(), 1000U);
  EXPECT_TRUE(device.neighbours->waiting());
}

TEST_F(Stranger, WhoCallsADeviceWithoutDescriptorsDoesNotKeepItAwake) {
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
  const rlimit none{0, before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
  device.neighbours->serve();
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
  EXPECT_FALSE(is_readable(device.neighbours->fd()));
  Welcome welcome;
  std::array<util::UniqueFd, 2> given;
  EXPECT_EQ(receive_greeting(socket, bytes_of(welcome), given), Received::kEnd);
}

// A neighbour that has no right to write there.
TEST_F(Stranger, CannotWriteToTheAttention) {
  const int fd = ring.fd.get();
  ASSERT_TRUE(send_greeting(socket, bytes_of(hello), {&fd, 1}));
  serve({&device});
  Welcome welcome;
  std::array<util::UniqueFd, 2> given;
  ASSERT_EQ(receive_greeting(socket, bytes_of(welcome), given), Received::kMessage);
  EXPECT_FALSE(Mapping::of(given[0], kAttentionBytes, true));
  EXPECT_TRUE(Mapping::of(given[0], kAttentionBytes, false));
}

// The system ends a process that makes a file longer than it may.
TEST(SharedMemory, IsNotHadBeyondTheLimitOfFiles) {
  const pid_t child = fork();
  if (child == 0) {
    const rlimit limit{1 << 20, 1 << 20};
    if (setrlimit(RLIMIT_FSIZE, &limit) != 0) _exit(2);
    if (make_shared_memory(4 << 20, Others::kMayWrite)) _exit(3);
    _exit(make_shared_memory(1 << 20, Others::kMayWrite) ? 0 : 4);
  }
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
}

TEST(OtherUser, IsNotCalledAndNotAnswered) {
  if (geteuid() != 0) GTEST_SKIP() << "only root can become somebody else";
  const Device device(0);
  const pid_t child = fork();
  if (child == 0) {
    constexpr uid_t kNobody = 65534;
    if (setresuid(kNobody, kNobody, kNobody) != 0) _exit(2);
    _exit(call(device.address) ? 1 : 0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_EQ(WEXITSTATUS(status), 0);
  serve({&device});
  EXPECT_FALSE(device.neighbours->any_source());
}

}  // namespace
}  // namespace verbena::shm
