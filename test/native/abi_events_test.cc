// Waits for completions and asynchronous events instead of polling for them.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <random>
#include <thread>

#include "support/verbs_objects.h"

extern "C" void verbena_soft_level_triggered(ibv_comp_channel* channel);

namespace verbena::test {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

bool readable(int fd, int timeout_ms) {
  pollfd source{fd, POLLIN, 0};
  return poll(&source, 1, timeout_ms) == 1;
}

void make_non_blocking(int fd) {
  ASSERT_EQ(fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK), 0);
}

// Two connected endpoints, each with a completion channel.
class Channels : public testing::Test {
 protected:
  static EndpointOptions with(const ChannelPtr& channel) {
    EndpointOptions options;
    options.channel = channel.get();
    return options;
  }

  void SetUp() override { connect(a, b); }

  // The queue whose event this is, acknowledged.
  static ibv_cq* take_event(const ChannelPtr& channel) {
    ibv_cq* cq = nullptr;
    void* owner = nullptr;
    if (ibv_get_cq_event(channel.get(), &cq, &owner) != 0) return nullptr;
    ibv_ack_cq_events(cq, 1);
    return cq;
  }

  ContextPtr context = open_soft_device();
  ChannelPtr channel_a{ibv_create_comp_channel(context.get())};
  ChannelPtr channel_b{ibv_create_comp_channel(context.get())};
  Endpoint a{context.get(), with(channel_a)};
  Endpoint b{context.get(), with(channel_b)};
};

