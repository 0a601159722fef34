// Two engines joined by a simulated network in virtual time; one seed decides every fault.
#pragma once

#include <algorithm>
#include <cstring>
#include <deque>
#include <functional>
#include <memory>
#include <queue>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "soft/engine/engine.h"

namespace verbena::test {

using engine::CompletionQueue;
using engine::Engine;
using engine::QueuePair;
using engine::TimeNs;
using wire::Address;

constexpr TimeNs kUs = 1'000;
constexpr TimeNs kMs = 1'000'000;
constexpr TimeNs kSecond = 1'000'000'000;

class SeededRandom : public engine::RandomSource {
 public:
  explicit SeededRandom(uint64_t seed) : generator_(seed) {}
  uint32_t next() override { return static_cast<uint32_t>(generator_()); }
  uint32_t below(uint32_t bound) { return next() % bound; }
  bool chance(double probability) { return next() < probability * 4294967296.0; }

 private:
  std::mt19937_64 generator_;
};

struct Faults {
  double drop = 0;
  double duplicate = 0;
  double reorder = 0;
  TimeNs delay = 10 * kUs;
  TimeNs reorder_delay = 200 * kUs;
};

struct Frame {
  Address from;
  Address to;
  std::vector<std::byte> bytes;
};

// Carries frames in order of their arrival times.
class Network {
 public:
  explicit Network(uint64_t seed) : random_(seed) {}

  void send(TimeNs now, Frame frame) {
    ++sent;
    if (filter && !filter(frame)) return;
    if (random_.chance(faults.drop)) return;
    if (random_.chance(faults.duplicate)) schedule(now, frame);
    schedule(now, std::move(frame));
  }
  bool empty() const { return arrivals_.empty(); }
  TimeNs next() const { return empty() ? engine::kNever : arrivals_.top().at; }
  Frame pop() {
    Frame frame = *arrivals_.top().frame;
    arrivals_.pop();
    return frame;
  }

  Faults faults;
  std::function<bool(const Frame&)> filter;  // false loses the frame
  uint64_t sent = 0;

 private:
  struct Arrival {
    TimeNs at;
    uint64_t order;
    std::shared_ptr<Frame> frame;
    bool operator>(const Arrival& other) const {
      return at != other.at ? at > other.at : order > other.order;
    }
  };

  void schedule(TimeNs now, Frame frame) {
    TimeNs at = now + faults.delay;
    if (random_.chance(faults.reorder)) at += random_.below(faults.reorder_delay);
    arrivals_.push({at, order_++, std::make_shared<Frame>(std::move(frame))});
  }

  SeededRandom random_;
  uint64_t order_ = 0;
  std::priority_queue<Arrival, std::vector<Arrival>, std::greater<>> arrivals_;
};

struct QpEvent {
  uint32_t qpn;
  ibv_event_type type;
};

class Host : public engine::EventSink, private engine::PacketSink {
 public:
  Host(Network& network, Address address, uint64_t seed, uint64_t window_bytes = 1 << 20)
      : network_(network),
        address_(address),
        random_(seed),
        engine_({window_bytes}, random_, *this, counters) {}

  Engine& engine() { return engine_; }
  const Address& address() const { return address_; }
  TimeNs next() const { return engine_.wants_transmit() ? 0 : engine_.next_timeout(); }
  void receive(TimeNs now, const Frame& frame) { engine_.on_packet(now, frame.from, frame.bytes); }
  void run(TimeNs now) {
    now_ = now;
    engine_.on_timeout(now);
    engine_.transmit(now, *this);
  }
  void on_qp_event(QueuePair& qp, ibv_event_type type) override {
    events.push_back({qp.qpn, type});
  }
  void on_cq_error(CompletionQueue&) override { ++cq_errors; }

  engine::Counters counters;
  std::vector<QpEvent> events;
  void on_srq_limit(engine::SharedReceiveQueue&) override { ++srq_limits; }
  int cq_errors = 0;
  int srq_limits = 0;

 private:
  std::byte* reserve(const Address& destination, size_t bytes) override {
    frame_ = {address_, destination, std::vector<std::byte>(bytes)};
    return frame_.bytes.data();
  }
  void commit() override { network_.send(now_, std::move(frame_)); }

  Network& network_;
  Address address_;
  SeededRandom random_;
  TimeNs now_ = 0;
  Frame frame_;
  Engine engine_;
};

// Memory registered at its own address.
struct Buffer {
  Buffer(Host& host, uint32_t pd, size_t bytes, int access, uint8_t fill = 0)
      : host(host), bytes(bytes, std::byte{fill}) {
    key = host.engine().memory().insert(
        {pd, this->bytes.data(), bytes, reinterpret_cast<uint64_t>(this->bytes.data()), access});
  }
  ~Buffer() { host.engine().memory().erase(key); }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  uint64_t address() const { return reinterpret_cast<uint64_t>(bytes.data()); }
  ibv_sge sge(size_t offset, size_t length) const {
    return {address() + offset, static_cast<uint32_t>(length), key};
  }

  Host& host;
  std::vector<std::byte> bytes;
  uint32_t key;
};

struct PairOptions {
  ibv_mtu mtu = IBV_MTU_1024;
  uint32_t depth = 64;
  uint32_t cq_depth = 1024;
  uint32_t max_inline = 128;
  uint32_t psn_a = 0xFFFFF0;
  uint32_t psn_b = 0x000010;
  uint8_t timeout = 12;
  uint8_t retry_count = 6;
  uint8_t rnr_retry = 6;
  uint8_t min_rnr_timer = 12;
  uint8_t rd_atomic = 4;
  bool signal_all = true;
  uint64_t seed = 1;
  uint64_t window_bytes = 1 << 20;
  ibv_qp_type type = IBV_QPT_RC;
  bool shared_receives = false;  // b takes from `Pair::srq`
  unsigned access = IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ | IBV_ACCESS_REMOTE_ATOMIC;
};

// One connected queue pair on each host.
class Pair {
 public:
  static constexpr uint32_t kPd = 1;
  static constexpr uint32_t kQkey = 0x1234;

