// Opens and closes the device: addresses, settings, refusals in words, and fork().
#include <arpa/inet.h>
#include <dirent.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>
#include <string>
#include <thread>

#include "support/unreliable_endpoints.h"
#include "support/verbs_objects.h"

extern "C" const char* verbena_soft_last_error();

namespace verbena::test {
namespace {

// Sets an environment variable for one scope.
class Variable {
 public:
  Variable(const char* name, const std::string& value) : name_(name) {
    setenv(name, value.c_str(), 1);
  }
  ~Variable() { unsetenv(name_); }
  Variable(const Variable&) = delete;
  Variable& operator=(const Variable&) = delete;

 private:
  const char* name_;
};

std::string text_of(const ibv_gid& gid) {
  char text[INET_ADDRSTRLEN];
  return inet_ntop(AF_INET, gid.raw + 12, text, sizeof text);
}

size_t entries_of(const char* path) {
  DIR* folder = opendir(path);
  size_t entries = 0;
  while (readdir(folder) != nullptr) ++entries;
  closedir(folder);
  return entries;
}

// An address that this test process alone uses.
std::string own_address() {
  return "127.77." + std::to_string(getpid() >> 8 & 0xFF) + "." +
         std::to_string(getpid() % 253 + 1);
}

class Open : public testing::Test {
 protected:
  void refused(int error, const std::string& word) {
    errno = 0;
    EXPECT_EQ(open_soft_device(), nullptr);
    EXPECT_EQ(errno, error);
    EXPECT_NE(std::string(verbena_soft_last_error()).find(word), std::string::npos)
        << verbena_soft_last_error();
  }
};

TEST_F(Open, ListingCostsNothing) {
  const size_t threads = entries_of("/proc/self/task");
  const size_t descriptors = entries_of("/proc/self/fd");
  ibv_device** list = ibv_get_device_list(nullptr);
  EXPECT_NE(ibv_get_device_guid(list[0]), 0U);
  EXPECT_EQ(entries_of("/proc/self/task"), threads);
  EXPECT_EQ(entries_of("/proc/self/fd"), descriptors);
  ibv_free_device_list(list);
}

TEST_F(Open, LeavesNoThreadAndNoDescriptorBehind) {
  const size_t threads = entries_of("/proc/self/task");
  const size_t descriptors = entries_of("/proc/self/fd");
  for (int i = 0; i < 5; ++i) {
    const Pair pair;
    ASSERT_EQ(pair.a.post_rdma(IBV_WR_RDMA_WRITE, 1, pair.b, 0, 8), 0);
    pair.a.expect(1);
    EXPECT_EQ(entries_of("/proc/self/task"), threads + 1);
  }
  EXPECT_EQ(entries_of("/proc/self/task"), threads);
  EXPECT_EQ(entries_of("/proc/self/fd"), descriptors);
}

TEST_F(Open, TakesTheAddressItIsTold) {
  const Variable address("VERBENA_SOFT_ADDR", own_address());
  for (int i = 0; i < 3; ++i) {  // and gives it back each time
    const ContextPtr context = open_soft_device();
    ASSERT_NE(context, nullptr) << verbena_soft_last_error();
    EXPECT_STREQ(verbena_soft_last_error(), "");
    EXPECT_EQ(text_of(gid_of(context.get())), own_address());
  }
}

TEST_F(Open, FindsAFreeAddressForEachProcess) {
  const Variable address("VERBENA_SOFT_ADDR", "auto");
  const ContextPtr context = open_soft_device();
  ASSERT_NE(context, nullptr);
  const std::string text = text_of(gid_of(context.get()));
  EXPECT_EQ(text.substr(0, 4), "127.");
  EXPECT_NE(text, "127.0.0.1");
}

uint64_t counter_in(const std::string& path, const std::string& name) {
  std::ifstream file(path, std::ios::binary);
  std::string page(4096, '\0');
  file.read(page.data(), static_cast<std::streamsize>(page.size()));
  std::istringstream names(page.substr(2048, page.find('\0', 2048) - 2048));
  uint64_t value = ~uint64_t{0};
  size_t at = 0;
  for (std::string line; std::getline(names, line); at += sizeof value) {
    if (line == name) std::memcpy(&value, page.data() + at, sizeof value);
  }
  return value;
}

TEST_F(Open, KeepsItsCountersInAFileThatOutlivesIt) {
  const std::string path = testing::TempDir() + "verbena-counters-" + std::to_string(getpid());
  const Variable counters("VERBENA_SOFT_COUNTERS", path);
  {
    const Pair pair;
    EXPECT_EQ(counter_in(path, "tx_packets"), 0U);
    ASSERT_EQ(pair.a.post_rdma(IBV_WR_RDMA_WRITE, 1, pair.b, 0, 8), 0);
    pair.a.expect(1);
    EXPECT_GE(counter_in(path, "rx_packets"), 2U) << "read while the device is open";
  }
  EXPECT_GE(counter_in(path, "tx_packets"), 2U);
  EXPECT_EQ(counter_in(path, "icrc_errors"), 0U);
  EXPECT_EQ(counter_in(path, "ids_solved"), 0U) << "the last of the names";
  unlink(path.c_str());
}

TEST_F(Open, RefusesAFileForCountersThatCannotBeWritten) {
  const Variable counters("VERBENA_SOFT_COUNTERS", "/nowhere/at/all");
  refused(ENOENT, "VERBENA_SOFT_COUNTERS");
}

// What the kernel granted the socket of the device in this process.
int receive_buffer_bytes() {
  for (int fd = 3; fd < 1024; ++fd) {
    sockaddr_in name{};
    socklen_t length = sizeof name;
    if (getsockname(fd, reinterpret_cast<sockaddr*>(&name), &length) != 0) continue;
    if (name.sin_family != AF_INET || name.sin_port != htons(4791)) continue;
    int bytes = 0;
    socklen_t size = sizeof bytes;
    getsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, &size);
    return bytes;
  }
  return 0;
}

TEST_F(Open, WorksWithTheSocketBufferItIsTold) {
  const Variable buffer("VERBENA_SOFT_BUFFER", "212992");
  EndpointOptions options;
  options.buffer_bytes = 4 << 20;
  const Pair pair(options);
  EXPECT_EQ(receive_buffer_bytes(), 212'992);
  pair.a.fill(0, options.buffer_bytes, 5);
  ASSERT_EQ(pair.a.post_rdma(IBV_WR_RDMA_WRITE, 1, pair.b, 0, 4 << 20), 0);
  pair.a.expect(1);
  EXPECT_EQ(std::memcmp(pair.a.buffer(), pair.b.buffer(), 4 << 20), 0);
}

TEST_F(Open, SaysWhoHoldsAnAddress) {
  const int other = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  sockaddr_in name{};
  name.sin_family = AF_INET;
  name.sin_port = htons(4791);
  ASSERT_EQ(inet_pton(AF_INET, own_address().c_str(), &name.sin_addr), 1);
  ASSERT_EQ(bind(other, reinterpret_cast<sockaddr*>(&name), sizeof name), 0);
  {
    const Variable address("VERBENA_SOFT_ADDR", own_address());
    refused(EADDRINUSE, "process " + std::to_string(getpid()));
  }
  close(other);
}

TEST_F(Open, RefusesSettingsThatMakeNoSense) {
  const size_t threads = entries_of("/proc/self/task");
  const size_t descriptors = entries_of("/proc/self/fd");
  {
    const Variable address("VERBENA_SOFT_ADDR", "not-an-address");
    refused(EINVAL, "VERBENA_SOFT_ADDR=not-an-address");
  }
  {
    const Variable address("VERBENA_SOFT_ADDR", "192.0.2.55");  // nobody's
    refused(EADDRNOTAVAIL, "192.0.2.55");
  }
  {
    const Variable mtu("VERBENA_SOFT_MTU", "1500");
    refused(EINVAL, "VERBENA_SOFT_MTU=1500");
  }
  {
    const Variable icrc("VERBENA_SOFT_ICRC", "no");
    refused(EINVAL, "VERBENA_SOFT_ICRC=no");
  }
  for (const std::string value : {"no", "1000", "212992x", "-5"}) {
    const Variable buffer("VERBENA_SOFT_BUFFER", value);
    refused(EINVAL, "VERBENA_SOFT_BUFFER=" + value);
  }
  {
    const Variable faults("VERBENA_SOFT_FAULTS", "drop=2");
    refused(EINVAL, "drop");
  }
  {
    const Variable capture("VERBENA_SOFT_PCAP", "/nonexistent/x.pcap");
    refused(ENOENT, "/nonexistent/x.pcap");
  }
  EXPECT_EQ(entries_of("/proc/self/task"), threads);
  EXPECT_EQ(entries_of("/proc/self/fd"), descriptors);
}

TEST_F(Open, KeepsToASmallerMtu) {
  const Variable mtu("VERBENA_SOFT_MTU", "512");
  const ContextPtr context = open_soft_device();
  ibv_port_attr port{};
  ASSERT_EQ(ibv_query_port(context.get(), 1, &port), 0);
  EXPECT_EQ(port.active_mtu, IBV_MTU_512);
  const Endpoint a(context.get());
  ASSERT_EQ(a.to_init(), 0);
  ConnectOptions options;
  options.mtu = IBV_MTU_1024;
  EXPECT_EQ(a.to_rtr(gid_of(context.get()), 5, options), EINVAL);
  options.mtu = IBV_MTU_512;
  EXPECT_EQ(a.to_rtr(gid_of(context.get()), 5, options), 0);
}

TEST_F(Open, DeliversUnderInjectedFaults) {
  const Variable faults("VERBENA_SOFT_FAULTS",
                        "drop=0.05,dup=0.05,reorder=0.05,corrupt=0.02,seed=3");
  EndpointOptions options;
  options.buffer_bytes = 1 << 20;
  Pair pair(options);
  pair.a.fill(0, 1 << 20, 1);
  ASSERT_EQ(pair.a.post_rdma(IBV_WR_RDMA_WRITE, 1, pair.b, 0, 1 << 20), 0);
  pair.a.expect(1);
  EXPECT_EQ(pair.a.text(0, 1 << 20), pair.b.text(0, 1 << 20));
  pair.b.fill(0, 1 << 20, 2);
  ASSERT_EQ(pair.a.post_rdma(IBV_WR_RDMA_READ, 2, pair.b, 0, 1 << 20), 0);
  pair.a.expect(2);
  EXPECT_EQ(pair.a.text(0, 1 << 20), pair.b.text(0, 1 << 20));
}

// Runs `body` in a forked child, which exits with 0 if it returns true.
template <class Body>
pid_t in_child(Body&& body) {
  const pid_t child = fork();
  if (child != 0) return child;
  _exit(body() ? 0 : 1);
}

bool succeeded(pid_t child) {
  int status = -1;
  return waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

class OpenAndFork : public Open {
 protected:
  void SetUp() override {
    Open::SetUp();
#if defined(__SANITIZE_ADDRESS__)
    GTEST_SKIP() << "the address sanitizer's own locks may stay taken in the child of a threaded "
                    "program; the ordinary build runs this";
#endif
  }
};

TEST_F(OpenAndFork, AForkedChildUsesNothingOfItsParents) {
  Pair pair;
  const pid_t child = in_child([&] {
    ibv_wc completion{};
    if (pair.a.post_send(1, 0, 8) != EIO) return false;
    if (ibv_poll_cq(pair.a.cq(), 1, &completion) != 0) return false;
    MrPtr mr(ibv_reg_mr(pair.a.pd(), pair.a.buffer(), 4096, kAllAccess));
    mr.reset();
    return true;
  });
  EXPECT_TRUE(succeeded(child));
  // The parent goes on as before.
  ASSERT_EQ(pair.b.post_receive(1, 0, 8), 0);
  ASSERT_EQ(pair.a.post_send(2, 0, 8), 0);
  pair.b.expect(1);
  pair.a.expect(2);
}

TEST_F(OpenAndFork, AForkedChildMayCloseWhatItInheritedAndOpenItsOwn) {
  auto inherited = std::make_unique<Pair>();
  const ibv_gid parents = gid_of(inherited->context.get());
  const pid_t child = in_child([&] {
    inherited.reset();
    Pair own;
    const ibv_gid gid = gid_of(own.context.get());
    if (std::memcmp(&gid, &parents, sizeof gid) == 0) return false;
    if (own.a.post_rdma(IBV_WR_RDMA_WRITE, 1, own.b, 0, 8) != 0) return false;
    own.a.expect(1);
    return !testing::Test::HasFailure();
  });
  EXPECT_TRUE(succeeded(child));
}

TEST_F(OpenAndFork, AForkedChildDoesNotKeepTheAddress) {
  const Variable address("VERBENA_SOFT_ADDR", own_address());
  ContextPtr context = open_soft_device();
  ASSERT_NE(context, nullptr);
  int release[2];
  int alive[2];
  ASSERT_EQ(pipe(release), 0);
  ASSERT_EQ(pipe(alive), 0);
  const pid_t child = in_child([&] {
    close(release[1]);
    char byte = 'x';
    if (write(alive[1], &byte, 1) != 1) return false;
    return read(release[0], &byte, 1) == 0;  // lives until the parent closes its end
  });
  char byte = 0;
  ASSERT_EQ(read(alive[0], &byte, 1), 1);
  context.reset();
  context = open_soft_device();
  EXPECT_NE(context, nullptr) << verbena_soft_last_error();
  close(release[1]);
  EXPECT_TRUE(succeeded(child));
  for (const int fd : {release[0], alive[0], alive[1]}) close(fd);
}

TEST_F(OpenAndFork, AForkedChildLeavesTheGroupsOfItsParentAlone) {
  const ContextPtr context = open_soft_device();
  const Endpoint sender(context.get(), of_type(IBV_QPT_UD));
  const Endpoint member(context.get(), of_type(IBV_QPT_UD));
  for (const Endpoint* each : {&sender, &member}) bring_up_datagrams(*each);
  // The device has an address of its own, and so a group of its own.
  ibv_gid group = gid_of(context.get());
  group.raw[12] = 239;
  ASSERT_EQ(ibv_attach_mcast(member.qp(), &group, 0), 0);
  const pid_t child = in_child([&] { return ibv_detach_mcast(member.qp(), &group, 0) == EIO; });
  EXPECT_TRUE(succeeded(child));
  ASSERT_EQ(member.post_receive(2, 0, kGrhBytes + kDatagramBytes), 0);
  send_to_group(sender, group);
  member.expect(2);
  ASSERT_EQ(ibv_detach_mcast(member.qp(), &group, 0), 0);
}

TEST_F(OpenAndFork, ForkingWhileTheDeviceWorksIsSafe) {
  Pair pair;
  std::atomic<bool> stop{false};
  std::thread traffic([&] {
    while (!stop) {
      ASSERT_EQ(pair.a.post_rdma(IBV_WR_RDMA_WRITE, 1, pair.b, 0, 4096), 0);
      pair.a.expect(1);
    }
  });
  for (int i = 0; i < 30; ++i) {
    EXPECT_TRUE(succeeded(in_child([&] {
      const ContextPtr own = open_soft_device();
      return own != nullptr && query(pair.b).qp_state == IBV_QPS_RTS;
    })));
  }
  stop = true;
  traffic.join();
}

}  // namespace
}  // namespace verbena::test
