// A network of the test's own, so that no address or route of the machine matters.
#pragma once

#include <gtest/gtest.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace verbena::test {

inline void bring_up(const char* interface) {
  const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  ASSERT_GE(fd, 0);
  ifreq request{};
  std::strncpy(request.ifr_name, interface, IFNAMSIZ - 1);
  request.ifr_flags = IFF_UP;
  EXPECT_EQ(ioctl(fd, SIOCSIFFLAGS, &request), 0) << interface << ": " << std::strerror(errno);
  close(fd);
}

// This thread, and what it starts, see a new network with a loopback interface and nothing else:
// 127.0.0.0/8 and ::1. Without privileges the kernel wants a user namespace around it, which a
// process with one thread may have.
inline void enter_own_network() {
  if (unshare(CLONE_NEWNET) != 0) {
    ASSERT_EQ(unshare(CLONE_NEWUSER | CLONE_NEWNET), 0) << std::strerror(errno);
  }
  bring_up("lo");
}

}  // namespace verbena::test
