// Owns creation and closing of completion queues.
#include "verbs/completion_queue.h"

#include <cerrno>
#include <utility>

#include "verbs/error.h"

namespace verbena::verbs {

CompletionQueue::CompletionQueue(std::shared_ptr<CompletionChannel> channel, int depth,
                                 uint64_t owner)
    : channel_(std::move(channel)), functions_(channel_->functions()) {
  errno = 0;
  cq_ = functions_.create_cq(channel_->context(), depth, reinterpret_cast<void*>(owner),
                             channel_->get(), /*comp_vector=*/0);
  if (cq_ == nullptr) throw verbs_error("ibv_create_cq", errno);
  depth_ = cq_->cqe;
}

CompletionQueue::~CompletionQueue() {
  if (cq_ == nullptr) return;
  acknowledge_events();
  // Whoever wants the error calls close().
  functions_.destroy_cq(cq_);
}

void CompletionQueue::acknowledge_events() {
  if (unacknowledged_ == 0) return;
  functions_.ack_cq_events(cq_, unacknowledged_);
  unacknowledged_ = 0;
}

void CompletionQueue::close() {
  if (cq_ == nullptr) return;
  require_no_children("completion queue", "queue pairs");
  // Destroying waits until every event that was read is acknowledged: first, or it never returns.
  acknowledge_events();
  check("ibv_destroy_cq", functions_.destroy_cq(cq_));
  cq_ = nullptr;
  channel_.release();
}

}  // namespace verbena::verbs
