// Fuzzes sequences of verbs calls: two devices whose objects come and go in any order, with any
// attributes and requests, while packets flow between them.
//
// The transition table stands before modify_qp, as in the library.
#include <array>
#include <memory>

#include "input.h"
#include "simulation/check.h"
#include "support/simulated_pair.h"
#include "util/qp_transitions.h"

namespace verbena::test {
namespace {

constexpr size_t kObjects = 8;
constexpr uint32_t kRegionBytes = 16384;
constexpr uint32_t kPds = 2;
constexpr uint32_t kMostCalls = 2000;
constexpr uint32_t kMostSge = 4;

struct Region {
  std::vector<std::byte> bytes;
  uint32_t key = 0;
  uint32_t pd = 0;
};

struct Device {
  Device(Network& network, uint8_t number)
      : host(network, Address::v4(10, 0, 0, number), number, 1 << 16) {}

  Host host;
  std::array<QueuePair*, kObjects> queues{};
  std::array<Region, kObjects> regions{};
  std::array<uint32_t, kObjects> windows{};
  CompletionQueue small{16, nullptr, nullptr};
  CompletionQueue large{1024, nullptr, nullptr};
  engine::SharedReceiveQueue srq{0, engine::ReceiveQueue(16, kMostSge), 0, nullptr};
};

class Calls {
 public:
  explicit Calls(Input& input) : input_(input) {}

  void run() {
    for (uint32_t calls = 0; calls < kMostCalls && !input_.empty(); ++calls) {
      Device& device = devices_[input_.below(2)];
      call(device, devices_[&device == &devices_[0] ? 1 : 0]);
    }
    advance(kSecond);
    for (Device& device : devices_) release(device);
  }

 private:
  void call(Device& device, Device& peer) {
    switch (input_.below(12)) {
      case 0:
        return create(device);
      case 1:
        return destroy(device, choose(device));
      case 2:
        return modify(device, peer, choose(device));
      case 3:
        return connect_all(device, peer);
      case 4:
        return register_region(device);
      case 5:
        return deregister(device);
      case 6:
        return allocate_window(device);
      case 7:
        return post_receive(device, choose(device));
      case 8:
        return poll(device);
      case 9:
        return advance((1 + input_.byte()) * 100 * kUs);
      default:
        return post_send(device, peer, choose(device));
    }
  }

  QueuePair*& choose(Device& device) { return device.queues[input_.below(kObjects)]; }

  void create(Device& device) {
    QueuePair*& qp = choose(device);
    if (qp != nullptr) return;
    static constexpr ibv_qp_type kTypes[] = {IBV_QPT_RC, IBV_QPT_RC, IBV_QPT_UC, IBV_QPT_UD};
    CompletionQueue& cq = input_.flag() ? device.small : device.large;
    const ibv_qp_type type = kTypes[input_.below(4)];
    const bool shares = input_.below(4) == 0;
    qp = device.host.engine().create_qp(
        {input_.below(kPds), &cq, &device.large, 1 + input_.below(16), 1 + input_.below(16),
         kMostSge, kMostSge, 64, input_.flag(), nullptr, type, shares ? &device.srq : nullptr});
  }

  void destroy(Device& device, QueuePair*& qp) {
    if (qp == nullptr) return;
    device.host.engine().destroy_qp(*qp);
    qp = nullptr;
  }

  int modify(Device& device, QueuePair& qp, const ibv_qp_attr& attributes, int mask) {
    const auto& rule = util::qp_transition(qp.state, attributes.qp_state, qp.options.type);
    const int given = mask & ~IBV_QP_STATE;
    if (!rule.allowed || (rule.required & ~given) != 0) return EINVAL;
    if ((given & ~(rule.required | rule.optional)) != 0) return EINVAL;
    return device.host.engine().modify_qp(qp, attributes, mask);
  }

  void modify(Device& device, Device& peer, QueuePair* qp) {
    if (qp == nullptr) return;
    ibv_qp_attr attributes{};
    attributes.qp_state = static_cast<ibv_qp_state>(input_.below(7));
    const auto& rule = util::qp_transition(qp->state, attributes.qp_state, qp->options.type);
    fill(attributes, *qp, peer);
    const int optional = static_cast<int>(input_.word()) & rule.optional;
    modify(device, *qp, attributes, IBV_QP_STATE | rule.required | optional);
  }

