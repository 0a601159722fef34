// Sends packets through real sockets in batches and checks what arrives: bytes, order, ICRCs,
// grouping, losses.

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <optional>
#include <vector>

#include "io_helpers.h"
#include "soft/io/interface.h"
#include "soft/io/receive_batch.h"
#include "soft/io/transmit_batch.h"
#include "soft/wire/icrc.h"

namespace verbena::io {
namespace {

wire::IcrcVerdict check(const UdpSocket& receiver, const Datagram& datagram,
                        wire::IcrcMode mode = wire::IcrcMode::kStrict) {
  return wire::icrc_check(
      {datagram.source, receiver.address(), datagram.source_port, receiver.port()}, datagram.bytes,
      static_cast<uint16_t>(datagram.segment), mode);
}

struct Arrival {
  wire::Address source;
  Payload payload;  // without ICRC
  uint32_t segment;
  wire::IcrcVerdict icrc;
};

// Receives until `packets` are there or nothing more comes.
std::vector<Arrival> receive(const UdpSocket& socket, ReceiveBatch& batch, size_t packets) {
  std::vector<Arrival> arrivals;
  while (arrivals.size() < packets && wait_readable(socket)) {
    batch.fill();
    while (const auto datagram = batch.next()) {
      const auto covered = datagram->bytes.first(datagram->bytes.size() - wire::kIcrcBytes);
      arrivals.push_back({datagram->source, Payload(covered.begin(), covered.end()),
                          datagram->segment, check(socket, *datagram)});
    }
  }
  return arrivals;
}

void put(TransmitBatch& batch, const wire::Address& destination, const Payload& payload) {
  std::memcpy(batch.reserve(destination, payload.size()), payload.data(), payload.size());
  batch.commit();
}

class Batches : public testing::Test {
 protected:
  void SetUp() override {
    left_ = open_socket(test_address(0));
    right_ = open_socket(test_address(1));
    ASSERT_TRUE(left_ && right_);
    transmit_.emplace(*left_, nullptr, nullptr);
    receive_.emplace(*right_, nullptr);
  }

  void send(const std::vector<Payload>& payloads) {
    for (const Payload& payload : payloads) put(*transmit_, right_->address(), payload);
    transmit_->flush();
  }

  // Sends and expects exactly these packets, in order, each with an ICRC that was right at the
  // first guess.
  void expect_round_trip(const std::vector<Payload>& payloads) {
    send(payloads);
    const auto arrivals = receive(*right_, *receive_, payloads.size());
    ASSERT_EQ(arrivals.size(), payloads.size());
    for (size_t i = 0; i < payloads.size(); ++i) {
      EXPECT_EQ(arrivals[i].payload, payloads[i]) << i;
      EXPECT_EQ(arrivals[i].source, left_->address());
      EXPECT_TRUE(arrivals[i].icrc.valid) << i;
      EXPECT_EQ(arrivals[i].icrc.ip_id, arrivals[i].segment) << i;
    }
  }

