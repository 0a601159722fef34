// Owns which completion queues of a thread are polled (HOT) and which wait for their notification
// (ARMED), and the copying of completions into records.
#pragma once

#include <infiniband/verbs.h>

#include <array>
#include <cstdint>
#include <utility>
#include <vector>

#include "util/slot_table.h"
#include "verbs/completion_channel.h"
#include "verbs/completion_queue.h"
#include "verbs/error.h"
#include "verbs/queue_pair.h"
#include "verbs/ring_layout.h"

namespace verbena::verbs {

/** A completion queue under the poller. Registered for as long as it is open. */
struct PolledQueue {
  CompletionQueue* cq;
  uint32_t empty_polls = 0;
  bool hot = false;
};

struct PollStats {
  uint64_t polls = 0;
  uint64_t completions = 0;
};

/**
 * Why no wake-up is lost: a queue leaves the HOT list only in arm(), after ibv_req_notify_cq() and
 * then a poll that found nothing. A completion from before the request is found by that poll; one
 * from after it makes an event on the channel, which stays readable until next_event() returns it
 * and turns the queue HOT again. So at every moment each queue is polled or will raise the
 * descriptor. (When the poll does find something the queue stays HOT with its notification pending;
 * the event then comes early, which costs a wasted wake-up and nothing else.)
 */
class CqPoller {
 public:
  CqPoller(CompletionChannel& channel, uint32_t empty_polls_before_arm,
           const util::SlotTable<QueuePair>& qps);

  /** Reserves a place; its number must be the low word of the `owner` the queue is created with. */
  uint32_t reserve(PolledQueue& queue);
  /** A queue that was just made, and is empty: it starts ARMED. */
  void add(PolledQueue& queue);
  /** Before the queue is closed; harmless when the place is not taken. */
  void remove(uint32_t place);

  /**
   * Polls each HOT queue once and writes at most `room` records. With `may_arm`, a queue that was
   * empty often enough in a row is armed. Returns the number of records.
   */
  uint32_t pass(CompletionRecord* records, uint32_t room, bool may_arm);

  /** Arms every HOT queue; what the polls after arming found is written, and keeps a queue HOT. */
  uint32_t arm_all(CompletionRecord* records, uint32_t room);

  /** Reads the channel's events and makes their queues HOT. */
  void collect_events();

  /** What went wrong since the last call. A queue that fails is not polled any more. */
  std::vector<Error> take_errors() { return std::exchange(errors_, {}); }

  bool has_hot() const { return !hot_.empty(); }
  uint32_t hot_count() const { return static_cast<uint32_t>(hot_.size()); }
  uint32_t armed_count() const { return queues_.size() - hot_count(); }
  const PollStats& stats() const { return stats_; }

 private:
  /** Completions taken from one queue before the next gets its turn. */
  static constexpr uint32_t kBatch = 64;

  static void request_event(const PolledQueue& queue);
  void make_hot(PolledQueue& queue);
  void cool(PolledQueue& queue);
  uint32_t poll(PolledQueue& queue, CompletionRecord* records, uint32_t room);
  uint32_t arm(PolledQueue& queue, CompletionRecord* records, uint32_t room);
  void give_up(PolledQueue& queue, Error error);

  CompletionChannel& channel_;
  uint32_t empty_polls_before_arm_;
  const util::SlotTable<QueuePair>& qps_;
  util::SlotTable<PolledQueue> queues_;
  std::vector<PolledQueue*> hot_;
  size_t next_ = 0;
  std::array<ibv_wc, kBatch> completions_;
  std::vector<Error> errors_;
  PollStats stats_;
};

}  // namespace verbena::verbs
