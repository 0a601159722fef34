// Checks when the device's thread drives the lane, when it keeps away, and that it never wakes for
// nothing.

#include "soft/io/device_thread.h"

#include <gtest/gtest.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <string>
#include <thread>

#include "io_helpers.h"
#include "util/unique_fd.h"

namespace verbena::io {
namespace {

constexpr TimeNs kMs = 1'000'000;
constexpr auto kPatience = std::chrono::seconds(20);

// Two sockets: packets sent from `outside` arrive at `inside`, which driving empties.
class FakeLane : public Progress {
 public:
  FakeLane() : inside_(open_socket(test_address(0))), outside_(open_socket(test_address(1))) {}

  bool drive() override {
    const std::lock_guard lock(mutex_);
    ++drives_;
    bool worked = false;
    std::array<std::byte, 2048> buffer;
    while (recv(inside_->fd(), buffer.data(), buffer.size(), 0) > 0) {
      ++packets_;
      worked = true;
    }
    if (deadline_ <= monotonic_now()) {
      deadline_ = kNever;
      fired_at_ = monotonic_now();
      worked = true;
    }
    changed_.notify_all();
    return worked;
  }

  TimeNs next_deadline() override {
    const std::lock_guard lock(mutex_);
    return deadline_;
  }

  int wake_fd() const override { return inside_->fd(); }

  int late_fd() const override { return doorbell_.get(); }
  bool is_told_of_late_packets() override { return is_told_.load(); }
  void on_late_packets() override {
    uint64_t rings;
    EXPECT_EQ(read(doorbell_.get(), &rings, sizeof rings), ssize_t{sizeof rings});
    drive();
  }
  void tell_of_late_packets(bool tell) { is_told_.store(tell); }
  void ring() {
    const uint64_t one = 1;
    EXPECT_EQ(write(doorbell_.get(), &one, sizeof one), ssize_t{sizeof one});
  }

  void send_packet() {
    sockaddr_storage name{};
    const socklen_t length = inside_->address().to_sockaddr(kRocePort, name);
    ASSERT_EQ(sendto(outside_->fd(), "0123456789abcdef", 16, 0, reinterpret_cast<sockaddr*>(&name),
                     length),
              16);
  }

  void set_deadline(TimeNs deadline, DeviceThread& thread) {
    const std::lock_guard lock(mutex_);
    deadline_ = deadline;
    fired_at_ = 0;
    thread.timer_set(deadline);
  }

  // Each waits until it is so, and fails the test after a long time.
  void expect_packets(uint64_t packets) {
    wait([&] { return packets_ >= packets; }, "packets");
  }
  void expect_drives(uint64_t drives) {
    wait([&] { return drives_ >= drives; }, "drives");
  }
  TimeNs expect_timer() {
    wait([&] { return fired_at_ != 0; }, "timer");
    const std::lock_guard lock(mutex_);
    return fired_at_;
  }
  uint64_t packets() {
    const std::lock_guard lock(mutex_);
    return packets_;
  }

 private:
  template <typename Condition>
  void wait(Condition condition, const char* what) {
    std::unique_lock lock(mutex_);
    EXPECT_TRUE(changed_.wait_for(lock, kPatience, condition)) << what;
  }

