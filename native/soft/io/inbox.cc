// Joins and leaves multicast groups, and tells which have datagrams.

#include "soft/io/inbox.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

namespace verbena::io {

Inbox::~Inbox() {
  if (epoll_ >= 0) close(epoll_);
}

// `group` is nullptr for what is no group's.
int Inbox::watch(int descriptor, UdpSocket* group) {
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.ptr = group;
  return epoll_ctl(epoll_, EPOLL_CTL_ADD, descriptor, &event) == 0 ? 0 : errno;
}

// Makes `fd()` an epoll descriptor, once.
int Inbox::start_watching() {
  if (fd() != device_.fd()) return 0;
  if (epoll_ < 0) epoll_ = epoll_create1(EPOLL_CLOEXEC);
  if (epoll_ < 0) return errno;
  if (const int error = watch(device_.fd(), nullptr); error != 0) return error;
  fd_.store(epoll_);
  return 0;
}

int Inbox::watch_too(int descriptor) {
  if (const int error = start_watching(); error != 0) return error;
  return watch(descriptor, nullptr);
}

int Inbox::join(const wire::Address& group) {
  if (groups_.contains(group)) return 0;
  if (const int error = start_watching(); error != 0) return error;
  auto socket = UdpSocket::join(device_, group);
  if (socket == nullptr) return errno;
  const auto joined = groups_.emplace(group, std::move(socket)).first;
  const int error = watch(joined->second->fd(), joined->second.get());
  if (error != 0) groups_.erase(joined);
  return error;
}

// Not left to closing: where a forked child has the socket too, it would stay.
void Inbox::unwatch(const UdpSocket& socket) {
  if (!socket.in_forked_child()) epoll_ctl(epoll_, EPOLL_CTL_DEL, socket.fd(), nullptr);
}

std::span<UdpSocket* const> Inbox::readable() {
  if (groups_.empty() || device_.in_forked_child()) return {};
  std::array<epoll_event, kMostAtOnce> events;
  const int ready = epoll_wait(epoll_, events.data(), static_cast<int>(events.size()), 0);
  size_t count = 0;
  for (int i = 0; i < ready; ++i) {
    auto* group = static_cast<UdpSocket*>(events[static_cast<size_t>(i)].data.ptr);
    if (group != nullptr) readable_[count++] = group;
  }
  return {readable_.data(), count};
}

void Inbox::abandon(int nothing) {
  for (const auto& [group, socket] : groups_) dup3(nothing, socket->fd(), O_CLOEXEC);
}

}  // namespace verbena::io
