// Multicast groups: not offered by this device.
#include <infiniband/verbs.h>

#include <cerrno>

#include "soft/abi/export.h"

VERBENA_EXPORT int ibv_attach_mcast(ibv_qp*, const ibv_gid*, uint16_t) {
  return EOPNOTSUPP;
}

VERBENA_EXPORT int ibv_detach_mcast(ibv_qp*, const ibv_gid*, uint16_t) {
  return EOPNOTSUPP;
}
