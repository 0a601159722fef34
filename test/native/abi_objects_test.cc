// Creates, queries and destroys verbs objects in right and wrong orders, with right and wrong
// arguments.
#include <fcntl.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <cstring>

#include "support/verbs_objects.h"

#undef ibv_query_port
extern "C" int ibv_query_port(ibv_context*, uint8_t, _compat_ibv_port_attr*);
extern "C" int ibv_query_gid_type(ibv_context*, uint8_t, unsigned, int*);

namespace verbena::test {
namespace {

class Objects : public testing::Test {
 protected:
  ContextPtr context = open_soft_device();
};

int query_whole_port(ibv_context* context, uint8_t port, ibv_port_attr* attributes) {
  return verbs_get_ctx_op(context, query_port)
      ->query_port(context, port, attributes, sizeof *attributes);
}

TEST(Device, IsListedOnceWithAllThatItHas) {
  int count = 0;
  ibv_device** list = ibv_get_device_list(&count);
  ASSERT_NE(list, nullptr);
  ASSERT_EQ(count, 1);
  EXPECT_EQ(list[1], nullptr);
  EXPECT_STREQ(ibv_get_device_name(list[0]), "soft0");
  EXPECT_EQ(list[0]->node_type, IBV_NODE_CA);
  EXPECT_EQ(list[0]->transport_type, IBV_TRANSPORT_IB);
  EXPECT_NE(ibv_get_device_guid(list[0]), 0U);
  EXPECT_EQ(ibv_get_device_guid(list[0]), ibv_get_device_guid(list[0]));
  EXPECT_EQ(ibv_get_device_index(list[0]), -1);
  ibv_free_device_list(list);
}

TEST_F(Objects, DescriptorsAreRealAndCloseOnExec) {
  const ChannelPtr channel(ibv_create_comp_channel(context.get()));
  for (const int fd : {context->cmd_fd, context->async_fd, channel->fd}) {
    EXPECT_NE(fcntl(fd, F_GETFD) & FD_CLOEXEC, 0) << fd;
  }
}

TEST_F(Objects, ContextIsTheExtendedKind) {
  verbs_context* full = verbs_get_ctx(context.get());
  ASSERT_NE(full, nullptr);
  EXPECT_EQ(full->sz, sizeof(verbs_context));
}

TEST_F(Objects, DeviceAttributesSayWhatTheDeviceDoes) {
  ibv_device_attr attributes{};
  ASSERT_EQ(ibv_query_device(context.get(), &attributes), 0);
  EXPECT_EQ(attributes.node_guid, ibv_get_device_guid(context->device));
  EXPECT_EQ(attributes.phys_port_cnt, 1);
  EXPECT_EQ(attributes.atomic_cap, IBV_ATOMIC_HCA);
  EXPECT_EQ(attributes.max_qp_rd_atom, 16);
  EXPECT_EQ(attributes.max_qp_init_rd_atom, 16);
  EXPECT_GE(attributes.max_sge, 16);
  EXPECT_GT(attributes.max_srq, 0);
  EXPECT_GE(attributes.max_srq_wr, 4096);
  EXPECT_GE(attributes.max_srq_sge, 16);
  EXPECT_GT(attributes.max_mw, 0);
  EXPECT_NE(attributes.device_cap_flags & IBV_DEVICE_MEM_WINDOW_TYPE_2B, 0U);

  ibv_device_attr_ex extended;
  std::memset(&extended, 0xFF, sizeof extended);
  ASSERT_EQ(ibv_query_device_ex(context.get(), nullptr, &extended), 0);
  EXPECT_EQ(std::memcmp(&extended.orig_attr, &attributes, sizeof attributes), 0);
  EXPECT_EQ(extended.odp_caps.general_caps, 0U);
  EXPECT_EQ(extended.phys_port_cnt_ex, 1U);
  const ibv_query_device_ex_input input{1};
  EXPECT_EQ(verbs_get_ctx(context.get())
                ->query_device_ex(context.get(), &input, &extended, sizeof extended),
            EINVAL);
}

TEST_F(Objects, FillsDeviceAttributesOfOlderAndNewerPrograms) {
  verbs_context* full = verbs_get_ctx(context.get());
  std::vector<unsigned char> bytes(sizeof(ibv_device_attr_ex) + 64, 0xEE);
  auto* attributes = reinterpret_cast<ibv_device_attr_ex*>(bytes.data());
  const size_t old_size = sizeof(ibv_device_attr) + 8;
  ASSERT_EQ(full->query_device_ex(context.get(), nullptr, attributes, old_size), 0);
  EXPECT_EQ(bytes[old_size], 0xEE);  // not touched
  const size_t new_size = sizeof(ibv_device_attr_ex) + 32;
  ASSERT_EQ(full->query_device_ex(context.get(), nullptr, attributes, new_size), 0);
  EXPECT_EQ(bytes[new_size - 1], 0);
  EXPECT_EQ(bytes[new_size], 0xEE);
}

TEST_F(Objects, PortIsActiveEthernet) {
  ibv_port_attr port{};
  ASSERT_EQ(query_whole_port(context.get(), 1, &port), 0);
  EXPECT_EQ(port.state, IBV_PORT_ACTIVE);
  EXPECT_EQ(port.active_mtu, IBV_MTU_4096);  // the loopback interface carries 64 KiB
  EXPECT_EQ(port.link_layer, IBV_LINK_LAYER_ETHERNET);
  EXPECT_EQ(port.gid_tbl_len, 2);
  EXPECT_EQ(port.pkey_tbl_len, 1);
  EXPECT_EQ(query_whole_port(context.get(), 0, &port), EINVAL);
  EXPECT_EQ(query_whole_port(context.get(), 2, &port), EINVAL);
}

TEST_F(Objects, OldPortStructureIsNotOverrun) {
  struct {
    unsigned char bytes[offsetof(ibv_port_attr, port_cap_flags2)];
    unsigned char after;
  } old{{}, 0xEE};
  ASSERT_EQ(ibv_query_port(context.get(), 1, reinterpret_cast<_compat_ibv_port_attr*>(&old)), 0);
  EXPECT_EQ(old.after, 0xEE);
}

TEST_F(Objects, GidTableHoldsTheAddressOfTheDevice) {
  const ibv_gid gid = gid_of(context.get());
  const uint8_t mapped_loopback[] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF, 127};
  EXPECT_EQ(std::memcmp(gid.raw, mapped_loopback, sizeof mapped_loopback), 0);

