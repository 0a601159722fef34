// Modifies and queries queue pairs.
#include <infiniband/verbs.h>

#include "soft/abi/export.h"
#include "soft/abi/guard.h"
#include "soft/abi/qp.h"
#include "soft/wire/address.h"
#include "util/qp_transitions.h"

namespace verbena::soft {
namespace {

void check_transition(const Qp& qp, const ibv_qp_attr& attributes, int mask) {
  const ibv_qp_state from = qp.transport->state;
  if ((mask & IBV_QP_CUR_STATE) != 0) require(attributes.cur_qp_state == from, EINVAL);
  const ibv_qp_state to = (mask & IBV_QP_STATE) != 0 ? attributes.qp_state : from;
  const util::QpTransition& rule = util::qp_transition(from, to, qp.ex.qp_base.qp_type);
  const int given = mask & ~IBV_QP_STATE;
  require(rule.allowed, EINVAL);
  require((rule.required & ~given) == 0, EINVAL);
  require((given & ~(rule.required | rule.optional)) == 0, EINVAL);
}

void check_path(const Lane& lane, const ibv_qp_attr& attributes, int mask) {
  if ((mask & IBV_QP_PATH_MTU) != 0) require(attributes.path_mtu <= lane.active_mtu(), EINVAL);
  if ((mask & IBV_QP_AV) == 0) return;
  const auto peer = wire::Address::from_gid(&attributes.ah_attr.grh.dgid);
  require(!peer.is_unspecified() && peer.is_v4() == lane.address().is_v4(), EINVAL);
}

void modify(Qp& qp, const ibv_qp_attr& attributes, int mask) {
  const int refused = qp.lane.with_engine_and_transmit([&](engine::Engine& engine) {
    check_transition(qp, attributes, mask);
    check_path(qp.lane, attributes, mask);
    return engine.modify_qp(*qp.transport, attributes, mask);
  });
  require(refused == 0, refused);
  if ((mask & IBV_QP_AV) != 0) {
    qp.lane.meet(wire::Address::from_gid(&attributes.ah_attr.grh.dgid));
  }
  if ((mask & IBV_QP_STATE) != 0) qp.ex.qp_base.state = attributes.qp_state;
}

void query(Qp& qp, ibv_qp_attr& attributes) {
  qp.lane.with_engine([&](engine::Engine&) {
    const engine::QueuePair& transport = *qp.transport;
    attributes = transport.attributes;
    attributes.qp_state = attributes.cur_qp_state = transport.state;
    if (transport.accepts_requests()) attributes.rq_psn = transport.responder.expected_psn;
    if (transport.accepts_responses()) attributes.sq_psn = transport.requester.next_psn;
    attributes.sq_draining = transport.state == IBV_QPS_SQD &&
                             transport.send_queue.head() != transport.requester.started;
  });
  attributes.path_mig_state = IBV_MIG_MIGRATED;
  attributes.cap = qp.granted;
  qp.ex.qp_base.state = attributes.qp_state;
}

}  // namespace
}  // namespace verbena::soft

using verbena::soft::Qp;

VERBENA_EXPORT int ibv_modify_qp(ibv_qp* handle, ibv_qp_attr* attributes, int mask) {
  return verbena::soft::errno_of([&] { verbena::soft::modify(Qp::of(handle), *attributes, mask); });
}

VERBENA_EXPORT int ibv_query_qp(ibv_qp* handle, ibv_qp_attr* attributes, int,
                                ibv_qp_init_attr* initial) {
  Qp& qp = Qp::of(handle);
  verbena::soft::query(qp, *attributes);
  *initial = {handle->qp_context, handle->send_cq, handle->recv_cq,      handle->srq,
              qp.granted,         handle->qp_type, qp.signal_all ? 1 : 0};
  return 0;
}
