// Creates and destroys queue pairs, and posts to them.
#include "soft/abi/qp.h"

#include <algorithm>
#include <cstring>

#include "soft/abi/ah.h"
#include "soft/abi/export.h"
#include "soft/abi/guard.h"
#include "soft/abi/limits.h"
#include "soft/abi/srq.h"

namespace verbena::soft {
namespace {

ibv_qp_cap grant(const ibv_qp_cap& wanted) {
  require(wanted.max_send_wr <= kMaxQpWr && wanted.max_recv_wr <= kMaxQpWr, EINVAL);
  require(wanted.max_send_sge <= kMaxSge && wanted.max_recv_sge <= kMaxSge, EINVAL);
  require(wanted.max_inline_data <= kMaxInlineBytes, EINVAL);
  ibv_qp_cap granted = wanted;
  granted.max_send_wr = std::max(granted.max_send_wr, 1U);
  granted.max_recv_wr = std::max(granted.max_recv_wr, 1U);
  granted.max_send_sge = std::max(granted.max_send_sge, 1U);
  granted.max_recv_sge = std::max(granted.max_recv_sge, 1U);
  return granted;
}

void check_type(ibv_qp_type type) {
  switch (type) {
    case IBV_QPT_RC:
    case IBV_QPT_UC:
    case IBV_QPT_UD:
      return;
    case IBV_QPT_RAW_PACKET:
    case IBV_QPT_XRC_SEND:
    case IBV_QPT_XRC_RECV:
    case IBV_QPT_DRIVER:
      throw Refusal{EOPNOTSUPP};
    default:
      throw Refusal{EINVAL};
  }
}

void check_extensions(const ibv_qp_init_attr_ex& attributes) {
  constexpr uint32_t kKnown =
      IBV_QP_INIT_ATTR_PD | IBV_QP_INIT_ATTR_CREATE_FLAGS | IBV_QP_INIT_ATTR_SEND_OPS_FLAGS;
  require((attributes.comp_mask & ~kKnown) == 0, EOPNOTSUPP);
  require((attributes.comp_mask & IBV_QP_INIT_ATTR_PD) != 0 && attributes.pd != nullptr, EINVAL);
  if ((attributes.comp_mask & IBV_QP_INIT_ATTR_CREATE_FLAGS) != 0) {
    require(attributes.create_flags == 0, EOPNOTSUPP);
  }
  if ((attributes.comp_mask & IBV_QP_INIT_ATTR_SEND_OPS_FLAGS) != 0) {
    require((attributes.send_ops_flags & ~kBuilderOperations) == 0, EOPNOTSUPP);
  }
}

std::unique_ptr<Use> use_of(ibv_srq* srq) {
  return srq == nullptr ? nullptr : std::make_unique<Use>(Srq::of(srq).qps);
}

int post_one(engine::Engine& engine, Qp& qp, const ibv_send_wr& request) {
  if (qp.ex.qp_base.qp_type != IBV_QPT_UD) return engine.post_send(*qp.transport, request);
  ibv_ah* ah = request.wr.ud.ah;
  if (ah == nullptr || ah->pd != qp.ex.qp_base.pd) return EINVAL;
  return engine.post_send(*qp.transport, request, Ah::of(ah).destination);
}

}  // namespace

Qp::Qp(Pd& domain, const ibv_qp_init_attr_ex& attributes)
    : owner(domain.owner()),
      lane(*owner.lane),
      granted(grant(attributes.cap)),
      signal_all(attributes.sq_sig_all != 0),
      events(ex.qp_base),
      async_events(owner.async_events),
      counted_(owner.qps, this),
      pd_use_(domain.users),
      send_cq_use_(Cq::of(attributes.send_cq).qps),
      recv_cq_use_(Cq::of(attributes.recv_cq).qps),
      srq_use_(use_of(attributes.srq)) {
  if ((attributes.comp_mask & IBV_QP_INIT_ATTR_SEND_OPS_FLAGS) != 0) {
    builder = std::make_unique<WrBuilder>(granted);
    fill_builder_functions(ex);
  }
  engine::QueuePairOptions options{domain.id,
                                   &Cq::of(attributes.send_cq).queue,
                                   &Cq::of(attributes.recv_cq).queue,
                                   granted.max_send_wr,
                                   granted.max_recv_wr,
                                   granted.max_send_sge,
                                   granted.max_recv_sge,
                                   granted.max_inline_data,
                                   signal_all,
                                   this,
                                   attributes.qp_type};
  if (attributes.srq != nullptr) options.srq = &Srq::of(attributes.srq).shared;
  transport = lane.with_engine([&](engine::Engine& engine) { return engine.create_qp(options); });
  ibv_qp& base = ex.qp_base;
  base.context = domain.context;
  base.qp_context = attributes.qp_context;
  base.pd = &domain;
  base.send_cq = attributes.send_cq;
  base.recv_cq = attributes.recv_cq;
  base.srq = attributes.srq;
  base.handle = owner.next_handle();
  base.qp_num = transport->qpn;
  base.state = IBV_QPS_RESET;
  base.qp_type = attributes.qp_type;
}

// Packets on the way find no queue pair; completions that are queued stay for the program. An event
// may still be raised until the transport is gone, and after that none.
Qp::~Qp() {
  lane.destroy_qp(*transport);
  async_events.purge();
  if (!owner.closing) events.wait_until(ex.qp_base.events_completed, async_events.delivered);
}

Qp* create_qp(Context& context, ibv_qp_init_attr_ex& attributes) {
  check_type(attributes.qp_type);
  check_extensions(attributes);
  Pd& pd = Pd::of(attributes.pd);
  require(&pd.owner() == &context, EINVAL);
  for (ibv_cq* cq : {attributes.send_cq, attributes.recv_cq}) {
    require(cq != nullptr && cq->context == &context.context, EINVAL);
  }
  require(attributes.srq == nullptr || attributes.srq->context == &context.context, EINVAL);
  Qp* qp = new Qp(pd, attributes);
  attributes.cap = qp->granted;
  return qp;
}

int post_send(ibv_qp* handle, ibv_send_wr* requests, ibv_send_wr** bad) {
  Qp& qp = Qp::of(handle);
  const int error = errno_of_result([&] {
    return qp.lane.post(*qp.transport, [&](engine::Engine& engine) {
      int refused = 0;
      for (; requests != nullptr; requests = requests->next) {
        refused = post_one(engine, qp, *requests);
        if (refused != 0) break;
      }
      return refused;
    });
  });
  if (error != 0) *bad = requests;
  return error;
}

int post_send_all(Qp& qp, const ibv_send_wr* requests) {
  return errno_of_result([&] {
    return qp.lane.post(*qp.transport, [&](engine::Engine& engine) {
      const uint64_t tail = qp.transport->send_queue.tail();
      for (const ibv_send_wr* each = requests; each != nullptr; each = each->next) {
        const int refused = post_one(engine, qp, *each);
        if (refused == 0) continue;
        qp.transport->send_queue.take_back(tail);
        return refused;
      }
      return 0;
    });
  });
}

int post_receive(ibv_qp* handle, ibv_recv_wr* requests, ibv_recv_wr** bad) {
  Qp& qp = Qp::of(handle);
  const int error = errno_of_result([&] {
    return qp.lane.with_engine([&](engine::Engine& engine) {
      int refused = 0;
      for (; requests != nullptr; requests = requests->next) {
        refused = engine.post_receive(*qp.transport, *requests);
        if (refused != 0) break;
      }
      return refused;
    });
  });
  if (error != 0) *bad = requests;
  return error;
}

}  // namespace verbena::soft

