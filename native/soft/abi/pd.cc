// Creates and destroys protection domains.
#include "soft/abi/pd.h"

#include <atomic>

#include "soft/abi/export.h"
#include "soft/abi/guard.h"

namespace verbena::soft {
namespace {

std::atomic<uint32_t> next_id{1};

}  // namespace

Pd::Pd(Context& from)
    : ibv_pd{&from.context, from.next_handle()},
      id(next_id.fetch_add(1, std::memory_order_relaxed)),
      counted_(from.pds, this) {}

}  // namespace verbena::soft

using verbena::soft::Context;
using verbena::soft::Pd;

VERBENA_EXPORT ibv_pd* ibv_alloc_pd(ibv_context* context) {
  return verbena::soft::object_of<Pd>([&] { return new Pd(Context::of(context)); });
}

VERBENA_EXPORT int ibv_dealloc_pd(ibv_pd* pd) {
  if (Pd::of(pd).users.in_use()) return EBUSY;
  delete &Pd::of(pd);
  return 0;
}