  explicit Pair(const PairOptions& options = {})
      : options(options),
        network(options.seed),
        a(network, Address::v4(10, 0, 0, 1), options.seed * 2 + 1, options.window_bytes),
        b(network, Address::v4(10, 0, 0, 2), options.seed * 2 + 2, options.window_bytes),
        cq_a(options.cq_depth, nullptr, nullptr),
        cq_b(options.cq_depth, nullptr, nullptr) {
    qp_a = create(a, cq_a, nullptr);
    qp_b = create(b, cq_b, options.shared_receives ? &srq : nullptr);
    connect(a, *qp_a, options.psn_a, b, *qp_b, options.psn_b);
    connect(b, *qp_b, options.psn_b, a, *qp_a, options.psn_a);
  }

  // Runs until nothing is left to do, or `limit` has passed.
  void run(TimeNs limit = 60 * kSecond) {
    const TimeNs end = now + limit;
    for (;;) {
      TimeNs next = std::min({network.next(), a.next(), b.next()});
      if (next == engine::kNever) return;
      next = std::max(next, now);
      if (next > end) {
        now = end;
        return;
      }
      now = next;
      while (!network.empty() && network.next() <= now) {
        const Frame frame = network.pop();
        (frame.to == a.address() ? a : b).receive(now, frame);
      }
      a.run(now);
      b.run(now);
    }
  }

  std::vector<ibv_wc> poll(CompletionQueue& cq) {
    std::vector<ibv_wc> found(cq.depth());
    found.resize(static_cast<size_t>(cq.poll(static_cast<int>(found.size()), found.data())));
    return found;
  }

  static int post_receive(Host& host, QueuePair& qp, uint64_t id, std::vector<ibv_sge> sges) {
    ibv_recv_wr request{};
    request.wr_id = id;
    request.sg_list = sges.data();
    request.num_sge = static_cast<int>(sges.size());
    return host.engine().post_receive(qp, request);
  }

  int post_send(ibv_wr_opcode opcode, uint64_t id, std::vector<ibv_sge> sges,
                const std::function<void(ibv_send_wr&)>& adjust = {}) {
    ibv_send_wr request{};
    request.wr_id = id;
    request.opcode = opcode;
    request.send_flags = IBV_SEND_SIGNALED;
    request.sg_list = sges.data();
    request.num_sge = static_cast<int>(sges.size());
    if (adjust) adjust(request);
    return a.engine().post_send(*qp_a, request, b.address());
  }

  static void to_error(Host& host, QueuePair& qp) {
    ibv_qp_attr attributes{};
    attributes.qp_state = IBV_QPS_ERR;
    host.engine().modify_qp(qp, attributes, IBV_QP_STATE);
  }

  PairOptions options;
  Network network;
  Host a;
  Host b;
  CompletionQueue cq_a;
  CompletionQueue cq_b;
  engine::SharedReceiveQueue srq{kPd, engine::ReceiveQueue(16, 4), 0, nullptr};
  QueuePair* qp_a;
  QueuePair* qp_b;
  TimeNs now = 0;

 private:
  QueuePair* create(Host& host, CompletionQueue& cq, engine::SharedReceiveQueue* shared) {
    return host.engine().create_qp({kPd, &cq, &cq, options.depth, options.depth, 4, 4,
                                    options.max_inline, options.signal_all, nullptr, options.type,
                                    shared});
  }

  void connect(Host& host, QueuePair& qp, uint32_t psn, Host& peer, QueuePair& peer_qp,
               uint32_t peer_psn) {
    ibv_qp_attr attributes{};
    attributes.qp_state = IBV_QPS_INIT;
    attributes.port_num = 1;
    attributes.qp_access_flags = options.access;
    attributes.qkey = kQkey;
    host.engine().modify_qp(
        qp, attributes,
        IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_ACCESS_FLAGS | IBV_QP_QKEY);
    attributes.qp_state = IBV_QPS_RTR;
    attributes.path_mtu = options.mtu;
    attributes.dest_qp_num = peer_qp.qpn;
    attributes.rq_psn = peer_psn;
    attributes.max_dest_rd_atomic = options.rd_atomic;
    attributes.min_rnr_timer = options.min_rnr_timer;
    attributes.ah_attr.is_global = 1;
    attributes.ah_attr.port_num = 1;
    std::memcpy(&attributes.ah_attr.grh.dgid, peer.address().gid.data(), 16);
    host.engine().modify_qp(qp, attributes,
                            IBV_QP_STATE | IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN |
                                IBV_QP_RQ_PSN | IBV_QP_MAX_DEST_RD_ATOMIC | IBV_QP_MIN_RNR_TIMER);
    attributes.qp_state = IBV_QPS_RTS;
    attributes.timeout = options.timeout;
    attributes.retry_cnt = options.retry_count;
    attributes.rnr_retry = options.rnr_retry;
    attributes.sq_psn = psn;
    attributes.max_rd_atomic = options.rd_atomic;
    host.engine().modify_qp(qp, attributes,
                            IBV_QP_STATE | IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT | IBV_QP_RNR_RETRY |
                                IBV_QP_SQ_PSN | IBV_QP_MAX_QP_RD_ATOMIC);
  }
};

}  // namespace verbena::test
