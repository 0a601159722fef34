// What a device receives from: its socket, those of its multicast groups, and what else it is
// given.
#pragma once

#include <sys/epoll.h>

#include <array>
#include <atomic>
#include <memory>
#include <span>
#include <unordered_map>

#include "soft/io/udp_socket.h"

namespace verbena::io {

// One socket a group: the kernel limits the groups of one socket to a few, and says of a datagram
// only which socket it came to. Not thread-safe but for `fd`.
class Inbox {
 public:
  explicit Inbox(UdpSocket& device) : device_(device), fd_(device.fd()) {}
  ~Inbox();
  Inbox(const Inbox&) = delete;
  Inbox& operator=(const Inbox&) = delete;

  // `fd()` is readable when this descriptor is, too. 0 or an errno value.
  int watch_too(int descriptor);

  // 0 or an errno value; joining again changes nothing.
  int join(const wire::Address& group);
  // Leaves all groups but those that `stays`.
  template <class Stays>
  void leave_unless(Stays&& stays) {
    std::erase_if(groups_, [&](const auto& each) {
      if (stays(each.first)) return false;
      unwatch(*each.second);
      return true;
    });
  }

  // Readable when anything is. It changes once, when there first is more than the device's socket.
  int fd() const { return fd_.load(); }
  // The sockets of groups that have something to receive, or some of them; valid until the next
  // call.
  std::span<UdpSocket* const> readable();
  // In a forked child: has `nothing` in place of each socket.
  void abandon(int nothing);

 private:
  int watch(int descriptor, UdpSocket* group);
  void unwatch(const UdpSocket& socket);
  int start_watching();

  static constexpr size_t kMostAtOnce = 16;

  UdpSocket& device_;
  int epoll_ = -1;
  std::atomic<int> fd_;
  std::unordered_map<wire::Address, std::unique_ptr<UdpSocket>> groups_;
  std::array<UdpSocket*, kMostAtOnce> readable_{};
};

}  // namespace verbena::io
