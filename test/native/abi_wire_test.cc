// Every opcode that the device sends, captured, and dissected by tshark as our own parser and the
// program that posted the requests have it.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <functional>
#include <set>

#include "soft/wire/syndrome.h"
#include "support/dissection.h"
#include "support/network_namespace.h"
#include "support/unreliable_endpoints.h"

namespace verbena::test {
namespace {

using wire::Opcode;

constexpr ibv_mtu kMtu = IBV_MTU_256;
constexpr uint32_t kShort = 5;
constexpr uint32_t kLong = 601;  // three packets, the last with padding
constexpr uint32_t kAtomicBytes = 8;
constexpr uint32_t kImm = 0x0A0B0C0D;
constexpr uint64_t kSwap = 0x1122334455667788;
constexpr uint64_t kCompare = 0x99AABBCCDDEEFF00;

ConnectOptions connection() {
  ConnectOptions options;
  options.mtu = kMtu;
  options.psn = 0xFFFFFA;  // the numbers wrap
  return options;
}

EndpointOptions bindable(ibv_qp_type type) {
  EndpointOptions options = of_type(type);
  options.access = kAllAccess | IBV_ACCESS_MW_BIND;
  return options;
}

ibv_send_wr request_of(ibv_wr_opcode opcode, ibv_sge& sge) {
  ibv_send_wr request{};
  request.wr_id = 1;
  request.sg_list = &sge;
  request.num_sge = 1;
  request.opcode = opcode;
  request.send_flags = IBV_SEND_SIGNALED | IBV_SEND_SOLICITED;
  if (opcode == IBV_WR_SEND_WITH_IMM || opcode == IBV_WR_RDMA_WRITE_WITH_IMM) {
    request.imm_data = htobe32(kImm);
  }
  return request;
}

class Wire : public testing::Test {
 protected:
  void capture_everything() {
    const std::filesystem::path folder = testing::TempDir();
    path = folder / ("wire-" + std::to_string(getpid()) + ".pcap");
    setenv("VERBENA_SOFT_PCAP", path.c_str(), 1);
    {
      const ContextPtr context = open_soft_device();
      ASSERT_NE(context, nullptr) << std::strerror(errno);
      reliable_connection(context.get());
      refusals(context.get());
      unreliable_connection(context.get());
      datagrams(context.get());
    }
    unsetenv("VERBENA_SOFT_PCAP");
  }
  void TearDown() override { std::filesystem::remove(path); }

  // Some packet that tshark dissected must have all of these.
  void know(Opcode opcode, Fields fields) {
    fields["infiniband.bth.opcode"] = number(static_cast<uint8_t>(opcode));
    known.push_back(std::move(fields));
  }

  void send(const Endpoint& from, const Endpoint& to, ibv_wr_opcode opcode, uint32_t length,
            uint32_t invalidate = 0) {
    ASSERT_EQ(to.post_receive(2, 0, length), 0);
    ibv_sge sge = from.sge(0, length);
    ibv_send_wr request = request_of(opcode, sge);
    if (opcode == IBV_WR_SEND_WITH_INV) request.invalidate_rkey = invalidate;
    ASSERT_EQ(from.post(request), 0);
    from.expect(1);
    to.expect(2);
  }

  void access(const Endpoint& from, const Endpoint& to, ibv_wr_opcode opcode, uint32_t length) {
    const bool takes_receive = opcode == IBV_WR_RDMA_WRITE_WITH_IMM;
    if (takes_receive) {
      ASSERT_EQ(to.post_receive(2, 0, 0), 0);
    }
    ibv_sge sge = from.sge(0, length);
    ibv_send_wr request = request_of(opcode, sge);
    request.wr.rdma = {to.address(64), to.mr()->rkey};
    ASSERT_EQ(from.post(request), 0);
    from.expect(1);
    if (takes_receive) to.expect(2);
  }

  void atomic(const Endpoint& from, const Endpoint& to, ibv_wr_opcode opcode) {
    ibv_sge sge = from.sge(0, 8);
    ibv_send_wr request = request_of(opcode, sge);
    request.wr.atomic = {to.address(128), kCompare, kSwap, to.mr()->rkey};
    ASSERT_EQ(from.post(request), 0);
    from.expect(1);
  }

