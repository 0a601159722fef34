// Networks of the test's own, so that no address or route of the machine matters.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string>
#include <thread>

namespace verbena::test {

inline void run_ip(const std::string& arguments) {
  ASSERT_EQ(std::system(("ip " + arguments).c_str()), 0) << arguments;
}

// Root of a user namespace, which a process with one thread may become without privileges.
inline void become_root() {
  const uid_t user = getuid();
  const gid_t group = getgid();
  ASSERT_EQ(unshare(CLONE_NEWUSER), 0) << std::strerror(errno);
  std::ofstream("/proc/self/setgroups") << "deny";
  std::ofstream("/proc/self/uid_map") << "0 " << user << " 1";
  std::ofstream("/proc/self/gid_map") << "0 " << group << " 1";
}

// This thread, and what it starts, see a new network with a loopback interface and nothing else:
// 127.0.0.0/8 and ::1.
inline void enter_own_network() {
  if (geteuid() != 0) {
    ASSERT_NO_FATAL_FAILURE(become_root());
  }
  ASSERT_EQ(unshare(CLONE_NEWNET), 0) << std::strerror(errno);
  run_ip("link set lo up");
}

inline bool is_running(const std::string& interface) {
  const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  ifreq request{};
  std::strncpy(request.ifr_name, interface.c_str(), IFNAMSIZ - 1);
  const bool known = ioctl(fd, SIOCGIFFLAGS, &request) == 0;
  close(fd);
  return known && (request.ifr_flags & IFF_RUNNING) != 0;
}

// One end of a veth pair, ready to send; its other end must come up too.
inline void bring_up(const std::string& interface, const std::string& address) {
  run_ip("link set " + interface + " up");
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (!is_running(interface)) {
    ASSERT_LT(std::chrono::steady_clock::now(), end) << interface << " has no carrier";
    std::this_thread::yield();
  }
  // Duplicate address detection would keep an IPv6 address from use for a second.
  run_ip("addr add " + address + " dev " + interface +
         (address.find(':') == std::string::npos ? "" : " nodad"));
}

}  // namespace verbena::test
