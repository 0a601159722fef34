// Owning wrappers around verbs objects, and connected pairs of endpoints in one process.
#pragma once

#include <gtest/gtest.h>
#include <infiniband/verbs.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

namespace verbena::test {

constexpr int kAllAccess = IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE |
                           IBV_ACCESS_REMOTE_READ | IBV_ACCESS_REMOTE_ATOMIC;

// Destroys with the verbs function, and insists that it succeeds.
template <auto kDestroy>
struct Destroyer {
  template <class Object>
  void operator()(Object* object) const {
    EXPECT_EQ(kDestroy(object), 0) << std::strerror(errno);
  }
};

using ContextPtr = std::unique_ptr<ibv_context, Destroyer<ibv_close_device>>;
using PdPtr = std::unique_ptr<ibv_pd, Destroyer<ibv_dealloc_pd>>;
using MrPtr = std::unique_ptr<ibv_mr, Destroyer<ibv_dereg_mr>>;
using CqPtr = std::unique_ptr<ibv_cq, Destroyer<ibv_destroy_cq>>;
using ChannelPtr = std::unique_ptr<ibv_comp_channel, Destroyer<ibv_destroy_comp_channel>>;
using QpPtr = std::unique_ptr<ibv_qp, Destroyer<ibv_destroy_qp>>;
using SrqPtr = std::unique_ptr<ibv_srq, Destroyer<ibv_destroy_srq>>;
using AhPtr = std::unique_ptr<ibv_ah, Destroyer<ibv_destroy_ah>>;

// nullptr with errno set when the device does not open.
inline ContextPtr open_soft_device() {
  ibv_device** list = ibv_get_device_list(nullptr);
  ibv_context* context = ibv_open_device(list[0]);
  const int error = errno;
  ibv_free_device_list(list);
  errno = error;
  return ContextPtr(context);
}

struct EndpointOptions {
  uint32_t send_wr = 64;
  uint32_t recv_wr = 64;
  uint32_t sge = 4;
  uint32_t inline_bytes = 64;
  int cqe = 256;
  bool signal_all = false;
  ibv_comp_channel* channel = nullptr;
  size_t buffer_bytes = 1 << 16;
  int access = kAllAccess;
  uint64_t wr_operations = 0;  // for the ibv_wr_* functions
  ibv_qp_type type = IBV_QPT_RC;
  ibv_srq* srq = nullptr;
  ibv_cq* shared_cq = nullptr;  // instead of a completion queue of its own
};

struct ConnectOptions {
  ibv_mtu mtu = IBV_MTU_1024;
  uint32_t psn = 0x111111;  // towards this endpoint; the peer's is one more
  uint8_t timeout = 14;
  uint8_t retry_count = 6;
  uint8_t rnr_retry = 7;  // for ever
  uint8_t min_rnr_timer = 1;
  uint8_t rd_atomic = 4;
  int access = IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ | IBV_ACCESS_REMOTE_ATOMIC;
};

inline ibv_gid gid_of(ibv_context* context) {
  ibv_gid gid{};
  EXPECT_EQ(ibv_query_gid(context, 1, 0, &gid), 0);
  return gid;
}

inline ibv_qp_init_attr_ex extended_attributes(ibv_pd* pd, ibv_cq* cq,
                                               const EndpointOptions& options) {
  ibv_qp_init_attr_ex attributes{};
  attributes.send_cq = attributes.recv_cq = cq;
  attributes.cap = {options.send_wr, options.recv_wr, options.sge, options.sge,
                    options.inline_bytes};
  attributes.qp_type = options.type;
  attributes.srq = options.srq;
  attributes.sq_sig_all = options.signal_all ? 1 : 0;
  attributes.comp_mask = IBV_QP_INIT_ATTR_PD;
  attributes.pd = pd;
  if (options.wr_operations != 0) {
    attributes.comp_mask |= IBV_QP_INIT_ATTR_SEND_OPS_FLAGS;
    attributes.send_ops_flags = options.wr_operations;
  }
  return attributes;
}

// A queue pair with all that it needs, in the context given.
class Endpoint {
 public:
  explicit Endpoint(ibv_context* context, const EndpointOptions& options = {})
      : context_(context),
        buffer_(static_cast<std::byte*>(std::aligned_alloc(4096, options.buffer_bytes))),
        bytes_(options.buffer_bytes),
        pd_(ibv_alloc_pd(context)),
        mr_(ibv_reg_mr(pd_.get(), buffer_.get(), bytes_, options.access)),
        cq_(options.shared_cq == nullptr
                ? ibv_create_cq(context, options.cqe, this, options.channel, 0)
                : nullptr),
        used_cq_(options.shared_cq == nullptr ? cq_.get() : options.shared_cq) {
    std::memset(buffer_.get(), 0, bytes_);
    ibv_qp_init_attr_ex attributes = extended_attributes(pd_.get(), used_cq_, options);
    qp_.reset(ibv_create_qp_ex(context, &attributes));
    EXPECT_NE(qp_, nullptr) << std::strerror(errno);
  }