  // SEND and WRITE in one packet and in several, with and without immediate data.
  void sends_and_writes(const Endpoint& from, const Endpoint& to) {
    from.fill(0, kLong, 3);
    for (const uint32_t length : {kShort, kLong}) {
      send(from, to, IBV_WR_SEND, length);
      send(from, to, IBV_WR_SEND_WITH_IMM, length);
      access(from, to, IBV_WR_RDMA_WRITE, length);
      access(from, to, IBV_WR_RDMA_WRITE_WITH_IMM, length);
    }
  }

  uint32_t bind_window(const Endpoint& owner, ibv_mw* window) {
    ibv_send_wr bind{};
    bind.wr_id = 3;
    bind.opcode = IBV_WR_BIND_MW;
    bind.send_flags = IBV_SEND_SIGNALED;
    bind.bind_mw = {window,
                    ibv_inc_rkey(window->rkey),
                    {owner.mr(), owner.address(), 64, IBV_ACCESS_REMOTE_WRITE}};
    EXPECT_EQ(owner.post(bind), 0);
    owner.expect(3);
    return bind.bind_mw.rkey;
  }

  void sends_with_invalidation(const Endpoint& from, const Endpoint& to) {
    for (const uint32_t length : {kShort, kLong}) {
      ibv_mw* window = ibv_alloc_mw(to.pd(), IBV_MW_TYPE_2);
      ASSERT_NE(window, nullptr);
      const uint32_t key = bind_window(to, window);
      send(from, to, IBV_WR_SEND_WITH_INV, length, key);
      know(length == kShort ? Opcode::kSendOnlyInvalidate : Opcode::kSendLastInvalidate,
           {{"infiniband.ieth", hex_of(key)}});
      EXPECT_EQ(ibv_dealloc_mw(window), 0);
    }
  }

  void know_remote(Opcode opcode, const Endpoint& at, size_t offset, Fields more) {
    more["infiniband.bth.destqp"] = number(at.qp()->qp_num);
    more["infiniband.reth.va"] = number(at.address(offset));
    more["infiniband.reth.r_key"] = number(at.mr()->rkey);
    know(opcode, std::move(more));
  }

  void reliable_connection(ibv_context* context) {
    const Endpoint a(context, bindable(IBV_QPT_RC)), b(context, bindable(IBV_QPT_RC));
    connect(a, b, connection());
    sends_and_writes(a, b);
    know(Opcode::kSendOnly, {{"infiniband.bth.psn", number(connection().psn + 1)},
                             {"infiniband.bth.destqp", number(b.qp()->qp_num)},
                             {"infiniband.bth.se", "1"},
                             {"infiniband.bth.padcnt", "3"},
                             {kPayload, hex({a.buffer(), kShort}) + "000000"}});
    sends_with_invalidation(a, b);
    b.word(128) = kCompare;
    atomic(a, b, IBV_WR_ATOMIC_CMP_AND_SWP);
    atomic(a, b, IBV_WR_ATOMIC_FETCH_AND_ADD);
    a.word(0) = kSwap;
    access(a, b, IBV_WR_ATOMIC_WRITE, kAtomicBytes);
    atomic_write = hex_of(b.address(64)) + hex_of(b.mr()->rkey) + hex_of(kAtomicBytes) +
                   hex({a.buffer(), kAtomicBytes});
    access(a, b, IBV_WR_RDMA_READ, kShort);
    access(a, b, IBV_WR_RDMA_READ, kLong);

    const std::string long_bytes = number(kLong), imm = hex_of(kImm);
    know_remote(Opcode::kWriteFirst, b, 64, {{"infiniband.reth.dmalen", long_bytes}});
    know_remote(Opcode::kWriteOnlyImm, b, 64, {{"infiniband.immdt", imm}});
    know_remote(Opcode::kReadRequest, b, 64, {{"infiniband.reth.dmalen", long_bytes}});
    know_remote(Opcode::kCompareSwap, b, 128,
                {{"infiniband.atomiceth.swapdt", number(kSwap)},
                 {"infiniband.atomiceth.cmpdt", number(kCompare)}});
    know_remote(Opcode::kFetchAdd, b, 128, {{"infiniband.atomiceth.swapdt", number(kCompare)}});
    for (const uint64_t original : {kCompare, kSwap}) {
      know(Opcode::kAtomicAcknowledge, {{"infiniband.atomicacketh.origremdt", number(original)},
                                        {"infiniband.bth.destqp", number(a.qp()->qp_num)}});
    }
    know(Opcode::kSendLastImm, {{"infiniband.immdt", imm}});
    know_syndrome(wire::kAckNoCredits);
  }

