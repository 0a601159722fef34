// Measures what batches, sockets and ICRCs give without any transport above: the ground the device
// stands on.
//
//   cmake --build --preset default --target udp_ground && build-default/udp_ground

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <thread>
#include <vector>

#include "soft/io/clock.h"
#include "soft/io/device_thread.h"
#include "soft/io/receive_batch.h"
#include "soft/io/transmit_batch.h"
#include "soft/io/udp_socket.h"
#include "soft/wire/crc32.h"
#include "soft/wire/icrc.h"

namespace {

using namespace verbena;

constexpr io::TimeNs kRunNs = io::kNsPerSecond;

std::unique_ptr<io::UdpSocket> open_socket(uint8_t host) {
  io::Failure failure;
  auto socket = io::UdpSocket::open(wire::Address::v4(127, 250, 0, host), {}, failure);
  if (socket == nullptr) {
    std::fprintf(stderr, "%s\n", failure.text.c_str());
    std::exit(1);
  }
  return socket;
}

void fill_packet(io::TransmitBatch& batch, const wire::Address& to, const std::byte* payload,
                 size_t bytes) {
  std::memcpy(batch.reserve(to, bytes), payload, bytes);
  batch.commit();
}

// Returns packets that passed the check.
uint64_t drain(const io::UdpSocket& socket, io::ReceiveBatch& batch) {
  uint64_t valid = 0;
  if (!batch.fill()) return 0;
  while (const auto datagram = batch.next()) {
    const wire::UdpFlow flow{datagram->source, socket.address(), datagram->source_port,
                             socket.port()};
    const auto hint = static_cast<uint16_t>(datagram->segment);
    valid += wire::icrc_check(flow, datagram->bytes, hint, wire::IcrcMode::kStrict).valid ? 1 : 0;
  }
  return valid;
}

struct Stream {
  const char* name;
  size_t bytes;  // of a packet without ICRC
  size_t step;   // each packet of a flush is this much larger than the one before
  size_t packets_a_flush;
  uint64_t window;  // packets in flight at most, so that nothing is lost
};

// A sender and a receiver, each with a core of its own if there are two.
void run_stream(const Stream& stream) {
  const auto left = open_socket(1);
  const auto right = open_socket(2);
  std::atomic<uint64_t> received{0};
  std::atomic<bool> done{false};
  uint64_t calls = 0;
  std::thread receiver([&] {
    io::ReceiveBatch batch(*right, nullptr);
    while (!done.load(std::memory_order_relaxed)) {
      const uint64_t valid = drain(*right, batch);
      if (valid != 0) received.fetch_add(valid, std::memory_order_relaxed);
    }
    calls = batch.counters().system_calls;
  });
  io::TransmitBatch batch(*left, nullptr, nullptr);
  const std::vector<std::byte> payload(stream.bytes + stream.step * stream.packets_a_flush,
                                       std::byte{0x5A});
  uint64_t sent = 0;
  const io::TimeNs start = io::monotonic_now();
  io::TimeNs now = start;
  while (now < start + kRunNs) {
    for (size_t i = 0; i < stream.packets_a_flush; ++i) {
      fill_packet(batch, right->address(), payload.data(), stream.bytes + i * stream.step);
    }
    batch.flush();
    sent += stream.packets_a_flush;
    do {
      now = io::monotonic_now();
    } while (sent - received.load(std::memory_order_relaxed) > stream.window &&
             now < start + 2 * kRunNs);
  }
  const uint64_t arrived = received.load();
  done.store(true);
  receiver.join();
  const double seconds = static_cast<double>(now - start) / io::kNsPerSecond;
  const auto& counters = batch.counters();
  std::printf(
      "%-44s %8.3f M packets/s %7.3f GB/s  %5.1f packets a send  %5.1f a receive  lost %lu\n",
      stream.name, static_cast<double>(arrived) / seconds / 1e6,
      static_cast<double>(counters.bytes) / seconds / 1e9,
      static_cast<double>(counters.packets) / static_cast<double>(counters.system_calls),
      static_cast<double>(arrived) / static_cast<double>(std::max<uint64_t>(1, calls)),
      static_cast<unsigned long>(now >= start + 2 * kRunNs ? sent - arrived : 0));
}

// One side alone: what a packet costs the sender up to the flush, and what the check costs the
// receiver.
void run_costs(size_t bytes) {
  const auto left = open_socket(1);
  const auto right = open_socket(2);
  io::TransmitBatch transmit(*left, nullptr, nullptr);
  io::ReceiveBatch receive(*right, nullptr);
  const std::vector<std::byte> payload(bytes, std::byte{0x5A});
  io::TimeNs committing = 0, flushing = 0, filling = 0, checking = 0;
  uint64_t packets = 0;
  const size_t burst = std::min<size_t>(64, 60'000 / (bytes + 4));
  while (committing + flushing + filling + checking < kRunNs / 2) {
    const io::TimeNs start = io::monotonic_now();
    for (size_t i = 0; i < burst; ++i)
      fill_packet(transmit, right->address(), payload.data(), bytes);
    const io::TimeNs committed = io::monotonic_now();
    transmit.flush();
    const io::TimeNs flushed = io::monotonic_now();
    receive.fill();
    const io::TimeNs filled = io::monotonic_now();
    while (const auto datagram = receive.next()) {
      const wire::UdpFlow flow{datagram->source, right->address(), datagram->source_port,
                               right->port()};
      const auto hint = static_cast<uint16_t>(datagram->segment);
      packets += wire::icrc_check(flow, datagram->bytes, hint, wire::IcrcMode::kStrict).valid;
    }
    const io::TimeNs end = io::monotonic_now();
    committing += committed - start;
    flushing += flushed - committed;
    filling += filled - flushed;
    checking += end - filled;
  }
  const auto each = [&](io::TimeNs total) {
    return static_cast<double>(total) / static_cast<double>(packets);
  };
  std::printf(
      "%5zu bytes, bursts of %2zu, ns a packet: write+ICRC %5.0f  send %5.0f  receive %5.0f  "
      "check %5.0f  all %5.0f\n",
      bytes, burst, each(committing), each(flushing), each(filling), each(checking),
      each(committing + flushing + filling + checking));
}

void print_latency(const char* name, std::vector<io::TimeNs>& round_trips) {
  std::sort(round_trips.begin(), round_trips.end());
  const auto at = [&](double quantile) {
    return static_cast<double>(round_trips[static_cast<size_t>(
               quantile * static_cast<double>(round_trips.size() - 1))]) /
           1000;
  };
  std::printf("%-44s round trip p50 %6.1f us  p99 %6.1f us\n", name, at(0.5), at(0.99));
}

// Answers every packet; driven by a spinning thread or by the device's own.
class Echo : public io::Progress {
 public:
  explicit Echo(uint8_t host)
      : socket_(open_socket(host)),
        transmit_(*socket_, nullptr, nullptr),
        receive_(*socket_, nullptr) {}

  bool drive() override {
    if (!receive_.fill()) return false;
    while (const auto datagram = receive_.next()) {
      fill_packet(transmit_, datagram->source, datagram->bytes.data(), 64);
    }
    transmit_.flush();
    return true;
  }
  io::TimeNs next_deadline() override { return io::kNever; }
  int socket_fd() const override { return socket_->fd(); }
  const wire::Address& address() const { return socket_->address(); }

 private:
  std::unique_ptr<io::UdpSocket> socket_;
  io::TransmitBatch transmit_;
  io::ReceiveBatch receive_;
};

std::vector<io::TimeNs> ping(const wire::Address& to) {
  const auto left = open_socket(1);
  io::TransmitBatch transmit(*left, nullptr, nullptr);
  io::ReceiveBatch receive(*left, nullptr);
  const std::vector<std::byte> payload(64, std::byte{0x5A});
  std::vector<io::TimeNs> round_trips;
  for (int i = 0; i < 20'000; ++i) {
    const io::TimeNs start = io::monotonic_now();
    fill_packet(transmit, to, payload.data(), payload.size());
    transmit.flush();
    while (drain(*left, receive) == 0) {
    }
    round_trips.push_back(io::monotonic_now() - start);
  }
  return round_trips;
}

void run_latency() {
  {
    Echo echo(2);
    std::atomic<bool> done{false};
    std::thread spinning([&] {
      while (!done.load(std::memory_order_relaxed)) echo.drive();
    });
    auto round_trips = ping(echo.address());
    done.store(true);
    spinning.join();
    print_latency("64 bytes, both sides spin", round_trips);
  }
  Echo echo(2);
  io::DeviceThread thread(echo);
  io::Failure failure;
  if (!thread.start(failure)) {
    std::fprintf(stderr, "%s\n", failure.text.c_str());
    std::exit(1);
  }
  auto round_trips = ping(echo.address());
  thread.stop();
  print_latency("64 bytes, answered by the device's thread", round_trips);
}

}  // namespace

int main() {
  std::printf("CRC: %s\n", wire::crc32_chosen().name);
  for (const Stream& stream : {
           Stream{"1 KiB MTU (1036 B), 60 a flush", 1036, 0, 60, 2000},
           Stream{"4 KiB MTU (4108 B), 60 a flush", 4108, 0, 60, 600},
           Stream{"256 B MTU (268 B), 60 a flush", 268, 0, 60, 3000},
           Stream{"64 B, 64 a flush (GSO)", 64, 0, 64, 3000},
           Stream{"16 B acknowledges, 64 a flush (GSO)", 16, 0, 64, 3000},
           Stream{"64 B and growing, 32 a flush (no GSO)", 64, 4, 32, 2000},
           Stream{"64 B, 1 a flush", 64, 0, 1, 2000},
           Stream{"1036 B, 1 a flush", 1036, 0, 1, 1000},
       }) {
    run_stream(stream);
  }
  for (const size_t bytes : {16u, 64u, 1036u, 4108u}) run_costs(bytes);
  run_latency();
  return 0;
}