  ibv_gid_entry entry{};
  ASSERT_EQ(ibv_query_gid_ex(context.get(), 1, 0, &entry, 0), 0);
  EXPECT_EQ(std::memcmp(entry.gid.raw, gid.raw, sizeof gid.raw), 0);
  EXPECT_EQ(entry.gid_type, static_cast<uint32_t>(IBV_GID_TYPE_ROCE_V2));
  EXPECT_EQ(entry.port_num, 1U);
  EXPECT_NE(entry.ndev_ifindex, 0U);
  ibv_gid_entry entries[4];
  ASSERT_EQ(ibv_query_gid_table(context.get(), entries, 4, 0), 1);
  EXPECT_EQ(std::memcmp(&entries[0], &entry, sizeof entry), 0);
  int type = -1;
  ASSERT_EQ(ibv_query_gid_type(context.get(), 1, 0, &type), 0);
  EXPECT_EQ(type, 1);

  const ibv_gid nothing{};
  ibv_gid unused = gid;
  ASSERT_EQ(ibv_query_gid(context.get(), 1, 1, &unused), 0);  // an empty entry
  EXPECT_EQ(std::memcmp(&unused, &nothing, sizeof nothing), 0);
  EXPECT_EQ(ibv_query_gid_ex(context.get(), 1, 1, &entry, 0), ENODATA);
  errno = 0;
  EXPECT_EQ(ibv_query_gid(context.get(), 1, 2, &unused), -1);
  EXPECT_EQ(errno, EINVAL);
  EXPECT_EQ(ibv_query_gid(context.get(), 1, -1, &unused), -1);
  EXPECT_EQ(ibv_query_gid(context.get(), 2, 0, &unused), -1);
  EXPECT_EQ(ibv_query_gid_ex(context.get(), 1, 2, &entry, 0), EINVAL);
  EXPECT_EQ(ibv_query_gid_ex(context.get(), 1, 0, &entry, 1), EOPNOTSUPP);
  EXPECT_EQ(ibv_query_gid_table(context.get(), entries, 0, 0), -EINVAL);
  EXPECT_EQ(ibv_query_gid_table(context.get(), entries, 4, 1), -EOPNOTSUPP);
}

TEST_F(Objects, PartitionTableHasTheDefaultKey) {
  __be16 pkey = 0;
  ASSERT_EQ(ibv_query_pkey(context.get(), 1, 0, &pkey), 0);
  EXPECT_EQ(pkey, 0xFFFF);
  EXPECT_EQ(ibv_get_pkey_index(context.get(), 1, pkey), 0);
  EXPECT_EQ(ibv_query_pkey(context.get(), 1, 1, &pkey), -1);
  EXPECT_EQ(ibv_query_pkey(context.get(), 2, 0, &pkey), -1);
  EXPECT_EQ(ibv_get_pkey_index(context.get(), 1, htobe16(0x7FFF)), -1);
}

TEST_F(Objects, ParentsRefuseToGoBeforeTheirChildren) {
  const ChannelPtr channel(ibv_create_comp_channel(context.get()));
  EndpointOptions options;
  options.channel = channel.get();
  const Endpoint endpoint(context.get(), options);
  EXPECT_EQ(ibv_dealloc_pd(endpoint.pd()), EBUSY);
  EXPECT_EQ(ibv_destroy_cq(endpoint.cq()), EBUSY);
  EXPECT_EQ(ibv_destroy_comp_channel(channel.get()), EBUSY);
}  // and all of them go in order afterwards

// As with a kernel, which cleans up behind programs that do not.
TEST_F(Objects, ClosingTheDeviceTakesAlongWhatWasLeft) {
  const Endpoint peer(context.get());
  auto* memory = static_cast<std::byte*>(std::aligned_alloc(4096, 4096));
  uint32_t rkey = 0;
  {
    ibv_context* closing = open_soft_device().release();
    ibv_pd* pd = ibv_alloc_pd(closing);
    rkey = ibv_reg_mr(pd, memory, 4096, kAllAccess)->rkey;
    ibv_comp_channel* channel = ibv_create_comp_channel(closing);
    ibv_cq* cq = ibv_create_cq(closing, 16, nullptr, channel, 0);
    EndpointOptions options;
    ibv_qp_init_attr_ex attributes = extended_attributes(pd, cq, options);
    ibv_qp* qp = ibv_create_qp_ex(closing, &attributes);
    ASSERT_NE(qp, nullptr);
    ibv_qp_attr attr{};
    attr.qp_state = IBV_QPS_INIT;
    attr.port_num = 1;
    attr.qp_access_flags = kAllAccess;
    ASSERT_EQ(ibv_modify_qp(qp, &attr,
                            IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_ACCESS_FLAGS),
              0);
    attr.qp_state = IBV_QPS_RTR;
    attr.path_mtu = IBV_MTU_1024;
    attr.dest_qp_num = peer.qp()->qp_num;
    attr.ah_attr.is_global = 1;
    attr.ah_attr.port_num = 1;
    attr.ah_attr.grh.dgid = gid_of(context.get());
    ASSERT_EQ(ibv_modify_qp(qp, &attr,
                            IBV_QP_STATE | IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN |
                                IBV_QP_RQ_PSN | IBV_QP_MAX_DEST_RD_ATOMIC | IBV_QP_MIN_RNR_TIMER),
              0);
    ConnectOptions connection;
    connection.timeout = 12;
    connection.retry_count = 1;
    ASSERT_EQ(peer.to_init(), 0);
    ASSERT_EQ(peer.to_rtr(gid_of(context.get()), qp->qp_num), 0);
    ASSERT_EQ(peer.to_rts(0, connection), 0);
    ASSERT_EQ(ibv_close_device(closing), 0);
  }
  std::memset(memory, 1, 4096);
  ibv_sge sge = peer.sge(0, 8);
  ibv_send_wr request{};
  request.sg_list = &sge;
  request.num_sge = 1;
  request.opcode = IBV_WR_RDMA_WRITE;
  request.wr.rdma.remote_addr = reinterpret_cast<uintptr_t>(memory);
  request.wr.rdma.rkey = rkey;
  ASSERT_EQ(peer.post(request), 0);
  peer.expect(0, IBV_WC_RETRY_EXC_ERR);  // nobody is there
  EXPECT_EQ(memory[0], std::byte{1});
  std::free(memory);
}

TEST_F(Objects, EachKindOfChildKeepsItsDomainBusy) {
  PdPtr pd(ibv_alloc_pd(context.get()));
  std::byte* page = static_cast<std::byte*>(std::aligned_alloc(4096, 4096));
  {
    const MrPtr mr(ibv_reg_mr(pd.get(), page, 4096, IBV_ACCESS_LOCAL_WRITE));
    EXPECT_EQ(ibv_dealloc_pd(pd.get()), EBUSY);
  }
  {
    ibv_ah_attr address{};
    address.is_global = 1;
    address.port_num = 1;
    address.grh.dgid = gid_of(context.get());
    const AhPtr ah(ibv_create_ah(pd.get(), &address));
    ASSERT_NE(ah, nullptr);
    EXPECT_EQ(ibv_dealloc_pd(pd.get()), EBUSY);
  }
  std::free(page);
}

TEST_F(Objects, AddressHandlesNeedARoute) {
  const PdPtr pd(ibv_alloc_pd(context.get()));
  ibv_ah_attr good{};
  good.is_global = 1;
  good.port_num = 1;
  good.grh.dgid = gid_of(context.get());
  const auto refused = [&](auto change) {
    ibv_ah_attr attributes = good;
    change(attributes);
    errno = 0;
    return ibv_create_ah(pd.get(), &attributes) == nullptr && errno == EINVAL;
  };
  EXPECT_TRUE(refused([](ibv_ah_attr& a) { a.is_global = 0; }));
  EXPECT_TRUE(refused([](ibv_ah_attr& a) { a.port_num = 2; }));
  EXPECT_TRUE(refused([](ibv_ah_attr& a) { a.grh.sgid_index = 1; }));
  EXPECT_TRUE(refused([](ibv_ah_attr& a) { a.grh.dgid = {}; }));
  EXPECT_TRUE(refused([](ibv_ah_attr& a) { a.grh.dgid.raw[0] = 0xFD; }));  // IPv6 from IPv4
}

TEST_F(Objects, AddressHandleForAReplyComesFromTheIpHeader) {
  ibv_grh grh{};
  auto* bytes = reinterpret_cast<uint8_t*>(&grh);
  const uint8_t ipv4[] = {0x45, 0x28, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0, 10, 1, 2, 3, 10, 1, 2, 4};
  std::memcpy(bytes + 20, ipv4, sizeof ipv4);
  ibv_wc completion{};
  completion.wc_flags = IBV_WC_GRH;
  ibv_ah_attr reply{};
  ASSERT_EQ(ibv_init_ah_from_wc(context.get(), 1, &completion, &grh, &reply), 0);
  const uint8_t source[] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF, 10, 1, 2, 3};
  EXPECT_EQ(std::memcmp(reply.grh.dgid.raw, source, sizeof source), 0);
  EXPECT_EQ(reply.grh.traffic_class, 0x28);
  EXPECT_EQ(reply.is_global, 1);

