// Tests owning objects over the soft device: sharing between threads, lifetimes, order of closing.
#include "verbs/device.h"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "verbs/completion_channel.h"
#include "verbs/completion_queue.h"
#include "verbs/error.h"
#include "verbs/memory_region.h"
#include "verbs/protection_domain.h"
#include "verbs/queue_pair.h"
#include "verbs/slab.h"

namespace verbena::verbs {
namespace {

constexpr size_t kBytes = 4096;

Library& library() {
  return Library::open(VERBENA_SOFT_LIBRARY);
}

std::shared_ptr<Device> open_device() {
  return Device::open(library(), "soft0");
}

std::shared_ptr<MemoryRegion> register_slab(const std::shared_ptr<ProtectionDomain>& pd) {
  auto slab = std::make_shared<Slab>(kBytes);
  return std::make_shared<MemoryRegion>(pd, slab, slab->data(), 0, kBytes, IBV_ACCESS_LOCAL_WRITE);
}

template <class Body>
std::string code_of(Body body) {
  try {
    body();
  } catch (const Error& error) {
    return error.code();
  }
  return "nothing";
}

TEST(Device, IsOneContextForAllWhoOpenIt) {
  const auto first = open_device();
  const auto second = open_device();
  EXPECT_NE(first, second);
  EXPECT_EQ(first->context(), second->context());
  first->close();
  EXPECT_EQ(second->query_port(1).state, IBV_PORT_ACTIVE);
}

TEST(Device, CanBeOpenedAgainAfterTheLastClose) {
  open_device()->close();
  EXPECT_GT(open_device()->query().max_qp, 0);
}

TEST(Device, ClosesOnceHoweverOftenItIsAsked) {
  const auto device = open_device();
  const auto other = open_device();
  device->close();
  device->close();
  EXPECT_FALSE(device->is_open());
  EXPECT_TRUE(other->is_open());
  EXPECT_FALSE(other->gid_table(1).empty());
}

TEST(Device, IsSharedByThreadsThatOpenUseAndCloseItAtOnce) {
  std::atomic<int> failures{0};
  const auto use = [&failures] {
    try {
      for (int round = 0; round < 30; ++round) {
        const auto device = open_device();
        const auto subscription = device->async_events().subscribe([](const AsyncEvent&) {});
        auto pd = std::make_shared<ProtectionDomain>(device);
        register_slab(pd)->close();
        device->async_events().read_all();
        device->async_events().unsubscribe(subscription);
        pd->close();
        device->close();
      }
    } catch (const Error& error) {
      ++failures;
      ADD_FAILURE() << error.what();
    }
  };
  std::vector<std::thread> threads;
  for (int thread = 0; thread < 4; ++thread) threads.emplace_back(use);
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(failures, 0);
}

TEST(Parents, RefuseToCloseBeforeTheirChildren) {
  const auto device = open_device();
  const auto pd = std::make_shared<ProtectionDomain>(device);
  const auto mr = register_slab(pd);
  const auto channel = std::make_shared<CompletionChannel>(device);
  const auto cq = std::make_shared<CompletionQueue>(channel, 16, 1);
  const auto qp = std::make_shared<QueuePair>(pd, cq, QueuePairLimits{4, 4, 0}, 1, 1);

  EXPECT_EQ(code_of([&] { cq->close(); }), "ERR_VERBENA_IN_USE");
  EXPECT_EQ(code_of([&] { channel->close(); }), "ERR_VERBENA_IN_USE");
  EXPECT_EQ(code_of([&] { pd->close(); }), "ERR_VERBENA_IN_USE");
  qp->close();
  EXPECT_EQ(code_of([&] { pd->close(); }), "ERR_VERBENA_IN_USE");
  mr->close();
  pd->close();
  EXPECT_EQ(code_of([&] { device->close(); }), "ERR_VERBENA_IN_USE");
  cq->close();
  channel->close();
  EXPECT_EQ(code_of([&] { device->close(); }), "nothing");
}

TEST(Children, KeepTheirParentsAliveAndEndThemWithThemselves) {
  std::weak_ptr<Device> device;
  {
    std::shared_ptr<QueuePair> qp;
    {
      const auto opened = open_device();
      device = opened;
      const auto pd = std::make_shared<ProtectionDomain>(opened);
      const auto channel = std::make_shared<CompletionChannel>(opened);
      const auto cq = std::make_shared<CompletionQueue>(channel, 16, 1);
      qp = std::make_shared<QueuePair>(pd, cq, QueuePairLimits{4, 4, 0}, 1, 1);
    }
    EXPECT_FALSE(device.expired());
    EXPECT_EQ(qp->query_state(), IBV_QPS_RESET);
  }
  EXPECT_TRUE(device.expired());
}

TEST(MemoryRegion, HoldsItsMemoryUntilItIsClosed) {
  const auto device = open_device();
  const auto pd = std::make_shared<ProtectionDomain>(device);
  auto slab = std::make_shared<Slab>(kBytes);
  const std::weak_ptr<Slab> watched = slab;
  MemoryRegion mr(pd, slab, slab->data(), 0, kBytes, IBV_ACCESS_LOCAL_WRITE);
  slab.reset();
  EXPECT_FALSE(watched.expired());
  mr.close();
  EXPECT_TRUE(watched.expired());
}

TEST(MemoryRegion, ContainsRangesWithoutWrapping) {
  const auto pd = std::make_shared<ProtectionDomain>(open_device());
  const auto mr = register_slab(pd);
  EXPECT_TRUE(mr->contains(0, kBytes));
  EXPECT_TRUE(mr->contains(kBytes, 0));
  EXPECT_FALSE(mr->contains(1, kBytes));
  EXPECT_FALSE(mr->contains(kBytes + 1, 0));
  EXPECT_FALSE(mr->contains(UINT64_MAX, 2));
  EXPECT_FALSE(mr->contains(2, UINT64_MAX));
}

TEST(QueuePair, ChecksATransitionAgainstTheStateOfTheDevice) {
  const auto device = open_device();
  const auto pd = std::make_shared<ProtectionDomain>(device);
  const auto channel = std::make_shared<CompletionChannel>(device);
  const auto cq = std::make_shared<CompletionQueue>(channel, 16, 1);
  QueuePair qp(pd, cq, {4, 4, 32}, 1, 1);
  EXPECT_GE(qp.max_inline(), 32U);
  ibv_qp_attr attributes{};
  attributes.qp_state = IBV_QPS_RTR;
  EXPECT_EQ(code_of([&] { qp.modify(attributes, IBV_QP_STATE); }), "ERR_VERBENA_QP_TRANSITION");
  attributes.qp_state = IBV_QPS_INIT;
  attributes.port_num = 1;
  qp.modify(attributes, IBV_QP_STATE | IBV_QP_PORT | IBV_QP_PKEY_INDEX | IBV_QP_ACCESS_FLAGS);
  EXPECT_EQ(qp.query_state(), IBV_QPS_INIT);
}

}  // namespace
}  // namespace verbena::verbs
