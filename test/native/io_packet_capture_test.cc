// Reads capture files back, with a parser of its own and with tshark.

#include "soft/io/packet_capture.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <string>
#include <vector>

#include "io_helpers.h"
#include "soft/io/receive_batch.h"
#include "soft/io/transmit_batch.h"

namespace verbena::io {
namespace {

namespace fs = std::filesystem;

class PacketCaptureTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "verbena-capture-XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    directory_ = pattern;
  }
  void TearDown() override { fs::remove_all(directory_); }

  std::string file(const std::string& name) const { return (directory_ / name).string(); }

  fs::path directory_;
};

struct Record {
  uint32_t seconds;
  std::vector<uint8_t> packet;
};

// Empty unless the file is whole: a header, then records to the last byte.
std::optional<std::vector<Record>> read_capture(const std::string& path) {
  std::ifstream stream(path, std::ios::binary);
  const std::vector<uint8_t> bytes{std::istreambuf_iterator<char>(stream), {}};
  const auto word = [&](size_t at) {
    uint32_t value;
    std::memcpy(&value, &bytes[at], sizeof value);
    return value;
  };
  if (bytes.size() < 24 || word(0) != 0xA1B23C4D || word(20) != 101) return std::nullopt;
  std::vector<Record> records;
  for (size_t at = 24; at != bytes.size();) {
    if (at + 16 > bytes.size() || word(at + 8) != word(at + 12)) return std::nullopt;
    if (word(at + 4) >= 1'000'000'000) return std::nullopt;
    const size_t start = at + 16;
    const size_t end = start + word(at + 8);
    if (end > bytes.size()) return std::nullopt;
    records.push_back(
        {word(at),
         {bytes.begin() + static_cast<long>(start), bytes.begin() + static_cast<long>(end)}});
    at = end;
  }
  return records;
}

uint16_t be16(const std::vector<uint8_t>& bytes, size_t at) {
  return static_cast<uint16_t>(bytes[at] << 8 | bytes[at + 1]);
}

uint32_t ones_sum(const std::vector<uint8_t>& bytes, size_t from, size_t to) {
  uint32_t sum = 0;
  for (size_t i = from; i < to; i += 2) sum += i + 1 < to ? be16(bytes, i) : bytes[i] << 8;
  while (sum > 0xFFFF) sum = (sum & 0xFFFF) + (sum >> 16);
  return sum;
}

// Is the ICRC right for the addresses, ports and identification that the record shows?
bool icrc_matches(const std::vector<uint8_t>& packet) {
  const bool v4 = packet[0] >> 4 == 4;
  const size_t udp = v4 ? 20 : 40;
  wire::UdpFlow flow{};
  if (v4) {
    flow.source = wire::Address::v4(packet[12], packet[13], packet[14], packet[15]);
    flow.destination = wire::Address::v4(packet[16], packet[17], packet[18], packet[19]);
  } else {
    flow.source = wire::Address::from_gid(&packet[8]);
    flow.destination = wire::Address::from_gid(&packet[24]);
  }
  flow.source_port = be16(packet, udp);
  flow.destination_port = be16(packet, udp + 2);
  const auto* payload = reinterpret_cast<const std::byte*>(&packet[udp + 8]);
  const size_t covered = packet.size() - udp - 8 - wire::kIcrcBytes;
  std::array<std::byte, 4> icrc;
  wire::icrc_store(icrc.data(), wire::icrc_compute(flow, be16(packet, 4), {payload, covered}));
  return std::memcmp(icrc.data(), payload + covered, 4) == 0;
}

const wire::UdpFlow kV4{wire::Address::v4(10, 0, 0, 1), wire::Address::v4(10, 0, 0, 2), 4791, 4791};
const wire::UdpFlow kV6{*wire::Address::parse("fd00::1"), *wire::Address::parse("fd00::2"), 4791,
                        4791};

Payload signed_packet(const wire::UdpFlow& flow, uint16_t ip_id, size_t bytes, uint64_t seed = 1) {
  Payload packet = random_payload(bytes + wire::kIcrcBytes, seed);
  const auto covered = std::span(packet).first(bytes);
  wire::icrc_store(packet.data() + bytes, wire::icrc_compute(flow, ip_id, covered));
  return packet;
}

std::unique_ptr<PacketCapture> open_capture(const std::string& pattern) {
  Failure failure;
  auto capture = PacketCapture::open(pattern, failure);
  EXPECT_TRUE(capture) << failure.text;
  return capture;
}

TEST_F(PacketCaptureTest, IsAValidFileWithNoPackets) {
  const auto capture = open_capture(file("empty.pcap"));
  const auto records = read_capture(file("empty.pcap"));
  ASSERT_TRUE(records) << "readable while the capture runs";
  EXPECT_TRUE(records->empty());
}

TEST_F(PacketCaptureTest, HoldsIpv4PacketsWithRightHeaders) {
  const Payload packet = signed_packet(kV4, 7, 60);
  open_capture(file("v4.pcap"))->sent(kV4, 7, packet);
  const auto records = read_capture(file("v4.pcap"));
  ASSERT_TRUE(records);
  ASSERT_EQ(records->size(), 1u);
  const auto& bytes = records->front().packet;
  EXPECT_NEAR(records->front().seconds, time(nullptr), 5);
  ASSERT_EQ(bytes.size(), 28 + packet.size());
  EXPECT_EQ(ones_sum(bytes, 0, 20), 0xFFFFu) << "IP checksum";
  EXPECT_EQ(be16(bytes, 2), bytes.size());
  EXPECT_EQ(be16(bytes, 4), 7);
  EXPECT_EQ(be16(bytes, 22), 4791);
  EXPECT_EQ(be16(bytes, 24), 8 + packet.size());
  EXPECT_EQ(std::memcmp(&bytes[28], packet.data(), packet.size()), 0);
  EXPECT_TRUE(icrc_matches(bytes));
}

TEST_F(PacketCaptureTest, HoldsIpv6PacketsWithRightChecksums) {
  {
    const auto capture = open_capture(file("v6.pcap"));
    for (size_t bytes = 12; bytes < 200; bytes += 4) {
      capture->sent(kV6, 0, signed_packet(kV6, 0, bytes, bytes));
    }
  }
  const auto records = read_capture(file("v6.pcap"));
  ASSERT_TRUE(records);
  ASSERT_EQ(records->size(), 47u);
  for (const Record& record : *records) {
    const auto& packet = record.packet;
    EXPECT_EQ(packet[6], 17);
    EXPECT_EQ(be16(packet, 4), packet.size() - 40);
    // The pseudo-header: addresses, length and protocol; then all of UDP.
    const uint32_t sum =
        ones_sum(packet, 8, packet.size()) + static_cast<uint32_t>(packet.size() - 40) + 17;
    EXPECT_EQ((sum & 0xFFFF) + (sum >> 16), 0xFFFFu);
    EXPECT_TRUE(icrc_matches(packet));
  }
}

TEST_F(PacketCaptureTest, FindsTheIdentificationOfReceivedPackets) {
  open_capture(file("in.pcap"))->received(kV4, 0, signed_packet(kV4, 0xBEEF, 100));
  const auto records = read_capture(file("in.pcap"));
  ASSERT_TRUE(records && records->size() == 1);
  EXPECT_EQ(be16(records->front().packet, 4), 0xBEEF);
  EXPECT_TRUE(icrc_matches(records->front().packet));
}

TEST_F(PacketCaptureTest, KeepsCorruptPacketsAsTheyCame) {
  Payload packet = signed_packet(kV6, 0, 100);
  packet[50] ^= std::byte{0x10};
  open_capture(file("bad.pcap"))->received(kV6, 3, packet);
  const auto records = read_capture(file("bad.pcap"));
  ASSERT_TRUE(records && records->size() == 1);
  EXPECT_FALSE(icrc_matches(records->front().packet));
}

TEST_F(PacketCaptureTest, IsWholeForAnyAmountOfPackets) {
  constexpr size_t kPackets = 3000;  // some 12 MB, many times the buffer
  {
    const auto capture = open_capture(file("many.pcap"));
    for (size_t i = 0; i < kPackets; ++i) {
      capture->sent(kV4, 0, signed_packet(kV4, 0, 12 + 4 * (i % 1024), i));
    }
  }
  const auto records = read_capture(file("many.pcap"));
  ASSERT_TRUE(records);
  EXPECT_EQ(records->size(), kPackets);
}

TEST_F(PacketCaptureTest, NamesTheProcessWhereThePatternSays) {
  const auto capture = open_capture(file("a-%p-%p.pcap"));
  const std::string pid = std::to_string(getpid());
  EXPECT_EQ(capture->path(), file("a-" + pid + "-" + pid + ".pcap"));
  EXPECT_TRUE(fs::exists(capture->path()));
}

TEST_F(PacketCaptureTest, DoesNotTouchTheFileOfARunningCapture) {
  const auto first = open_capture(file("same.pcap"));
  first->sent(kV4, 0, signed_packet(kV4, 0, 40));
  const auto second = open_capture(file("same.pcap"));
  second->sent(kV4, 0, signed_packet(kV4, 0, 80));
  first->flush();
  second->flush();
  EXPECT_EQ(first->path(), file("same.pcap"));
  EXPECT_EQ(second->path(), file("same." + std::to_string(getpid()) + ".pcap"));
  EXPECT_EQ(read_capture(first->path())->size(), 1u);
  EXPECT_EQ(read_capture(second->path())->size(), 1u);
}

TEST_F(PacketCaptureTest, OverwritesTheFileOfAFinishedCapture) {
  open_capture(file("old.pcap"))->sent(kV4, 0, signed_packet(kV4, 0, 4000));
  open_capture(file("old.pcap"));
  const auto records = read_capture(file("old.pcap"));
  ASSERT_TRUE(records);
  EXPECT_TRUE(records->empty());
}

TEST_F(PacketCaptureTest, SaysWhatIsWrongWithAPath) {
  Failure failure;
  EXPECT_EQ(PacketCapture::open(file("missing/out.pcap"), failure), nullptr);
  EXPECT_EQ(failure.error, ENOENT);
  EXPECT_NE(failure.text.find("VERBENA_SOFT_PCAP"), std::string::npos) << failure.text;
  EXPECT_NE(failure.text.find("missing/out.pcap"), std::string::npos) << failure.text;
}

TEST_F(PacketCaptureTest, StaysReadableWhenTheDiskIsFull) {
  // A limit on the size of files stands in for the disk; it cuts a write off in the middle.
  const pid_t child = fork();
  if (child == 0) {
    signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{100'000, 100'000};
    setrlimit(RLIMIT_FSIZE, &limit);
    Failure failure;
    const auto capture = PacketCapture::open(file("full.pcap"), failure);
    for (int i = 0; i < 100; ++i) {
      capture->sent(kV4, 0, signed_packet(kV4, 0, 4000));
      if (i % 3 == 0) capture->flush();
    }
    _exit(capture->error() == EFBIG ? 0 : 1);
  }
  int status = -1;
  waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
  const auto records = read_capture(file("full.pcap"));
  ASSERT_TRUE(records);
  EXPECT_GT(records->size(), 10u);
  EXPECT_LT(records->size(), 26u);
}

TEST_F(PacketCaptureTest, IsNotWrittenByAForkedChild) {
  auto capture = open_capture(file("forked.pcap"));
  capture->sent(kV4, 0, signed_packet(kV4, 0, 40));
  const pid_t child = fork();
  if (child == 0) {
    capture.reset();
    _exit(0);
  }
  waitpid(child, nullptr, 0);
  capture.reset();
  const auto records = read_capture(file("forked.pcap"));
  ASSERT_TRUE(records);
  EXPECT_EQ(records->size(), 1u);
}

// Both directions of real traffic, by a process that is killed: every batch that was sent is in the
// file.
TEST_F(PacketCaptureTest, SurvivesTheDeathOfItsProcess) {
  const wire::Address left_address = test_address(0);
  const wire::Address right_address = test_address(1);
  const pid_t child = fork();
  if (child == 0) {
    const auto left = open_socket(left_address);
    const auto right = open_socket(right_address);
    Failure failure;
    const auto capture = PacketCapture::open(file("killed.pcap"), failure);
    TransmitBatch transmit(*left, nullptr, capture.get());
    ReceiveBatch receive(*right, capture.get());
    for (size_t i = 0; i < 130; ++i) {
      const Payload payload = random_payload(1036, i);
      std::memcpy(transmit.reserve(right_address, payload.size()), payload.data(), payload.size());
      transmit.commit();
    }
    transmit.flush();
    while (receive.fill()) {
      while (receive.next()) {
      }
    }
    raise(SIGKILL);
  }
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_TRUE(WIFSIGNALED(status));
  const auto records = read_capture(file("killed.pcap"));
  ASSERT_TRUE(records);
  ASSERT_EQ(records->size(), 260u);
  for (const Record& record : *records) EXPECT_TRUE(icrc_matches(record.packet));
}

// Lines that tshark prints for the file; one per packet. RPC over RDMA is off: tshark guesses that
// short payloads are RPC messages, and then calls them malformed.
std::vector<std::string> tshark(const std::string& path, const std::string& arguments) {
  const std::string command =
      "tshark -n --disable-protocol rpcordma -r '" + path + "' " + arguments + " 2>/dev/null";
  std::vector<std::string> lines;
  FILE* output = popen(command.c_str(), "r");
  char line[1024];
  while (output != nullptr && std::fgets(line, sizeof line, output) != nullptr) {
    lines.emplace_back(line);
    while (!lines.back().empty() && lines.back().back() == '\n') lines.back().pop_back();
  }
  if (output != nullptr) pclose(output);
  return lines;
}

TEST_F(PacketCaptureTest, IsDissectedByTshark) {
  if (std::system("tshark --version >/dev/null 2>&1") != 0) GTEST_SKIP() << "no tshark here";
  {
    const auto capture = open_capture(file("roce.pcap"));
    for (const wire::UdpFlow& flow : {kV4, kV6}) {
      // SEND ONLY of five bytes, padded to eight, PSN 0x123456.
      const uint8_t send_only[] = {0x04, 0x30, 0xFF, 0xFF, 0,   0xAB, 0xCD, 0xEF, 0x80, 0x12,
                                   0x34, 0x56, 'h',  'e',  'l', 'l',  'o',  0,    0,    0};
      Payload packet(sizeof send_only + 4);
      std::memcpy(packet.data(), send_only, sizeof send_only);
      wire::icrc_store(packet.data() + sizeof send_only,
                       wire::icrc_compute(flow, 0, std::span(packet).first(sizeof send_only)));
      capture->sent(flow, 0, packet);
      capture->received(flow, 0, packet);
    }
  }
  const auto fields = tshark(file("roce.pcap"),
                             "-T fields -E separator=, -e infiniband.bth.opcode "
                             "-e infiniband.bth.destqp -e infiniband.bth.psn "
                             "-e infiniband.invariant.crc");
  ASSERT_EQ(fields.size(), 4u);
  for (const std::string& line : fields) {
    // Versions of tshark differ in the leading zeros of the queue pair number.
    EXPECT_EQ(line.substr(0, 4), "4,0x") << line;
    EXPECT_NE(line.find("abcdef,1193046,0x"), std::string::npos) << line;
  }
  EXPECT_EQ(fields[0], fields[1]);
  EXPECT_EQ(fields[2], fields[3]);
  EXPECT_NE(fields[0], fields[2]);
  EXPECT_EQ(tshark(file("roce.pcap"), "-Y '_ws.malformed or _ws.expert.severity == error'"),
            std::vector<std::string>());
}

}  // namespace
}  // namespace verbena::io