  ibv_context* context() const { return context_; }
  ibv_pd* pd() const { return pd_.get(); }
  ibv_mr* mr() const { return mr_.get(); }
  ibv_cq* cq() const { return used_cq_; }
  ibv_qp* qp() const { return qp_.get(); }
  std::byte* buffer() const { return buffer_.get(); }
  uint64_t address(size_t offset = 0) const {
    return reinterpret_cast<uint64_t>(buffer_.get()) + offset;
  }
  uint64_t& word(size_t offset) const {
    return *reinterpret_cast<uint64_t*>(buffer_.get() + offset);
  }
  ibv_sge sge(size_t offset, uint32_t length) const { return {address(offset), length, mr_->lkey}; }
  void fill(size_t offset, size_t length, unsigned seed) const {
    for (size_t i = 0; i < length; ++i) {
      buffer_.get()[offset + i] = static_cast<std::byte>(seed * 31 + i * 7 + (i >> 8));
    }
  }
  std::string text(size_t offset, size_t length) const {
    return {reinterpret_cast<const char*>(buffer_.get()) + offset, length};
  }

  int post_receive(uint64_t id, size_t offset, uint32_t length) const {
    ibv_sge sge = this->sge(offset, length);
    ibv_recv_wr request{id, nullptr, &sge, 1};
    ibv_recv_wr* bad = nullptr;
    return ibv_post_recv(qp(), &request, &bad);
  }

  int post(const ibv_send_wr& request) const {
    ibv_send_wr copy = request;
    ibv_send_wr* bad = nullptr;
    return ibv_post_send(qp(), &copy, &bad);
  }

  int post_send(uint64_t id, size_t offset, uint32_t length,
                unsigned flags = IBV_SEND_SIGNALED) const {
    ibv_sge sge = this->sge(offset, length);
    ibv_send_wr request{};
    request.wr_id = id;
    request.sg_list = &sge;
    request.num_sge = 1;
    request.opcode = IBV_WR_SEND;
    request.send_flags = flags;
    return post(request);
  }

  // WRITE or READ between the same offset of both buffers.
  int post_rdma(ibv_wr_opcode opcode, uint64_t id, const Endpoint& peer, size_t offset,
                uint32_t length, unsigned flags = IBV_SEND_SIGNALED) const {
    ibv_sge sge = this->sge(offset, length);
    ibv_send_wr request{};
    request.wr_id = id;
    request.sg_list = &sge;
    request.num_sge = 1;
    request.opcode = opcode;
    request.send_flags = flags;
    request.wr.rdma.remote_addr = peer.address(offset);
    request.wr.rdma.rkey = peer.mr()->rkey;
    return post(request);
  }

  // One completion, or none after `timeout`.
  std::optional<ibv_wc> poll_one(
      std::chrono::milliseconds timeout = std::chrono::seconds(20)) const {
    const auto end = std::chrono::steady_clock::now() + timeout;
    ibv_wc completion{};
    do {
      const int count = ibv_poll_cq(cq(), 1, &completion);
      EXPECT_GE(count, 0);
      if (count != 0) return completion;
      std::this_thread::yield();
    } while (std::chrono::steady_clock::now() < end);
    return std::nullopt;
  }

  // Insists on a completion with this id and status.
  ibv_wc expect(uint64_t id, ibv_wc_status status = IBV_WC_SUCCESS) const {
    const auto completion = poll_one();
    EXPECT_TRUE(completion.has_value()) << "no completion for " << id;
    if (!completion) return {};
    EXPECT_EQ(completion->wr_id, id);
    EXPECT_EQ(completion->status, status) << ibv_wc_status_str(completion->status);
    EXPECT_EQ(completion->qp_num, qp()->qp_num);
    return *completion;
  }

