// The device's own thread: drives the lane while no thread of the program does.
#pragma once

#include <pthread.h>

#include <atomic>
#include <cstdint>

#include "soft/io/clock.h"
#include "soft/io/failure.h"
#include "soft/io/fork_guard.h"
#include "soft/io/standby_policy.h"
#include "util/spin_governor.h"

namespace verbena::io {

// What the thread drives. Called on the device's thread only.
class Progress {
 public:
  virtual ~Progress() = default;
  // Handles a bounded number of packets and every timer that is due; true when it did any work. It
  // waits for the lane's lock: if it gave up, the thread would spin on a readable socket.
  virtual bool drive() = 0;
  // When the earliest timer is due, kNever if there is none; read with the lane locked.
  virtual TimeNs next_deadline() = 0;
  // Readable when there is something to handle, at least while a thread sleeps.
  virtual int wake_fd() const = 0;
  // Around a sleep on that. False when there is something to handle already.
  virtual bool begin_sleep() { return true; }
  virtual void end_sleep() {}
  // Whether there is something to handle that `wake_fd` need not tell of while nobody sleeps.
  virtual bool waits_unseen() { return false; }
  // Readable when something has waited for too long, -1 if nobody tells; whether that can be relied
  // on now; and what is to be done then.
  virtual int late_fd() const { return -1; }
  virtual bool is_told_of_late_packets() { return false; }
  virtual void on_late_packets() {}
};

struct DeviceThreadCounters {
  std::atomic<uint64_t> wakeups{0};
  std::atomic<uint64_t> drives{0};
  // Looks for more before a sleep, and how many found it.
  std::atomic<uint64_t> spins{0};
  std::atomic<uint64_t> spins_won{0};
  std::atomic<uint64_t> standbys{0};
  // Standbys that ended with packets waiting for a program that did not poll.
  std::atomic<uint64_t> overdue{0};
};

// Two states. WATCH: asleep on the socket, for as long as the next timer allows; an idle device
// costs no wake-ups, and one with much to do looks for more before it sleeps. STANDBY, while the
// program polls: asleep away from the socket, so that packets wake nobody twice. It looks now and
// then whether the program still polls; seldom, where the program says when it sleeps and others
// tell when their packets wait.
class DeviceThread {
 public:
  explicit DeviceThread(Progress& progress, const StandbyPolicy::Times& times = {});
  // Stops.
  ~DeviceThread();
  DeviceThread(const DeviceThread&) = delete;
  DeviceThread& operator=(const DeviceThread&) = delete;

  // Does nothing if the thread runs. Neither may run at the same time as another, nor with the lane
  // locked.
  bool start(Failure& failure);
  void stop();

  // A thread of the program has driven the lane. Costs one store.
  void note_poll(TimeNs now) { last_poll_.store(now, std::memory_order_relaxed); }
  // It keeps away from the socket, but is there soon after the last poll.
  bool stands_by() const { return standby_.load() == Standby::kBrief; }
  // A thread of the program that polled is about to sleep. A system call only if the thread is in
  // STANDBY.
  void hand_over();
  // A timer was set, with the lane locked. A system call only if the thread would sleep past it.
  void timer_set(TimeNs deadline);

  const DeviceThreadCounters& counters() const { return counters_; }

 private:
  enum class Standby : uint8_t { kNone, kBrief, kUntilTold };

  static void* entry(void* self);
  void run();
  void watch();
  bool packet_comes_soon();
  void sleep_in_watch();
  void stand_by();
  bool wait_in_standby(TimeNs end);
  void take_wakeup();
  bool packets_waiting() const;
  void wake_up();
  void wake_standby();

  Progress& progress_;
  // All of the thread alone.
  StandbyPolicy policy_;
  util::SpinGovernor spin_governor_;
  TimeNs planned_wakeup_ = 0;
  ForkGuard fork_guard_;
  int event_fd_ = -1;
  pthread_t thread_{};
  bool running_ = false;
  std::atomic<bool> stopping_{false};

  // 0 after a hand-over.
  std::atomic<TimeNs> last_poll_{0};
  // Since packets were last left waiting.
  std::atomic<bool> hands_over_{false};
  // It never handed over: it may leave what it posts to the thread without a word, too.
  std::atomic<bool> says_when_it_sleeps_{false};
  // While the thread sleeps, or is about to, in STANDBY.
  std::atomic<Standby> standby_{Standby::kNone};
  // Until when the thread sleeps in WATCH; 0 when it is awake and will read the deadline before it
  // sleeps.
  std::atomic<TimeNs> sleeping_until_{0};
  DeviceThreadCounters counters_;
};

}  // namespace verbena::io
