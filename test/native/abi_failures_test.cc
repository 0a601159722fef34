// Provokes every way in which requests fail, and checks what each side is told.
#include <gtest/gtest.h>

#include <chrono>
#include <map>

#include "support/verbs_objects.h"

namespace verbena::test {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

// The next asynchronous event, acknowledged.
ibv_async_event next_event(ibv_context* context) {
  ibv_async_event event{};
  EXPECT_EQ(ibv_get_async_event(context, &event), 0);
  ibv_ack_async_event(&event);
  return event;
}

// Waits for the device to bring a queue pair into a state.
ibv_qp_state await_state(const Endpoint& endpoint, ibv_qp_state wanted) {
  const auto end = steady_clock::now() + std::chrono::seconds(20);
  ibv_qp_state state;
  do {
    ibv_wc completion{};
    EXPECT_GE(ibv_poll_cq(endpoint.cq(), 0, &completion), 0);
    state = state_of(endpoint);
  } while (state != wanted && steady_clock::now() < end);
  return state;
}

ibv_gid dead_address() {
  ibv_gid gid{};
  const uint8_t bytes[] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF, 127, 0, 255, 1};
  std::memcpy(gid.raw, bytes, sizeof bytes);
  return gid;
}

TEST(Failures, SilenceEndsInRetryExceeded) {
  const ContextPtr context = open_soft_device();
  const Endpoint a(context.get());
  ConnectOptions options;
  options.timeout = 12;  // 17 ms
  options.retry_count = 2;
  ASSERT_EQ(a.to_init(options), 0);
  ASSERT_EQ(a.to_rtr(dead_address(), 1234, options), 0);
  ASSERT_EQ(a.to_rts(1, options), 0);
  ASSERT_EQ(a.post_receive(9, 0, 8), 0);
  const auto start = steady_clock::now();
  ASSERT_EQ(a.post_send(1, 0, 8, 0), 0);
  ASSERT_EQ(a.post_send(2, 0, 8), 0);
  a.expect(1, IBV_WC_RETRY_EXC_ERR);  // failures complete even where success would not
  EXPECT_GE(steady_clock::now() - start, milliseconds(50));  // three waits
  a.expect(2, IBV_WC_WR_FLUSH_ERR);
  a.expect(9, IBV_WC_WR_FLUSH_ERR);
  EXPECT_EQ(state_of(a), IBV_QPS_ERR);
}

TEST(Failures, AReceiverThatIsLateIsWaitedFor) {
  ConnectOptions options;
  options.min_rnr_timer = 14;  // 1.28 ms
  Pair pair({}, options);
  ASSERT_EQ(pair.a.post_send(1, 0, 8), 0);
  EXPECT_FALSE(pair.a.poll_one(milliseconds(20)).has_value());
  ASSERT_EQ(pair.b.post_receive(2, 0, 8), 0);
  pair.a.expect(1);
  pair.b.expect(2);
}

TEST(Failures, AReceiverThatNeverComesEndsInRnrRetryExceeded) {
  ConnectOptions options;
  options.rnr_retry = 2;
  options.min_rnr_timer = 18;  // 5.12 ms
  Pair pair({}, options);
  const auto start = steady_clock::now();
  ASSERT_EQ(pair.a.post_send(1, 0, 8), 0);
  pair.a.expect(1, IBV_WC_RNR_RETRY_EXC_ERR);
  EXPECT_GE(steady_clock::now() - start, milliseconds(10));  // two waits
  EXPECT_EQ(state_of(pair.b), IBV_QPS_RTS);                  // the receiver did nothing wrong
}

struct Access {
  const char* name;
  ibv_wr_opcode opcode;
  int region_access;
  int qp_access;
  int64_t address_offset;
  uint32_t rkey_change;
  ibv_wc_status status;
};

class RemoteAccess : public testing::TestWithParam<Access> {};

