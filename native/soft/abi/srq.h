// A shared receive queue: the verbs object around the engine's.
#pragma once

#include <infiniband/verbs.h>

#include <cstdint>

#include "soft/abi/acknowledgements.h"
#include "soft/abi/context.h"
#include "soft/abi/pd.h"
#include "soft/abi/population.h"
#include "soft/abi/use_count.h"
#include "soft/engine/work_queue.h"

namespace verbena::soft {

struct Srq : ibv_srq {
  Srq(Pd& domain, void* program_context, const ibv_srq_attr& granted);
  ~Srq();

  static Srq& of(ibv_srq* handle) { return *static_cast<Srq*>(handle); }

  Context& owner;
  Lane& lane;
  // Touched with the lane locked only.
  engine::SharedReceiveQueue shared;
  EventLock<ibv_srq> events;
  AsyncEventSource<1> async_events;
  UseCount qps;

 private:
  Member counted_;
  Use pd_use_;
};

// Refuses with EINVAL, EOPNOTSUPP or ENOMEM; on success `attributes.attr` says what was granted.
Srq* create_srq(Context& context, ibv_srq_init_attr_ex& attributes);

// Goes through the context. 0 or an errno value; `bad` is the first not posted.
int post_srq_receive(ibv_srq* handle, ibv_recv_wr* requests, ibv_recv_wr** bad);

}  // namespace verbena::soft