  grh = {};
  grh.version_tclass_flow = htobe32(0x6AB12345);
  grh.sgid.raw[0] = 0xFD;
  ASSERT_EQ(ibv_init_ah_from_wc(context.get(), 1, &completion, &grh, &reply), 0);
  EXPECT_EQ(reply.grh.dgid.raw[0], 0xFD);
  EXPECT_EQ(reply.grh.traffic_class, 0xAB);
  EXPECT_EQ(reply.grh.flow_label, 0x12345U);

  completion.wc_flags = 0;
  EXPECT_EQ(ibv_init_ah_from_wc(context.get(), 1, &completion, &grh, &reply), -1);
}

TEST_F(Objects, CompletionQueueHoldsToItsLimits) {
  ibv_device_attr device{};
  ibv_query_device(context.get(), &device);
  const auto refused = [&](int depth, int vector) {
    errno = 0;
    return ibv_create_cq(context.get(), depth, nullptr, nullptr, vector) == nullptr &&
           errno == EINVAL;
  };
  EXPECT_TRUE(refused(0, 0));
  EXPECT_TRUE(refused(-1, 0));
  EXPECT_TRUE(refused(device.max_cqe + 1, 0));
  EXPECT_TRUE(refused(16, context->num_comp_vectors));
  EXPECT_TRUE(refused(16, -1));
  const CqPtr cq(ibv_create_cq(context.get(), 10, this, nullptr, 0));
  ASSERT_NE(cq, nullptr);
  EXPECT_GE(cq->cqe, 10);
  EXPECT_EQ(cq->cq_context, this);
}