  int modify(ibv_qp_attr attributes, int mask) const {
    return ibv_modify_qp(qp(), &attributes, mask);
  }

  int to_state(ibv_qp_state state) const {
    ibv_qp_attr attributes{};
    attributes.qp_state = state;
    return modify(attributes, IBV_QP_STATE);
  }

  int to_init(const ConnectOptions& options = {}) const {
    ibv_qp_attr attributes{};
    attributes.qp_state = IBV_QPS_INIT;
    attributes.port_num = 1;
    attributes.qp_access_flags = static_cast<unsigned>(options.access);
    return modify(attributes, IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_ACCESS_FLAGS);
  }

  int to_rtr(const ibv_gid& gid, uint32_t qpn, const ConnectOptions& options = {}) const {
    ibv_qp_attr attributes{};
    attributes.qp_state = IBV_QPS_RTR;
    attributes.path_mtu = options.mtu;
    attributes.dest_qp_num = qpn;
    attributes.rq_psn = options.psn;
    attributes.max_dest_rd_atomic = options.rd_atomic;
    attributes.min_rnr_timer = options.min_rnr_timer;
    attributes.ah_attr.is_global = 1;
    attributes.ah_attr.port_num = 1;
    attributes.ah_attr.grh.dgid = gid;
    attributes.ah_attr.grh.hop_limit = 64;
    return modify(attributes, IBV_QP_STATE | IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN |
                                  IBV_QP_RQ_PSN | IBV_QP_MAX_DEST_RD_ATOMIC | IBV_QP_MIN_RNR_TIMER);
  }

  int to_rts(uint32_t psn, const ConnectOptions& options = {}) const {
    ibv_qp_attr attributes{};
    attributes.qp_state = IBV_QPS_RTS;
    attributes.sq_psn = psn;
    attributes.timeout = options.timeout;
    attributes.retry_cnt = options.retry_count;
    attributes.rnr_retry = options.rnr_retry;
    attributes.max_rd_atomic = options.rd_atomic;
    return modify(attributes, IBV_QP_STATE | IBV_QP_SQ_PSN | IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT |
                                  IBV_QP_RNR_RETRY | IBV_QP_MAX_QP_RD_ATOMIC);
  }

 private:
  struct Free {
    void operator()(std::byte* bytes) const { std::free(bytes); }
  };

  ibv_context* context_;
  std::unique_ptr<std::byte, Free> buffer_;
  size_t bytes_;
  PdPtr pd_;
  MrPtr mr_;
  CqPtr cq_;
  ibv_cq* used_cq_;
  QpPtr qp_;
};

inline ibv_qp_attr query(const Endpoint& endpoint) {
  ibv_qp_attr attributes{};
  ibv_qp_init_attr initial{};
  EXPECT_EQ(ibv_query_qp(endpoint.qp(), &attributes, IBV_QP_STATE, &initial), 0);
  return attributes;
}

inline ibv_qp_state state_of(const Endpoint& endpoint) {
  return query(endpoint).qp_state;
}

// Brings both to RTS, connected to each other.
inline void connect(const Endpoint& a, const Endpoint& b, const ConnectOptions& options = {}) {
  ConnectOptions towards_b = options;
  towards_b.psn = (options.psn + 1) & 0xFFFFFF;
  ASSERT_EQ(a.to_init(options), 0);
  ASSERT_EQ(b.to_init(options), 0);
  ASSERT_EQ(a.to_rtr(gid_of(b.context()), b.qp()->qp_num, options), 0);
  ASSERT_EQ(b.to_rtr(gid_of(a.context()), a.qp()->qp_num, towards_b), 0);
  ASSERT_EQ(a.to_rts(towards_b.psn, options), 0);
  ASSERT_EQ(b.to_rts(options.psn, options), 0);
}

// A device and two connected endpoints on it: packets go through its socket to itself.
class Pair {
 public:
  explicit Pair(const EndpointOptions& options = {}, const ConnectOptions& connection = {})
      : context(open_soft_device()), a(context.get(), options), b(context.get(), options) {
    connect(a, b, connection);
  }

  ContextPtr context;
  Endpoint a;
  Endpoint b;
};

}  // namespace verbena::test