  std::unique_ptr<UdpSocket> left_;
  std::unique_ptr<UdpSocket> right_;
  std::optional<TransmitBatch> transmit_;
  std::optional<ReceiveBatch> receive_;
};

std::vector<Payload> equal_payloads(size_t count, size_t bytes) {
  std::vector<Payload> payloads;
  for (size_t i = 0; i < count; ++i) payloads.push_back(random_payload(bytes, i * 7919 + bytes));
  return payloads;
}

TEST_F(Batches, CarryOnePacketOfEverySize) {
  for (size_t bytes = 12; bytes <= 4096 + 64; bytes += 4) {
    ASSERT_NO_FATAL_FAILURE(expect_round_trip({random_payload(bytes, bytes)})) << bytes;
  }
  EXPECT_EQ(transmit_->counters().dropped(), 0u);
}

TEST_F(Batches, CarryBurstsOfManySizesAndLengths) {
  for (const size_t bytes : {12u, 16u, 28u, 276u, 536u, 1040u, 1060u, 2064u, 4112u, 9000u}) {
    for (const size_t count : {1u, 2u, 3u, 7u, 15u, 63u, 64u, 65u, 130u}) {
      ASSERT_NO_FATAL_FAILURE(expect_round_trip(equal_payloads(count, bytes)))
          << count << " packets of " << bytes;
    }
  }
  EXPECT_EQ(transmit_->counters().dropped(), 0u);
  EXPECT_TRUE(transmit_->uses_gso());
}

TEST_F(Batches, CarryMessagesAsTheTransportCutsThem) {
  // FIRST with its RETH, equal MIDDLEs, a shorter LAST, and an ACK between: no two runs alike.
  std::vector<Payload> payloads;
  for (size_t message = 0; message < 20; ++message) {
    payloads.push_back(random_payload(28 + 1024, message));
    for (size_t middle = 0; middle < message; ++middle) {
      payloads.push_back(random_payload(12 + 1024, 100 * message + middle));
    }
    payloads.push_back(random_payload(12 + 4 * (message + 1), message + 5000));
    payloads.push_back(random_payload(16, message + 6000));
  }
  expect_round_trip(payloads);
}

TEST_F(Batches, CarryPacketsThatGrowAndShrink) {
  std::vector<Payload> payloads;
  for (size_t i = 0; i < 100; ++i) payloads.push_back(random_payload(12 + 4 * (i * i % 97), i));
  expect_round_trip(payloads);
}

TEST_F(Batches, SendEqualPacketsAsOneMessage) {
  send(equal_payloads(58, 1096));
  EXPECT_EQ(transmit_->counters().packets, 58u);
  EXPECT_EQ(transmit_->counters().messages, 1u);
  EXPECT_EQ(transmit_->counters().system_calls, 1u);
}

TEST_F(Batches, CloseABurstWithItsFirstShorterPacket) {
  send({random_payload(1036, 1), random_payload(1036, 2), random_payload(40, 3),
        random_payload(40, 4), random_payload(1036, 5)});
  // {1036, 1036, 40}, {40}, {1036}
  EXPECT_EQ(transmit_->counters().messages, 3u);
}

TEST_F(Batches, SendSmallPacketsOfDifferentSizesInOneSystemCall) {
  std::vector<Payload> payloads;
  for (size_t i = 0; i < 40; ++i) payloads.push_back(random_payload(12 + 4 * i, i));
  send(payloads);
  EXPECT_EQ(transmit_->counters().packets, 40u);
  EXPECT_EQ(transmit_->counters().system_calls, 1u);
}

TEST_F(Batches, NeverMakeABurstLargerThanADatagram) {
  send(equal_payloads(60, 4108));
  EXPECT_EQ(transmit_->counters().packets, 60u);
  EXPECT_EQ(transmit_->counters().dropped(), 0u);
  EXPECT_EQ(transmit_->counters().messages, 4u);  // 15 x 4112 bytes fit into 65,507
}

TEST_F(Batches, FlushByThemselvesWhenFull) {
  // Well over the arena; the receive buffer holds it all.
  const auto payloads = equal_payloads(400, 1036);
  for (const Payload& payload : payloads) put(*transmit_, right_->address(), payload);
  EXPECT_GT(transmit_->counters().packets, 0u);
  transmit_->flush();
  const auto arrivals = receive(*right_, *receive_, payloads.size());
  ASSERT_EQ(arrivals.size(), payloads.size());
  for (size_t i = 0; i < payloads.size(); ++i) EXPECT_EQ(arrivals[i].payload, payloads[i]);
}

TEST_F(Batches, ForgetARoomThatWasNotCommitted) {
  transmit_->reserve(right_->address(), 2000);
  expect_round_trip({random_payload(40, 1)});
  EXPECT_EQ(transmit_->counters().packets, 1u);
}

TEST_F(Batches, DoNothingWhenThereIsNothingToSend) {
  transmit_->flush();
  EXPECT_EQ(transmit_->counters().system_calls, 0u);
  EXPECT_FALSE(receive_->fill());
  EXPECT_FALSE(receive_->next());
}

TEST_F(Batches, KeepDestinationsApart) {
  const auto third = open_socket(test_address(2));
  ASSERT_TRUE(third);
  ReceiveBatch third_receive(*third, nullptr);
  for (size_t i = 0; i < 30; ++i) {
    put(*transmit_, i % 3 == 0 ? third->address() : right_->address(), random_payload(200, i));
  }
  transmit_->flush();
  EXPECT_EQ(transmit_->counters().system_calls, 1u);
  const auto at_right = receive(*right_, *receive_, 20);
  const auto at_third = receive(*third, third_receive, 10);
  ASSERT_EQ(at_right.size(), 20u);
  ASSERT_EQ(at_third.size(), 10u);
  for (size_t i = 0; i < 10; ++i) {
    EXPECT_EQ(at_third[i].payload, random_payload(200, 3 * i));
    EXPECT_TRUE(at_third[i].icrc.valid);
    EXPECT_EQ(at_right[2 * i].payload, random_payload(200, 3 * i + 1));
    EXPECT_TRUE(at_right[2 * i].icrc.valid);
  }
}

// A receiver without GRO gets every packet by itself and must find its identification on its own.
TEST_F(Batches, AreUnderstoodByReceiversWithoutGro) {
  const int off = 0;
  ASSERT_EQ(setsockopt(right_->fd(), SOL_UDP, UDP_GRO, &off, sizeof off), 0);
  const auto payloads = equal_payloads(64, 1000);
  send(payloads);
  const auto arrivals = receive(*right_, *receive_, payloads.size());
  ASSERT_EQ(arrivals.size(), payloads.size());
  for (size_t i = 0; i < payloads.size(); ++i) {
    EXPECT_EQ(arrivals[i].payload, payloads[i]);
    EXPECT_TRUE(arrivals[i].icrc.valid);
    EXPECT_EQ(arrivals[i].icrc.ip_id, i);
  }
}

TEST_F(Batches, RefuseWhatWasSentFromAnotherPort) {
  const auto stranger = open_socket(test_address(0), {.port = 14791});
  ASSERT_TRUE(stranger);
  const Payload packet(32);
  sockaddr_storage name{};
  const socklen_t length = right_->address().to_sockaddr(right_->port(), name);
  ASSERT_EQ(sendto(stranger->fd(), packet.data(), packet.size(), 0,
                   reinterpret_cast<sockaddr*>(&name), length),
            32);
  const auto arrivals = receive(*right_, *receive_, 1);
  ASSERT_EQ(arrivals.size(), 1u);
  EXPECT_FALSE(arrivals[0].icrc.valid);
}

TEST_F(Batches, CountWhatTheSocketBufferCouldNotHold) {
  const auto small = open_socket(test_address(2), {.port = kRocePort, .buffer_bytes = 8 << 10});
  ASSERT_TRUE(small);
  ReceiveBatch batch(*small, nullptr);
  constexpr size_t kSent = 200;
  // Every packet is larger than the one before, and so a message of its own.
  for (size_t i = 0; i < kSent; ++i) put(*transmit_, small->address(), Payload(100 + 4 * i));
  transmit_->flush();
  size_t received = 0;
  while (batch.fill()) {
    while (batch.next()) ++received;
  }
  ASSERT_LT(received, kSent);
  // The count comes with the first packet that arrives after the losses.
  put(*transmit_, small->address(), random_payload(100, 1));
  transmit_->flush();
  ASSERT_TRUE(wait_readable(*small));
  while (batch.fill()) {
    while (batch.next()) ++received;
  }
  EXPECT_EQ(received + batch.counters().socket_drops, kSent + 1);
}

TEST_F(Batches, CountPacketsThatHaveNoRoute) {
  put(*transmit_, wire::Address::v4(255, 255, 255, 255), random_payload(40, 1));
  put(*transmit_, right_->address(), random_payload(40, 2));
  transmit_->flush();
  EXPECT_EQ(transmit_->counters().dropped_other, 1u);
  EXPECT_EQ(transmit_->counters().last_error, EACCES);
  // What follows is sent all the same.
  EXPECT_EQ(receive(*right_, *receive_, 1).size(), 1u);
}

TEST_F(Batches, DropEverythingInAForkedChild) {
  put(*transmit_, right_->address(), random_payload(40, 1));
  const pid_t child = fork();
  if (child == 0) {
    transmit_->flush();
    const bool silent = transmit_->counters().dropped_other == 1 && !receive_->fill();
    _exit(silent ? 0 : 1);
  }
  int status = -1;
  waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
  EXPECT_FALSE(receive_->fill());
  transmit_->flush();
  EXPECT_EQ(receive(*right_, *receive_, 1).size(), 1u);
}

TEST_F(Batches, SendOneByOneWhenGsoIsRefused) {
  // The kernel does not do GSO without checksums, which is a way to have it refuse.
  const int on = 1;
  ASSERT_EQ(setsockopt(left_->fd(), SOL_SOCKET, SO_NO_CHECK, &on, sizeof on), 0);
  const auto payloads = equal_payloads(20, 500);
  send(payloads);
  EXPECT_FALSE(transmit_->uses_gso());
  const auto arrivals = receive(*right_, *receive_, payloads.size());
  ASSERT_EQ(arrivals.size(), payloads.size());
  for (size_t i = 0; i < payloads.size(); ++i) {
    EXPECT_EQ(arrivals[i].payload, payloads[i]);
    EXPECT_TRUE(arrivals[i].icrc.valid);
    EXPECT_EQ(arrivals[i].icrc.ip_id, 0);
  }
  EXPECT_EQ(transmit_->counters().dropped(), 0u);
  const uint64_t calls = transmit_->counters().system_calls;
  ASSERT_NO_FATAL_FAILURE(expect_round_trip(payloads));
  EXPECT_EQ(transmit_->counters().system_calls, calls + 1) << "it is not tried again";
}

TEST_F(Batches, HandOutDatagramsThatCanBeChanged) {
  send({random_payload(40, 1)});
  ASSERT_TRUE(wait_readable(*right_));
  ASSERT_TRUE(receive_->fill());
  const auto datagram = receive_->next();
  ASSERT_TRUE(datagram);
  EXPECT_TRUE(check(*right_, *datagram).valid);
  datagram->bytes[20] ^= std::byte{1};
  EXPECT_FALSE(check(*right_, *datagram).valid);
}

// IPv6 loopback is one address, so the socket talks to itself.
TEST(BatchesOnIpv6, CarryBurstsWithIcrcs) {
  const auto address = *wire::Address::parse("::1");
  if (!interface_of(address)) GTEST_SKIP() << "this machine has no ::1";
  const auto port = static_cast<uint16_t>(20'000 + getpid() % 12'000);
  const auto socket = open_socket(address, {.port = port});
  ASSERT_TRUE(socket);
  TransmitBatch transmit(*socket, nullptr, nullptr);
  ReceiveBatch batch(*socket, nullptr);
  const auto payloads = equal_payloads(100, 1060);
  for (const Payload& payload : payloads) put(transmit, address, payload);
  transmit.flush();
  EXPECT_EQ(transmit.counters().system_calls, 1u);
  EXPECT_TRUE(transmit.uses_gso());
  const auto arrivals = receive(*socket, batch, payloads.size());
  ASSERT_EQ(arrivals.size(), payloads.size());
  for (size_t i = 0; i < payloads.size(); ++i) {
    EXPECT_EQ(arrivals[i].payload, payloads[i]);
    EXPECT_EQ(arrivals[i].source, address);
    EXPECT_TRUE(arrivals[i].icrc.valid);
  }
}

TEST(BatchesOnIpv6, AcceptPacketsWithoutUdpChecksum) {
  const auto address = *wire::Address::parse("::1");
  if (!interface_of(address)) GTEST_SKIP() << "this machine has no ::1";
  const auto port = static_cast<uint16_t>(20'000 + getpid() % 12'000);
  const auto socket = open_socket(address, {.port = port});
  ASSERT_TRUE(socket);
  const int on = 1;
  ASSERT_EQ(setsockopt(socket->fd(), SOL_UDP, UDP_NO_CHECK6_TX, &on, sizeof on), 0);
  TransmitBatch transmit(*socket, nullptr, nullptr);
  ReceiveBatch batch(*socket, nullptr);
  put(transmit, address, random_payload(100, 1));
  transmit.flush();
  const auto arrivals = receive(*socket, batch, 1);
  ASSERT_EQ(arrivals.size(), 1u);
  EXPECT_TRUE(arrivals[0].icrc.valid);
}

struct FaultyRun {
  FaultCounters faults;
  std::vector<Arrival> arrivals;
};

// Sends numbered packets through fault injection, in flushes of 32.
FaultyRun run_with_faults(const FaultPlan& plan, uint32_t packets) {
  const auto left = open_socket(test_address(0));
  const auto right = open_socket(test_address(1));
  FaultInjector faults(plan);
  TransmitBatch transmit(*left, &faults, nullptr);
  ReceiveBatch batch(*right, nullptr);
  FaultyRun run;
  const auto drain = [&] {
    while (batch.fill()) {
      while (const auto datagram = batch.next()) {
        run.arrivals.push_back({datagram->source,
                                Payload(datagram->bytes.begin(), datagram->bytes.end() - 4),
                                datagram->segment, check(*right, *datagram)});
      }
    }
  };
  for (uint32_t number = 0; number < packets; ++number) {
    Payload payload = random_payload(64, number);
    std::memcpy(payload.data() + 12, &number, sizeof number);
    put(transmit, right->address(), payload);
    if (number % 32 == 31) {
      transmit.flush();
      drain();
    }
  }
  transmit.flush();
  transmit.release_held();
  drain();
  EXPECT_EQ(transmit.counters().dropped(), 0u);
  run.faults = faults.counters();
  return run;
}

TEST(BatchesWithFaults, LoseAndDuplicateAndCorruptAsCounted) {
  const FaultPlan plan{.drop = 0.05, .duplicate = 0.04, .reorder = 0.1, .corrupt = 0.03, .seed = 5};
  const FaultyRun run = run_with_faults(plan, 4000);
  EXPECT_EQ(run.faults.packets, 4000u);
  EXPECT_EQ(run.arrivals.size(), 4000 - run.faults.dropped + run.faults.duplicated);
  size_t invalid = 0;
  for (const Arrival& arrival : run.arrivals) invalid += arrival.icrc.valid ? 0 : 1;
  // A corrupted packet may have been duplicated as well.
  EXPECT_GE(invalid, run.faults.corrupted);
  EXPECT_LE(invalid, run.faults.corrupted + run.faults.duplicated);
  EXPECT_GT(run.faults.reordered, 0u);
}

TEST(BatchesWithFaults, ReorderButLoseNothing) {
  const FaultyRun run = run_with_faults({.reorder = 0.2, .seed = 9}, 2000);
  ASSERT_EQ(run.arrivals.size(), 2000u);
  std::vector<uint32_t> numbers;
  for (const Arrival& arrival : run.arrivals) {
    EXPECT_TRUE(arrival.icrc.valid);
    uint32_t number;
    std::memcpy(&number, arrival.payload.data() + 12, sizeof number);
    numbers.push_back(number);
  }
  size_t late = 0;
  for (size_t i = 1; i < numbers.size(); ++i) late += numbers[i] < numbers[i - 1] ? 1 : 0;
  EXPECT_GT(late, 100u);
  // Nobody is overtaken by more than a few.
  for (size_t i = 0; i < numbers.size(); ++i) EXPECT_LE(std::abs(int(numbers[i]) - int(i)), 24);
  std::sort(numbers.begin(), numbers.end());
  for (uint32_t i = 0; i < 2000; ++i) EXPECT_EQ(numbers[i], i);
}

}  // namespace
}  // namespace verbena::io
