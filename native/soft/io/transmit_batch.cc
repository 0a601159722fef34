// Groups packets into GSO bursts and hands them to the kernel.

#include "soft/io/transmit_batch.h"

#include <netinet/udp.h>

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <cstring>

namespace verbena::io {

static_assert(TransmitBatch::kMaxPacketBytes + wire::kIcrcBytes <= FaultInjector::kLargestPacket);

TransmitBatch::TransmitBatch(UdpSocket& socket, FaultInjector* faults, PacketCapture* capture)
    : socket_(socket),
      faults_(faults),
      capture_(capture),
      // Whatever happens to a packet that faults are injected into, it happens to this one only.
      gso_(faults == nullptr),
      arena_(std::make_unique<std::byte[]>(kArenaBytes)),
      messages_(std::make_unique<Message[]>(kMaxBursts)),
      headers_(std::make_unique<mmsghdr[]>(kMaxBursts)) {
  if (faults != nullptr)
    scratch_ = std::make_unique<std::byte[]>(kMaxPacketBytes + wire::kIcrcBytes);
  for (size_t i = 0; i < kMaxBursts; ++i) {
    Message& message = messages_[i];
    msghdr& header = headers_[i].msg_hdr;
    header.msg_name = &message.name;
    header.msg_iov = &message.data;
    header.msg_iovlen = 1;
    auto* control = reinterpret_cast<cmsghdr*>(message.control.data());
    control->cmsg_level = SOL_UDP;
    control->cmsg_type = UDP_SEGMENT;
    control->cmsg_len = CMSG_LEN(sizeof(uint16_t));
  }
}

std::byte* TransmitBatch::reserve(const wire::Address& destination, size_t bytes) {
  assert(bytes >= wire::kIcrcMinimumBytes && bytes <= kMaxPacketBytes && bytes % 4 == 0);
  reserved_destination_ = destination;
  reserved_bytes_ = bytes;
  if (faults_ != nullptr) return scratch_.get();
  make_room(bytes + wire::kIcrcBytes);
  return &arena_[arena_used_];
}

void TransmitBatch::commit() {
  const size_t whole = reserved_bytes_ + wire::kIcrcBytes;
  const wire::UdpFlow flow = flow_to(reserved_destination_);
  std::byte* const packet = faults_ != nullptr ? scratch_.get() : &arena_[arena_used_];
  const uint16_t ip_id = faults_ != nullptr ? uint16_t{0} : append(reserved_destination_, whole);
  wire::icrc_store(packet + reserved_bytes_,
                   wire::icrc_compute(flow, ip_id, {packet, reserved_bytes_}));
  if (faults_ != nullptr) faults_->pass(reserved_destination_, {packet, whole}, *this);
}

void TransmitBatch::put(const wire::Address& destination, std::span<const std::byte> packet) {
  make_room(packet.size());
  std::memcpy(&arena_[arena_used_], packet.data(), packet.size());
  append(destination, packet.size());
}

bool TransmitBatch::release_held() {
  if (faults_ == nullptr || !faults_->release_held(*this)) return false;
  flush();
  return true;
}

void TransmitBatch::make_room(size_t bytes) {
  if (arena_used_ + bytes > kArenaBytes || burst_count_ == kMaxBursts) flush();
}

bool TransmitBatch::joins_last_burst(const wire::Address& destination, size_t bytes) const {
  if (!gso_ || burst_count_ == 0) return false;
  const Burst& last = bursts_[burst_count_ - 1];
  return !last.closed && bytes <= last.segment_bytes && last.segments < kMaxSegments &&
         last.bytes + bytes <= kMaxBurstBytes && last.destination == destination;
}

// Adds the packet at the end of the arena and returns the identification that it will be sent with.
uint16_t TransmitBatch::append(const wire::Address& destination, size_t bytes) {
  const auto offset = static_cast<uint32_t>(arena_used_);
  arena_used_ += bytes;
  if (!joins_last_burst(destination, bytes)) {
    bursts_[burst_count_++] = {
        destination, offset, static_cast<uint32_t>(bytes), static_cast<uint16_t>(bytes), 1, false};
    return 0;
  }
  Burst& burst = bursts_[burst_count_ - 1];
  burst.bytes += static_cast<uint32_t>(bytes);
  burst.closed = bytes < burst.segment_bytes;  // only the last segment may be shorter
  return burst.segments++;
}

void TransmitBatch::flush() {
  if (burst_count_ == 0) return;
  if (socket_.in_forked_child()) {
    for (size_t i = 0; i < burst_count_; ++i) drop(bursts_[i].segments, EOWNERDEAD);
  } else {
    send_bursts();
  }
  arena_used_ = 0;
  burst_count_ = 0;
  if (capture_ != nullptr) capture_->flush();
}

void TransmitBatch::prepare(size_t index, const Burst& burst) {
  Message& message = messages_[index];
  msghdr& header = headers_[index].msg_hdr;
  header.msg_namelen = burst.destination.to_sockaddr(socket_.port(), message.name);
  message.data = {&arena_[burst.offset], burst.bytes};
  const bool cut_up = burst.segments > 1;
  header.msg_control = cut_up ? message.control.data() : nullptr;
  header.msg_controllen = cut_up ? CMSG_LEN(sizeof(uint16_t)) : 0;
  if (!cut_up) return;
  auto* control = reinterpret_cast<cmsghdr*>(message.control.data());
  std::memcpy(CMSG_DATA(control), &burst.segment_bytes, sizeof burst.segment_bytes);
}

// Returns how many bursts the kernel took, or -1 with errno set.
int TransmitBatch::send_from(size_t next) {
  const size_t bursts = burst_count_ - next;
  if (bursts == 1) {
    return sendmsg(socket_.fd(), &headers_[next].msg_hdr, MSG_NOSIGNAL) < 0 ? -1 : 1;
  }
  return sendmmsg(socket_.fd(), &headers_[next], static_cast<unsigned>(bursts), MSG_NOSIGNAL);
}

void TransmitBatch::send_bursts() {
  for (size_t i = 0; i < burst_count_; ++i) prepare(i, bursts_[i]);
  for (size_t next = 0; next < burst_count_;) {
    const int sent = send_from(next);
    const int error = errno;
    ++counters_.system_calls;
    if (sent > 0) {
      for (const size_t end = next + static_cast<size_t>(sent); next < end; ++next) {
        record_sent(bursts_[next]);
      }
    } else if (error == EAGAIN || error == ENOBUFS || error == ENOMEM) {
      // Waiting would hold up the lane; what follows would find no room either.
      for (; next < burst_count_; ++next) drop(bursts_[next].segments, error);
    } else if (error != EINTR) {
      on_send_error(bursts_[next++], error);
    }
  }
}

void TransmitBatch::on_send_error(const Burst& burst, int error) {
  const bool gso_refused = error == EINVAL || error == EIO || error == EMSGSIZE;
  if (burst.segments > 1 && gso_refused) {
    send_one_by_one(burst);
  } else {
    drop(burst.segments, error);
  }
}

// Packets that leave one by one when GSO would not prove that GSO was the trouble; it stays off
// then.
void TransmitBatch::send_one_by_one(const Burst& burst) {
  const wire::UdpFlow flow = flow_to(burst.destination);
  sockaddr_storage name;
  const socklen_t name_bytes = burst.destination.to_sockaddr(socket_.port(), name);
  for (size_t i = 0; i < burst.segments; ++i) {
    const std::span<std::byte> packet = segment_of(arena_.get(), burst, i);
    const auto covered = packet.first(packet.size() - wire::kIcrcBytes);
    // A packet of its own has identification 0.
    wire::icrc_store(packet.data() + covered.size(), wire::icrc_compute(flow, 0, covered));
    ssize_t sent;
    do {
      sent = sendto(socket_.fd(), packet.data(), packet.size(), MSG_NOSIGNAL,
                    reinterpret_cast<const sockaddr*>(&name), name_bytes);
      ++counters_.system_calls;
    } while (sent < 0 && errno == EINTR);
    if (sent < 0) {
      drop(1, errno);
      continue;
    }
    gso_ = false;
    record_sent({burst.destination, static_cast<uint32_t>(packet.data() - arena_.get()),
                 static_cast<uint32_t>(packet.size()), static_cast<uint16_t>(packet.size()), 1,
                 true});
  }
}

void TransmitBatch::drop(uint64_t packets, int error) {
  counters_.last_error = error;
  if (error == EAGAIN || error == ENOBUFS || error == ENOMEM) {
    counters_.dropped_full += packets;
  } else if (error == EMSGSIZE) {
    counters_.dropped_too_large += packets;
  } else {
    counters_.dropped_other += packets;
  }
}

void TransmitBatch::record_sent(const Burst& burst) {
  ++counters_.messages;
  counters_.packets += burst.segments;
  counters_.bytes += burst.bytes;
  if (capture_ == nullptr) return;
  for (size_t i = 0; i < burst.segments; ++i) {
    capture_->sent(flow_to(burst.destination), static_cast<uint16_t>(i),
                   segment_of(arena_.get(), burst, i));
  }
}

wire::UdpFlow TransmitBatch::flow_to(const wire::Address& destination) const {
  return {socket_.address(), destination, socket_.port(), socket_.port()};
}

std::span<std::byte> TransmitBatch::segment_of(std::byte* arena, const Burst& burst, size_t index) {
  const size_t start = index * burst.segment_bytes;
  const size_t bytes = std::min<size_t>(burst.segment_bytes, burst.bytes - start);
  return {arena + burst.offset + start, bytes};
}

}  // namespace verbena::io
