// Runs the device's thread between WATCH and STANDBY.

#include "soft/io/device_thread.h"

#include <poll.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <span>

namespace verbena::io {
namespace {

constexpr char kThreadName[] = "verbena-soft";  // 15 letters at most

// As `poll`, until a deadline.
int wait_for(std::span<pollfd> sources, TimeNs deadline) {
  timespec left;
  if (deadline != kNever) left = to_timespec(std::max<TimeNs>(0, deadline - monotonic_now()));
  return ppoll(sources.data(), sources.size(), deadline == kNever ? nullptr : &left, nullptr);
}

void count(std::atomic<uint64_t>& counter) {
  counter.fetch_add(1, std::memory_order_relaxed);
}

}  // namespace

DeviceThread::DeviceThread(Progress& progress, const StandbyPolicy::Times& times)
    : progress_(progress), policy_(times) {}

DeviceThread::~DeviceThread() {
  stop();
  if (event_fd_ >= 0) close(event_fd_);
}

bool DeviceThread::start(Failure& failure) {
  if (running_) return true;
  if (event_fd_ < 0) event_fd_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (event_fd_ < 0) {
    failure = {errno, std::string("cannot make an eventfd for the device's thread: ") +
                          std::strerror(errno) + "; see `ulimit -n`"};
    return false;
  }
  stopping_.store(false);
  // The program's signal handlers are none of this thread's business: it inherits a full mask.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  const int error = pthread_create(&thread_, nullptr, &DeviceThread::entry, this);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (error != 0) {
    failure = {error, std::string("cannot start the device's thread: ") + std::strerror(error) +
                          "; see `ulimit -u` and the limits of the container"};
    return false;
  }
  running_ = true;
  return true;
}

void DeviceThread::stop() {
  // A forked child has this object but not the thread: there is nothing to join.
  if (!running_ || fork_guard_.in_child()) return;
  stopping_.store(true);
  wake_up();
  pthread_join(thread_, nullptr);
  running_ = false;
}

void DeviceThread::hand_over() {
  if (fork_guard_.in_child()) return;
  // The thread raises its flag and then reads this; here it is the other way round. One of the two
  // sees the other.
  last_poll_.store(0);
  hands_over_.store(true, std::memory_order_relaxed);
  says_when_it_sleeps_.store(true, std::memory_order_relaxed);
  wake_standby();
}

void DeviceThread::wake_standby() {
  if (standby_.load() == Standby::kNone) return;
  if (standby_.exchange(Standby::kNone) != Standby::kNone) wake_up();
}

void DeviceThread::timer_set(TimeNs deadline) {
  if (deadline < sleeping_until_.load() && !fork_guard_.in_child()) wake_up();
}

void DeviceThread::wake_up() {
  const uint64_t one = 1;
  // EAGAIN alone is possible: the counter is full, and the thread will wake up anyway.
  [[maybe_unused]] const ssize_t written = write(event_fd_, &one, sizeof one);
}

void* DeviceThread::entry(void* self) {
  pthread_setname_np(pthread_self(), kThreadName);
  // Timers here are in the tens of microseconds, as much as the default slack.
  prctl(PR_SET_TIMERSLACK, 1000);
  static_cast<DeviceThread*>(self)->run();
  return nullptr;
}

void DeviceThread::run() {
  while (!stopping_.load()) {
    if (policy_.stands_by(monotonic_now(), last_poll_.load())) {
      stand_by();
    } else {
      watch();
    }
  }
}

void DeviceThread::watch() {
  bool worked = false;
  do {
    count(counters_.drives);
    if (!progress_.drive()) {
      if (!worked || !packet_comes_soon()) sleep_in_watch();
      return;
    }
    worked = true;
  } while (!stopping_.load() && !policy_.stands_by(monotonic_now(), last_poll_.load()));
}

// Between the bursts of a busy peer there is less time than a wake-up takes, which besides costs
// the peer a part of its own.
bool DeviceThread::packet_comes_soon() {
  constexpr TimeNs kLongestSpin = 50'000;
  const TimeNs end = monotonic_now() + kLongestSpin;
  if (!spin_governor_.should_spin(static_cast<uint64_t>(end))) return false;
  count(counters_.spins);
  bool found = false;
  TimeNs now = 0;
  do {
    found = packets_waiting();
    if (!found) sched_yield();
    now = monotonic_now();
  } while (!found && now < end && !stopping_.load() && !policy_.stands_by(now, last_poll_.load()));
  if (found) count(counters_.spins_won);
  spin_governor_.record(found);
  spin_governor_.record_end(static_cast<uint64_t>(end), static_cast<uint64_t>(now));
  return found;
}

void DeviceThread::sleep_in_watch() {
  // Published before the deadline is read: a timer set before the read is seen, one set after it
  // wakes.
  sleeping_until_.store(kNever);
  // A wake-up that was planned stays, even if its timer is gone: the next timer is most likely
  // later, and then whoever sets it need not wake this thread. Otherwise every message of a
  // ping-pong would.
  const TimeNs planned = planned_wakeup_ > monotonic_now() ? planned_wakeup_ : kNever;
  const TimeNs deadline = std::min(progress_.next_deadline(), planned);
  sleeping_until_.store(deadline);
  planned_wakeup_ = deadline;
  pollfd sources[] = {{event_fd_, POLLIN, 0}, {progress_.wake_fd(), POLLIN, 0}};
  const bool ready = progress_.begin_sleep() && wait_for(sources, deadline) > 0;
  progress_.end_sleep();
  sleeping_until_.store(0);
  count(counters_.wakeups);
  if (ready && sources[0].revents != 0) take_wakeup();
}

void DeviceThread::take_wakeup() {
  uint64_t events;
  [[maybe_unused]] const ssize_t taken = read(event_fd_, &events, sizeof events);
}

void DeviceThread::stand_by() {
  count(counters_.standbys);
  const TimeNs since = monotonic_now();
  TimeNs last_poll;
  bool late = false;
  for (;;) {
    const bool is_told =
        says_when_it_sleeps_.load(std::memory_order_relaxed) && progress_.is_told_of_late_packets();
    standby_.store(is_told ? Standby::kUntilTold : Standby::kBrief);
    last_poll = last_poll_.load();
    const TimeNs end = policy_.standby_end(since, last_poll, is_told);
    if (late || stopping_.load() || end <= monotonic_now()) break;
    late = wait_in_standby(end);
    count(counters_.wakeups);
  }
  standby_.store(Standby::kNone);
  if (last_poll == 0) {
    policy_.on_handed_over();
    return;
  }
  const bool waiting = packets_waiting();
  if (waiting) count(counters_.overdue);
  if (late) progress_.on_late_packets();
  // Between two sleeps it may be kept from polling for long; that is no spinning.
  const bool hands_over = hands_over_.exchange(false, std::memory_order_relaxed);
  policy_.on_expired(since, last_poll, waiting && !hands_over);
}

// True when packets have waited for too long.
bool DeviceThread::wait_in_standby(TimeNs end) {
  pollfd sources[] = {{event_fd_, POLLIN, 0}, {progress_.late_fd(), POLLIN, 0}};
  if (wait_for(sources, end) <= 0) return false;
  if (sources[0].revents != 0) take_wakeup();
  return sources[1].revents != 0;
}

bool DeviceThread::packets_waiting() const {
  if (progress_.waits_unseen()) return true;
  pollfd source{progress_.wake_fd(), POLLIN, 0};
  return poll(&source, 1, 0) > 0;
}

}  // namespace verbena::io