TEST_P(RemoteAccess, IsRefusedAndKillsBothQueuePairs) {
  const Access& access = GetParam();
  EndpointOptions endpoint;
  endpoint.access = access.region_access;
  ConnectOptions options;
  options.access = access.qp_access;
  const ContextPtr context = open_soft_device();
  const Endpoint a(context.get());  // may do anything itself
  const Endpoint b(context.get(), endpoint);
  connect(a, b, options);
  ASSERT_EQ(b.post_receive(50, 0, 8), 0);
  ibv_sge sge = a.sge(0, 8);
  ibv_send_wr request{};
  request.wr_id = 1;
  request.sg_list = &sge;
  request.num_sge = 1;
  request.opcode = access.opcode;
  request.send_flags = IBV_SEND_SIGNALED;
  const uint64_t address = b.address() + static_cast<uint64_t>(access.address_offset);
  const uint32_t rkey = b.mr()->rkey + access.rkey_change;
  if (access.opcode == IBV_WR_ATOMIC_FETCH_AND_ADD) {
    request.wr.atomic.remote_addr = address;
    request.wr.atomic.rkey = rkey;
  } else {
    request.wr.rdma.remote_addr = address;
    request.wr.rdma.rkey = rkey;
  }
  ASSERT_EQ(a.post(request), 0);
  a.expect(1, access.status);
  b.expect(50, IBV_WC_WR_FLUSH_ERR);
  EXPECT_EQ(state_of(a), IBV_QPS_ERR);
  EXPECT_EQ(state_of(b), IBV_QPS_ERR);
}

constexpr int kRegion = kAllAccess;
constexpr int kQp = IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ | IBV_ACCESS_REMOTE_ATOMIC;

INSTANTIATE_TEST_SUITE_P(
    Failures, RemoteAccess,
    testing::Values(
        Access{"WriteToAReadOnlyRegion", IBV_WR_RDMA_WRITE,
               IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_READ, kQp, 0, 0, IBV_WC_REM_ACCESS_ERR},
        Access{"ReadFromAWriteOnlyRegion", IBV_WR_RDMA_READ,
               IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE, kQp, 0, 0, IBV_WC_REM_ACCESS_ERR},
        Access{"AtomicOnARegionWithout", IBV_WR_ATOMIC_FETCH_AND_ADD,
               kAllAccess & ~IBV_ACCESS_REMOTE_ATOMIC, kQp, 0, 0, IBV_WC_REM_ACCESS_ERR},
        Access{"WrongKey", IBV_WR_RDMA_WRITE, kRegion, kQp, 0, 1, IBV_WC_REM_ACCESS_ERR},
        Access{"BeforeTheRegion", IBV_WR_RDMA_WRITE, kRegion, kQp, -1, 0, IBV_WC_REM_ACCESS_ERR},
        Access{"AcrossItsEnd", IBV_WR_RDMA_READ, kRegion, kQp, (1 << 16) - 7, 0,
               IBV_WC_REM_ACCESS_ERR},
        Access{"AroundTheEndOfAllAddresses", IBV_WR_RDMA_WRITE, kRegion, kQp, INT64_MIN, 0,
               IBV_WC_REM_ACCESS_ERR},
        Access{"UnalignedAtomic", IBV_WR_ATOMIC_FETCH_AND_ADD, kRegion, kQp, 4, 0,
               IBV_WC_REM_INV_REQ_ERR},
        Access{"WriteThatTheQueuePairForbids", IBV_WR_RDMA_WRITE, kRegion, IBV_ACCESS_REMOTE_READ,
               0, 0, IBV_WC_REM_INV_REQ_ERR},
        Access{"ReadThatTheQueuePairForbids", IBV_WR_RDMA_READ, kRegion, IBV_ACCESS_REMOTE_WRITE, 0,
               0, IBV_WC_REM_INV_REQ_ERR},
        Access{"AtomicThatTheQueuePairForbids", IBV_WR_ATOMIC_FETCH_AND_ADD, kRegion,
               IBV_ACCESS_REMOTE_WRITE, 0, 0, IBV_WC_REM_INV_REQ_ERR}),
    [](const auto& info) { return info.param.name; });

TEST(Failures, AKeyOfAnotherDomainOpensNothing) {
  Pair pair;
  const Endpoint stranger(pair.context.get());
  ibv_sge sge = pair.a.sge(0, 8);
  ibv_send_wr request{};
  request.wr_id = 1;
  request.sg_list = &sge;
  request.num_sge = 1;
  request.opcode = IBV_WR_RDMA_WRITE;
  request.wr.rdma.remote_addr = stranger.address();
  request.wr.rdma.rkey = stranger.mr()->rkey;
  pair.a.word(0) = 77;
  ASSERT_EQ(pair.a.post(request), 0);
  pair.a.expect(1, IBV_WC_REM_ACCESS_ERR);
  EXPECT_EQ(stranger.word(0), 0U);
}

