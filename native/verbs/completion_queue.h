// Owns a completion queue and the count of its events that were read and not yet acknowledged.
#pragma once

#include <infiniband/verbs.h>

#include <cstdint>
#include <memory>

#include "verbs/completion_channel.h"
#include "verbs/parent.h"

namespace verbena::verbs {

class CompletionQueue : public Parent {
 public:
  /** `owner` is what CompletionChannel::next_event() gives for this queue. */
  CompletionQueue(std::shared_ptr<CompletionChannel> channel, int depth, uint64_t owner);
  CompletionQueue(const CompletionQueue&) = delete;
  CompletionQueue& operator=(const CompletionQueue&) = delete;
  ~CompletionQueue();

  ibv_cq* get() const { return cq_; }
  /** Entries granted, at least as many as asked for. */
  int depth() const { return depth_; }

  /** Called for each event read for this queue. Acknowledging takes a lock, so it is done in bulk.
   */
  void count_event() {
    if (++unacknowledged_ >= kAcknowledgeBatch) acknowledge_events();
  }

  /** Idempotent. Throws ERR_VERBENA_IN_USE while queue pairs are open. */
  void close();

 private:
  static constexpr unsigned kAcknowledgeBatch = 64;

  void acknowledge_events();

  ChildOf<CompletionChannel> channel_;
  const Functions& functions_;
  ibv_cq* cq_;
  int depth_ = 0;
  unsigned unacknowledged_ = 0;
};

}  // namespace verbena::verbs
