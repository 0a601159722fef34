// A completion queue: a bounded ring that the engine fills and any thread polls, with one-shot
// notification. Its memory doubles up to its depth as it is needed.
#pragma once

#include <infiniband/verbs.h>

#include <atomic>
#include <cstdint>
#include <mutex>
#include <vector>

#include "soft/engine/ports.h"

namespace verbena::engine {

class CompletionQueue {
 public:
  // `listener` may be nullptr. `owner` is the verbs object around this queue.
  CompletionQueue(uint32_t depth, CompletionListener* listener, void* owner);

  enum class Push : uint8_t {
    kStored,
    kOverflow,  // it was full, or the machine has no memory: the entry is lost, and the queue is in
                // error from now on
    kFailed,    // the queue was in error already
  };
  Push push(const ibv_wc& completion, bool solicited);
  // False when the machine has no memory for so many more entries. A queue that is full is not
  // asked for more: what is pushed then overflows.
  bool make_room_for(uint32_t entries) {
    const uint32_t wanted = count_.load(std::memory_order_relaxed) + entries;
    return wanted <= room_.load(std::memory_order_relaxed) || grow_for(wanted);
  }
  int poll(int count, ibv_wc* completions);
  // The next entry pushed (solicited or failed, if `solicited_only`) raises one event. Entries that
  // are there already do not.
  void request_notify(bool solicited_only);
  // Takes out the waiting entries of one queue pair.
  void discard(uint32_t qpn);
  // False when more entries are waiting than `depth`.
  bool resize(uint32_t depth);

  // Whether an event was requested and has not been raised: the program means to sleep.
  bool armed() const { return armed_.load(std::memory_order_relaxed) != Armed::kNo; }

  bool empty() const { return count_.load(std::memory_order_relaxed) == 0; }
  uint32_t depth() const { return depth_; }
  void* owner() const { return owner_; }

 private:
  enum class Armed : uint8_t { kNo, kSolicited, kAny };

  // Moves what is waiting into a ring of so many entries. Throws std::bad_alloc.
  void move_to_ring_of(size_t entries);
  bool make_room(uint32_t wanted);
  bool grow_for(uint32_t wanted);

  mutable std::mutex mutex_;
  uint32_t depth_;
  std::vector<ibv_wc> ring_;
  std::atomic<uint32_t> room_;  // the size of ring_, to be read without the mutex
  uint32_t head_ = 0;
  // Written under the mutex; read without it to answer an empty poll.
  std::atomic<uint32_t> count_{0};
  std::atomic<Armed> armed_{Armed::kNo};  // written under the mutex
  bool failed_ = false;
  CompletionListener* listener_;
  void* owner_;
};

}  // namespace verbena::engine
