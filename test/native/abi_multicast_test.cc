// Multicast through verbs: membership, delivery to every member, limits, and other hosts.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <thread>
#include <vector>

#include "support/network_namespace.h"
#include "support/unreliable_endpoints.h"

namespace verbena::test {
namespace {

// An IPv4 group is a mapped address, as every GID of IPv4 is.
ibv_gid parse_gid(const char* address) {
  ibv_gid gid{};
  if (inet_pton(AF_INET6, address, gid.raw) == 1) return gid;
  gid.raw[10] = gid.raw[11] = 0xFF;
  EXPECT_EQ(inet_pton(AF_INET, address, &gid.raw[12]), 1) << address;
  return gid;
}

// A device has an address of its own, and so groups of its own.
ibv_gid own_group(ibv_context* context, uint8_t first_byte = 239) {
  ibv_gid gid = gid_of(context);
  gid.raw[12] = first_byte;
  return gid;
}

class Multicast : public testing::Test {
 protected:
  struct Member : Endpoint {
    explicit Member(ibv_context* context) : Endpoint(context, of_type(IBV_QPT_UD)) {
      bring_up_datagrams(*this);
      EXPECT_EQ(post_receive(2, 1024, kGrhBytes + kDatagramBytes), 0);
      EXPECT_EQ(post_receive(3, 1024, kGrhBytes + kDatagramBytes), 0);
    }
    int attach(const ibv_gid& group) const { return ibv_attach_mcast(qp(), &group, 0); }
    int detach(const ibv_gid& group) const { return ibv_detach_mcast(qp(), &group, 0); }
    // All members of a group get a packet at once: it would have come before this one.
    bool received_nothing_before(const Member& sender) const {
      send_datagram(sender, gid_of(context()), qp()->qp_num, IBV_WR_SEND_WITH_IMM);
      const auto received = poll_one();
      return received && (received->wc_flags & IBV_WC_WITH_IMM) != 0;
    }
  };