  void fill(ibv_qp_attr& attributes, QueuePair& qp, Device& peer) {
    const QueuePair* other = choose(peer);
    attributes.port_num = 1;
    attributes.qp_access_flags = input_.byte();
    attributes.path_mtu = static_cast<ibv_mtu>(input_.below(7));
    attributes.dest_qp_num = other == nullptr ? qp.qpn : other->qpn;
    attributes.rq_psn = attributes.sq_psn = input_.word();
    attributes.max_rd_atomic = attributes.max_dest_rd_atomic = input_.byte() % 18;
    attributes.timeout = input_.byte() % 34;
    attributes.retry_cnt = attributes.rnr_retry = input_.byte() % 9;
    attributes.min_rnr_timer = input_.byte() % 34;
    attributes.en_sqd_async_notify = input_.flag() ? 1 : 0;
    attributes.ah_attr.is_global = 1;
    attributes.ah_attr.port_num = 1;
    std::memcpy(&attributes.ah_attr.grh.dgid, peer.host.address().gid.data(), 16);
  }

  // Joins each queue pair to that of its place on the other side, if both are unused.
  void connect_all(Device& device, Device& peer) {
    for (size_t i = 0; i < kObjects; ++i) {
      QueuePair *a = device.queues[i], *b = peer.queues[i];
      if (a == nullptr || b == nullptr || a->options.type != b->options.type) continue;
      if (a->state != IBV_QPS_RESET || b->state != IBV_QPS_RESET) continue;
      const PairOptions options{.mtu = IBV_MTU_256, .timeout = 8, .retry_count = 2};
      connect(device.host, *a, 0xFFFFFE, peer.host, *b, 7, options);
      connect(peer.host, *b, 7, device.host, *a, 0xFFFFFE, options);
    }
  }

  void register_region(Device& device) {
    Region& region = device.regions[input_.below(kObjects)];
    if (region.key != 0) return;
    region.bytes.assign(kRegionBytes, std::byte{0});
    region.pd = input_.below(kPds);
    const auto own = reinterpret_cast<uint64_t>(region.bytes.data());
    region.key = device.host.engine().memory().insert(
        {region.pd, region.bytes.data(), kRegionBytes, own, 0x1F | input_.byte()});
  }

  // Not while windows are bound to it, as in the library.
  void deregister(Device& device) {
    Region& region = device.regions[input_.below(kObjects)];
    if (region.key == 0) return;
    const auto* found = device.host.engine().memory().find(region.key);
    hold(found != nullptr, "a region is gone that was not deregistered");
    if (found->windows != 0) return;
    device.host.engine().memory().erase(region.key);
    region = {};
  }

  void allocate_window(Device& device) {
    uint32_t& window = device.windows[input_.below(kObjects)];
    const auto type = input_.flag() ? IBV_MW_TYPE_1 : IBV_MW_TYPE_2;
    if (window == 0) window = device.host.engine().memory().insert_window(input_.below(kPds), type);
  }

  ibv_sge sge(Device& device) {
    const Region& region = device.regions[input_.below(kObjects)];
    const uint32_t length = input_.below(2048), offset = input_.below(kRegionBytes);
    return {reinterpret_cast<uint64_t>(region.bytes.data()) + offset, length, region.key};
  }

  void post_receive(Device& device, QueuePair* qp) {
    if (qp == nullptr) return;
    std::array<ibv_sge, kMostSge + 1> sges;
    for (auto& each : sges) each = sge(device);
    ibv_recv_wr request{input_.byte(), nullptr, sges.data(),
                        static_cast<int>(input_.below(kMostSge + 2))};
    if (input_.flag()) {
      device.host.engine().post_receive(*qp, request);
    } else {
      device.srq.queue.post(request);
    }
  }

