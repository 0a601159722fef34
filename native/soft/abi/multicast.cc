// Attaches queue pairs to multicast groups. The limits and the errno values are those of the
// kernel's soft-RoCE device.
#include <infiniband/verbs.h>

#include <cerrno>

#include "soft/abi/export.h"
#include "soft/abi/guard.h"
#include "soft/abi/qp.h"

namespace verbena::soft {
namespace {

// The MLID means nothing on Ethernet.
wire::Address group_of(const Qp& qp, const ibv_gid& gid) {
  require(qp.ex.qp_base.qp_type == IBV_QPT_UD, EINVAL);
  const auto group = wire::Address::from_gid(&gid);
  require(group.is_multicast(), EINVAL);
  require(group.is_v4() == qp.lane.address().is_v4(), EAFNOSUPPORT);
  return group;
}

}  // namespace
}  // namespace verbena::soft

using verbena::soft::Qp;

VERBENA_EXPORT int ibv_attach_mcast(ibv_qp* handle, const ibv_gid* gid, uint16_t) {
  Qp& qp = Qp::of(handle);
  return verbena::soft::errno_of_result(
      [&] { return qp.lane.join_group(*qp.transport, verbena::soft::group_of(qp, *gid)); });
}

VERBENA_EXPORT int ibv_detach_mcast(ibv_qp* handle, const ibv_gid* gid, uint16_t) {
  Qp& qp = Qp::of(handle);
  return verbena::soft::errno_of_result(
      [&] { return qp.lane.leave_group(*qp.transport, verbena::soft::group_of(qp, *gid)); });
}
