// The fork functions of libibverbs: nothing is pinned here, so that fork() needs no preparation.
#include <infiniband/verbs.h>

#include "soft/abi/export.h"

VERBENA_EXPORT int ibv_fork_init() {
  return 0;
}

VERBENA_EXPORT ibv_fork_status ibv_is_fork_initialized() {
  return IBV_FORK_UNNEEDED;
}

VERBENA_EXPORT int ibv_dontfork_range(void*, size_t) {
  return 0;
}

VERBENA_EXPORT int ibv_dofork_range(void*, size_t) {
  return 0;
}
