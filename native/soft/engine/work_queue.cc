// Posting of receive requests.
#include "soft/engine/work_queue.h"

#include <algorithm>
#include <cerrno>

namespace verbena::engine {

int ReceiveQueue::post(const ibv_recv_wr& request) {
  if (full()) return ENOMEM;
  if (request.num_sge < 0 || static_cast<uint32_t>(request.num_sge) > max_sge_) return EINVAL;
  ReceiveRequest& slot = requests_[tail_ % depth_];
  slot = {request.wr_id, static_cast<uint32_t>(request.num_sge), 0};
  for (int i = 0; i < request.num_sge; ++i) slot.capacity += request.sg_list[i].length;
  std::copy_n(request.sg_list, slot.sge_count, &sges_[(tail_ % depth_) * max_sge_]);
  ++tail_;
  return 0;
}

}  // namespace verbena::engine
