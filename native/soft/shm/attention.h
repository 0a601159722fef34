// Whether a device sleeps, so that those who have packets for it know when it must be woken.
#pragma once

#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <utility>

#include "soft/shm/shared_memory.h"
#include "util/unique_fd.h"

namespace verbena::shm {

// On a page of the device's that its neighbours can read.
struct Attention {
  std::atomic<uint32_t> sleepers{0};
  // Changes with each sleep that begins: once woken, a sleeper need not be woken again.
  std::atomic<uint32_t> sleeps{0};
};
inline constexpr size_t kAttentionBytes = 4096;

// No packet is slept over: a sleeper says that it sleeps and then looks for packets, a writer
// publishes and then looks for sleepers. All of that is sequentially consistent, so that one of the
// two sees the other.
class Sleepers {
 public:
  explicit Sleepers(Attention& attention) : attention_(attention) {}

  void begin() {
    attention_.sleepers.fetch_add(1);
    attention_.sleeps.fetch_add(1);
  }
  void end() { attention_.sleepers.fetch_sub(1); }
  // The doorbell is silent again, and who sleeps on it must be woken anew.
  void on_doorbell_cleared() {
    if (attention_.sleepers.load() > 0) attention_.sleeps.fetch_add(1);
  }

 private:
  Attention& attention_;
};

// The writer's side of it.
class Doorbell {
 public:
  Doorbell(Mapping page, util::UniqueFd fd) : page_(std::move(page)), fd_(std::move(fd)) {}

  // After what the device is to see has been published. False when it does not sleep.
  bool ring_if_asleep() {
    const auto& attention = *reinterpret_cast<const Attention*>(page_.memory().data());
    if (attention.sleepers.load() == 0) return false;
    const uint32_t sleep = attention.sleeps.load();
    if (std::exchange(rung_for_, sleep) != sleep) ring();
    return true;
  }
  void ring() {
    const uint64_t one = 1;
    // EAGAIN alone is possible: it rings already.
    [[maybe_unused]] const ssize_t written = write(fd_.get(), &one, sizeof one);
  }

 private:
  Mapping page_;
  util::UniqueFd fd_;
  uint32_t rung_for_ = 0;
};

}  // namespace verbena::shm
