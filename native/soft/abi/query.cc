// Answers queries about the device and its port.
#include "soft/abi/query.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "soft/abi/context.h"
#include "soft/abi/device.h"
#include "soft/abi/export.h"
#include "soft/abi/limits.h"

// A macro that goes through the context.
#undef ibv_query_port

namespace verbena::soft {
namespace {

// A locally administered vendor id: nobody's.
constexpr uint32_t kVendorId = 0x025642;
constexpr uint64_t kPageSizes = ~uint64_t{0xFFF};  // 4 KiB and every larger power of two
constexpr uint8_t kWidth1x = 1;
constexpr uint8_t kSpeed2500Mbps = 1;
constexpr uint8_t kPhysicalLinkUp = 5;
constexpr uint8_t kPhysicalDisabled = 3;

ibv_device_attr describe_device() {
  ibv_device_attr device{};
  std::strcpy(device.fw_ver, "soft");
  device.node_guid = device.sys_image_guid = node_guid();
  device.max_mr_size = ~uint64_t{0};
  device.page_size_cap = kPageSizes;
  device.vendor_id = kVendorId;
  device.vendor_part_id = 0;
  device.max_qp = kMaxQp;
  device.max_qp_wr = kMaxQpWr;
  device.device_cap_flags = IBV_DEVICE_CURR_QP_STATE_MOD | IBV_DEVICE_SYS_IMAGE_GUID |
                            IBV_DEVICE_RC_RNR_NAK_GEN | IBV_DEVICE_SRQ_RESIZE |
                            IBV_DEVICE_MEM_WINDOW | IBV_DEVICE_MEM_WINDOW_TYPE_2B |
                            IBV_DEVICE_MEM_MGT_EXTENSIONS;
  device.max_sge = device.max_sge_rd = kMaxSge;
  device.max_cq = kMaxCq;
  device.max_cqe = kMaxCqe;
  device.max_mr = kMaxMr;
  device.max_pd = kMaxPd;
  device.max_qp_rd_atom = device.max_qp_init_rd_atom = kMaxRdAtomic;
  device.max_res_rd_atom = kMaxRdAtomic * kMaxQp;
  device.atomic_cap = IBV_ATOMIC_HCA;
  device.max_mw = kMaxMw;
  device.max_srq = kMaxSrq;
  device.max_srq_wr = kMaxSrqWr;
  device.max_srq_sge = kMaxSge;
  device.max_mcast_grp = kMaxMcastGroups;
  device.max_mcast_qp_attach = kMaxMcastQpAttach;
  device.max_total_mcast_qp_attach = kMaxMcastGroups * kMaxMcastQpAttach;
  device.max_ah = kMaxAh;
  device.max_pkeys = 1;
  device.phys_port_cnt = 1;
  return device;
}

// A socket says nothing about the speed of its link: the slowest is claimed.
ibv_port_attr describe_port(const Lane& lane) {
  ibv_port_attr port{};
  const bool up = lane.port_up();
  port.state = up ? IBV_PORT_ACTIVE : IBV_PORT_DOWN;
  port.max_mtu = IBV_MTU_4096;
  port.active_mtu = lane.active_mtu();
  port.gid_tbl_len = kGidTableLength;
  port.port_cap_flags = IBV_PORT_IP_BASED_GIDS;
  port.max_msg_sz = kMaxMessageBytes;
  port.pkey_tbl_len = 1;
  port.max_vl_num = 1;
  port.active_width = kWidth1x;
  port.active_speed = kSpeed2500Mbps;
  port.phys_state = up ? kPhysicalLinkUp : kPhysicalDisabled;
  port.link_layer = IBV_LINK_LAYER_ETHERNET;
  port.flags = IBV_QPF_GRH_REQUIRED;
  return port;
}

// The caller's structure may be older, and shorter, or newer than ours.
template <class Attributes>
void copy_out(const Attributes& from, void* to, size_t size) {
  std::memset(to, 0, size);
  std::memcpy(to, &from, std::min(size, sizeof from));
}

}  // namespace

int query_device_ex(ibv_context*, const ibv_query_device_ex_input* input,
                    ibv_device_attr_ex* attributes, size_t size) {
  if (input != nullptr && input->comp_mask != 0) return EINVAL;
  if (size < sizeof attributes->orig_attr) return EINVAL;
  ibv_device_attr_ex extended{};
  extended.orig_attr = describe_device();
  extended.device_cap_flags_ex = extended.orig_attr.device_cap_flags;
  extended.phys_port_cnt_ex = extended.orig_attr.phys_port_cnt;
  copy_out(extended, attributes, size);
  return 0;
}

int query_port(ibv_context* context, uint8_t port, ibv_port_attr* attributes, size_t size) {
  if (port != kPort) return EINVAL;
  copy_out(describe_port(*Context::of(context).lane), attributes, size);
  return 0;
}

}  // namespace verbena::soft

VERBENA_EXPORT int ibv_query_device(ibv_context*, ibv_device_attr* attributes) {
  *attributes = verbena::soft::describe_device();
  return 0;
}

// Programs of today call it through the context; older ones know the structure without its last
// member.
VERBENA_EXPORT int ibv_query_port(ibv_context* context, uint8_t port,
                                  _compat_ibv_port_attr* attributes) {
  return verbena::soft::query_port(context, port, reinterpret_cast<ibv_port_attr*>(attributes),
                                   offsetof(ibv_port_attr, port_cap_flags2));
}