TEST(Failures, ALocalKeyIsCheckedToo) {
  Pair pair;
  ibv_sge sge = pair.a.sge(0, 8);
  sge.lkey += 1;
  ibv_send_wr request{};
  request.wr_id = 1;
  request.sg_list = &sge;
  request.num_sge = 1;
  request.opcode = IBV_WR_RDMA_WRITE;
  request.wr.rdma.remote_addr = pair.b.address();
  request.wr.rdma.rkey = pair.b.mr()->rkey;
  ASSERT_EQ(pair.a.post(request), 0);
  pair.a.expect(1, IBV_WC_LOC_PROT_ERR);
  EXPECT_EQ(state_of(pair.a), IBV_QPS_ERR);
}

TEST(Failures, AReadIntoMemoryThatIsNotWritableFails) {
  EndpointOptions options;
  options.access = IBV_ACCESS_REMOTE_READ;
  Pair pair(options);
  ASSERT_EQ(pair.a.post_rdma(IBV_WR_RDMA_READ, 1, pair.b, 0, 8), 0);
  pair.a.expect(1, IBV_WC_LOC_PROT_ERR);
}

TEST(Failures, AMessageLargerThanTheReceiveFailsOnBothSides) {
  Pair pair;
  ASSERT_EQ(pair.b.post_receive(2, 0, 100), 0);
  ASSERT_EQ(pair.a.post_send(1, 0, 101), 0);
  pair.b.expect(2, IBV_WC_LOC_LEN_ERR);
  pair.a.expect(1, IBV_WC_REM_INV_REQ_ERR);
  EXPECT_EQ(state_of(pair.b), IBV_QPS_ERR);
}

TEST(Failures, ErrorFlushesEachRequestOnceAndInOrder) {
  Pair pair;
  for (uint64_t id = 0; id < 20; ++id) {
    ASSERT_EQ(pair.a.post_receive(100 + id, 0, 8), 0);
    ASSERT_EQ(pair.a.post_send(id, 0, 8, id % 2 == 0 ? IBV_SEND_SIGNALED : 0), 0);
  }
  ASSERT_EQ(pair.a.to_state(IBV_QPS_ERR), 0);
  std::map<bool, uint64_t> next = {{false, 0}, {true, 100}};
  for (int i = 0; i < 40; ++i) {
    const auto completion = pair.a.poll_one();
    ASSERT_TRUE(completion.has_value());
    EXPECT_EQ(completion->status, IBV_WC_WR_FLUSH_ERR);
    EXPECT_EQ(completion->wr_id, next[completion->wr_id >= 100]++);
  }
  // What is posted now is flushed at once.
  ASSERT_EQ(pair.a.post_send(60, 0, 8, 0), 0);
  pair.a.expect(60, IBV_WC_WR_FLUSH_ERR);
  ASSERT_EQ(pair.a.post_receive(61, 0, 8), 0);
  pair.a.expect(61, IBV_WC_WR_FLUSH_ERR);
  EXPECT_FALSE(pair.a.poll_one(milliseconds(5)).has_value());
}

TEST(Failures, RefusesPostsThatCannotBeMeant) {
  EndpointOptions options;
  options.send_wr = 2;
  options.recv_wr = 2;
  options.sge = 2;
  options.inline_bytes = 16;
  const ContextPtr context = open_soft_device();
  const Endpoint a(context.get(), options);
  const Endpoint b(context.get(), options);
  EXPECT_EQ(a.post_receive(1, 0, 8), EINVAL);  // RESET
  EXPECT_EQ(a.post_send(1, 0, 8), EINVAL);
  connect(a, b);
  ibv_sge sges[3] = {a.sge(0, 8), a.sge(8, 8), a.sge(16, 8)};
  ibv_send_wr request{};
  request.sg_list = sges;
  request.num_sge = 3;
  request.opcode = IBV_WR_SEND;
  EXPECT_EQ(a.post(request), EINVAL);
  request.num_sge = -1;
  EXPECT_EQ(a.post(request), EINVAL);
  request.num_sge = 2;
  request.opcode = IBV_WR_BIND_MW;
  EXPECT_EQ(a.post(request), EINVAL);
  request.opcode = IBV_WR_ATOMIC_FETCH_AND_ADD;  // of 16 bytes
  EXPECT_EQ(a.post(request), EINVAL);
  EXPECT_EQ(a.post_send(1, 0, 17, IBV_SEND_INLINE), EINVAL);
  EXPECT_EQ(a.post_rdma(IBV_WR_RDMA_READ, 1, b, 0, 8, IBV_SEND_INLINE), EINVAL);

  // A list stops at the first request that does not fit, and says which.
  ibv_send_wr list[4]{};
  for (int i = 0; i < 4; ++i) {
    list[i].wr_id = static_cast<uint64_t>(i);
    list[i].opcode = IBV_WR_SEND;
    list[i].next = i < 3 ? &list[i + 1] : nullptr;
  }
  ibv_send_wr* bad = nullptr;
  EXPECT_EQ(ibv_post_send(a.qp(), list, &bad), ENOMEM);
  EXPECT_EQ(bad, &list[2]);
  ASSERT_EQ(a.post_receive(1, 0, 8), 0);
  ASSERT_EQ(a.post_receive(2, 0, 8), 0);
  EXPECT_EQ(a.post_receive(3, 0, 8), ENOMEM);
}