  void know_syndrome(uint8_t syndrome) {
    know(Opcode::kAcknowledge, {{"infiniband.aeth.syndrome", number(syndrome)}});
  }

  // One connection for each way to be refused.
  void refusals(ibv_context* context) {
    refuse(context, wire::kNakInvalidRequest, IBV_WC_REM_INV_REQ_ERR, [](auto& a, auto& b) {
      EXPECT_EQ(b.post_receive(2, 0, 4), 0);
      EXPECT_EQ(a.post_send(1, 0, kShort), 0);
    });
    refuse(context, wire::kNakRemoteAccess, IBV_WC_REM_ACCESS_ERR, [](auto& a, auto& b) {
      ibv_sge sge = a.sge(0, kShort);
      ibv_send_wr request = request_of(IBV_WR_RDMA_WRITE, sge);
      request.wr.rdma = {b.address(), b.mr()->rkey + 1};
      EXPECT_EQ(a.post(request), 0);
    });
    refuse(context, wire::kNakRemoteOperational, IBV_WC_REM_OP_ERR, [](auto& a, auto& b) {
      ibv_sge sge{b.address(), 64, b.mr()->lkey + 1};
      ibv_recv_wr request{2, nullptr, &sge, 1};
      ibv_recv_wr* bad = nullptr;
      EXPECT_EQ(ibv_post_recv(b.qp(), &request, &bad), 0);
      EXPECT_EQ(a.post_send(1, 0, kShort), 0);
    });
    ConnectOptions impatient = connection();
    impatient.rnr_retry = 0;
    refuse(
        context, wire::rnr_syndrome(impatient.min_rnr_timer), IBV_WC_RNR_RETRY_EXC_ERR,
        [](auto& a, auto&) { EXPECT_EQ(a.post_send(1, 0, kShort), 0); }, impatient);
    out_of_sequence(context);
  }

  void refuse(ibv_context* context, uint8_t syndrome, ibv_wc_status status,
              const std::function<void(const Endpoint&, const Endpoint&)>& ask,
              const ConnectOptions& options = connection()) {
    const Endpoint a(context), b(context);
    connect(a, b, options);
    ask(a, b);
    a.expect(1, status);
    know_syndrome(syndrome);
  }

  // The requester begins one number later than the responder expects.
  void out_of_sequence(ibv_context* context) {
    ConnectOptions options = connection();
    options.timeout = 8;  // 1 ms
    options.retry_count = 0;
    const Endpoint a(context), b(context);
    for (const Endpoint* each : {&a, &b}) {
      const Endpoint& peer = each == &a ? b : a;
      ASSERT_EQ(each->to_init(options), 0);
      ASSERT_EQ(each->to_rtr(gid_of(context), peer.qp()->qp_num, options), 0);
      ASSERT_EQ(each->to_rts(options.psn + 1, options), 0);
    }
    ASSERT_EQ(a.post_send(1, 0, kShort), 0);
    a.expect(1, IBV_WC_RETRY_EXC_ERR);
    know(Opcode::kAcknowledge, {{"infiniband.aeth.syndrome", number(wire::kNakPsnSequence)},
                                {"infiniband.bth.psn", number(options.psn)}});
  }

  void unreliable_connection(ibv_context* context) {
    const Endpoint a(context, of_type(IBV_QPT_UC)), b(context, of_type(IBV_QPT_UC));
    bring_up_unreliable(a, b.qp()->qp_num, connection());
    bring_up_unreliable(b, a.qp()->qp_num, connection());
    sends_and_writes(a, b);
  }

