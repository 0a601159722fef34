// Owns the heart of the data path: when completions are polled, handed to JavaScript and answered
// with posts, and when the thread may sleep.
#pragma once

#include <uv.h>

#include <cstdint>
#include <list>
#include <memory>
#include <vector>

#include "addon/environment.h"
#include "addon/js_callback.h"
#include "addon/uv_handle.h"
#include "util/spin_governor.h"
#include "verbs/completion_channel.h"
#include "verbs/cq_poller.h"
#include "verbs/device.h"
#include "verbs/post_ring.h"

namespace verbena::addon {

struct PollGroupOptions {
  uint32_t completion_capacity = 1024;
  uint32_t post_capacity = 1024;
  uint32_t spin_us = 100;
  uint32_t empty_polls_before_arm = 16;
};

struct PollGroupStats {
  uint64_t batches = 0;
  uint64_t wakeups = 0;
  uint64_t spins = 0;
  uint64_t spin_hits = 0;
  /** Time spent in spins: the thread waited, although it looked busy. */
  uint64_t spin_ns = 0;
};

/**
 * One turn of the loop: timers, idle, PREPARE, block for I/O, check, closing. All work is done in
 * PREPARE, the last moment before the loop may block; a readable channel only starts it earlier.
 *
 * Why no wake-up is lost. The loop blocks after PREPARE unless the idle handle is active. PREPARE
 * leaves the idle handle inactive only when it delivered nothing, no completion queue is HOT and no
 * failed post waits. A queue that is not HOT raises the channel's descriptor (see CqPoller), which
 * the loop waits for. What JavaScript does after PREPARE, in I/O callbacks, immediates and timers,
 * comes before the next PREPARE. What it does between this PREPARE and blocking can only happen in
 * a later prepare callback, that is another group's: after that callback every group's posts are
 * drained (Environment::drain_posts), and whatever makes a queue HOT or a post fail outside of
 * PREPARE activates the idle handle (keep_awake).
 */
class PollGroup : public std::enable_shared_from_this<PollGroup> {
 public:
  PollGroup(std::shared_ptr<Environment> environment, const std::shared_ptr<verbs::Device>& device,
            const PollGroupOptions& options, std::shared_ptr<JsCallback> on_completions);
  PollGroup(const PollGroup&) = delete;
  PollGroup& operator=(const PollGroup&) = delete;
  ~PollGroup() { stop(); }

  /** Begins polling. Separate, because the loop's handles need an owner that is fully built. */
  void start();
  /** Ends polling and releases the callback; safe inside of it. Idempotent. */
  void stop();
  bool is_running() const { return prepare_.get() != nullptr; }

  const std::shared_ptr<verbs::CompletionChannel>& channel() const { return channel_; }
  verbs::CqPoller& poller() { return poller_; }
  const verbs::PostRing& posts() const { return posts_; }
  const PollGroupStats& stats() const { return stats_; }
  const std::shared_ptr<verbs::Slab>& completion_memory() const { return completion_memory_; }
  const std::shared_ptr<verbs::Slab>& post_memory() const { return post_memory_; }

  /** Hands the post ring to the device; throws ERR_VERBENA_ARGUMENT for a ring that makes no sense.
   */
  void flush();
  /** The same for callers that have nobody to throw to: the error is reported from the loop. */
  void drain();
  /** Makes sure that PREPARE runs once more before the loop blocks. */
  void keep_awake() { set_awake(true); }

 private:
  void on_prepare();
  void on_channel(int status);
  void collect_events();
  void give_up_channel(verbs::Error error);
  uint32_t gather(bool may_arm);
  bool about_to_block();
  bool transfers_move();
  bool loop_is_ready();
  uint32_t spin();
  uint32_t spin_until(uint64_t deadline);
  void deliver(uint32_t count);
  void report_errors();
  void set_awake(bool awake);
  void note_sleep();
  void note_wakeup();

  verbs::CompletionRecord* records() const {
    return reinterpret_cast<verbs::CompletionRecord*>(completion_memory_->data());
  }

  std::shared_ptr<Environment> environment_;
  std::shared_ptr<verbs::Device> device_;
  PollGroupOptions options_;
  std::shared_ptr<JsCallback> on_completions_;
  std::shared_ptr<verbs::CompletionChannel> channel_;
  std::shared_ptr<verbs::Slab> completion_memory_;
  std::shared_ptr<verbs::Slab> post_memory_;
  verbs::CqPoller poller_;
  verbs::PostRing posts_;
  util::SpinGovernor governor_;
  PollGroupStats stats_;
  std::vector<verbs::Error> errors_;
  /** Of the device; nullptr where it does not tell. */
  const volatile uint64_t* packets_taken_;
  uint64_t packets_seen_ = 0;
  /** When packets were last seen to arrive. */
  uint64_t moved_at_ns_ = 0;
  /** When the group last let the loop block; 0 when it did not. */
  uint64_t asleep_since_ns_ = 0;
  bool awake_ = false;
  std::list<PollGroup*>::iterator position_;

  UvHandle<uv_prepare_t> prepare_;
  UvHandle<uv_idle_t> idle_;
  UvHandle<uv_poll_t> channel_poll_;
};

}  // namespace verbena::addon
