// Endpoints of unreliable connections and datagrams, ready to send.
#pragma once

#include "support/verbs_objects.h"

namespace verbena::test {

constexpr uint32_t kQkey = 0x11111111;
constexpr uint32_t kGrhBytes = 40;
constexpr uint32_t kGroupQpn = 0xFFFFFF;  // of a multicast group
constexpr uint32_t kDatagramBytes = 64;

inline EndpointOptions of_type(ibv_qp_type type, uint64_t operations = 0) {
  EndpointOptions options;
  options.type = type;
  options.wr_operations = operations;
  return options;
}

inline void bring_up_datagrams(const Endpoint& endpoint, uint32_t psn = 5) {
  ibv_qp_attr attributes{};
  attributes.qp_state = IBV_QPS_INIT;
  attributes.port_num = 1;
  attributes.qkey = kQkey;
  ASSERT_EQ(
      endpoint.modify(attributes, IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_QKEY), 0);
  ASSERT_EQ(endpoint.to_state(IBV_QPS_RTR), 0);
  attributes.qp_state = IBV_QPS_RTS;
  attributes.sq_psn = psn;
  ASSERT_EQ(endpoint.modify(attributes, IBV_QP_STATE | IBV_QP_SQ_PSN), 0);
}

inline void bring_up_unreliable(const Endpoint& endpoint, uint32_t peer_qpn,
                                const ConnectOptions& options = {},
                                const std::optional<ibv_gid>& peer = std::nullopt) {
  ASSERT_EQ(endpoint.to_init(options), 0);
  ibv_qp_attr attributes{};
  attributes.qp_state = IBV_QPS_RTR;
  attributes.path_mtu = options.mtu;
  attributes.dest_qp_num = peer_qpn;
  attributes.rq_psn = options.psn;
  attributes.ah_attr.is_global = 1;
  attributes.ah_attr.port_num = 1;
  attributes.ah_attr.grh.dgid = peer.value_or(gid_of(endpoint.context()));
  ASSERT_EQ(endpoint.modify(attributes, IBV_QP_STATE | IBV_QP_AV | IBV_QP_PATH_MTU |
                                            IBV_QP_DEST_QPN | IBV_QP_RQ_PSN),
            0);
  attributes.qp_state = IBV_QPS_RTS;
  attributes.sq_psn = options.psn;
  ASSERT_EQ(endpoint.modify(attributes, IBV_QP_STATE | IBV_QP_SQ_PSN), 0);
}

inline AhPtr address_handle(const Endpoint& endpoint, const ibv_gid& destination) {
  ibv_ah_attr to{};
  to.is_global = 1;
  to.port_num = 1;
  to.grh.dgid = destination;
  return AhPtr(ibv_create_ah(endpoint.pd(), &to));
}

inline void send_datagram(const Endpoint& from, const ibv_gid& to, uint32_t qpn,
                          ibv_wr_opcode opcode) {
  const AhPtr ah = address_handle(from, to);
  ASSERT_NE(ah, nullptr) << std::strerror(errno);
  ibv_sge sge = from.sge(0, kDatagramBytes);
  ibv_send_wr request{};
  request.wr_id = 1;
  request.sg_list = &sge;
  request.num_sge = 1;
  request.opcode = opcode;
  request.send_flags = IBV_SEND_SIGNALED;
  request.wr.ud = {ah.get(), qpn, kQkey};
  ASSERT_EQ(from.post(request), 0);
  from.expect(1);
}

inline void send_to_group(const Endpoint& from, const ibv_gid& group) {
  send_datagram(from, group, kGroupQpn, IBV_WR_SEND);
}

}  // namespace verbena::test