  void datagrams(ibv_context* context) {
    const Endpoint a(context, of_type(IBV_QPT_UD)), b(context, of_type(IBV_QPT_UD));
    constexpr uint32_t kFirstPsn = 0x00ABCDEF;
    bring_up_datagrams(a, kFirstPsn);
    bring_up_datagrams(b);
    const AhPtr ah = address_handle(a, gid_of(context));
    for (const ibv_wr_opcode opcode : {IBV_WR_SEND, IBV_WR_SEND_WITH_IMM}) {
      ASSERT_EQ(b.post_receive(2, 0, kGrhBytes + kShort), 0);
      ibv_sge sge = a.sge(0, kShort);
      ibv_send_wr request = request_of(opcode, sge);
      request.wr.ud = {ah.get(), b.qp()->qp_num, kQkey};
      ASSERT_EQ(a.post(request), 0);
      a.expect(1);
      b.expect(2);
    }
    Fields fields = {{"infiniband.bth.destqp", number(b.qp()->qp_num)},
                     {"infiniband.bth.psn", number(kFirstPsn)},
                     {"infiniband.deth.q_key", number(kQkey)},
                     {"infiniband.deth.srcqp", number(a.qp()->qp_num)}};
    know(Opcode::kDatagramSend, fields);
    fields["infiniband.bth.psn"] = number(kFirstPsn + 1);
    fields["infiniband.immdt"] = hex_of(kImm);
    know(Opcode::kDatagramSendImm, fields);
  }

  // --- comparisons

  void expect_nothing_to_complain_about() const {
    constexpr char kWarningsAndErrors[] = "_ws.malformed || _ws.expert.severity >= 6291456";
    EXPECT_EQ(tshark(path, kWarningsAndErrors), std::vector<std::string>{});
    EXPECT_EQ(tshark(path, "!infiniband"), std::vector<std::string>{});
  }

  void expect_every_opcode() const {
    std::set<int> sent, all;
    for (const auto& bytes : payloads) sent.insert(std::to_integer<int>(bytes[0]));
    for (int opcode = 0; opcode < 256; ++opcode) {
      if (wire::opcode_info(static_cast<uint8_t>(opcode)) != nullptr) all.insert(opcode);
    }
    EXPECT_EQ(sent, all);
  }

  // tshark 4.0 does not know ATOMIC WRITE; see expect_atomic_writes.
  void expect_the_same_fields() const {
    const std::vector<Fields> packets = as_tshark_has_it(path);
    ASSERT_EQ(packets.size(), payloads.size());
    for (size_t i = 0; i < packets.size(); ++i) {
      const bool understood = !packets[i].contains(kUnknown);
      EXPECT_TRUE(understood || payloads[i][0] == std::byte(Opcode::kAtomicWrite))
          << "packet " << i + 1;
      EXPECT_EQ(packets[i], as_we_parse(payloads[i], understood)) << "packet " << i + 1;
    }
    for (const Fields& fields : known) {
      const auto holds = [&](const Fields& packet) {
        return std::includes(packet.begin(), packet.end(), fields.begin(), fields.end());
      };
      EXPECT_TRUE(std::any_of(packets.begin(), packets.end(), holds))
          << "no packet has " << testing::PrintToString(fields);
    }
  }

  // RETH and value, as the program knows them, between the BTH and the ICRC.
  void expect_atomic_writes() const {
    for (const auto& bytes : payloads) {
      if (bytes[0] != std::byte(Opcode::kAtomicWrite)) continue;
      const auto behind = std::span(bytes).subspan(wire::kBthBytes);
      EXPECT_EQ(hex(behind.first(behind.size() - wire::kIcrcBytes)), atomic_write);
    }
  }

  void cross_check() {
    ASSERT_NO_FATAL_FAILURE(capture_everything());
    payloads = read_udp_payloads(path);
    expect_nothing_to_complain_about();
    expect_every_opcode();
    expect_the_same_fields();
    expect_atomic_writes();
  }

  std::string path;
  std::vector<std::vector<std::byte>> payloads;
  std::vector<Fields> known;
  std::string atomic_write;
};

TEST_F(Wire, OverIpv4IsWhatTsharkSees) {
  cross_check();
}

TEST_F(Wire, OverIpv6IsWhatTsharkSees) {
  ASSERT_NO_FATAL_FAILURE(enter_own_network());
  setenv("VERBENA_SOFT_ADDR", "::1", 1);
  cross_check();
}

}  // namespace
}  // namespace verbena::test