TEST(Failures, AnOverrunCompletionQueueIsReported) {
  const ContextPtr context = open_soft_device();
  EndpointOptions options;
  options.cqe = 4;
  const Endpoint a(context.get(), options);
  const Endpoint b(context.get());
  connect(a, b);
  for (uint64_t id = 0; id < 5; ++id) {
    ASSERT_EQ(a.post_rdma(IBV_WR_RDMA_WRITE, id, b, 0, 8), 0);
  }
  ibv_async_event event = next_event(context.get());
  EXPECT_EQ(event.event_type, IBV_EVENT_CQ_ERR);
  EXPECT_EQ(event.element.cq, a.cq());
  event = next_event(context.get());
  EXPECT_EQ(event.event_type, IBV_EVENT_QP_FATAL);
  EXPECT_EQ(event.element.qp, a.qp());
  EXPECT_EQ(state_of(a), IBV_QPS_ERR);
}

TEST(Failures, TheResponderLearnsOfBadRequestsByEvent) {
  Pair pair;
  ibv_sge sge = pair.a.sge(0, 8);
  ibv_send_wr request{};
  request.sg_list = &sge;
  request.num_sge = 1;
  request.opcode = IBV_WR_RDMA_WRITE;
  request.wr.rdma.remote_addr = pair.b.address();
  request.wr.rdma.rkey = pair.b.mr()->rkey + 1;
  ASSERT_EQ(pair.a.post(request), 0);
  pair.a.expect(0, IBV_WC_REM_ACCESS_ERR);
  const ibv_async_event event = next_event(pair.context.get());
  EXPECT_EQ(event.event_type, IBV_EVENT_QP_ACCESS_ERR);
  EXPECT_EQ(event.element.qp, pair.b.qp());
}

TEST(Failures, CommunicationIsEstablishedByTheFirstPacket) {
  const ContextPtr context = open_soft_device();
  const Endpoint a(context.get());
  const Endpoint b(context.get());
  ConnectOptions options;
  ASSERT_EQ(a.to_init(), 0);
  ASSERT_EQ(b.to_init(), 0);
  ASSERT_EQ(b.to_rtr(gid_of(context.get()), a.qp()->qp_num, options), 0);
  ASSERT_EQ(a.to_rtr(gid_of(context.get()), b.qp()->qp_num, options), 0);
  ASSERT_EQ(a.to_rts(options.psn, options), 0);
  ASSERT_EQ(a.post_rdma(IBV_WR_RDMA_WRITE, 1, b, 0, 8), 0);
  a.expect(1);
  const ibv_async_event event = next_event(context.get());
  EXPECT_EQ(event.event_type, IBV_EVENT_COMM_EST);
  EXPECT_EQ(event.element.qp, b.qp());
}

TEST(Failures, DrainingFinishesWhatWasBegunAndSaysSo) {
  Pair pair;
  ASSERT_EQ(pair.a.post_rdma(IBV_WR_RDMA_WRITE, 1, pair.b, 0, 8), 0);
  ibv_qp_attr attributes{};
  attributes.qp_state = IBV_QPS_SQD;
  attributes.en_sqd_async_notify = 1;
  ASSERT_EQ(pair.a.modify(attributes, IBV_QP_STATE | IBV_QP_EN_SQD_ASYNC_NOTIFY), 0);
  pair.a.expect(1);
  const ibv_async_event event = next_event(pair.context.get());
  EXPECT_EQ(event.event_type, IBV_EVENT_SQ_DRAINED);
  EXPECT_EQ(event.element.qp, pair.a.qp());
  // Posted while it is drained: waits for RTS.
  ASSERT_EQ(pair.a.post_rdma(IBV_WR_RDMA_WRITE, 2, pair.b, 0, 8), 0);
  EXPECT_FALSE(pair.a.poll_one(milliseconds(5)).has_value());
  ASSERT_EQ(pair.a.to_state(IBV_QPS_RTS), 0);
  pair.a.expect(2);
}

