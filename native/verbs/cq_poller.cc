// Owns polling, arming and waking of completion queues.
#include "verbs/cq_poller.h"

#include <arpa/inet.h>

#include <algorithm>

namespace verbena::verbs {
namespace {

void write_record(CompletionRecord& record, const ibv_wc& wc) {
  record.words[completion::kQpIndex] = qp_index_of(wc.wr_id);
  record.words[completion::kWrId] = wr_id_of(wc.wr_id);
  record.words[completion::kStatus] = wc.status;
  record.words[completion::kVendorError] = wc.vendor_err;
  const bool ok = wc.status == IBV_WC_SUCCESS;
  const bool with_imm = ok && (wc.wc_flags & IBV_WC_WITH_IMM) != 0;
  // The device leaves these undefined in a failed completion.
  record.words[completion::kOpcode] = ok ? wc.opcode : 0;
  record.words[completion::kByteLen] = ok ? wc.byte_len : 0;
  record.words[completion::kImm] = with_imm ? ntohl(wc.imm_data) : 0;
  record.words[completion::kFlags] = with_imm ? completion::kWithImm : 0;
}

}  // namespace

CqPoller::CqPoller(CompletionChannel& channel, uint32_t empty_polls_before_arm,
                   const util::SlotTable<QueuePair>& qps)
    : channel_(channel), empty_polls_before_arm_(empty_polls_before_arm), qps_(qps) {}

uint32_t CqPoller::reserve(PolledQueue& queue) {
  const auto place = queues_.reserve();
  if (!place) throw Error(code::kArgument, "The poll group has no room for more queues.");
  queues_.bind(*place, queue);
  return *place;
}

void CqPoller::add(PolledQueue& queue) {
  request_event(queue);
}

void CqPoller::remove(uint32_t place) {
  PolledQueue* queue = queues_.find(place);
  if (queue == nullptr) return;
  cool(*queue);
  queues_.erase(place);
}

void CqPoller::make_hot(PolledQueue& queue) {
  queue.empty_polls = 0;
  if (queue.hot) return;
  queue.hot = true;
  hot_.push_back(&queue);
}

void CqPoller::cool(PolledQueue& queue) {
  if (!queue.hot) return;
  queue.hot = false;
  *std::ranges::find(hot_, &queue) = hot_.back();
  hot_.pop_back();
}

void CqPoller::give_up(PolledQueue& queue, Error error) {
  // It would fail for ever. The error is kept aside, so that records already taken are delivered.
  cool(queue);
  errors_.push_back(std::move(error));
}

uint32_t CqPoller::poll(PolledQueue& queue, CompletionRecord* records, uint32_t room) {
  ++stats_.polls;
  const auto wanted = static_cast<int>(std::min(room, kBatch));
  const int found = ibv_poll_cq(queue.cq->get(), wanted, completions_.data());
  if (found < 0) {
    give_up(queue, verbs_error("ibv_poll_cq", error_of(found)));
    return 0;
  }
  uint32_t written = 0;
  for (int position = 0; position < found; ++position) {
    const ibv_wc& wc = completions_[static_cast<size_t>(position)];
    // Nobody waits any more for the completions of a queue pair that was closed.
    if (qps_.find(qp_index_of(wc.wr_id)) != nullptr) write_record(records[written++], wc);
  }
  stats_.completions += written;
  queue.empty_polls = found > 0 ? 0 : queue.empty_polls + 1;
  return written;
}

void CqPoller::request_event(const PolledQueue& queue) {
  const int error = error_of(ibv_req_notify_cq(queue.cq->get(), /*solicited_only=*/0));
  if (error != 0) throw verbs_error("ibv_req_notify_cq", error);
}

uint32_t CqPoller::arm(PolledQueue& queue, CompletionRecord* records, uint32_t room) {
  try {
    request_event(queue);
  } catch (const Error& error) {
    give_up(queue, error);
    return 0;
  }
  const uint32_t written = poll(queue, records, room);
  if (queue.empty_polls > 0) cool(queue);
  return written;
}

uint32_t CqPoller::pass(CompletionRecord* records, uint32_t room, bool may_arm) {
  uint32_t written = 0;
  for (size_t left = hot_.size(); left > 0 && written < room; --left) {
    // Goes on where the last pass stopped, so that no queue starves when the records run out.
    if (next_ >= hot_.size()) next_ = 0;
    PolledQueue& queue = *hot_[next_];
    written += poll(queue, records + written, room - written);
    if (may_arm && queue.empty_polls >= empty_polls_before_arm_ && written < room) {
      written += arm(queue, records + written, room - written);
    }
    // A queue that left the list put another in its place.
    if (queue.hot) ++next_;
  }
  return written;
}

uint32_t CqPoller::arm_all(CompletionRecord* records, uint32_t room) {
  uint32_t written = 0;
  for (size_t position = 0; position < hot_.size() && written < room;) {
    PolledQueue& queue = *hot_[position];
    written += arm(queue, records + written, room - written);
    if (queue.hot) ++position;
  }
  return written;
}

void CqPoller::collect_events() {
  while (const auto owner = channel_.next_event()) {
    // Destroying a queue takes its events back, so the owner is always known.
    PolledQueue* queue = queues_.find(static_cast<uint32_t>(*owner));
    if (queue == nullptr) continue;
    queue->cq->count_event();
    make_hot(*queue);
  }
}

}  // namespace verbena::verbs
