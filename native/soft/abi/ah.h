// An address handle: where a datagram goes.
#pragma once

#include <infiniband/verbs.h>

#include "soft/abi/context.h"
#include "soft/abi/pd.h"
#include "soft/abi/population.h"
#include "soft/abi/use_count.h"
#include "soft/wire/address.h"

namespace verbena::soft {

struct Ah : ibv_ah {
  Ah(Pd& pd, const wire::Address& to)
      : ibv_ah{pd.context, &pd, pd.owner().next_handle()},
        destination(to),
        counted_(pd.owner().ahs, this),
        pd_use_(pd.users) {}

  static Ah& of(ibv_ah* handle) { return *static_cast<Ah*>(handle); }

  const wire::Address destination;

 private:
  Member counted_;
  Use pd_use_;
};

}  // namespace verbena::soft