  void post_send(Device& device, Device& peer, QueuePair* qp) {
    if (qp == nullptr) return;
    std::array<ibv_sge, kMostSge> sges;
    for (auto& each : sges) each = sge(device);
    ibv_send_wr request{};
    request.wr_id = input_.byte();
    request.opcode = static_cast<ibv_wr_opcode>(input_.below(16));
    request.send_flags = input_.byte() & ~static_cast<unsigned>(IBV_SEND_INLINE);
    request.sg_list = sges.data();
    request.num_sge = static_cast<int>(input_.below(kMostSge + 1));
    request.imm_data = input_.word();
    const Region& target = peer.regions[input_.below(kObjects)];
    const uint64_t to =
        reinterpret_cast<uint64_t>(target.bytes.data()) + input_.below(kRegionBytes);
    // An ATOMIC WRITE and inline data are read when they are posted: from memory that is there.
    std::array<std::byte, 64> now{};
    const bool reads_now = request.opcode == IBV_WR_ATOMIC_WRITE || input_.below(4) == 0;
    if (reads_now) {
      sges[0] = {reinterpret_cast<uint64_t>(now.data()), input_.below(65), 0};
      request.num_sge = 1;
      request.send_flags |= IBV_SEND_INLINE;
    }
    ibv_mw window{};
    ibv_mr region{};
    choose_target(device, peer, request, target, to, window, region);
    device.host.engine().post_send(*qp, request, peer.host.address());
  }

  void choose_target(Device& device, Device& peer, ibv_send_wr& request, const Region& target,
                     uint64_t to, ibv_mw& window, ibv_mr& region) {
    const bool by_window = input_.below(3) == 0;
    const uint32_t key = by_window ? peer.windows[input_.below(kObjects)] : target.key;
    switch (request.opcode) {
      case IBV_WR_ATOMIC_CMP_AND_SWP:
      case IBV_WR_ATOMIC_FETCH_AND_ADD:
        request.wr.atomic = {to & ~uint64_t{7}, input_.wide(), input_.wide(), key};
        return;
      case IBV_WR_BIND_MW: {
        uint32_t& mine = device.windows[input_.below(kObjects)];
        const Region& whole = device.regions[input_.below(kObjects)];
        window.rkey = mine;
        region.lkey = whole.key;
        request.bind_mw.mw = &window;
        request.bind_mw.rkey = mine;
        request.bind_mw.bind_info = {&region, reinterpret_cast<uint64_t>(whole.bytes.data()),
                                     input_.below(kRegionBytes), input_.byte()};
        return;
      }
      case IBV_WR_LOCAL_INV:
      case IBV_WR_SEND_WITH_INV:
        request.invalidate_rkey = device.windows[input_.below(kObjects)];
        return;
      default:
        if (request.opcode == IBV_WR_SEND || request.opcode == IBV_WR_SEND_WITH_IMM) {
          const QueuePair* other = choose(peer);
          request.wr.ud.remote_qpn = other == nullptr ? 5 : other->qpn;
          request.wr.ud.remote_qkey = kPairQkey;
        } else {
          request.wr.rdma = {to, key};
        }
    }
  }

  void poll(Device& device) {
    std::array<ibv_wc, 16> found;
    for (CompletionQueue* cq : {&device.small, &device.large}) {
      const int count = cq->poll(static_cast<int>(input_.below(17)), found.data());
      hold(count >= 0 && count <= 16, "more was polled than there is room for");
    }
  }

  void advance(TimeNs limit) {
    const TimeNs until = now_ + limit;
    for (int turns = 0; turns < 10000; ++turns) {
      const TimeNs next = std::max(
          now_, std::min({network_.next(), devices_[0].host.next(), devices_[1].host.next()}));
      if (next > until) break;
      now_ = next;
      while (!network_.empty() && network_.next() <= now_) {
        const Frame frame = network_.pop();
        for (Device& device : devices_) {
          if (device.host.address() == frame.to) device.host.receive(now_, frame);
        }
      }
      for (Device& device : devices_) device.host.run(now_);
    }
    now_ = until;
  }

  void release(Device& device) {
    for (QueuePair*& qp : device.queues) destroy(device, qp);
    for (const uint32_t window : device.windows) device.host.engine().memory().erase_window(window);
    for (const Region& region : device.regions) device.host.engine().memory().erase(region.key);
    hold(device.host.engine().holdings() == engine::Holdings{}, "something is left in an engine");
  }

  Input& input_;
  Network network_{1};
  std::array<Device, 2> devices_{Device(network_, 1), Device(network_, 2)};
  TimeNs now_ = 0;
};

}  // namespace
}  // namespace verbena::test

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  verbena::test::Input input(std::as_bytes(std::span(data, size)));
  verbena::test::Calls(input).run();
  return 0;
}
