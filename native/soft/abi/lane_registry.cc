// Keeps the one lane of the process, also across fork().
#include <pthread.h>

#include <cstdlib>
#include <mutex>

#include "soft/abi/lane.h"
#include "soft/abi/settings.h"

namespace verbena::soft {

// Held while a lane is opened or closed too: who opens the device while another closes it for the
// last time must get a new lane, not a dying one.
struct LaneRegistry {
  std::mutex mutex;
  Lane* lane = nullptr;  // nullptr also in a forked child, which opens its own

  static LaneRegistry& instance();

  Lane* acquire();
  void release(Lane* released);
  // At the end of a program that leaves its objects to the system: an adapter would have sent it.
  void send_waiting();

  // Around fork(), so that the child finds every lock free and the engine whole.
  void lock_all();
  void unlock_all();
  void leave_to_parent();
};

LaneRegistry& LaneRegistry::instance() {
  // Never destroyed: threads may still run when static destructors do.
  static LaneRegistry* const registry = [] {
    auto* made = new LaneRegistry;
    pthread_atfork([] { instance().lock_all(); }, [] { instance().unlock_all(); },
                   [] { instance().leave_to_parent(); });
    std::atexit([] { instance().send_waiting(); });
    return made;
  }();
  return *registry;
}

Lane* LaneRegistry::acquire() {
  const std::lock_guard lock(mutex);
  if (lane == nullptr) lane = new Lane(read_settings());
  ++lane->references_;
  return lane;
}

void LaneRegistry::release(Lane* released) {
  const std::lock_guard lock(mutex);
  if (--released->references_ > 0) return;
  if (lane == released) lane = nullptr;
  delete released;
}

void LaneRegistry::send_waiting() {
  // A thread that holds one of them may never run again.
  const std::unique_lock lock(mutex, std::try_to_lock);
  if (!lock || lane == nullptr) return;
  const std::unique_lock lane_lock(lane->mutex_, std::try_to_lock);
  if (lane_lock) lane->send_waiting();
}

void LaneRegistry::lock_all() {
  mutex.lock();
  if (lane != nullptr) lane->mutex_.lock();
}

void LaneRegistry::unlock_all() {
  if (lane != nullptr) lane->mutex_.unlock();
  mutex.unlock();
}

void LaneRegistry::leave_to_parent() {
  if (lane != nullptr) {
    lane->abandon_socket();
    lane->mutex_.unlock();
    lane = nullptr;
  }
  mutex.unlock();
}

LaneReference::LaneReference() : lane_(LaneRegistry::instance().acquire()) {}

LaneReference::~LaneReference() {
  LaneRegistry::instance().release(lane_);
}

}  // namespace verbena::soft
