// The exported functions that a device without a kernel driver cannot offer: sharing objects
// between processes, device memory, and vendor options.
#include <infiniband/verbs.h>

#include <cerrno>

#include "soft/abi/export.h"

namespace {

std::nullptr_t unsupported() {
  errno = EOPNOTSUPP;
  return nullptr;
}

}  // namespace

VERBENA_EXPORT ibv_context* ibv_import_device(int) {
  return unsupported();
}

VERBENA_EXPORT ibv_pd* ibv_import_pd(ibv_context*, uint32_t) {
  return unsupported();
}

VERBENA_EXPORT ibv_mr* ibv_import_mr(ibv_pd*, uint32_t) {
  return unsupported();
}

VERBENA_EXPORT ibv_dm* ibv_import_dm(ibv_context*, uint32_t) {
  return unsupported();
}

// Nothing can have been imported.
VERBENA_EXPORT void ibv_unimport_pd(ibv_pd*) {}

VERBENA_EXPORT void ibv_unimport_mr(ibv_mr*) {}

VERBENA_EXPORT void ibv_unimport_dm(ibv_dm*) {}

VERBENA_EXPORT ibv_mr* ibv_reg_dmabuf_mr(ibv_pd*, uint64_t, size_t, uint64_t, int, int) {
  return unsupported();
}

VERBENA_EXPORT int ibv_set_ece(ibv_qp*, ibv_ece*) {
  return EOPNOTSUPP;
}

VERBENA_EXPORT int ibv_query_ece(ibv_qp*, ibv_ece*) {
  return EOPNOTSUPP;
}

// Link-layer addresses are the kernel's business here.
VERBENA_EXPORT int ibv_resolve_eth_l2_from_gid(ibv_context*, ibv_ah_attr*, uint8_t*, uint16_t*) {
  return EOPNOTSUPP;
}
