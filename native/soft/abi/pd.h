// A protection domain: memory and queue pairs work together only within one.
#pragma once

#include <infiniband/verbs.h>

#include "soft/abi/context.h"
#include "soft/abi/population.h"
#include "soft/abi/use_count.h"

namespace verbena::soft {

struct Pd : ibv_pd {
  explicit Pd(Context& from);

  static Pd& of(ibv_pd* handle) { return *static_cast<Pd*>(handle); }
  Context& owner() const { return Context::of(ibv_pd::context); }

  // Names the domain in the engine; unique over all contexts of the process.
  uint32_t id;
  UseCount users;

 private:
  Member counted_;
};

}  // namespace verbena::soft