TEST(Failures, StepsThatDoNotFitAreRefused) {
  const ContextPtr context = open_soft_device();
  const Endpoint a(context.get());
  EXPECT_EQ(a.to_state(IBV_QPS_INIT), EINVAL);  // attributes are missing
  EXPECT_EQ(a.to_state(IBV_QPS_RTS), EINVAL);
  ibv_qp_attr attributes{};
  attributes.qp_state = IBV_QPS_INIT;
  attributes.port_num = 2;
  constexpr int kInit = IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_ACCESS_FLAGS;
  EXPECT_EQ(a.modify(attributes, kInit), EINVAL);  // no such port
  attributes.port_num = 1;
  attributes.pkey_index = 1;
  EXPECT_EQ(a.modify(attributes, kInit), EINVAL);
  attributes.pkey_index = 0;
  EXPECT_EQ(a.modify(attributes, kInit | IBV_QP_SQ_PSN), EINVAL);  // not allowed here
  EXPECT_EQ(state_of(a), IBV_QPS_RESET);
  ASSERT_EQ(a.modify(attributes, kInit), 0);
  EXPECT_EQ(a.qp()->state, IBV_QPS_INIT);

  ConnectOptions options;
  ibv_gid ipv6{};
  ipv6.raw[0] = 0xFD;
  EXPECT_EQ(a.to_rtr(ipv6, 5, options), EINVAL);
  EXPECT_EQ(a.to_rtr(ibv_gid{}, 5, options), EINVAL);
  EXPECT_EQ(a.to_rtr(gid_of(context.get()), 1 << 24, options), EINVAL);
  options.mtu = static_cast<ibv_mtu>(6);
  EXPECT_EQ(a.to_rtr(gid_of(context.get()), 5, options), EINVAL);
  options = {};
  options.rd_atomic = 17;
  EXPECT_EQ(a.to_rtr(gid_of(context.get()), 5, options), EINVAL);
  options = {};
  ASSERT_EQ(a.to_rtr(gid_of(context.get()), 5, options), 0);
  options.retry_count = 8;
  EXPECT_EQ(a.to_rts(1, options), EINVAL);
  options = {};
  ASSERT_EQ(a.to_rts(1, options), 0);
  attributes = {};
  attributes.cur_qp_state = IBV_QPS_SQD;  // it is not
  EXPECT_EQ(a.modify(attributes, IBV_QP_CUR_STATE), EINVAL);
}

TEST(Failures, QueriesTellWhatWasSet) {
  ConnectOptions options;
  options.psn = 0x123456;
  options.timeout = 15;
  options.retry_count = 5;
  options.rnr_retry = 4;
  options.min_rnr_timer = 9;
  options.rd_atomic = 3;
  options.mtu = IBV_MTU_2048;
  const Pair pair({}, options);
  const ibv_qp_attr attributes = query(pair.a);
  EXPECT_EQ(attributes.qp_state, IBV_QPS_RTS);
  EXPECT_EQ(attributes.cur_qp_state, IBV_QPS_RTS);
  EXPECT_EQ(attributes.rq_psn, 0x123456U);
  EXPECT_EQ(attributes.sq_psn, 0x123457U);
  EXPECT_EQ(attributes.dest_qp_num, pair.b.qp()->qp_num);
  EXPECT_EQ(attributes.path_mtu, IBV_MTU_2048);
  EXPECT_EQ(attributes.timeout, 15);
  EXPECT_EQ(attributes.retry_cnt, 5);
  EXPECT_EQ(attributes.rnr_retry, 4);
  EXPECT_EQ(attributes.min_rnr_timer, 9);
  EXPECT_EQ(attributes.max_rd_atomic, 3);
  EXPECT_EQ(attributes.max_dest_rd_atomic, 3);
  EXPECT_EQ(attributes.port_num, 1);
  EXPECT_EQ(attributes.qp_access_flags, static_cast<unsigned>(options.access));
  EXPECT_EQ(attributes.ah_attr.is_global, 1);
  const ibv_gid gid = gid_of(pair.context.get());
  EXPECT_EQ(std::memcmp(&attributes.ah_attr.grh.dgid, &gid, sizeof gid), 0);
}