TEST_F(Channels, RaiseOneEventForEachRequest) {
  ASSERT_EQ(ibv_req_notify_cq(b.cq(), 0), 0);
  for (uint64_t id = 0; id < 3; ++id) {
    ASSERT_EQ(b.post_receive(id, 0, 8), 0);
    ASSERT_EQ(a.post_send(id, 0, 8), 0);
  }
  ibv_cq* cq = nullptr;
  void* owner = nullptr;
  ASSERT_EQ(ibv_get_cq_event(channel_b.get(), &cq, &owner), 0);
  EXPECT_EQ(cq, b.cq());
  EXPECT_EQ(owner, &b);
  ibv_ack_cq_events(cq, 1);
  for (uint64_t id = 0; id < 3; ++id) b.expect(id);
  EXPECT_FALSE(readable(channel_b->fd, 0));
  // What waits when the request is made raises none; what comes after it does.
  ASSERT_EQ(ibv_req_notify_cq(b.cq(), 0), 0);
  EXPECT_FALSE(readable(channel_b->fd, 20));
  ASSERT_EQ(b.post_receive(3, 0, 8), 0);
  ASSERT_EQ(a.post_send(3, 0, 8), 0);
  EXPECT_TRUE(readable(channel_b->fd, 10'000));
  EXPECT_EQ(take_event(channel_b), b.cq());
}

TEST_F(Channels, SayThatThereIsNothingWhenNonBlocking) {
  make_non_blocking(channel_a->fd);
  ibv_cq* cq = nullptr;
  void* owner = nullptr;
  errno = 0;
  EXPECT_EQ(ibv_get_cq_event(channel_a.get(), &cq, &owner), -1);
  EXPECT_EQ(errno, EAGAIN);
}

TEST_F(Channels, OnlySolicitedOrFailedCompletionsCountWhenAskedSo) {
  ASSERT_EQ(ibv_req_notify_cq(b.cq(), 1), 0);
  ASSERT_EQ(b.post_receive(1, 0, 8), 0);
  ASSERT_EQ(b.post_receive(2, 0, 8), 0);
  ASSERT_EQ(b.post_receive(3, 0, 8), 0);
  ASSERT_EQ(a.post_send(1, 0, 8), 0);
  b.expect(1);
  EXPECT_FALSE(readable(channel_b->fd, 20));
  ASSERT_EQ(a.post_send(2, 0, 8, IBV_SEND_SIGNALED | IBV_SEND_SOLICITED), 0);
  EXPECT_EQ(take_event(channel_b), b.cq());
  b.expect(2);
  ASSERT_EQ(ibv_req_notify_cq(b.cq(), 1), 0);
  ASSERT_EQ(b.to_state(IBV_QPS_ERR), 0);
  EXPECT_EQ(take_event(channel_b), b.cq());
  b.expect(3, IBV_WC_WR_FLUSH_ERR);
}

TEST_F(Channels, EdgeTriggeredPollersSeeEveryEvent) {
  const int poller = epoll_create1(EPOLL_CLOEXEC);
  epoll_event interest{EPOLLIN | EPOLLET, {}};
  ASSERT_EQ(epoll_ctl(poller, EPOLL_CTL_ADD, channel_b->fd, &interest), 0);
  epoll_event seen{};
  for (uint64_t id = 0; id < 3; ++id) {
    ASSERT_EQ(ibv_req_notify_cq(b.cq(), 0), 0);
    ASSERT_EQ(b.post_receive(id, 0, 8), 0);
    ASSERT_EQ(a.post_send(id, 0, 8), 0);
    EXPECT_EQ(epoll_wait(poller, &seen, 1, 10'000), 1) << id;  // earlier events were not taken
    b.expect(id);
  }
  for (int i = 0; i < 3; ++i) EXPECT_EQ(take_event(channel_b), b.cq());
  close(poller);
}

TEST_F(Channels, StayReadableForAllEventsWhereOneSystemCallAnnouncesThem) {
  verbena_soft_level_triggered(channel_b.get());
  make_non_blocking(channel_b->fd);
  for (uint64_t round = 0; round < 3; ++round) {
    for (uint64_t id = 0; id < 3; ++id) {
      ASSERT_EQ(ibv_req_notify_cq(b.cq(), 0), 0);
      ASSERT_EQ(b.post_receive(id, 0, 8), 0);
      ASSERT_EQ(a.post_send(id, 0, 8), 0);
      b.expect(id);
    }
    for (int i = 0; i < 3; ++i) {
      EXPECT_TRUE(readable(channel_b->fd, 10'000));
      EXPECT_EQ(take_event(channel_b), b.cq());
    }
    EXPECT_FALSE(readable(channel_b->fd, 0));
    EXPECT_EQ(take_event(channel_b), nullptr);
  }
}

TEST_F(Channels, ADestroyedQueueTakesItsWaitingEventsAlong) {
  {
    const ChannelPtr channel(ibv_create_comp_channel(context.get()));
    {
      EndpointOptions options = with(channel);
      const Endpoint c(context.get(), options);
      ASSERT_EQ(c.to_init(), 0);
      ASSERT_EQ(ibv_req_notify_cq(c.cq(), 0), 0);
      ASSERT_EQ(c.post_receive(1, 0, 8), 0);
      ASSERT_EQ(c.to_state(IBV_QPS_ERR), 0);
      ASSERT_TRUE(readable(channel->fd, 10'000));
    }
    EXPECT_FALSE(readable(channel->fd, 0));
    make_non_blocking(channel->fd);
    EXPECT_EQ(take_event(channel), nullptr);
  }
}

TEST_F(Channels, DestroyingAQueueWaitsForAcknowledgements) {
  const ChannelPtr channel(ibv_create_comp_channel(context.get()));
  auto c = std::make_unique<Endpoint>(context.get(), with(channel));
  ASSERT_EQ(c->to_init(), 0);
  ASSERT_EQ(ibv_req_notify_cq(c->cq(), 0), 0);
  ASSERT_EQ(c->post_receive(1, 0, 8), 0);
  ASSERT_EQ(c->to_state(IBV_QPS_ERR), 0);
  ibv_cq* cq = nullptr;
  void* owner = nullptr;
  ASSERT_EQ(ibv_get_cq_event(channel.get(), &cq, &owner), 0);
  std::atomic<bool> acknowledged{false};
  std::thread late([&] {
    std::this_thread::sleep_for(milliseconds(50));
    acknowledged = true;
    ibv_ack_cq_events(cq, 1);
  });
  c.reset();
  EXPECT_TRUE(acknowledged);
  late.join();
}

TEST_F(Channels, ABlockedWaiterIsWokenByAMessage) {
  ASSERT_EQ(ibv_req_notify_cq(b.cq(), 0), 0);
  ASSERT_EQ(b.post_receive(1, 0, 8), 0);
  std::thread sender([&] {
    std::this_thread::sleep_for(milliseconds(30));
    EXPECT_EQ(a.post_send(1, 0, 8), 0);
  });
  EXPECT_EQ(take_event(channel_b), b.cq());
  b.expect(1);
  sender.join();
  a.expect(1);
}

// Ping-pong in which both sides always arm, look once more, and sleep: one wake-up that is lost
// hangs it.
TEST_F(Channels, NoWakeupIsLost) {
  constexpr uint64_t kRounds = 3000;
  const auto play = [&](const Endpoint& self, const ChannelPtr& channel, bool serves) {
    std::minstd_rand random(serves ? 1 : 2);
    const auto await_receive = [&] {
      for (;;) {
        ibv_wc completion{};
        for (int count; (count = ibv_poll_cq(self.cq(), 1, &completion)) != 0;) {
          ASSERT_EQ(count, 1);
          ASSERT_EQ(completion.status, IBV_WC_SUCCESS);
          if ((completion.opcode & IBV_WC_RECV) != 0) return;
        }
        ASSERT_EQ(ibv_req_notify_cq(self.cq(), 0), 0);
        if (ibv_poll_cq(self.cq(), 1, &completion) == 1) {
          ASSERT_EQ(completion.status, IBV_WC_SUCCESS);
          if ((completion.opcode & IBV_WC_RECV) != 0) return;
          continue;
        }
        ASSERT_TRUE(readable(channel->fd, 10'000)) << "a wake-up was lost";
        ASSERT_NE(take_event(channel), nullptr);
      }
    };
    for (uint64_t round = 0; round < kRounds; ++round) {
      if (!serves) {
        ASSERT_EQ(self.post_send(1, 0, 64), 0);
      }
      await_receive();
      if (testing::Test::HasFatalFailure()) return;
      // Now and then a pause of the lengths at which the device changes who drives it.
      if (random() % 50 == 0)
        std::this_thread::sleep_for(std::chrono::microseconds(random() % 1500));
      ASSERT_EQ(self.post_receive(2, 64, 64), 0);
      if (serves) {
        ASSERT_EQ(self.post_send(1, 0, 64), 0);
      }
    }
  };
  for (int i = 0; i < 8; ++i) {
    ASSERT_EQ(a.post_receive(2, 64, 64), 0);
    ASSERT_EQ(b.post_receive(2, 64, 64), 0);
  }
  std::thread server([&] { play(b, channel_b, true); });
  play(a, channel_a, false);
  server.join();
}

// Nobody polls and nobody sleeps on the device: it must serve a peer's one-sided operations by
// itself.
TEST_F(Channels, OneSidedOperationsAreServedWithoutTheOtherProgram) {
  b.fill(0, 1 << 16, 9);
  for (int round = 0; round < 20; ++round) {
    ASSERT_EQ(ibv_req_notify_cq(a.cq(), 0), 0);
    ASSERT_EQ(a.post_rdma(IBV_WR_RDMA_READ, 1, b, 0, 1 << 16), 0);
    ASSERT_EQ(take_event(channel_a), a.cq());
    a.expect(1);
    std::this_thread::sleep_for(std::chrono::microseconds(100 * round));
  }
  EXPECT_EQ(a.text(0, 1 << 16), b.text(0, 1 << 16));
}

// A program that spins on memory, as latency tests do: after it polled once, the device must notice
// that it stopped.
TEST_F(Channels, ASpinningProgramStillGetsItsData) {
  ibv_wc completion{};
  for (uint64_t round = 1; round <= 50; ++round) {
    ASSERT_EQ(ibv_poll_cq(b.cq(), 1, &completion), 0);
    a.word(0) = round;
    ASSERT_EQ(a.post_rdma(IBV_WR_RDMA_WRITE, round, b, 0, 8, 0), 0);
    const volatile uint64_t* flag = &b.word(0);
    const auto end = steady_clock::now() + std::chrono::seconds(10);
    while (*flag != round && steady_clock::now() < end) {
    }
    ASSERT_EQ(*flag, round);
  }
}

TEST_F(Channels, AsyncEventsWaitOnTheirDescriptor) {
  make_non_blocking(context->async_fd);
  ibv_async_event event{};
  errno = 0;
  EXPECT_EQ(ibv_get_async_event(context.get(), &event), -1);
  EXPECT_EQ(errno, EAGAIN);
  ibv_qp_attr attributes{};
  attributes.qp_state = IBV_QPS_SQD;
  attributes.en_sqd_async_notify = 1;
  ASSERT_EQ(a.modify(attributes, IBV_QP_STATE | IBV_QP_EN_SQD_ASYNC_NOTIFY), 0);
  ASSERT_TRUE(readable(context->async_fd, 10'000));
  ASSERT_EQ(ibv_get_async_event(context.get(), &event), 0);
  EXPECT_EQ(event.event_type, IBV_EVENT_SQ_DRAINED);
  EXPECT_FALSE(readable(context->async_fd, 0));
  ibv_ack_async_event(&event);
}

TEST_F(Channels, ADestroyedQueuePairTakesItsEventsAlongAndWaitsForTheRest) {
  make_non_blocking(context->async_fd);
  const auto drain = [](const Endpoint& endpoint) {
    ibv_qp_attr attributes{};
    attributes.qp_state = IBV_QPS_SQD;
    attributes.en_sqd_async_notify = 1;
    return endpoint.modify(attributes, IBV_QP_STATE | IBV_QP_EN_SQD_ASYNC_NOTIFY);
  };
  auto c = std::make_unique<Endpoint>(context.get());
  auto d = std::make_unique<Endpoint>(context.get());
  connect(*c, *d);
  ASSERT_EQ(drain(*c), 0);
  ASSERT_EQ(drain(*d), 0);
  ibv_async_event event{};
  ASSERT_EQ(ibv_get_async_event(context.get(), &event), 0);
  ASSERT_EQ(event.element.qp, c->qp());
  d.reset();  // its event was not taken
  ibv_async_event none{};
  EXPECT_EQ(ibv_get_async_event(context.get(), &none), -1);
  std::atomic<bool> acknowledged{false};
  std::thread late([&] {
    std::this_thread::sleep_for(milliseconds(50));
    acknowledged = true;
    ibv_ack_async_event(&event);
  });
  c.reset();
  EXPECT_TRUE(acknowledged);
  late.join();
}

}  // namespace
}  // namespace verbena::test