using verbena::soft::Context;
using verbena::soft::Qp;

VERBENA_EXPORT ibv_qp* ibv_create_qp(ibv_pd* pd, ibv_qp_init_attr* attributes) {
  ibv_qp_init_attr_ex extended{};
  // The older structure is the beginning of the newer one.
  std::memcpy(&extended, attributes, sizeof *attributes);
  extended.comp_mask = IBV_QP_INIT_ATTR_PD;
  extended.pd = pd;
  Qp* qp = verbena::soft::object_of<Qp>(
      [&] { return verbena::soft::create_qp(Context::of(pd->context), extended); });
  if (qp == nullptr) return nullptr;
  attributes->cap = extended.cap;
  return qp->handle();
}

VERBENA_EXPORT int ibv_destroy_qp(ibv_qp* handle) {
  Qp& qp = Qp::of(handle);
  const bool attached =
      qp.lane.with_engine([&](verbena::engine::Engine&) { return qp.transport->groups > 0; });
  if (attached) return EBUSY;
  delete &qp;
  return 0;
}

VERBENA_EXPORT ibv_qp_ex* ibv_qp_to_qp_ex(ibv_qp* handle) {
  Qp& qp = Qp::of(handle);
  return qp.builder == nullptr ? nullptr : &qp.ex;
}

// Data are copied packet by packet, and repeated packets may repeat it: no promise about the order
// of bytes.
VERBENA_EXPORT int ibv_query_qp_data_in_order(ibv_qp*, ibv_wr_opcode, uint32_t) {
  return 0;
}
