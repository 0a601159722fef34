// Hands asynchronous events to the program and counts what it acknowledges.
#include "soft/abi/async.h"

#include "soft/abi/acknowledgements.h"
#include "soft/abi/context.h"
#include "soft/abi/cq.h"
#include "soft/abi/export.h"
#include "soft/abi/guard.h"
#include "soft/abi/qp.h"
#include "soft/abi/srq.h"

namespace verbena::soft {
namespace {

class ContextEvents final : public engine::EventSink {
 public:
  void on_qp_event(engine::QueuePair& transport, ibv_event_type type) override {
    Qp& qp = *static_cast<Qp*>(transport.options.owner);
    ibv_async_event event{};
    event.element.qp = qp.handle();
    event.event_type = type;
    qp.async_events.raise(event);
  }

  void on_cq_error(engine::CompletionQueue& queue) override {
    Cq& cq = *static_cast<Cq*>(queue.owner());
    ibv_async_event event{};
    event.element.cq = cq.handle();
    event.event_type = IBV_EVENT_CQ_ERR;
    cq.async_events.raise(event);
  }

  void on_srq_limit(engine::SharedReceiveQueue& shared) override {
    Srq& srq = *static_cast<Srq*>(shared.owner);
    ibv_async_event event{};
    event.element.srq = &srq;
    event.event_type = IBV_EVENT_SRQ_LIMIT_REACHED;
    srq.async_events.raise(event);
  }
};

}  // namespace

std::unique_ptr<engine::EventSink> make_event_sink() {
  return std::make_unique<ContextEvents>();
}

}  // namespace verbena::soft

using verbena::soft::AsyncEvent;
using verbena::soft::Context;
using verbena::soft::Cq;
using verbena::soft::Qp;
using verbena::soft::Srq;

VERBENA_EXPORT int ibv_get_async_event(ibv_context* context, ibv_async_event* event) {
  AsyncEvent taken{};
  const int error = Context::of(context).async_events.take(
      taken, [](const AsyncEvent& each) { ++*each.delivered; }, verbena::soft::wait_readable);
  if (error != 0) {
    errno = error;
    return -1;
  }
  *event = taken.event;
  return 0;
}

VERBENA_EXPORT void ibv_ack_async_event(ibv_async_event* event) {
  switch (event->event_type) {
    case IBV_EVENT_CQ_ERR: {
      Cq& cq = Cq::of(event->element.cq);
      cq.events.acknowledge(cq.ex.async_events_completed, 1);
      return;
    }
    case IBV_EVENT_QP_FATAL:
    case IBV_EVENT_QP_REQ_ERR:
    case IBV_EVENT_QP_ACCESS_ERR:
    case IBV_EVENT_COMM_EST:
    case IBV_EVENT_SQ_DRAINED:
    case IBV_EVENT_QP_LAST_WQE_REACHED: {
      Qp& qp = Qp::of(event->element.qp);
      qp.events.acknowledge(qp.ex.qp_base.events_completed, 1);
      return;
    }
    case IBV_EVENT_SRQ_ERR:
    case IBV_EVENT_SRQ_LIMIT_REACHED: {
      Srq& srq = Srq::of(event->element.srq);
      srq.events.acknowledge(srq.events_completed, 1);
      return;
    }
    default:
      return;  // events of the port or device have no object that waits for them
  }
}
