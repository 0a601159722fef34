// Two engines joined by a simulated network in virtual time; one seed decides every fault.
#pragma once

#include <algorithm>
#include <cstring>
#include <functional>
#include <vector>

#include "support/simulated_host.h"

namespace verbena::test {

constexpr uint32_t kPairQkey = 0x1234;

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

// Takes a queue pair from RESET to RTS.
inline void connect(Host& host, QueuePair& qp, uint32_t psn, const Host& peer,
                    const QueuePair& peer_qp, uint32_t peer_psn, const PairOptions& options) {
  ibv_qp_attr attributes{};
  const auto modify = [&](int mask) {
    host.insist([&](Engine& engine) { return engine.modify_qp(qp, attributes, mask); });
  };
  attributes.qp_state = IBV_QPS_INIT;
  attributes.port_num = 1;
  attributes.qp_access_flags = options.access;
  attributes.qkey = kPairQkey;
  modify(IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_ACCESS_FLAGS | IBV_QP_QKEY);
  attributes.qp_state = IBV_QPS_RTR;
  attributes.path_mtu = options.mtu;
  attributes.dest_qp_num = peer_qp.qpn;
  attributes.rq_psn = peer_psn;
  attributes.max_dest_rd_atomic = options.rd_atomic;
  attributes.min_rnr_timer = options.min_rnr_timer;
  attributes.ah_attr.is_global = 1;
  attributes.ah_attr.port_num = 1;
  std::memcpy(&attributes.ah_attr.grh.dgid, peer.address().gid.data(), 16);
  modify(IBV_QP_STATE | IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN | IBV_QP_RQ_PSN |
         IBV_QP_MAX_DEST_RD_ATOMIC | IBV_QP_MIN_RNR_TIMER);
  attributes.qp_state = IBV_QPS_RTS;
  attributes.timeout = options.timeout;
  attributes.retry_cnt = options.retry_count;
  attributes.rnr_retry = options.rnr_retry;
  attributes.sq_psn = psn;
  attributes.max_rd_atomic = options.rd_atomic;
  modify(IBV_QP_STATE | IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT | IBV_QP_RNR_RETRY | IBV_QP_SQ_PSN |
         IBV_QP_MAX_QP_RD_ATOMIC);
}

// One connected queue pair on each host.
class Pair {
 public:
  static constexpr uint32_t kPd = 1;
  static constexpr uint32_t kQkey = kPairQkey;

  explicit Pair(const PairOptions& options = {})
      : options(options),
        network(options.seed),
        a(network, Address::v4(10, 0, 0, 1), options.seed * 2 + 1, options.window_bytes),
        b(network, Address::v4(10, 0, 0, 2), options.seed * 2 + 2, options.window_bytes),
        cq_a(options.cq_depth, nullptr, nullptr),
        cq_b(options.cq_depth, nullptr, nullptr) {
    qp_a = create(a, cq_a, nullptr);
    qp_b = create(b, cq_b, options.shared_receives ? &srq : nullptr);
    connect(a, *qp_a, options.psn_a, b, *qp_b, options.psn_b, options);
    connect(b, *qp_b, options.psn_b, a, *qp_a, options.psn_a, options);
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
};

}  // namespace verbena::test
