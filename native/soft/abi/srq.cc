// Shared receive queues: not offered by this device.
#include <infiniband/verbs.h>

#include <cerrno>

#include "soft/abi/export.h"

VERBENA_EXPORT ibv_srq* ibv_create_srq(ibv_pd*, ibv_srq_init_attr*) {
  errno = EOPNOTSUPP;
  return nullptr;
}

VERBENA_EXPORT int ibv_modify_srq(ibv_srq*, ibv_srq_attr*, int) {
  return EOPNOTSUPP;
}

VERBENA_EXPORT int ibv_query_srq(ibv_srq*, ibv_srq_attr*) {
  return EOPNOTSUPP;
}

VERBENA_EXPORT int ibv_destroy_srq(ibv_srq*) {
  return EOPNOTSUPP;
}