TEST_F(Objects, CompletionQueueIsResizedWithWhatItHolds) {
  Endpoint a(context.get());
  Endpoint b(context.get());
  connect(a, b);
  for (uint64_t i = 0; i < 10; ++i) ASSERT_EQ(a.post_send(i, 0, 8), 0);
  ASSERT_EQ(a.to_state(IBV_QPS_ERR), 0);
  EXPECT_EQ(ibv_resize_cq(a.cq(), 9), EINVAL);
  EXPECT_EQ(ibv_resize_cq(a.cq(), 0), EINVAL);
  ASSERT_EQ(ibv_resize_cq(a.cq(), 10), 0);
  EXPECT_EQ(a.cq()->cqe, 10);
  ASSERT_EQ(ibv_resize_cq(a.cq(), 1000), 0);
  for (uint64_t i = 0; i < 10; ++i) a.expect(i, IBV_WC_WR_FLUSH_ERR);
}

TEST_F(Objects, ExtendedCompletionQueueHandsOutFields) {
  ibv_cq_init_attr_ex attributes{};
  attributes.cqe = 16;
  attributes.wc_flags = IBV_WC_STANDARD_FLAGS;
  ibv_cq_ex* cq = ibv_create_cq_ex(context.get(), &attributes);
  ASSERT_NE(cq, nullptr);
  Endpoint a(context.get());
  ibv_qp_init_attr init{};
  init.send_cq = init.recv_cq = ibv_cq_ex_to_cq(cq);
  init.cap = {8, 8, 1, 1, 0};
  init.qp_type = IBV_QPT_RC;
  {
    const QpPtr qp(ibv_create_qp(a.pd(), &init));
    ibv_qp_attr state{};
    state.qp_state = IBV_QPS_INIT;
    state.port_num = 1;
    ASSERT_EQ(ibv_modify_qp(qp.get(), &state,
                            IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_ACCESS_FLAGS),
              0);
    ibv_poll_cq_attr poll{};
    EXPECT_EQ(ibv_start_poll(cq, &poll), ENOENT);
    for (uint64_t id : {21, 22}) {
      ibv_recv_wr request{id, nullptr, nullptr, 0};
      ibv_recv_wr* bad = nullptr;
      ASSERT_EQ(ibv_post_recv(qp.get(), &request, &bad), 0);
    }
    state.qp_state = IBV_QPS_ERR;
    ASSERT_EQ(ibv_modify_qp(qp.get(), &state, IBV_QP_STATE), 0);
    ASSERT_EQ(ibv_start_poll(cq, &poll), 0);
    EXPECT_EQ(cq->wr_id, 21U);
    EXPECT_EQ(cq->status, IBV_WC_WR_FLUSH_ERR);
    EXPECT_EQ(ibv_wc_read_opcode(cq), IBV_WC_RECV);
    EXPECT_EQ(ibv_wc_read_qp_num(cq), qp->qp_num);
    ASSERT_EQ(ibv_next_poll(cq), 0);
    EXPECT_EQ(cq->wr_id, 22U);
    EXPECT_EQ(ibv_next_poll(cq), ENOENT);
    ibv_end_poll(cq);
    poll.comp_mask = 1;
    EXPECT_EQ(ibv_start_poll(cq, &poll), EINVAL);
  }
  EXPECT_EQ(ibv_destroy_cq(ibv_cq_ex_to_cq(cq)), 0);
  attributes.wc_flags = IBV_WC_EX_WITH_COMPLETION_TIMESTAMP;
  errno = 0;
  EXPECT_EQ(ibv_create_cq_ex(context.get(), &attributes), nullptr);
  EXPECT_EQ(errno, EOPNOTSUPP);
}

