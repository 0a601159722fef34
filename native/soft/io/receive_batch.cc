// Takes messages from the kernel and cuts them up again where it had put packets together.

#include "soft/io/receive_batch.h"

#include <netinet/udp.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace verbena::io {
namespace {

uint16_t port_of(const sockaddr_storage& name) {
  // The port is at the same place for both families.
  return ntohs(reinterpret_cast<const sockaddr_in&>(name).sin_port);
}

}  // namespace

ReceiveBatch::ReceiveBatch(UdpSocket& socket, PacketCapture* capture)
    : socket_(socket),
      capture_(capture),
      // Not zeroed: pages that no packet ever needs stay untouched.
      arena_(new std::byte[kMaxMessages * kSlotBytes]),
      slots_(std::make_unique<Slot[]>(kMaxMessages)),
      headers_(std::make_unique<mmsghdr[]>(kMaxMessages)) {
  for (size_t i = 0; i < kMaxMessages; ++i) {
    Slot& slot = slots_[i];
    slot.data = {&arena_[i * kSlotBytes], kSlotBytes};
    msghdr& header = headers_[i].msg_hdr;
    header.msg_name = &slot.name;
    header.msg_iov = &slot.data;
    header.msg_iovlen = 1;
    header.msg_control = slot.control.data();
    restore_room(i);
  }
}

// The kernel overwrites how much room there was with how much it used.
void ReceiveBatch::restore_room(size_t index) {
  headers_[index].msg_hdr.msg_namelen = sizeof slots_[index].name;
  headers_[index].msg_hdr.msg_controllen = slots_[index].control.size();
}

bool ReceiveBatch::fill_from(UdpSocket& socket) {
  // Only what was used: polls that find nothing are frequent and should cost a system call, no
  // more.
  for (size_t i = 0; i < message_count_; ++i) restore_room(i);
  const bool one = alone_ && message_count_ == 0;
  message_count_ = 0;
  message_next_ = 0;
  rest_ = {};
  filled_from_ = &socket;
  if (socket.in_forked_child()) return false;
  int received;
  do {
    received = one ? receive_one(socket.fd()) : receive_many(socket.fd());
    ++counters_.system_calls;
  } while (received < 0 && errno == EINTR);
  if (received < 0) {
    if (errno == EAGAIN) return false;
    ++counters_.errors;
    counters_.last_error = errno;
    return false;
  }
  message_count_ = static_cast<size_t>(received);
  alone_ = received == 1;
  size_t bytes = 0;
  for (size_t i = 0; i < message_count_; ++i) bytes += headers_[i].msg_len;
  adapt(bytes);
  return true;
}

// To look for a second message costs a tenth of the first. It is done where the last ones came
// together.
int ReceiveBatch::receive_one(int fd) {
  const ssize_t bytes = recvmsg(fd, &headers_[0].msg_hdr, MSG_DONTWAIT);
  if (bytes < 0) return -1;
  headers_[0].msg_len = static_cast<unsigned>(bytes);
  return 1;
}

int ReceiveBatch::receive_many(int fd) {
  return recvmmsg(fd, headers_.get(), static_cast<unsigned>(messages_wanted_), MSG_DONTWAIT,
                  nullptr);
}

void ReceiveBatch::adapt(size_t bytes) {
  const size_t average = std::max<size_t>(1, bytes / message_count_);
  messages_wanted_ = std::clamp(kBatchBytesWanted / average, kFewestMessages, kMaxMessages);
}

std::optional<Datagram> ReceiveBatch::next() {
  while (rest_.empty()) {
    if (message_next_ == message_count_) {
      if (capture_ != nullptr) capture_->flush();
      return std::nullopt;
    }
    if (!open_message()) rest_ = {};
  }
  const auto bytes = rest_.first(std::min(segment_bytes_, rest_.size()));
  rest_ = rest_.subspan(bytes.size());
  ++counters_.packets;
  counters_.bytes += bytes.size();
  const wire::Address& destination = filled_from_->address();
  const Datagram datagram{source_, destination, source_port_, bytes, segment_++};
  if (capture_ != nullptr) {
    capture_->received({source_, destination, source_port_, socket_.port()},
                       static_cast<uint16_t>(datagram.segment), bytes);
  }
  return datagram;
}

bool ReceiveBatch::open_message() {
  mmsghdr& message = headers_[message_next_];
  const sockaddr_storage& name = slots_[message_next_].name;
  ++message_next_;
  ++counters_.messages;
  rest_ = {static_cast<std::byte*>(message.msg_hdr.msg_iov->iov_base), message.msg_len};
  segment_bytes_ = message.msg_len;
  segment_ = 0;
  read_controls(message.msg_hdr);
  if ((message.msg_hdr.msg_flags & MSG_TRUNC) != 0) {
    ++counters_.truncated;
    return false;
  }
  const auto source = wire::Address::from_sockaddr(reinterpret_cast<const sockaddr*>(&name),
                                                   message.msg_hdr.msg_namelen);
  if (!source) return false;
  source_ = *source;
  source_port_ = port_of(name);
  return true;
}

void ReceiveBatch::read_controls(msghdr& header) {
  for (cmsghdr* control = CMSG_FIRSTHDR(&header); control != nullptr;
       control = CMSG_NXTHDR(&header, control)) {
    if (control->cmsg_level == SOL_UDP && control->cmsg_type == UDP_GRO) {
      int segment_bytes;
      std::memcpy(&segment_bytes, CMSG_DATA(control), sizeof segment_bytes);
      if (segment_bytes > 0) segment_bytes_ = static_cast<size_t>(segment_bytes);
    } else if (control->cmsg_level == SOL_SOCKET && control->cmsg_type == SO_RXQ_OVFL) {
      uint32_t drops;
      std::memcpy(&drops, CMSG_DATA(control), sizeof drops);
      counters_.socket_drops += filled_from_->new_drops(drops);
    }
  }
}

}  // namespace verbena::io
