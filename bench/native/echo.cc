// Measures echoes over the soft device from C++, without JavaScript: a client and a server process,
// messages of 64 bytes.
//
//   cmake --build --preset default --target echo && build-default/echo CONNECTIONS DEPTH [SECONDS]
//
// Prints {"requestsPerSecond":…,"p50Us":…,"p99Us":…}.
#include <infiniband/verbs.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "util/clock.h"

extern "C" void verbena_soft_hold(ibv_context* context);
extern "C" void verbena_soft_release(ibv_context* context);

namespace {

using verbena::util::monotonic_ns;

constexpr uint32_t kBytes = 64;
constexpr int kBatch = 64;
constexpr uint32_t kPsn = 1;

void require(bool condition, const char* what) {
  if (condition) return;
  std::perror(what);
  std::exit(1);
}

// What the other side must know of a queue pair.
struct Place {
  uint32_t qpn;
  ibv_gid gid;
};

// One process: its device, a completion queue, and a queue pair for each connection.
class Side {
 public:
  Side(uint32_t connections, uint32_t depth) : depth_(depth), memory_(connections * depth * 2) {
    ibv_device** devices = ibv_get_device_list(nullptr);
    require(devices != nullptr && devices[0] != nullptr, "ibv_get_device_list");
    context_ = ibv_open_device(devices[0]);
    require(context_ != nullptr, "ibv_open_device");
    pd_ = ibv_alloc_pd(context_);
    mr_ = ibv_reg_mr(pd_, memory_.data(), memory_.size() * sizeof(Message), IBV_ACCESS_LOCAL_WRITE);
    cq_ = ibv_create_cq(context_, static_cast<int>(connections * depth * 4), nullptr, nullptr, 0);
    require(mr_ != nullptr && cq_ != nullptr, "ibv_create_cq");
    for (uint32_t index = 0; index < connections; ++index) add_queue_pair();
  }

  void exchange(int channel) {
    ibv_gid gid;
    require(ibv_query_gid(context_, 1, 0, &gid) == 0, "ibv_query_gid");
    for (ibv_qp* qp : qps_) {
      const Place own{qp->qp_num, gid};
      require(write(channel, &own, sizeof own) == sizeof own, "write");
    }
    for (ibv_qp* qp : qps_) {
      Place peer;
      require(read(channel, &peer, sizeof peer) == sizeof peer, "read");
      bring_up(qp, peer);
    }
    // Nobody sends before the other side can receive.
    char ready = 0;
    require(write(channel, &ready, 1) == 1 && read(channel, &ready, 1) == 1, "ready");
  }

  // Calls `on_received(connection, slot)` for each message.
  template <class OnReceived>
  void poll(OnReceived&& on_received) {
    ibv_wc completions[kBatch];
    const int count = ibv_poll_cq(cq_, kBatch, completions);
    require(count >= 0, "ibv_poll_cq");
    if (count == 0) return;
    verbena_soft_hold(context_);
    for (int index = 0; index < count; ++index) {
      const ibv_wc& wc = completions[index];
      require(wc.status == IBV_WC_SUCCESS, "a completion");
      if (wc.opcode != IBV_WC_RECV) continue;
      const auto connection = static_cast<uint32_t>(wc.wr_id / depth_);
      const auto slot = static_cast<uint32_t>(wc.wr_id % depth_);
      on_received(connection, slot);
      receive(connection, slot);
    }
    verbena_soft_release(context_);
  }

  void send(uint32_t connection, uint32_t slot) {
    ibv_sge sge = range(connection, slot + depth_);
    ibv_send_wr request{};
    request.sg_list = &sge;
    request.num_sge = 1;
    request.opcode = IBV_WR_SEND;
    request.send_flags = IBV_SEND_SIGNALED;
    ibv_send_wr* bad;
    require(ibv_post_send(qps_[connection], &request, &bad) == 0, "ibv_post_send");
  }

 private:
  struct Message {
    char bytes[kBytes];
  };

  ibv_sge range(uint32_t connection, uint32_t slot) {
    Message& message = memory_[connection * depth_ * 2 + slot];
    return {reinterpret_cast<uint64_t>(&message), kBytes, mr_->lkey};
  }

  void receive(uint32_t connection, uint32_t slot) {
    ibv_sge sge = range(connection, slot);
    ibv_recv_wr request{uint64_t{connection} * depth_ + slot, nullptr, &sge, 1};
    ibv_recv_wr* bad;
    require(ibv_post_recv(qps_[connection], &request, &bad) == 0, "ibv_post_recv");
  }

