// Owns the way from post descriptors written by JavaScript to doorbells: one linked list of work
// requests per queue, checked against the memory regions, without allocation per message.
#pragma once

#include <infiniband/verbs.h>

#include <cstdint>
#include <vector>

#include "util/slot_table.h"
#include "verbs/memory_region.h"
#include "verbs/queue_pair.h"
#include "verbs/ring_layout.h"

namespace verbena::verbs {

/** A work request with room for everything that it points to. */
struct Work {
  // First, so that the device's bad_wr leads back to the Work.
  union {
    ibv_send_wr send;
    ibv_recv_wr receive;
  };
  ibv_sge sge;
  uint32_t wr_id;
  int error;
  Work* next;
};

struct PostStats {
  uint64_t posts = 0;
  uint64_t batches = 0;
  uint64_t failures = 0;
};

class PostRing {
 public:
  /** `memory` holds a header and `capacity` descriptors. */
  PostRing(uint32_t* memory, uint32_t capacity, const util::SlotTable<QueuePair>& qps,
           const util::SlotTable<MemoryRegion>& mrs);

  /**
   * Posts everything in the ring. Order is kept within each queue; receives go before sends, which
   * only ever gives the peer room earlier. When a descriptor is refused, by us or by the device, it
   * and all that follow it on the same queue become failure records: a gap would break the order.
   * Throws ERR_VERBENA_ARGUMENT when the header names more descriptors than there are.
   */
  void drain();

  /** Large transfers under way, as JavaScript counts them. */
  uint32_t transfers() const { return memory_[post::kTransfers]; }

  bool has_failures() const { return next_failure_ < failures_.size(); }
  /** Moves up to `room` failure records out; returns how many. */
  uint32_t take_failures(CompletionRecord* records, uint32_t room);

  const PostStats& stats() const { return stats_; }

 private:
  void gather(uint32_t position);
  int prepare_send(Work& work, const uint32_t* words, const QueuePair& qp) const;
  int prepare_receive(Work& work, const uint32_t* words, const QueuePair& qp) const;
  int set_memory(ibv_sge& sge, const uint32_t* words, bool is_inline) const;
  void post_list(QueuePair& qp, const WorkList& list, bool is_send);
  void fail(uint32_t qp_index, uint32_t wr_id, int error);

  uint32_t* memory_;
  uint32_t capacity_;
  const util::SlotTable<QueuePair>& qps_;
  const util::SlotTable<MemoryRegion>& mrs_;
  std::vector<Work> works_;
  std::vector<QueuePair*> gathered_;
  // Grows only as far as JavaScript posts failing work without ever returning to the event loop.
  std::vector<CompletionRecord> failures_;
  size_t next_failure_ = 0;
  PostStats stats_;
};

}  // namespace verbena::verbs
