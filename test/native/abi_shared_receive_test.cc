// Shared receive queues through verbs: who takes from them, their limits and their events.
#include <gtest/gtest.h>

#include "support/verbs_objects.h"

namespace verbena::test {
namespace {

class SharedReceive : public testing::Test {
 protected:
  SrqPtr create(uint32_t depth) {
    ibv_srq_init_attr attributes{nullptr, {depth, 2, 0}};
    return SrqPtr(ibv_create_srq(keeper.pd(), &attributes));
  }

  int post(uint64_t id, size_t offset, uint32_t length) {
    ibv_sge sge = keeper.sge(offset, length);
    ibv_recv_wr request{id, nullptr, &sge, 1};
    ibv_recv_wr* bad = nullptr;
    return ibv_post_srq_recv(srq.get(), &request, &bad);
  }

  EndpointOptions sharing() const {
    EndpointOptions options;
    options.srq = srq.get();
    return options;
  }

  int arm(uint32_t limit) {
    ibv_srq_attr attributes{0, 0, limit};
    return ibv_modify_srq(srq.get(), &attributes, IBV_SRQ_LIMIT);
  }

  ContextPtr context = open_soft_device();
  Endpoint keeper{context.get()};
  SrqPtr srq = create(4);
  Endpoint sender_a{context.get()};
  Endpoint sender_b{context.get()};
};

TEST_F(SharedReceive, ServesEveryQueuePairInTheOrderOfArrival) {
  const Endpoint a(context.get(), sharing());
  const Endpoint b(context.get(), sharing());
  connect(sender_a, a);
  connect(sender_b, b);
  ASSERT_EQ(post(1, 0, 64), 0);
  ASSERT_EQ(post(2, 64, 64), 0);
  sender_a.fill(0, 64, 1);
  sender_b.fill(0, 64, 2);
  ASSERT_EQ(sender_b.post_send(9, 0, 64), 0);
  b.expect(1);
  ASSERT_EQ(sender_a.post_send(9, 0, 64), 0);
  a.expect(2);
  EXPECT_EQ(keeper.text(0, 64), sender_b.text(0, 64));
  EXPECT_EQ(keeper.text(64, 64), sender_a.text(0, 64));
  EXPECT_EQ(a.post_receive(3, 0, 8), EINVAL);  // it has no queue of its own
}

TEST_F(SharedReceive, RaisesOneLimitEventAndWaitsForItsAcknowledgement) {
  const Endpoint a(context.get(), sharing());
  connect(sender_a, a);
  for (uint64_t id = 1; id <= 3; ++id) ASSERT_EQ(post(id, 0, 64), 0);
  ASSERT_EQ(arm(2), 0);
  for (uint64_t id = 1; id <= 3; ++id) {
    ASSERT_EQ(sender_a.post_send(id, 0, 8), 0);
    a.expect(id);
  }
  ibv_async_event event{};
  do {
    ASSERT_EQ(ibv_get_async_event(context.get(), &event), 0);
    if (event.event_type == IBV_EVENT_COMM_EST) ibv_ack_async_event(&event);
  } while (event.event_type == IBV_EVENT_COMM_EST);
  EXPECT_EQ(event.event_type, IBV_EVENT_SRQ_LIMIT_REACHED);
  EXPECT_EQ(event.element.srq, srq.get());
  ibv_srq_attr now{};
  ASSERT_EQ(ibv_query_srq(srq.get(), &now), 0);
  EXPECT_EQ(now.srq_limit, 0U);  // armed for once
  ibv_ack_async_event(&event);
}

TEST_F(SharedReceive, TellsWhenAFailedQueuePairTakesNoMore) {
  const Endpoint a(context.get(), sharing());
  connect(sender_a, a);
  ASSERT_EQ(post(1, 0, 64), 0);
  ASSERT_EQ(a.to_state(IBV_QPS_ERR), 0);
  ibv_async_event event{};
  ASSERT_EQ(ibv_get_async_event(context.get(), &event), 0);
  EXPECT_EQ(event.event_type, IBV_EVENT_QP_LAST_WQE_REACHED);
  EXPECT_EQ(event.element.qp, a.qp());
  ibv_ack_async_event(&event);
  EXPECT_FALSE(a.poll_one(std::chrono::milliseconds(5)).has_value());  // the receive stays
}

TEST_F(SharedReceive, HoldsToItsDepthAndGrows) {
  for (uint64_t id = 1; id <= 4; ++id) ASSERT_EQ(post(id, 0, 8), 0);
  EXPECT_EQ(post(5, 0, 8), ENOMEM);
  ibv_srq_attr larger{8, 0, 0};
  ASSERT_EQ(ibv_modify_srq(srq.get(), &larger, IBV_SRQ_MAX_WR), 0);
  for (uint64_t id = 5; id <= 8; ++id) ASSERT_EQ(post(id, 0, 8), 0);
  ibv_srq_attr smaller{7, 0, 0};
  EXPECT_EQ(ibv_modify_srq(srq.get(), &smaller, IBV_SRQ_MAX_WR), EINVAL);
  EXPECT_EQ(arm(9), EINVAL);
  ibv_srq_attr now{};
  ASSERT_EQ(ibv_query_srq(srq.get(), &now), 0);
  EXPECT_EQ(now.max_wr, 8U);
  EXPECT_GE(now.max_sge, 2U);

  const Endpoint a(context.get(), sharing());
  connect(sender_a, a);
  for (uint64_t id = 1; id <= 8; ++id) {  // none was lost or changed its place
    ASSERT_EQ(sender_a.post_send(id, 0, 8), 0);
    a.expect(id);
  }
}

TEST_F(SharedReceive, IsBusyWhileAQueuePairUsesIt) {
  const Endpoint a(context.get(), sharing());
  EXPECT_EQ(ibv_destroy_srq(srq.get()), EBUSY);
}

TEST_F(SharedReceive, RefusesDepthsItCannotHave) {
  EXPECT_EQ(create(0), nullptr);
  EXPECT_EQ(errno, EINVAL);
  EXPECT_EQ(create(1U << 30), nullptr);
  EXPECT_EQ(errno, EINVAL);
}

}  // namespace
}  // namespace verbena::test