TEST_F(Objects, UnsupportedKindsSaySo) {
  const Endpoint endpoint(context.get());
  const auto unsupported = [](const void* object) {
    return object == nullptr && errno == EOPNOTSUPP;
  };
  EXPECT_TRUE(unsupported(ibv_import_device(0)));
  EXPECT_TRUE(unsupported(ibv_import_pd(context.get(), 1)));
  EXPECT_TRUE(unsupported(ibv_import_mr(endpoint.pd(), 1)));
  EXPECT_TRUE(unsupported(ibv_reg_dmabuf_mr(endpoint.pd(), 0, 4096, 0, 0, 0)));
  EXPECT_TRUE(unsupported(ibv_alloc_null_mr(endpoint.pd())));
  ibv_td_init_attr td{};
  EXPECT_TRUE(unsupported(ibv_alloc_td(context.get(), &td)));
  ibv_alloc_dm_attr dm{4096, 0, 0};
  EXPECT_TRUE(unsupported(ibv_alloc_dm(context.get(), &dm)));
  ibv_ece ece{};
  EXPECT_EQ(ibv_query_ece(endpoint.qp(), &ece), EOPNOTSUPP);
  ibv_modify_cq_attr moderate{};
  EXPECT_EQ(ibv_modify_cq(endpoint.cq(), &moderate), EOPNOTSUPP);
  EXPECT_EQ(ibv_advise_mr(endpoint.pd(), IBV_ADVISE_MR_ADVICE_PREFETCH, 0, nullptr, 0), EOPNOTSUPP);
  ibv_qp_init_attr qp{};
  qp.send_cq = qp.recv_cq = endpoint.cq();
  qp.cap = {1, 1, 1, 1, 0};
  qp.qp_type = IBV_QPT_RAW_PACKET;
  EXPECT_TRUE(unsupported(ibv_create_qp(endpoint.pd(), &qp)));
}

