// Measures what the kernel's UDP gives to two processes that do nothing else: a spinning round trip
// of 64 bytes, and one way as many bytes as segmentation and aggregation offload (GSO, GRO) move.
//
//   cmake --build --preset default --target raw_udp && build-default/raw_udp [SECONDS]
//
// Prints {"roundTripUs":…,"bytesPerSecond":…}.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "util/clock.h"

namespace {

using verbena::util::monotonic_ns;

constexpr size_t kSegmentBytes = 4156;  // a packet of 4 KiB with its headers
constexpr size_t kBurstBytes = 15 * kSegmentBytes;
constexpr uint64_t kWindowBytes = 1 << 20;  // on the way at most, so that nothing is lost
constexpr int kBufferBytes = 8 << 20;

void require(bool condition, const char* what) {
  if (condition) return;
  std::perror(what);
  std::exit(1);
}

sockaddr_in address_of(uint8_t host) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(4791);
  address.sin_addr.s_addr = htonl(0x7FFA0100u + host);  // 127.250.1.x
  return address;
}

// Bound to one host and connected to the other.
int open_socket(uint8_t own, uint8_t peer) {
  const int fd = socket(AF_INET, SOCK_DGRAM, 0);
  require(fd >= 0, "socket");
  for (const int option : {SO_SNDBUFFORCE, SO_RCVBUFFORCE, SO_SNDBUF, SO_RCVBUF}) {
    setsockopt(fd, SOL_SOCKET, option, &kBufferBytes, sizeof kBufferBytes);
  }
  const int on = 1;
  require(setsockopt(fd, SOL_UDP, UDP_GRO, &on, sizeof on) == 0, "UDP_GRO");
  const sockaddr_in from = address_of(own);
  require(bind(fd, reinterpret_cast<const sockaddr*>(&from), sizeof from) == 0, "bind");
  const sockaddr_in to = address_of(peer);
  require(connect(fd, reinterpret_cast<const sockaddr*>(&to), sizeof to) == 0, "connect");
  return fd;
}

size_t receive_spinning(int fd, std::vector<char>& buffer) {
  for (;;) {
    const ssize_t got = recv(fd, buffer.data(), buffer.size(), MSG_DONTWAIT);
    if (got > 0) return static_cast<size_t>(got);
  }
}

// Runs `body` in a process of its own until the end of the scope.
class Peer {
 public:
  template <class Body>
  explicit Peer(Body body) : pid_(fork()) {
    require(pid_ >= 0, "fork");
    if (pid_ != 0) return;
    body();
    _exit(0);
  }
  Peer(const Peer&) = delete;
  Peer& operator=(const Peer&) = delete;
  ~Peer() {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }

 private:
  pid_t pid_;
};

double round_trip_us(double seconds) {
  const int here = open_socket(1, 2);
  const int there = open_socket(2, 1);
  std::vector<char> buffer(65536);
  const Peer echo([&] {
    for (;;) require(send(there, buffer.data(), receive_spinning(there, buffer), 0) > 0, "send");
  });
  std::vector<uint64_t> times;
  const uint64_t begin = monotonic_ns();
  const uint64_t end = begin + static_cast<uint64_t>(seconds * 1e9);
  for (uint64_t start = begin; start < end;) {
    require(send(here, buffer.data(), 64, 0) == 64, "send");
    receive_spinning(here, buffer);
    const uint64_t now = monotonic_ns();
    times.push_back(now - start);
    start = now;
  }
  close(here);
  close(there);
  std::ranges::nth_element(times, times.begin() + static_cast<ptrdiff_t>(times.size() / 2));
  return static_cast<double>(times[times.size() / 2]) / 1000;
}

double bytes_per_second(double seconds) {
  const int here = open_socket(1, 2);
  const int there = open_socket(2, 1);
  void* shared = mmap(nullptr, sizeof(std::atomic<uint64_t>), PROT_READ | PROT_WRITE,
                      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  require(shared != MAP_FAILED, "mmap");
  auto& received = *new (shared) std::atomic<uint64_t>(0);
  std::vector<char> buffer(65536);
  const Peer sink([&] {
    for (;;) received += receive_spinning(there, buffer);
  });
  iovec data{buffer.data(), kBurstBytes};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(uint16_t))] = {};
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  cmsghdr* segment = CMSG_FIRSTHDR(&message);
  segment->cmsg_level = SOL_UDP;
  segment->cmsg_type = UDP_SEGMENT;
  segment->cmsg_len = CMSG_LEN(sizeof(uint16_t));
  const auto segment_bytes = static_cast<uint16_t>(kSegmentBytes);
  std::memcpy(CMSG_DATA(segment), &segment_bytes, sizeof segment_bytes);
  uint64_t sent = 0;
  const uint64_t begin = monotonic_ns();
  const uint64_t end = begin + static_cast<uint64_t>(seconds * 1e9);
  while (monotonic_ns() < end) {
    if (sent - received.load(std::memory_order_relaxed) > kWindowBytes) continue;
    require(sendmsg(here, &message, 0) == static_cast<ssize_t>(kBurstBytes), "sendmsg");
    sent += kBurstBytes;
  }
  const double result =
      static_cast<double>(received) * 1e9 / static_cast<double>(monotonic_ns() - begin);
  close(here);
  close(there);
  return result;
}

}  // namespace

int main(int count, char** arguments) {
  const double seconds = count > 1 ? std::strtod(arguments[1], nullptr) : 1;
  const double round_trip = round_trip_us(seconds);
  std::printf("{\"roundTripUs\":%.3f,\"bytesPerSecond\":%.0f}\n", round_trip,
              bytes_per_second(seconds));
}
