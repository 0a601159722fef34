// Owns creation, transitions and closing of queue pairs.
#include "verbs/queue_pair.h"

#include <cerrno>
#include <utility>

#include "verbs/error.h"
#include "verbs/qp_transitions.h"

namespace verbena::verbs {

QueuePair::QueuePair(std::shared_ptr<ProtectionDomain> pd, std::shared_ptr<CompletionQueue> cq,
                     const QueuePairLimits& limits, uint64_t owner, uint32_t index)
    : pd_(std::move(pd)), cq_(std::move(cq)), functions_(pd_->functions()), index_(index) {
  ibv_qp_init_attr init{};
  init.qp_context = reinterpret_cast<void*>(owner);
  init.send_cq = cq_->get();
  init.recv_cq = cq_->get();
  init.qp_type = IBV_QPT_RC;
  init.cap.max_send_wr = limits.max_send_wr;
  init.cap.max_recv_wr = limits.max_recv_wr;
  init.cap.max_send_sge = 1;
  init.cap.max_recv_sge = 1;
  init.cap.max_inline_data = limits.max_inline;
  errno = 0;
  qp_ = functions_.create_qp(pd_->get(), &init);
  if (qp_ == nullptr) throw verbs_error("ibv_create_qp", errno);
  context_ = qp_->context;
  qpn_ = qp_->qp_num;
  max_inline_ = init.cap.max_inline_data;
}

QueuePair::~QueuePair() {
  // Whoever wants the error calls close().
  if (qp_ != nullptr) functions_.destroy_qp(qp_);
}

void QueuePair::modify(ibv_qp_attr& attributes, int mask) {
  // Asked of the device, because a queue pair goes to ERR by itself.
  check_qp_transition(query_state(), attributes.qp_state, mask);
  check("ibv_modify_qp", functions_.modify_qp(qp_, &attributes, mask));
}

ibv_qp_state QueuePair::query_state() const {
  ibv_qp_attr attributes{};
  ibv_qp_init_attr init{};
  check("ibv_query_qp", functions_.query_qp(qp_, &attributes, IBV_QP_STATE, &init));
  return attributes.qp_state;
}

void QueuePair::close() {
  if (qp_ == nullptr) return;
  check("ibv_destroy_qp", functions_.destroy_qp(qp_));
  qp_ = nullptr;
  cq_.release();
  pd_.release();
}

}  // namespace verbena::verbs
