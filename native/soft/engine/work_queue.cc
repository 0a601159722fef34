// The growth of send queues; posting and taking of receive requests.
#include "soft/engine/work_queue.h"

#include <algorithm>
#include <cerrno>
#include <utility>

namespace verbena::engine {

void SendQueue::make_room() {
  if (tail_ - head_ < room_) return;
  SendQueue grown(depth_, std::min(depth_, 2 * room_), max_sge_, max_inline_);
  for (uint64_t number = head_; number != tail_; ++number) {
    grown.at(number) = at(number);
    std::copy_n(sges(number), max_sge_, grown.sges(number));
    std::copy_n(inline_bytes(number), max_inline_, grown.inline_bytes(number));
  }
  grown.head_ = head_;
  grown.tail_ = tail_;
  *this = std::move(grown);
}

int ReceiveQueue::post(const ibv_recv_wr& request) {
  if (full()) return ENOMEM;
  if (request.num_sge < 0 || static_cast<uint32_t>(request.num_sge) > max_sge_) return EINVAL;
  Slot& slot = slots_[tail_ % depth_];
  slot = {request.wr_id, static_cast<uint32_t>(request.num_sge)};
  std::copy_n(request.sg_list, slot.sge_count, &sges_[(tail_ % depth_) * max_sge_]);
  ++tail_;
  return 0;
}

void ReceiveQueue::take(ReceiveRequest& to) {
  const Slot& slot = slots_[head_ % depth_];
  const ibv_sge* sges = &sges_[(head_ % depth_) * max_sge_];
  to.id = slot.id;
  to.sges.assign(sges, sges + slot.sge_count);
  to.capacity = 0;
  for (const ibv_sge& sge : to.sges) to.capacity += sge.length;
  ++head_;
}

bool ReceiveQueue::resize(uint32_t depth) {
  if (waiting() > depth) return false;
  ReceiveQueue resized(depth, max_sge_);
  for (; head_ != tail_; ++head_) {
    const uint64_t to = resized.tail_++;
    resized.slots_[to] = slots_[head_ % depth_];
    std::copy_n(&sges_[(head_ % depth_) * max_sge_], max_sge_, &resized.sges_[to * max_sge_]);
  }
  *this = std::move(resized);
  return true;
}

}  // namespace verbena::engine
