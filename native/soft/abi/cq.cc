// Creates, polls, resizes and destroys completion queues.
#include "soft/abi/cq.h"

#include "soft/abi/export.h"
#include "soft/abi/guard.h"
#include "soft/abi/limits.h"

namespace verbena::soft {
namespace {

void check_depth(int64_t depth) {
  require(depth >= 1 && depth <= kMaxCqe, EINVAL);
}

}  // namespace

Cq::Cq(Context& from, const ibv_cq_init_attr_ex& attributes)
    : owner(from),
      lane(*from.lane),
      channel(attributes.channel == nullptr ? nullptr : &Channel::of(attributes.channel)),
      queue(attributes.cqe, channel == nullptr ? nullptr : &channel->events, this),
      events(ex),
      async_events(from.async_events),
      counted_(from.cqs, this),
      channel_use_(channel == nullptr ? nullptr : std::make_unique<Use>(channel->cqs)) {
  ex.context = &from.context;
  ex.channel = attributes.channel;
  ex.cq_context = attributes.cq_context;
  ex.handle = from.next_handle();
  ex.cqe = static_cast<int>(queue.depth());
  fill_poll_functions(ex);
}

// No queue pair is left that could raise an event; what was delivered is waited for.
Cq::~Cq() {
  if (channel != nullptr) channel->events.queued.purge(completion_events);
  async_events.purge();
  if (owner.closing) return;
  events.wait_until(ex.comp_events_completed, completion_events_delivered);
  events.wait_until(ex.async_events_completed, async_events.delivered);
}

Cq* create_cq(Context& context, const ibv_cq_init_attr_ex& attributes) {
  constexpr uint32_t kKnownMask = IBV_CQ_INIT_ATTR_MASK_FLAGS;
  constexpr uint32_t kKnownFlags = IBV_CREATE_CQ_ATTR_SINGLE_THREADED;
  require((attributes.comp_mask & ~kKnownMask) == 0, EOPNOTSUPP);
  if ((attributes.comp_mask & IBV_CQ_INIT_ATTR_MASK_FLAGS) != 0) {
    require((attributes.flags & ~kKnownFlags) == 0, EOPNOTSUPP);
  }
  require((attributes.wc_flags & ~uint64_t{IBV_WC_STANDARD_FLAGS}) == 0, EOPNOTSUPP);
  check_depth(attributes.cqe);
  require(attributes.comp_vector < static_cast<uint32_t>(context.context.num_comp_vectors), EINVAL);
  require(attributes.channel == nullptr || attributes.channel->context == &context.context, EINVAL);
  return new Cq(context, attributes);
}

int poll_cq(ibv_cq* handle, int count, ibv_wc* completions) {
  Cq& cq = Cq::of(handle);
  const int waiting = cq.queue.poll(count, completions);
  if (waiting > 0) return waiting;
  cq.lane.poll(cq.queue);
  return cq.queue.poll(count, completions);
}

int request_notify_cq(ibv_cq* handle, int solicited_only) {
  Cq& cq = Cq::of(handle);
  cq.queue.request_notify(solicited_only != 0);
  cq.lane.hand_over();
  return 0;
}

}  // namespace verbena::soft

using verbena::soft::Context;
using verbena::soft::Cq;

VERBENA_EXPORT ibv_cq* ibv_create_cq(ibv_context* context, int cqe, void* cq_context,
                                     ibv_comp_channel* channel, int comp_vector) {
  ibv_cq_init_attr_ex attributes{};
  attributes.cqe = static_cast<uint32_t>(cqe);
  attributes.cq_context = cq_context;
  attributes.channel = channel;
  attributes.comp_vector = static_cast<uint32_t>(comp_vector);
  Cq* cq = verbena::soft::object_of<Cq>(
      [&] { return verbena::soft::create_cq(Context::of(context), attributes); });
  return cq == nullptr ? nullptr : cq->handle();
}

VERBENA_EXPORT int ibv_resize_cq(ibv_cq* handle, int cqe) {
  return verbena::soft::errno_of([&] {
    Cq& cq = Cq::of(handle);
    verbena::soft::check_depth(cqe);
    verbena::soft::require(cq.queue.resize(static_cast<uint32_t>(cqe)), EINVAL);
    cq.ex.cqe = cqe;
  });
}

VERBENA_EXPORT int ibv_destroy_cq(ibv_cq* handle) {
  Cq& cq = Cq::of(handle);
  if (cq.qps.in_use()) return EBUSY;
  delete &cq;
  return 0;
}
