// Owns a reliable-connection queue pair.
#pragma once

#include <infiniband/verbs.h>

#include <cstdint>
#include <memory>

#include "verbs/completion_queue.h"
#include "verbs/protection_domain.h"

namespace verbena::verbs {

struct QueuePairLimits {
  uint32_t max_send_wr;
  uint32_t max_recv_wr;
  uint32_t max_inline;
};

struct Work;

/** Work requests of one queue gathered by the post ring, in the order JavaScript wrote them. */
struct WorkList {
  Work* head = nullptr;
  Work* tail = nullptr;
  /** The first descriptor that was refused; it and those after it are not handed to the device. */
  Work* refused = nullptr;
};

class QueuePair {
 public:
  /** `owner` identifies the queue pair in asynchronous events; `index` in the rings. */
  QueuePair(std::shared_ptr<ProtectionDomain> pd, std::shared_ptr<CompletionQueue> cq,
            const QueuePairLimits& limits, uint64_t owner, uint32_t index);
  QueuePair(const QueuePair&) = delete;
  QueuePair& operator=(const QueuePair&) = delete;
  ~QueuePair();

  ibv_qp* get() const { return qp_; }
  uint32_t index() const { return index_; }
  uint32_t qpn() const { return qpn_; }
  uint32_t max_inline() const { return max_inline_; }
  ibv_context* context() const { return context_; }

  /** Checks the transition from the state the device reports, then calls ibv_modify_qp. */
  void modify(ibv_qp_attr& attributes, int mask);
  ibv_qp_state query_state() const;

  /** Idempotent. */
  void close();

  /** Used by PostRing between gathering and posting; empty otherwise. */
  WorkList sends;
  WorkList receives;
  bool gathered = false;

 private:
  ChildOf<ProtectionDomain> pd_;
  ChildOf<CompletionQueue> cq_;
  const Functions& functions_;
  ibv_context* context_ = nullptr;
  ibv_qp* qp_;
  uint32_t index_;
  uint32_t qpn_ = 0;
  uint32_t max_inline_ = 0;
};

}  // namespace verbena::verbs
