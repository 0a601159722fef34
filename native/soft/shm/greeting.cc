// Unix sockets between devices: names, credentials, descriptors.
#include "soft/shm/greeting.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>

namespace verbena::shm {
namespace {

constexpr int kBacklog = 128;
constexpr size_t kMostDescriptors = 2;

struct Name {
  sockaddr_un address{};
  socklen_t length = 0;
};

Name name_of(const wire::Address& address) {
  const std::string text = "verbena-soft/" + address.to_string();
  Name name;
  name.address.sun_family = AF_UNIX;
  // The leading zero byte makes it abstract.
  std::memcpy(name.address.sun_path + 1, text.data(), text.size());
  name.length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + text.size());
  return name;
}

const sockaddr* generic(const Name& name) {
  return reinterpret_cast<const sockaddr*>(&name.address);
}

util::UniqueFd make_socket() {
  return util::UniqueFd(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
}

struct Envelope {
  explicit Envelope(std::span<std::byte> message) : data{message.data(), message.size()} {
    header.msg_iov = &data;
    header.msg_iovlen = 1;
    header.msg_control = control.data();
    header.msg_controllen = control.size();
  }
  iovec data;
  alignas(cmsghdr) std::array<char, CMSG_SPACE(kMostDescriptors * sizeof(int))> control{};
  msghdr header{};
};

// All that came, so that none is left open.
size_t take_descriptors(msghdr& header, std::array<util::UniqueFd, kMostDescriptors>& taken) {
  size_t count = 0;
  for (cmsghdr* control = CMSG_FIRSTHDR(&header); control != nullptr;
       control = CMSG_NXTHDR(&header, control)) {
    if (control->cmsg_level != SOL_SOCKET || control->cmsg_type != SCM_RIGHTS) continue;
    const size_t here = (control->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < here; ++i) {
      int fd;
      std::memcpy(&fd, CMSG_DATA(control) + i * sizeof fd, sizeof fd);
      util::UniqueFd owned(fd);
      if (count < taken.size()) taken[count++] = std::move(owned);
    }
  }
  return count;
}

}  // namespace

bool send_greeting(const util::UniqueFd& socket, std::span<const std::byte> message,
                   std::span<const int> descriptors) {
  Envelope envelope({const_cast<std::byte*>(message.data()), message.size()});
  envelope.header.msg_controllen = CMSG_SPACE(descriptors.size_bytes());
  cmsghdr* control = CMSG_FIRSTHDR(&envelope.header);
  control->cmsg_level = SOL_SOCKET;
  control->cmsg_type = SCM_RIGHTS;
  control->cmsg_len = CMSG_LEN(descriptors.size_bytes());
  std::memcpy(CMSG_DATA(control), descriptors.data(), descriptors.size_bytes());
  const ssize_t sent = sendmsg(socket.get(), &envelope.header, MSG_NOSIGNAL | MSG_DONTWAIT);
  return sent == static_cast<ssize_t>(message.size());
}

Received receive_greeting(const util::UniqueFd& socket, std::span<std::byte> message,
                          std::span<util::UniqueFd> descriptors) {
  Envelope envelope(message);
  const ssize_t bytes = recvmsg(socket.get(), &envelope.header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  if (bytes < 0) {
    return errno == EAGAIN || errno == EINTR ? Received::kNothing : Received::kEnd;
  }
  std::array<util::UniqueFd, kMostDescriptors> taken;
  const size_t count = take_descriptors(envelope.header, taken);
  const bool whole = (envelope.header.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) == 0;
  if (!whole || bytes != static_cast<ssize_t>(message.size()) || count != descriptors.size()) {
    return Received::kEnd;
  }
  std::move(taken.begin(), taken.begin() + static_cast<ptrdiff_t>(count), descriptors.begin());
  return Received::kMessage;
}

util::UniqueFd listen_as(const wire::Address& address) {
  util::UniqueFd socket = make_socket();
  const Name name = name_of(address);
  if (!socket || bind(socket.get(), generic(name), name.length) != 0) return {};
  if (listen(socket.get(), kBacklog) != 0) return {};
  return socket;
}

util::UniqueFd call(const wire::Address& address) {
  util::UniqueFd socket = make_socket();
  const Name name = name_of(address);
  if (!socket || connect(socket.get(), generic(name), name.length) != 0) return {};
  if (!is_own_user(socket)) return {};
  return socket;
}

util::UniqueFd answer(const util::UniqueFd& listener) {
  return util::UniqueFd(accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
}

// Who may write to memory that this process maps might as well debug it. In a namespace of users
// that has no name for them, all others are the same one.
bool is_own_user(const util::UniqueFd& socket) {
  constexpr uid_t kNobodyKnown = 65534;
  ucred peer{};
  socklen_t length = sizeof peer;
  if (getsockopt(socket.get(), SOL_SOCKET, SO_PEERCRED, &peer, &length) != 0) return false;
  return peer.uid == geteuid() && peer.uid != kNobodyKnown;
}

}  // namespace verbena::shm