  void add_queue_pair() {
    ibv_qp_init_attr attributes{};
    attributes.send_cq = attributes.recv_cq = cq_;
    attributes.cap = {depth_ * 2, depth_, 1, 1, 0};
    attributes.qp_type = IBV_QPT_RC;
    ibv_qp* qp = ibv_create_qp(pd_, &attributes);
    require(qp != nullptr, "ibv_create_qp");
    qps_.push_back(qp);
    ibv_qp_attr init{};
    init.qp_state = IBV_QPS_INIT;
    init.port_num = 1;
    const int mask = IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_ACCESS_FLAGS;
    require(ibv_modify_qp(qp, &init, mask) == 0, "INIT");
    const auto connection = static_cast<uint32_t>(qps_.size() - 1);
    for (uint32_t slot = 0; slot < depth_; ++slot) receive(connection, slot);
  }

  static void bring_up(ibv_qp* qp, const Place& peer) {
    ibv_qp_attr rtr{};
    rtr.qp_state = IBV_QPS_RTR;
    rtr.path_mtu = IBV_MTU_4096;
    rtr.dest_qp_num = peer.qpn;
    rtr.rq_psn = kPsn;
    rtr.max_dest_rd_atomic = 1;
    rtr.min_rnr_timer = 12;
    rtr.ah_attr.is_global = 1;
    rtr.ah_attr.port_num = 1;
    rtr.ah_attr.grh.dgid = peer.gid;
    rtr.ah_attr.grh.hop_limit = 64;
    require(
        ibv_modify_qp(qp, &rtr,
                      IBV_QP_STATE | IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN | IBV_QP_RQ_PSN |
                          IBV_QP_MAX_DEST_RD_ATOMIC | IBV_QP_MIN_RNR_TIMER) == 0,
        "RTR");
    ibv_qp_attr rts{};
    rts.qp_state = IBV_QPS_RTS;
    rts.sq_psn = kPsn;
    rts.timeout = 14;
    rts.retry_cnt = 7;
    rts.rnr_retry = 7;
    rts.max_rd_atomic = 1;
    require(ibv_modify_qp(qp, &rts,
                          IBV_QP_STATE | IBV_QP_SQ_PSN | IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT |
                              IBV_QP_RNR_RETRY | IBV_QP_MAX_QP_RD_ATOMIC) == 0,
            "RTS");
  }

  uint32_t depth_;
  std::vector<Message> memory_;
  ibv_context* context_ = nullptr;
  ibv_pd* pd_ = nullptr;
  ibv_mr* mr_ = nullptr;
  ibv_cq* cq_ = nullptr;
  std::vector<ibv_qp*> qps_;
};

void serve(int channel, uint32_t connections, uint32_t depth) {
  Side side(connections, depth);
  side.exchange(channel);
  for (;;) {
    side.poll([&](uint32_t connection, uint32_t slot) { side.send(connection, slot); });
  }
}

void measure(int channel, uint32_t connections, uint32_t depth, double seconds) {
  Side side(connections, depth);
  side.exchange(channel);
  std::vector<uint64_t> sent_at(connections * depth);
  std::vector<uint64_t> times;
  const auto send = [&](uint32_t connection, uint32_t slot, uint64_t now) {
    sent_at[connection * depth + slot] = now;
    side.send(connection, slot);
  };
  const uint64_t begin = monotonic_ns();
  for (uint32_t index = 0; index < connections * depth; ++index) {
    send(index / depth, index % depth, begin);
  }
  const uint64_t end = begin + static_cast<uint64_t>(seconds * 1e9);
  while (monotonic_ns() < end) {
    side.poll([&](uint32_t connection, uint32_t slot) {
      const uint64_t now = monotonic_ns();
      times.push_back(now - sent_at[connection * depth + slot]);
      send(connection, slot, now);
    });
  }
  const double elapsed = static_cast<double>(monotonic_ns() - begin) / 1e9;
  std::ranges::sort(times);
  const auto at = [&](double share) {
    const auto position = static_cast<size_t>(share * static_cast<double>(times.size() - 1));
    return static_cast<double>(times[position]) / 1000;
  };
  std::printf("{\"requestsPerSecond\":%.0f,\"p50Us\":%.3f,\"p99Us\":%.3f}\n",
              static_cast<double>(times.size()) / elapsed, at(0.5), at(0.99));
}

}  // namespace

int main(int count, char** arguments) {
  if (count < 3) {
    std::fprintf(stderr, "usage: echo CONNECTIONS DEPTH [SECONDS]\n");
    return 2;
  }
  const auto connections = static_cast<uint32_t>(std::atoi(arguments[1]));
  const auto depth = static_cast<uint32_t>(std::atoi(arguments[2]));
  int channels[2];
  require(socketpair(AF_UNIX, SOCK_STREAM, 0, channels) == 0, "socketpair");
  const pid_t server = fork();
  require(server >= 0, "fork");
  if (server == 0) serve(channels[1], connections, depth);
  measure(channels[0], connections, depth, count > 3 ? std::strtod(arguments[3], nullptr) : 1);
  std::fflush(stdout);
  kill(server, SIGKILL);
  waitpid(server, nullptr, 0);
  _exit(0);
}
