// Makes pcap records out of UDP payloads.

#include "soft/io/packet_capture.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <utility>

#include "soft/io/output_file.h"

namespace verbena::io {
namespace {

// The classic file format, in host byte order, with nanoseconds; LINKTYPE_RAW packets start at the
// IP header.
constexpr uint32_t kMagicNanoseconds = 0xA1B23C4D;
constexpr uint32_t kVersion = 2 | 4 << 16;
constexpr uint32_t kSnapLength = 65535;
constexpr uint32_t kLinkTypeRaw = 101;

constexpr size_t kBufferBytes = 256 << 10;
constexpr size_t kIpv4Bytes = 20;
constexpr size_t kUdpBytes = 8;
constexpr uint8_t kHopLimit = 64;
constexpr uint8_t kProtocolUdp = 17;

uint32_t sum_words(const void* data, size_t bytes) {
  const auto* from = static_cast<const uint8_t*>(data);
  uint32_t sum = 0;
  for (size_t i = 0; i < bytes; ++i) sum += i % 2 == 0 ? from[i] << 8 : from[i];
  return sum;
}

uint16_t internet_checksum(uint32_t sum) {
  while (sum > 0xFFFF) sum = (sum & 0xFFFF) + (sum >> 16);
  return static_cast<uint16_t>(~sum);
}

// IPv6 has no checksum of its own, so that tools insist on this one.
uint16_t udp_checksum(const wire::UdpFlow& flow, std::span<const std::byte> bytes) {
  const auto udp_bytes = static_cast<uint32_t>(kUdpBytes + bytes.size());
  uint32_t sum = 2 * udp_bytes + kProtocolUdp + flow.source_port + flow.destination_port;
  sum += sum_words(flow.source.gid.data(), 16) + sum_words(flow.destination.gid.data(), 16);
  const uint16_t checksum = internet_checksum(sum + sum_words(bytes.data(), bytes.size()));
  return checksum == 0 ? 0xFFFF : checksum;
}

}  // namespace

std::unique_ptr<PacketCapture> PacketCapture::open(std::string_view pattern, Failure& failure) {
  auto file = open_output_file("VERBENA_SOFT_PCAP", pattern, O_WRONLY, failure);
  if (!file) return nullptr;
  return std::unique_ptr<PacketCapture>(new PacketCapture(file->fd, std::move(file->path)));
}

PacketCapture::PacketCapture(int fd, std::string path) : fd_(fd), path_(std::move(path)) {
  buffer_.reserve(kBufferBytes);
  put_host32(kMagicNanoseconds);
  put_host32(kVersion);
  put_host32(0);  // time zone
  put_host32(0);  // accuracy
  put_host32(kSnapLength);
  put_host32(kLinkTypeRaw);
  flush();
}

PacketCapture::~PacketCapture() {
  flush();
  close(fd_);
}

void PacketCapture::sent(const wire::UdpFlow& flow, uint16_t ip_id,
                         std::span<const std::byte> bytes) {
  record(flow, ip_id, bytes);
}

void PacketCapture::received(const wire::UdpFlow& flow, uint16_t ip_id_hint,
                             std::span<const std::byte> bytes) {
  const wire::IcrcVerdict verdict =
      wire::icrc_check(flow, bytes, ip_id_hint, wire::IcrcMode::kSolve);
  record(flow, verdict.valid ? verdict.ip_id : ip_id_hint, bytes);
}

void PacketCapture::record(const wire::UdpFlow& flow, uint16_t ip_id,
                           std::span<const std::byte> bytes) {
  const size_t ip_bytes = flow.source.is_v4() ? kIpv4Bytes : sizeof(wire::Address::gid) * 2 + 8;
  const size_t packet_bytes = ip_bytes + kUdpBytes + bytes.size();
  constexpr size_t kRecordHeaderBytes = 16;
  if (error_ != 0 || packet_bytes > kSnapLength) return;
  if (buffer_.size() + kRecordHeaderBytes + packet_bytes > kBufferBytes) flush();
  const TimeNs now = read_clock(CLOCK_REALTIME);
  put_host32(static_cast<uint32_t>(now / kNsPerSecond));
  put_host32(static_cast<uint32_t>(now % kNsPerSecond));
  put_host32(static_cast<uint32_t>(packet_bytes));
  put_host32(static_cast<uint32_t>(packet_bytes));
  put_ip_header(flow, ip_id, kUdpBytes + bytes.size());
  put_udp_header(flow, bytes);
  put(bytes.data(), bytes.size());
}

void PacketCapture::put_ip_header(const wire::UdpFlow& flow, uint16_t ip_id, size_t udp_bytes) {
  const size_t start = buffer_.size();
  if (!flow.source.is_v4()) {
    put_be16(0x6000);
    put_be16(0);
    put_be16(static_cast<uint16_t>(udp_bytes));
    put_be16(kProtocolUdp << 8 | kHopLimit);
    put(flow.source.gid.data(), 16);
    put(flow.destination.gid.data(), 16);
    return;
  }
  put_be16(0x4500);
  put_be16(static_cast<uint16_t>(kIpv4Bytes + udp_bytes));
  put_be16(ip_id);
  put_be16(0x4000);  // DF
  put_be16(kHopLimit << 8 | kProtocolUdp);
  put_be16(0);
  put(flow.source.v4_bytes(), 4);
  put(flow.destination.v4_bytes(), 4);
  const uint16_t checksum = internet_checksum(sum_words(&buffer_[start], kIpv4Bytes));
  buffer_[start + 10] = std::byte(checksum >> 8);
  buffer_[start + 11] = std::byte(checksum);
}

void PacketCapture::put_udp_header(const wire::UdpFlow& flow, std::span<const std::byte> bytes) {
  const auto udp_bytes = static_cast<uint16_t>(kUdpBytes + bytes.size());
  put_be16(flow.source_port);
  put_be16(flow.destination_port);
  put_be16(udp_bytes);
  if (flow.source.is_v4()) {
    put_be16(0);  // "none", as RoCE adapters send it
    return;
  }
  put_be16(udp_checksum(flow, bytes));
}

void PacketCapture::put_be16(uint16_t value) {
  const std::array<uint8_t, 2> wire_order{static_cast<uint8_t>(value >> 8),
                                          static_cast<uint8_t>(value)};
  put(wire_order.data(), wire_order.size());
}

void PacketCapture::put_host32(uint32_t value) {
  put(&value, sizeof value);
}

void PacketCapture::put(const void* data, size_t bytes) {
  const auto* from = static_cast<const std::byte*>(data);
  buffer_.insert(buffer_.end(), from, from + bytes);
}

void PacketCapture::flush() {
  // A forked child has a copy of the buffer, which the parent writes.
  if (buffer_.empty() || fork_guard_.in_child()) return;
  size_t written = 0;
  while (error_ == 0 && written < buffer_.size()) {
    const ssize_t count = write(fd_, &buffer_[written], buffer_.size() - written);
    if (count > 0) {
      written += static_cast<size_t>(count);
    } else if (count == 0 || errno != EINTR) {
      stop(count == 0 ? EIO : errno);
    }
  }
  if (error_ == 0) file_bytes_ += buffer_.size();
  buffer_.clear();
}

void PacketCapture::stop(int error) {
  error_ = error;
  // Cuts off what may be half a record, so that the rest stays readable.
  const bool torn = ftruncate(fd_, static_cast<off_t>(file_bytes_)) != 0;
  std::fprintf(stderr, "verbena: the capture to %s stopped: %s%s\n", path_.c_str(),
               std::strerror(error), torn ? ", and its end may be torn" : "");
}

}  // namespace verbena::io