TEST_F(Objects, QueuePairHoldsToItsLimits) {
  const Endpoint other(context.get());
  ibv_device_attr device{};
  ibv_query_device(context.get(), &device);
  ibv_qp_init_attr good{};
  good.send_cq = good.recv_cq = other.cq();
  good.cap = {100, 50, 3, 2, 100};
  good.qp_type = IBV_QPT_RC;
  const auto refused = [&](auto change) {
    ibv_qp_init_attr attributes = good;
    change(attributes);
    errno = 0;
    return ibv_create_qp(other.pd(), &attributes) == nullptr && errno == EINVAL;
  };
  const auto most = static_cast<uint32_t>(device.max_qp_wr);
  EXPECT_TRUE(refused([&](ibv_qp_init_attr& a) { a.cap.max_send_wr = most + 1; }));
  EXPECT_TRUE(refused([&](ibv_qp_init_attr& a) { a.cap.max_recv_wr = most + 1; }));
  EXPECT_TRUE(refused([&](ibv_qp_init_attr& a) {
    a.cap.max_send_sge = static_cast<uint32_t>(device.max_sge) + 1;
  }));
  EXPECT_TRUE(refused([&](ibv_qp_init_attr& a) { a.cap.max_inline_data = 1 << 20; }));
  EXPECT_TRUE(refused([&](ibv_qp_init_attr& a) { a.send_cq = nullptr; }));
  EXPECT_TRUE(refused([&](ibv_qp_init_attr& a) { a.recv_cq = nullptr; }));
  EXPECT_TRUE(refused([&](ibv_qp_init_attr& a) { a.qp_type = static_cast<ibv_qp_type>(77); }));

  ibv_qp_init_attr attributes = good;
  attributes.qp_context = this;
  const QpPtr qp(ibv_create_qp(other.pd(), &attributes));
  ASSERT_NE(qp, nullptr);
  EXPECT_GE(attributes.cap.max_send_wr, 100U);
  EXPECT_GE(attributes.cap.max_inline_data, 100U);
  EXPECT_EQ(qp->qp_context, this);
  EXPECT_EQ(qp->state, IBV_QPS_RESET);
  EXPECT_EQ(ibv_qp_to_qp_ex(qp.get()), nullptr);
  ibv_qp_attr state{};
  ibv_qp_init_attr initial{};
  ASSERT_EQ(ibv_query_qp(qp.get(), &state, 0, &initial), 0);
  EXPECT_EQ(std::memcmp(&initial.cap, &attributes.cap, sizeof initial.cap), 0);
  EXPECT_EQ(initial.qp_type, IBV_QPT_RC);
  EXPECT_EQ(initial.send_cq, other.cq());
  EXPECT_EQ(initial.qp_context, this);
}

