// Makes the verbs context: its descriptors and its table of operations.
#include "soft/abi/context.h"

#include <sys/eventfd.h>

#include "soft/abi/cq.h"
#include "soft/abi/guard.h"
#include "soft/abi/mw.h"
#include "soft/abi/qp.h"
#include "soft/abi/query.h"
#include "soft/abi/srq.h"

namespace verbena::soft {
namespace {

ibv_qp* create_extended_qp(ibv_context* context, ibv_qp_init_attr_ex* attributes) {
  Qp* qp = object_of<Qp>([&] { return create_qp(Context::of(context), *attributes); });
  return qp == nullptr ? nullptr : qp->handle();
}

ibv_cq_ex* create_extended_cq(ibv_context* context, ibv_cq_init_attr_ex* attributes) {
  Cq* cq = object_of<Cq>([&] { return create_cq(Context::of(context), *attributes); });
  return cq == nullptr ? nullptr : &cq->ex;
}

ibv_srq* create_extended_srq(ibv_context* context, ibv_srq_init_attr_ex* attributes) {
  return object_of<Srq>([&] { return create_srq(Context::of(context), *attributes); });
}

}  // namespace

Context::Context(ibv_device* opened) : verbs_context{}, command_fd_(eventfd(0, EFD_CLOEXEC)) {
  require(static_cast<bool>(command_fd_), errno);
  sz = sizeof(verbs_context);
  context.device = opened;
  context.cmd_fd = command_fd_.get();
  context.async_fd = async_events.fd();
  context.num_comp_vectors = 1;
  context.abi_compat = __VERBS_ABI_IS_EXTENDED;
  pthread_mutex_init(&context.mutex, nullptr);
  fill_operations();
  lane->add_listener(device_events);
}

Context::~Context() {
  closing = true;
  lane->remove_listener(device_events);
  for (Population* children : {&qps, &srqs, &mws, &mrs, &ahs, &cqs, &channels, &pds}) {
    children->destroy_rest();
  }
  pthread_mutex_destroy(&context.mutex);
}

// What stays null is unsupported: the inline functions of <infiniband/verbs.h> then say EOPNOTSUPP.
void Context::fill_operations() {
  verbs_context::query_port = soft::query_port;
  query_device_ex = soft::query_device_ex;
  create_qp_ex = create_extended_qp;
  create_cq_ex = create_extended_cq;
  create_srq_ex = create_extended_srq;
  ibv_context_ops& ops = context.ops;
  ops.poll_cq = poll_cq;
  ops.req_notify_cq = request_notify_cq;
  ops.post_send = post_send;
  ops.post_recv = post_receive;
  ops.post_srq_recv = post_srq_receive;
  ops.alloc_mw = alloc_mw;
  ops.bind_mw = bind_mw;
  ops.dealloc_mw = dealloc_mw;
}

}  // namespace verbena::soft