  ContextPtr context = open_soft_device();
  Member a{context.get()}, b{context.get()}, c{context.get()};
  const ibv_gid group = own_group(context.get());
};

TEST_F(Multicast, ReachesEveryMemberButTheSender) {
  for (const Member* member : {&a, &b, &c}) ASSERT_EQ(member->attach(group), 0);
  a.fill(0, kDatagramBytes, 5);
  send_to_group(a, group);
  for (const Member* member : {&b, &c}) {
    const ibv_wc received = member->expect(2);
    EXPECT_EQ(received.src_qp, a.qp()->qp_num);
    EXPECT_EQ(received.byte_len, kGrhBytes + kDatagramBytes);
    EXPECT_EQ(member->text(1024 + kGrhBytes, kDatagramBytes), a.text(0, kDatagramBytes));
    // The destination ends the IPv4 header, which ends the GRH.
    EXPECT_EQ(std::memcmp(member->buffer() + 1024 + kGrhBytes - 4, &group.raw[12], 4), 0);
  }
  EXPECT_TRUE(a.received_nothing_before(b));
  for (const Member* member : {&a, &b, &c}) ASSERT_EQ(member->detach(group), 0);
}

TEST_F(Multicast, ReachesAMemberOnceThatAttachedTwice) {
  ASSERT_EQ(b.attach(group), 0);
  ASSERT_EQ(b.attach(group), 0);
  send_to_group(a, group);
  b.expect(2);
  EXPECT_TRUE(b.received_nothing_before(a));
  ASSERT_EQ(b.detach(group), 0);
  EXPECT_EQ(b.detach(group), EINVAL);
}

TEST_F(Multicast, ReachesNobodyElse) {
  const ibv_gid other = own_group(context.get(), 238);
  ASSERT_EQ(b.attach(group), 0);
  ASSERT_EQ(c.attach(other), 0);
  ASSERT_EQ(c.attach(group), 0);
  ASSERT_EQ(c.detach(group), 0);
  send_to_group(a, group);
  b.expect(2);
  EXPECT_TRUE(c.received_nothing_before(a));
  ASSERT_EQ(b.detach(group), 0);
  ASSERT_EQ(c.detach(other), 0);
}

TEST_F(Multicast, WantsADatagramQueuePairAndAGroupThatTheDeviceCanHave) {
  const Endpoint reliable(context.get());
  EXPECT_EQ(ibv_attach_mcast(reliable.qp(), &group, 0), EINVAL);
  EXPECT_EQ(ibv_detach_mcast(reliable.qp(), &group, 0), EINVAL);
  EXPECT_EQ(a.attach(parse_gid("10.1.2.3")), EINVAL);
  EXPECT_EQ(a.attach(parse_gid("::")), EINVAL);
  EXPECT_EQ(a.attach(parse_gid("ff0e::7")), EAFNOSUPPORT);  // the device's address is IPv4
  EXPECT_EQ(a.detach(group), EINVAL);
}

TEST_F(Multicast, KeepsAMemberFromBeingDestroyed) {
  ibv_qp_init_attr attributes{};
  attributes.send_cq = attributes.recv_cq = a.cq();
  attributes.qp_type = IBV_QPT_UD;
  ibv_qp* member = ibv_create_qp(a.pd(), &attributes);
  ASSERT_NE(member, nullptr);
  ASSERT_EQ(ibv_attach_mcast(member, &group, 0), 0);
  EXPECT_EQ(ibv_destroy_qp(member), EBUSY);
  ASSERT_EQ(ibv_detach_mcast(member, &group, 0), 0);
  EXPECT_EQ(ibv_destroy_qp(member), 0);
}

TEST_F(Multicast, EndsAtItsLimits) {
  ibv_device_attr limits{};
  ASSERT_EQ(ibv_query_device(context.get(), &limits), 0);
  ibv_gid each = group;
  int groups = 0;
  // Groups of other tests may be among these: nothing is sent.
  for (; groups <= limits.max_mcast_grp; ++groups) {
    each.raw[14] = static_cast<uint8_t>(groups >> 8);
    each.raw[15] = static_cast<uint8_t>(groups);
    if (const int error = a.attach(each); error != 0) {
      EXPECT_EQ(error, ENOMEM);
      break;
    }
  }
  EXPECT_EQ(groups, limits.max_mcast_grp);
  std::vector<std::unique_ptr<Member>> members;
  each.raw[14] = each.raw[15] = 0;
  for (int i = 1; i < limits.max_mcast_qp_attach; ++i) {
    members.push_back(std::make_unique<Member>(context.get()));
    ASSERT_EQ(members.back()->attach(each), 0);
  }
  EXPECT_EQ(b.attach(each), ENOMEM);
  for (const auto& member : members) ASSERT_EQ(member->detach(each), 0);
  while (groups-- > 0) {
    each.raw[14] = static_cast<uint8_t>(groups >> 8);
    each.raw[15] = static_cast<uint8_t>(groups);
    ASSERT_EQ(a.detach(each), 0);
  }
}

TEST(MulticastMember, LeavesWithItsContext) {
  ibv_context* abandoned = open_soft_device().release();
  const ibv_gid group = own_group(abandoned);
  ibv_pd* pd = ibv_alloc_pd(abandoned);
  ibv_cq* cq = ibv_create_cq(abandoned, 1, nullptr, nullptr, 0);
  ibv_qp_init_attr attributes{};
  attributes.send_cq = attributes.recv_cq = cq;
  attributes.qp_type = IBV_QPT_UD;
  ASSERT_EQ(ibv_attach_mcast(ibv_create_qp(pd, &attributes), &group, 0), 0);
  const ContextPtr context = open_soft_device();  // keeps the device open
  ASSERT_EQ(ibv_close_device(abandoned), 0);
  const Endpoint sender(context.get(), of_type(IBV_QPT_UD));
  bring_up_datagrams(sender);
  send_to_group(sender, group);  // and nothing of the member that is gone is touched
}

// --- two hosts, joined by veth

struct Hosts {
  const char* sender;
  const char* receiver;
  const char* group;
};

void use_address(const char* network_address) {
  const std::string text = network_address;
  setenv("VERBENA_SOFT_ADDR", text.substr(0, text.find('/')).c_str(), 1);
}

char read_byte(int fd) {
  char byte = 0;
  EXPECT_EQ(read(fd, &byte, 1), 1);
  return byte;
}

bool device_thread_sleeps_on_socket() {
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
    std::ifstream name_file(task.path() / "comm"), call_file(task.path() / "syscall");
    std::string name, call;
    if (name_file >> name && name == "verbena-soft" && call_file >> call) {
      return call == std::to_string(SYS_ppoll);
    }
  }
  return false;
}

// Nothing of the program drives the device meanwhile.
void sleep_until_event(ibv_comp_channel& channel) {
  pollfd event{channel.fd, POLLIN, 0};
  ASSERT_EQ(poll(&event, 1, 20'000), 1);
  ibv_cq* cq = nullptr;
  void* owner = nullptr;
  ASSERT_EQ(ibv_get_cq_event(&channel, &cq, &owner), 0);
  ibv_ack_cq_events(cq, 1);
}

void receive_on_other_host(const Hosts& hosts, int parent) {
  ASSERT_EQ(unshare(CLONE_NEWNET), 0) << std::strerror(errno);
  ASSERT_EQ(write(parent, "n", 1), 1);
  ASSERT_EQ(read_byte(parent), 'v');
  ASSERT_NO_FATAL_FAILURE(bring_up("veth1", hosts.receiver));
  use_address(hosts.receiver);
  const ContextPtr context = open_soft_device();
  ASSERT_NE(context, nullptr) << std::strerror(errno);
  const ChannelPtr channel(ibv_create_comp_channel(context.get()));
  EndpointOptions options = of_type(IBV_QPT_UD);
  options.channel = channel.get();
  const Endpoint endpoint(context.get(), options);
  bring_up_datagrams(endpoint);
  const ibv_gid group = parse_gid(hosts.group);
  ASSERT_EQ(endpoint.post_receive(2, 0, kGrhBytes + kDatagramBytes), 0);
  ASSERT_EQ(ibv_req_notify_cq(endpoint.cq(), 0), 0);
  // It is to learn that there is one more socket.
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (!device_thread_sleeps_on_socket()) {
    ASSERT_LT(std::chrono::steady_clock::now(), end);
    std::this_thread::yield();
  }
  ASSERT_EQ(ibv_attach_mcast(endpoint.qp(), &group, 0), 0);
  ASSERT_EQ(write(parent, "r", 1), 1);
  sleep_until_event(*channel);
  endpoint.expect(2);
  EXPECT_EQ(endpoint.text(kGrhBytes, kDatagramBytes), std::string(kDatagramBytes, '\0'));
  ASSERT_EQ(ibv_detach_mcast(endpoint.qp(), &group, 0), 0);
}

class MulticastBetweenHosts : public testing::TestWithParam<Hosts> {};

TEST_P(MulticastBetweenHosts, WakesAMember) {
  const Hosts& hosts = GetParam();
  ASSERT_NO_FATAL_FAILURE(enter_own_network());
  int ends[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
  const pid_t other = fork();
  if (other == 0) {
    close(ends[0]);
    receive_on_other_host(hosts, ends[1]);
    _exit(HasFailure() ? 1 : 0);
  }
  close(ends[1]);
  ASSERT_EQ(read_byte(ends[0]), 'n');
  run_ip("link add veth0 type veth peer name veth1 netns " + std::to_string(other));
  ASSERT_EQ(write(ends[0], "v", 1), 1);
  ASSERT_NO_FATAL_FAILURE(bring_up("veth0", hosts.sender));
  ASSERT_EQ(read_byte(ends[0]), 'r');
  use_address(hosts.sender);
  const ContextPtr context = open_soft_device();
  ASSERT_NE(context, nullptr) << std::strerror(errno);
  const Endpoint endpoint(context.get(), of_type(IBV_QPT_UD));
  bring_up_datagrams(endpoint);
  send_to_group(endpoint, parse_gid(hosts.group));
  int status = -1;
  ASSERT_EQ(waitpid(other, &status, 0), other);
  EXPECT_EQ(status, 0);
  close(ends[0]);
}

INSTANTIATE_TEST_SUITE_P(Ip, MulticastBetweenHosts,
                         testing::Values(Hosts{"10.77.0.1/24", "10.77.0.2/24", "239.1.2.3"},
                                         Hosts{"fd77::1/64", "fd77::2/64", "ff0e::77"}),
                         [](const auto& info) { return info.index == 0 ? "V4" : "V6"; });

}  // namespace
}  // namespace verbena::test
