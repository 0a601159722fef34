// Creates, modifies, queries and destroys shared receive queues, and posts to them.
#include "soft/abi/srq.h"

#include <algorithm>
#include <cstring>

#include "soft/abi/export.h"
#include "soft/abi/guard.h"
#include "soft/abi/limits.h"

namespace verbena::soft {
namespace {

ibv_srq_attr grant(const ibv_srq_attr& wanted) {
  require(wanted.max_wr >= 1 && wanted.max_wr <= kMaxSrqWr, EINVAL);
  require(wanted.max_sge <= kMaxSge, EINVAL);
  // A limit is armed by ibv_modify_srq.
  return {wanted.max_wr, std::max(wanted.max_sge, 1U), 0};
}

void check_extensions(const ibv_srq_init_attr_ex& attributes) {
  constexpr uint32_t kKnown = IBV_SRQ_INIT_ATTR_TYPE | IBV_SRQ_INIT_ATTR_PD;
  require((attributes.comp_mask & ~kKnown) == 0, EOPNOTSUPP);
  require((attributes.comp_mask & IBV_SRQ_INIT_ATTR_PD) != 0 && attributes.pd != nullptr, EINVAL);
  if ((attributes.comp_mask & IBV_SRQ_INIT_ATTR_TYPE) != 0) {
    require(attributes.srq_type == IBV_SRQT_BASIC, EOPNOTSUPP);
  }
}

// Everything is checked before anything changes.
int modify(engine::SharedReceiveQueue& shared, const ibv_srq_attr& attributes, int mask) {
  if ((mask & ~(IBV_SRQ_MAX_WR | IBV_SRQ_LIMIT)) != 0) return EINVAL;
  const bool resizes = (mask & IBV_SRQ_MAX_WR) != 0;
  const uint32_t depth = resizes ? attributes.max_wr : shared.queue.depth();
  if (depth < 1 || depth > kMaxSrqWr) return EINVAL;
  const bool arms = (mask & IBV_SRQ_LIMIT) != 0;
  if ((arms ? attributes.srq_limit : shared.limit) > depth) return EINVAL;
  if (resizes && !shared.queue.resize(depth)) return EINVAL;
  if (arms) shared.limit = attributes.srq_limit;
  return 0;
}

}  // namespace

Srq::Srq(Pd& domain, void* program_context, const ibv_srq_attr& granted)
    : ibv_srq{},
      owner(domain.owner()),
      lane(*owner.lane),
      shared{domain.id, engine::ReceiveQueue(granted.max_wr, granted.max_sge), 0, this},
      events(*this),
      async_events(owner.async_events),
      counted_(owner.srqs, this),
      pd_use_(domain.users) {
  context = domain.context;
  srq_context = program_context;
  pd = &domain;
  handle = owner.next_handle();
}

// No queue pair is left that could raise an event; what was delivered is waited for.
Srq::~Srq() {
  async_events.purge();
  if (!owner.closing) events.wait_until(events_completed, async_events.delivered);
}

Srq* create_srq(Context& context, ibv_srq_init_attr_ex& attributes) {
  check_extensions(attributes);
  Pd& pd = Pd::of(attributes.pd);
  require(&pd.owner() == &context, EINVAL);
  const ibv_srq_attr granted = grant(attributes.attr);
  Srq* srq = new Srq(pd, attributes.srq_context, granted);
  attributes.attr = granted;
  return srq;
}

int post_srq_receive(ibv_srq* handle, ibv_recv_wr* requests, ibv_recv_wr** bad) {
  Srq& srq = Srq::of(handle);
  const int error = srq.lane.with_engine([&](engine::Engine&) {
    int refused = 0;
    for (; requests != nullptr; requests = requests->next) {
      refused = srq.shared.queue.post(*requests);
      if (refused != 0) break;
    }
    return refused;
  });
  if (error != 0) *bad = requests;
  return error;
}

}  // namespace verbena::soft

using verbena::soft::Context;
using verbena::soft::Srq;

VERBENA_EXPORT ibv_srq* ibv_create_srq(ibv_pd* pd, ibv_srq_init_attr* attributes) {
  ibv_srq_init_attr_ex extended{};
  extended.srq_context = attributes->srq_context;
  extended.attr = attributes->attr;
  extended.comp_mask = IBV_SRQ_INIT_ATTR_PD;
  extended.pd = pd;
  Srq* srq = verbena::soft::object_of<Srq>(
      [&] { return verbena::soft::create_srq(Context::of(pd->context), extended); });
  if (srq != nullptr) attributes->attr = extended.attr;
  return srq;
}

VERBENA_EXPORT int ibv_modify_srq(ibv_srq* handle, ibv_srq_attr* attributes, int mask) {
  return verbena::soft::errno_of_result([&] {
    Srq& srq = Srq::of(handle);
    return srq.lane.with_engine([&](verbena::engine::Engine&) {
      return verbena::soft::modify(srq.shared, *attributes, mask);
    });
  });
}

VERBENA_EXPORT int ibv_query_srq(ibv_srq* handle, ibv_srq_attr* attributes) {
  Srq& srq = Srq::of(handle);
  srq.lane.with_engine([&](verbena::engine::Engine&) {
    const auto& shared = srq.shared;
    *attributes = {shared.queue.depth(), shared.queue.max_sge(), shared.limit};
  });
  return 0;
}

VERBENA_EXPORT int ibv_destroy_srq(ibv_srq* handle) {
  Srq& srq = Srq::of(handle);
  if (srq.qps.in_use()) return EBUSY;
  delete &srq;
  return 0;
}