TEST_F(Objects, KeysAndQueuePairNumbersHaveNoPattern) {
  const Endpoint other(context.get());
  std::vector<QpPtr> qps;
  std::vector<MrPtr> mrs;
  int close_numbers = 0;
  int close_keys = 0;
  for (int i = 0; i < 200; ++i) {
    ibv_qp_init_attr attributes{};
    attributes.send_cq = attributes.recv_cq = other.cq();
    attributes.cap = {1, 1, 1, 1, 0};
    attributes.qp_type = IBV_QPT_RC;
    qps.emplace_back(ibv_create_qp(other.pd(), &attributes));
    mrs.emplace_back(ibv_reg_mr(other.pd(), other.buffer(), 4096, IBV_ACCESS_LOCAL_WRITE));
    EXPECT_LT(qps.back()->qp_num, 0xFFFFFFU);
    if (i == 0) continue;
    const auto distance = [](uint32_t a, uint32_t b) { return a > b ? a - b : b - a; };
    const auto last = static_cast<size_t>(i);
    close_numbers += distance(qps[last]->qp_num, qps[last - 1]->qp_num) < 256;
    close_keys += distance(mrs[last]->rkey, mrs[last - 1]->rkey) < 65536;
  }
  EXPECT_LE(close_numbers, 2);
  EXPECT_LE(close_keys, 2);
}

TEST(Fork, NeedsNoPreparation) {
  EXPECT_EQ(ibv_fork_init(), 0);
  EXPECT_EQ(ibv_is_fork_initialized(), IBV_FORK_UNNEEDED);
}

}  // namespace
}  // namespace verbena::test
