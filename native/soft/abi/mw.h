// A memory window: the verbs object around the engine's.
#pragma once

#include <infiniband/verbs.h>

#include "soft/abi/context.h"
#include "soft/abi/pd.h"
#include "soft/abi/population.h"
#include "soft/abi/use_count.h"

namespace verbena::soft {

struct Mw : ibv_mw {
  Mw(Pd& domain, ibv_mw_type window_type);
  ~Mw();

  static Mw& of(ibv_mw* handle) { return *static_cast<Mw*>(handle); }

  Context& owner;

 private:
  Member counted_;
  Use pd_use_;
};

// The functions that go through the context.
ibv_mw* alloc_mw(ibv_pd* pd, ibv_mw_type type);
int bind_mw(ibv_qp* qp, ibv_mw* window, ibv_mw_bind* request);
int dealloc_mw(ibv_mw* window);

}  // namespace verbena::soft