  std::unique_ptr<UdpSocket> inside_;
  std::unique_ptr<UdpSocket> outside_;
  util::UniqueFd doorbell_{eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
  std::atomic<bool> is_told_{false};
  std::mutex mutex_;
  std::condition_variable changed_;
  uint64_t packets_ = 0;
  uint64_t drives_ = 0;
  TimeNs deadline_ = kNever;
  TimeNs fired_at_ = 0;
};

void start(DeviceThread& thread) {
  Failure failure;
  ASSERT_TRUE(thread.start(failure)) << failure.text;
}

// Waits until the thread has driven once, after which nothing keeps it from sleeping.
void let_it_sleep(FakeLane& lane) {
  lane.expect_drives(1);
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
}

// Long enough that only what a test does ends a standby.
constexpr StandbyPolicy::Times kLongStandby{.standby = 100 * kNsPerSecond};

TEST(DeviceThread, DrivesTheLaneWhenAPacketArrives) {
  FakeLane lane;
  DeviceThread thread(lane);
  start(thread);
  for (uint64_t packet = 1; packet <= 20; ++packet) {
    lane.send_packet();
    lane.expect_packets(packet);
  }
}

TEST(DeviceThread, NeverWakesWhileNothingHappens) {
  FakeLane lane;
  DeviceThread thread(lane);
  start(thread);
  std::this_thread::sleep_for(std::chrono::milliseconds(400));
  EXPECT_EQ(thread.counters().drives, 1u);
  EXPECT_EQ(thread.counters().wakeups, 0u);
}

TEST(DeviceThread, WakesForATimerAndNotBefore) {
  FakeLane lane;
  DeviceThread thread(lane);
  start(thread);
  let_it_sleep(lane);
  const TimeNs deadline = monotonic_now() + 60 * kMs;
  lane.set_deadline(deadline, thread);
  EXPECT_GE(lane.expect_timer(), deadline);
  // Once for the news, once for the timer.
  EXPECT_LE(thread.counters().wakeups, 2u);
}

TEST(DeviceThread, WakesForATimerThatIsEarlierThanTheOneItSleepsFor) {
  FakeLane lane;
  DeviceThread thread(lane);
  lane.set_deadline(monotonic_now() + 1000 * kNsPerSecond, thread);
  start(thread);
  let_it_sleep(lane);
  lane.set_deadline(monotonic_now() + 5 * kMs, thread);
  lane.expect_timer();
}

TEST(DeviceThread, SleepsOnWhenALaterTimerIsSet) {
  FakeLane lane;
  DeviceThread thread(lane);
  lane.set_deadline(monotonic_now() + 1000 * kNsPerSecond, thread);
  start(thread);
  let_it_sleep(lane);
  lane.set_deadline(monotonic_now() + 2000 * kNsPerSecond, thread);
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  EXPECT_EQ(thread.counters().wakeups, 0u);
}

// What a ping-pong does: every message sets a timer, and its answer cancels it.
TEST(DeviceThread, IsNotWokenForEachOfManyTimersThatNeverFire) {
  FakeLane lane;
  DeviceThread thread(lane);
  lane.set_deadline(monotonic_now() + 1000 * kNsPerSecond, thread);
  start(thread);
  let_it_sleep(lane);
  for (uint64_t message = 1; message <= 50; ++message) {
    lane.set_deadline(monotonic_now() + 2000 * kNsPerSecond, thread);
    lane.set_deadline(kNever, thread);
    lane.send_packet();
    lane.expect_packets(message);
  }
  // One for each packet at most.
  EXPECT_LE(thread.counters().wakeups, 51u);
  lane.set_deadline(monotonic_now() + 5 * kMs, thread);
  lane.expect_timer();
}

TEST(DeviceThread, LooksForMoreBeforeItSleepsWhereMuchComes) {
  FakeLane lane;
  DeviceThread thread(lane);
  start(thread);
  const TimeNs end = monotonic_now() + 20 * kNsPerSecond;
  uint64_t sent = 0;
  while (thread.counters().spins_won == 0 && monotonic_now() < end) {
    lane.send_packet();
    lane.expect_packets(++sent);
  }
  EXPECT_GE(thread.counters().spins_won, 1u);
}

TEST(DeviceThread, DoesNotLookForMoreWhereNothingCame) {
  FakeLane lane;
  DeviceThread thread(lane);
  start(thread);
  for (uint64_t timer = 0; timer < 40; ++timer) {
    let_it_sleep(lane);
    thread.timer_set(monotonic_now());
  }
  EXPECT_EQ(thread.counters().spins, 0u);
}

TEST(DeviceThread, LeavesPacketsToAProgramThatPolls) {
  FakeLane lane;
  DeviceThread thread(lane, kLongStandby);
  thread.note_poll(monotonic_now());
  start(thread);
  const TimeNs end = monotonic_now() + 20 * kNsPerSecond;
  while (thread.counters().standbys == 0 && monotonic_now() < end) std::this_thread::yield();
  lane.send_packet();
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  EXPECT_EQ(lane.packets(), 0u);
  EXPECT_EQ(thread.counters().standbys, 1u);
}

TEST(DeviceThread, TakesOverAtOnceWhenTheProgramSaysThatItSleeps) {
  FakeLane lane;
  DeviceThread thread(lane, kLongStandby);
  start(thread);
  for (uint64_t round = 1; round <= 50; ++round) {
    thread.note_poll(monotonic_now());
    lane.send_packet();
    thread.hand_over();
    lane.expect_packets(round);
  }
  EXPECT_EQ(thread.counters().overdue, 0u);
}

TEST(DeviceThread, TakesOverWhenTheProgramStopsPollingWithoutAWord) {
  FakeLane lane;
  DeviceThread thread(lane);
  thread.note_poll(monotonic_now());
  start(thread);
  lane.send_packet();
  lane.expect_packets(1);
}

TEST(DeviceThread, StaysAwayForAsLongAsTheProgramPolls) {
  FakeLane lane;
  DeviceThread thread(lane, {.standby = 500 * kMs});
  thread.note_poll(monotonic_now());
  start(thread);
  lane.send_packet();
  const TimeNs end = monotonic_now() + 700 * kMs;
  while (monotonic_now() < end) {
    thread.note_poll(monotonic_now());
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  EXPECT_EQ(lane.packets(), 0u);
  EXPECT_EQ(thread.counters().standbys, 1u);
  lane.expect_packets(1);
}

TEST(DeviceThread, IgnoresPollsForAWhileAfterPacketsWereLeftWaiting) {
  FakeLane lane;
  // Long enough for the thread to be in STANDBY, however slowly it starts.
  DeviceThread thread(lane, {.standby = kNsPerSecond,
                             .thread_driven_least = 1000 * kNsPerSecond,
                             .thread_driven_most = 1000 * kNsPerSecond});
  thread.note_poll(monotonic_now());
  start(thread);
  lane.send_packet();
  lane.expect_packets(1);
  EXPECT_EQ(thread.counters().overdue, 1u);
  for (uint64_t packet = 2; packet < 20; ++packet) {
    thread.note_poll(monotonic_now());
    lane.send_packet();
    lane.expect_packets(packet);
  }
  EXPECT_EQ(thread.counters().standbys, 1u);
}

// An event loop, say, that was kept from its processor between two sleeps.
TEST(DeviceThread, StandsByAgainForAProgramThatSaysWhenItSleeps) {
  FakeLane lane;
  DeviceThread thread(lane, {.standby = 20 * kMs,
                             .thread_driven_least = 1000 * kNsPerSecond,
                             .thread_driven_most = 1000 * kNsPerSecond});
  start(thread);
  const TimeNs end = monotonic_now() + 20 * kNsPerSecond;
  uint64_t packets = 0;
  while (thread.counters().overdue < 3 && monotonic_now() < end) {
    thread.hand_over();
    thread.note_poll(monotonic_now());
    lane.send_packet();
    lane.expect_packets(++packets);
  }
  EXPECT_GE(thread.counters().overdue, 3u);
}

// What a standby is until somebody tells.
constexpr StandbyPolicy::Times kUntilTold{.standby = kMs, .standby_told = 100 * kNsPerSecond};

// Polled by a program that has handed over, in a standby that ends when it is told.
void poll_until_it_stands_by(DeviceThread& thread) {
  thread.hand_over();
  const TimeNs end = monotonic_now() + 20 * kNsPerSecond;
  while (thread.counters().standbys == 0 && monotonic_now() < end) {
    thread.note_poll(monotonic_now());
    thread.timer_set(monotonic_now());
    std::this_thread::yield();
  }
}

TEST(DeviceThread, LooksSeldomWhereItIsToldOfPacketsThatWait) {
  FakeLane lane;
  lane.tell_of_late_packets(true);
  DeviceThread thread(lane, kUntilTold);
  start(thread);
  poll_until_it_stands_by(thread);
  EXPECT_FALSE(thread.stands_by()) << "who relies on that may wait for long";
  const uint64_t wakeups = thread.counters().wakeups;
  lane.send_packet();
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  EXPECT_EQ(lane.packets(), 0u);
  EXPECT_LE(thread.counters().wakeups, wakeups + 1) << "one that was under way, perhaps";
  lane.ring();
  lane.expect_packets(1);
  lane.send_packet();
  lane.expect_packets(2);
}

TEST(DeviceThread, LooksOftenWhereTheProgramNeverHandedOver) {
  FakeLane lane;
  lane.tell_of_late_packets(true);
  DeviceThread thread(lane, kUntilTold);
  thread.note_poll(monotonic_now());
  start(thread);
  lane.send_packet();
  lane.expect_packets(1);
}

TEST(DeviceThread, TakesOverFromALongStandbyToo) {
  FakeLane lane;
  lane.tell_of_late_packets(true);
  DeviceThread thread(lane, kUntilTold);
  start(thread);
  poll_until_it_stands_by(thread);
  lane.send_packet();
  thread.hand_over();
  lane.expect_packets(1);
}

TEST(DeviceThread, StopsInEveryState) {
  FakeLane lane;
  Failure failure;
  { DeviceThread never_started(lane); }
  DeviceThread thread(lane, kLongStandby);
  for (int round = 0; round < 20; ++round) {
    ASSERT_TRUE(thread.start(failure));
    ASSERT_TRUE(thread.start(failure)) << "starting twice is starting once";
    if (round % 4 == 1) thread.note_poll(monotonic_now());
    if (round % 4 == 2) lane.send_packet();
    if (round % 4 == 3) thread.hand_over();
    if (round % 8 >= 4) lane.expect_drives(1);
    thread.stop();
    thread.stop();
  }
}

std::vector<std::string> names_of_threads() {
  std::vector<std::string> names;
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
    std::ifstream comm(task.path() / "comm");
    names.emplace_back();
    std::getline(comm, names.back());
  }
  return names;
}

TEST(DeviceThread, HasANameAndIsGoneAfterStop) {
  FakeLane lane;
  DeviceThread thread(lane);
  start(thread);
  lane.expect_drives(1);
  auto names = names_of_threads();
  EXPECT_EQ(std::count(names.begin(), names.end(), "verbena-soft"), 1);
  thread.stop();
  names = names_of_threads();
  EXPECT_EQ(std::count(names.begin(), names.end(), "verbena-soft"), 0);
}

TEST(DeviceThread, LeavesSignalsToTheProgram) {
  FakeLane lane;
  DeviceThread thread(lane);
  start(thread);
  lane.expect_drives(1);
  int checked = 0;
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
    std::ifstream status(task.path() / "status");
    const std::string text{std::istreambuf_iterator<char>(status), {}};
    if (text.find("Name:\tverbena-soft\n") == std::string::npos) continue;
    const uint64_t blocked = std::stoull(text.substr(text.find("SigBlk:") + 7), nullptr, 16);
    EXPECT_NE(blocked & 1u << (SIGTERM - 1), 0u);
    EXPECT_NE(blocked & 1u << (SIGINT - 1), 0u);
    ++checked;
  }
  EXPECT_EQ(checked, 1);
}

// In the child there is no such thread, and what it shares with the parent must not be touched.
TEST(DeviceThread, SurvivesAFork) {
  FakeLane lane;
  auto thread = std::make_unique<DeviceThread>(lane);
  start(*thread);
  let_it_sleep(lane);
  const pid_t child = fork();
  if (child == 0) {
    alarm(20);  // kills the child should it hang
    thread->timer_set(1);
    thread->note_poll(1);
    thread->hand_over();
    thread->stop();
    thread.reset();
    _exit(0);
  }
  int status = -1;
  waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(thread->counters().wakeups, 0u);
  lane.send_packet();
  lane.expect_packets(1);
}

TEST(DeviceThread, LosesNoWakeUpWhenPollsAndHandOversRace) {
  FakeLane lane;
  DeviceThread thread(lane, kLongStandby);
  start(thread);
  uint64_t sent = 0;
  for (int round = 0; round < 2000; ++round) {
    thread.note_poll(monotonic_now());
    if (round % 3 == 0) std::this_thread::yield();
    lane.send_packet();
    ++sent;
    if (round % 7 == 0) thread.timer_set(monotonic_now());
    thread.hand_over();
    if (round % 5 == 0) lane.expect_packets(sent);
  }
  lane.expect_packets(sent);
}

constexpr StandbyPolicy::Times kTimes{};

// A program that polled from `from` to `until`, left packets waiting, and polls again after `gap`.
void leave_packets(StandbyPolicy& policy, TimeNs from, TimeNs until, TimeNs gap) {
  policy.on_expired(from, until, /*packets_waiting=*/true);
  policy.stands_by(until + gap, until + gap);
}

// How long it is until the thread stands by again for a program that polls all the time.
TimeNs thread_driven_for(StandbyPolicy& policy, TimeNs from) {
  TimeNs until = from;
  while (!policy.stands_by(until, until)) until += kMs;
  return until - from;
}

TEST(StandbyPolicy, StandsByForAWhileAfterAPoll) {
  StandbyPolicy policy(kTimes);
  EXPECT_FALSE(policy.stands_by(1000, 0));
  EXPECT_TRUE(policy.stands_by(1000, 1000));
  EXPECT_TRUE(policy.stands_by(1000 + kTimes.standby - 1, 1000));
  EXPECT_FALSE(policy.stands_by(1000 + kTimes.standby, 1000));
}

TEST(StandbyPolicy, LooksLessOftenTheLongerTheProgramPolls) {
  const StandbyPolicy policy(kTimes);
  const TimeNs since = kNsPerSecond;
  const auto patience = [&](TimeNs polled_for) {
    return policy.standby_end(since, since + polled_for) - since - polled_for;
  };
  EXPECT_EQ(patience(0), kTimes.standby);
  EXPECT_EQ(patience(8 * kMs), kTimes.standby);
  EXPECT_EQ(patience(32 * kMs), 2 * kMs);
  EXPECT_EQ(patience(kNsPerSecond), kTimes.standby_most);
  EXPECT_EQ(policy.standby_end(since, 0), 0) << "it has handed over";
}

TEST(StandbyPolicy, DrivesLongerEachTimeThatPacketsWaitedForMostOfTheTime) {
  StandbyPolicy policy(kTimes);
  TimeNs now = kNsPerSecond;
  for (const TimeNs expected_ms : {10, 20, 40, 80, 160, 320, 640, 1000, 1000}) {
    leave_packets(policy, now - 2 * kMs, now - kMs, kMs + 1);
    EXPECT_EQ(thread_driven_for(policy, now + 1), expected_ms * kMs);
    now += 5 * kNsPerSecond;
  }
}

TEST(StandbyPolicy, ForgivesAProgramThatPolledForLongerThanPacketsWaited) {
  StandbyPolicy policy(kTimes);
  leave_packets(policy, kNsPerSecond, kNsPerSecond + 3 * kMs, 3 * kMs);
  EXPECT_EQ(thread_driven_for(policy, kNsPerSecond + 6 * kMs), 0);
}

TEST(StandbyPolicy, WatchesForAsLongAsTheProgramDoesNotPoll) {
  StandbyPolicy policy(kTimes);
  policy.on_expired(kNsPerSecond - kMs, kNsPerSecond, true);
  EXPECT_FALSE(policy.stands_by(kNsPerSecond + kTimes.standby, kNsPerSecond));
  EXPECT_FALSE(policy.stands_by(kNsPerSecond + 100 * kMs, kNsPerSecond));
}

TEST(StandbyPolicy, DoesNotMindAProgramThatStopsWithNothingWaiting) {
  StandbyPolicy policy(kTimes);
  policy.on_expired(kNsPerSecond - kMs, kNsPerSecond, false);
  EXPECT_EQ(thread_driven_for(policy, 2 * kNsPerSecond), 0);
}

TEST(StandbyPolicy, ForgetsAfterGoodBehaviour) {
  StandbyPolicy policy(kTimes);
  TimeNs now = kNsPerSecond;
  const auto fail = [&] {
    now += 5 * kNsPerSecond;
    leave_packets(policy, now, now + kMs, 2 * kMs);
    return thread_driven_for(policy, now + 3 * kMs);
  };
  EXPECT_EQ(fail(), 10 * kMs);
  EXPECT_EQ(fail(), 20 * kMs);
  policy.on_handed_over();
  EXPECT_EQ(fail(), 10 * kMs);
  EXPECT_EQ(fail(), 20 * kMs);
  now += 5 * kNsPerSecond;
  leave_packets(policy, now, now + kTimes.good_behaviour, 0);
  EXPECT_EQ(fail(), 10 * kMs);
}

}  // namespace
}  // namespace verbena::io
