// Writes packets to a pcap file that tshark and Wireshark read as InfiniBand over UDP.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "soft/io/clock.h"
#include "soft/io/failure.h"
#include "soft/io/fork_guard.h"
#include "soft/wire/icrc.h"

namespace verbena::io {

// IP and UDP headers are made up as the kernel sends them, with the identification that makes the
// ICRC right. Not thread-safe; all calls with the lane locked.
class PacketCapture {
 public:
  // `pattern` names the file, see open_output_file.
  static std::unique_ptr<PacketCapture> open(std::string_view pattern, Failure& failure);
  ~PacketCapture();
  PacketCapture(const PacketCapture&) = delete;
  PacketCapture& operator=(const PacketCapture&) = delete;

  // `bytes` is a UDP payload with its ICRC.
  void sent(const wire::UdpFlow& flow, uint16_t ip_id, std::span<const std::byte> bytes);
  // The identification is solved for, starting from the hint.
  void received(const wire::UdpFlow& flow, uint16_t ip_id_hint, std::span<const std::byte> bytes);

  // Hands what is buffered to the kernel, so that it survives this process. Batches call it at
  // their end.
  void flush();

  const std::string& path() const { return path_; }
  // What stopped the capture, such as ENOSPC; 0 while it runs.
  int error() const { return error_; }

 private:
  PacketCapture(int fd, std::string path);

  void record(const wire::UdpFlow& flow, uint16_t ip_id, std::span<const std::byte> bytes);
  void put_ip_header(const wire::UdpFlow& flow, uint16_t ip_id, size_t udp_bytes);
  void put_udp_header(const wire::UdpFlow& flow, std::span<const std::byte> bytes);
  void put_be16(uint16_t value);
  void put_host32(uint32_t value);
  void put(const void* data, size_t bytes);
  void stop(int error);

  int fd_;
  std::string path_;
  std::vector<std::byte> buffer_;
  uint64_t file_bytes_ = 0;  // all of it whole records
  int error_ = 0;
  ForkGuard fork_guard_;
};

}  // namespace verbena::io