TEST(Failures, AResetQueuePairTakesItsOwnCompletionsAlong) {
  const ContextPtr context = open_soft_device();
  const Endpoint a(context.get());
  ibv_qp_init_attr_ex attributes = extended_attributes(a.pd(), a.cq(), {});
  const QpPtr other(ibv_create_qp_ex(context.get(), &attributes));
  ASSERT_NE(other, nullptr);
  ASSERT_EQ(a.to_init(), 0);
  ibv_qp_attr init{};
  init.qp_state = IBV_QPS_INIT;
  init.port_num = 1;
  ASSERT_EQ(ibv_modify_qp(other.get(), &init,
                          IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_ACCESS_FLAGS),
            0);
  ibv_recv_wr request{5, nullptr, nullptr, 0};
  ibv_recv_wr* bad = nullptr;
  ASSERT_EQ(a.post_receive(1, 0, 8), 0);
  ASSERT_EQ(ibv_post_recv(other.get(), &request, &bad), 0);
  ASSERT_EQ(a.post_receive(2, 0, 8), 0);
  ibv_qp_attr failed{};
  failed.qp_state = IBV_QPS_ERR;
  ASSERT_EQ(ibv_modify_qp(other.get(), &failed, IBV_QP_STATE), 0);
  ASSERT_EQ(a.to_state(IBV_QPS_ERR), 0);
  ASSERT_EQ(a.to_state(IBV_QPS_RESET), 0);
  const auto left = a.poll_one();
  ASSERT_TRUE(left.has_value());
  EXPECT_EQ(left->wr_id, 5U);
  EXPECT_EQ(left->qp_num, other->qp_num);
  EXPECT_FALSE(a.poll_one(milliseconds(5)).has_value());
}

TEST(Failures, AResetQueuePairStartsAnew) {
  Pair pair;
  ASSERT_EQ(pair.a.post_receive(1, 0, 8), 0);
  for (const Endpoint* each : {&pair.a, &pair.b}) ASSERT_EQ(each->to_state(IBV_QPS_RESET), 0);
  EXPECT_FALSE(pair.a.poll_one(milliseconds(5)).has_value());  // RESET forgets, it does not flush
  connect(pair.a, pair.b);
  ASSERT_EQ(pair.b.post_receive(2, 0, 8), 0);
  ASSERT_EQ(pair.a.post_send(3, 0, 8), 0);
  pair.b.expect(2);
  pair.a.expect(3);
}

TEST(Failures, ADeregisteredRegionIsGoneAtOnce) {
  Pair pair;
  MrPtr mr(ibv_reg_mr(pair.b.pd(), pair.b.buffer(), 4096, kAllAccess));
  const uint32_t rkey = mr->rkey;
  mr.reset();
  ibv_sge sge = pair.a.sge(0, 8);
  ibv_send_wr request{};
  request.sg_list = &sge;
  request.num_sge = 1;
  request.opcode = IBV_WR_RDMA_WRITE;
  request.wr.rdma.remote_addr = pair.b.address();
  request.wr.rdma.rkey = rkey;
  ASSERT_EQ(pair.a.post(request), 0);
  pair.a.expect(0, IBV_WC_REM_ACCESS_ERR);
}

TEST(Failures, APeerThatIsDestroyedIsMissedByItsPeer) {
  const ContextPtr context = open_soft_device();
  const Endpoint a(context.get());
  auto b = std::make_unique<Endpoint>(context.get());
  ConnectOptions options;
  options.timeout = 12;
  options.retry_count = 1;
  connect(a, *b, options);
  const uint64_t address = b->address();
  const uint32_t rkey = b->mr()->rkey;
  b.reset();
  ibv_sge sge = a.sge(0, 8);
  ibv_send_wr request{};
  request.sg_list = &sge;
  request.num_sge = 1;
  request.opcode = IBV_WR_RDMA_WRITE;
  request.wr.rdma.remote_addr = address;
  request.wr.rdma.rkey = rkey;
  ASSERT_EQ(a.post(request), 0);
  a.expect(0, IBV_WC_RETRY_EXC_ERR);
  EXPECT_EQ(await_state(a, IBV_QPS_ERR), IBV_QPS_ERR);
}

}  // namespace
}  // namespace verbena::test
