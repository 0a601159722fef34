// The ring and the arming of a completion queue.
#include "soft/engine/completion_queue.h"

#include <algorithm>
#include <new>

namespace verbena::engine {
namespace {

constexpr uint32_t kFirstEntries = 8;

}  // namespace

CompletionQueue::CompletionQueue(uint32_t depth, CompletionListener* listener, void* owner)
    : depth_(depth),
      ring_(std::min(depth, kFirstEntries)),
      room_(static_cast<uint32_t>(ring_.size())),
      listener_(listener),
      owner_(owner) {}

CompletionQueue::Push CompletionQueue::push(const ibv_wc& completion, bool solicited) {
  bool notify = false;
  {
    const std::lock_guard lock(mutex_);
    if (failed_) return Push::kFailed;
    const uint32_t count = count_.load(std::memory_order_relaxed);
    failed_ = count >= depth_ || !make_room(count + 1);
    if (failed_) return Push::kOverflow;
    ring_[(head_ + count) % ring_.size()] = completion;
    count_.store(count + 1, std::memory_order_release);
    const Armed armed = armed_.load(std::memory_order_relaxed);
    notify = armed == Armed::kAny || (armed == Armed::kSolicited && solicited);
    if (notify) armed_.store(Armed::kNo, std::memory_order_relaxed);
  }
  if (notify && listener_ != nullptr) listener_->on_completion_event(*this);
  return Push::kStored;
}

int CompletionQueue::poll(int count, ibv_wc* completions) {
  if (count_.load(std::memory_order_acquire) == 0) return 0;
  const std::lock_guard lock(mutex_);
  const uint32_t waiting = count_.load(std::memory_order_relaxed);
  const uint32_t taken = std::min(waiting, static_cast<uint32_t>(std::max(count, 0)));
  for (uint32_t i = 0; i < taken; ++i) {
    completions[i] = ring_[head_];
    if (++head_ == ring_.size()) head_ = 0;
  }
  count_.store(waiting - taken, std::memory_order_release);
  return static_cast<int>(taken);
}

void CompletionQueue::request_notify(bool solicited_only) {
  const std::lock_guard lock(mutex_);
  if (armed_.load(std::memory_order_relaxed) == Armed::kAny) return;  // the wider request stays
  armed_.store(solicited_only ? Armed::kSolicited : Armed::kAny, std::memory_order_relaxed);
}

void CompletionQueue::discard(uint32_t qpn) {
  const std::lock_guard lock(mutex_);
  const uint32_t count = count_.load(std::memory_order_relaxed);
  uint32_t kept = 0;
  for (uint32_t i = 0; i < count; ++i) {
    const ibv_wc& entry = ring_[(head_ + i) % ring_.size()];
    if (entry.qp_num != qpn) ring_[(head_ + kept++) % ring_.size()] = entry;
  }
  count_.store(kept, std::memory_order_release);
}

bool CompletionQueue::resize(uint32_t depth) {
  const std::lock_guard lock(mutex_);
  const uint32_t count = count_.load(std::memory_order_relaxed);
  if (count > depth) return false;
  // What make_room_for() made is kept: what it was made for may still come.
  move_to_ring_of(std::min(size_t{depth}, std::max(ring_.size(), size_t{kFirstEntries})));
  depth_ = depth;
  return true;
}

// With the mutex held; `wanted` entries are no more than the depth.
bool CompletionQueue::make_room(uint32_t wanted) {
  if (wanted <= ring_.size()) return true;
  try {
    move_to_ring_of(std::min(size_t{depth_}, std::max(size_t{wanted}, 2 * ring_.size())));
  } catch (const std::bad_alloc&) {
    return false;
  }
  return true;
}

bool CompletionQueue::grow_for(uint32_t wanted) {
  const std::lock_guard lock(mutex_);
  return failed_ || make_room(std::min(wanted, depth_));
}

void CompletionQueue::move_to_ring_of(size_t entries) {
  std::vector<ibv_wc> ring(entries);
  const uint32_t count = count_.load(std::memory_order_relaxed);
  for (uint32_t i = 0; i < count; ++i) ring[i] = ring_[(head_ + i) % ring_.size()];
  ring_ = std::move(ring);
  room_.store(static_cast<uint32_t>(entries), std::memory_order_relaxed);
  head_ = 0;
}

}  // namespace verbena::engine
