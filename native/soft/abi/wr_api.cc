// Builds lists of work requests and posts each as a whole or not at all.
#include "soft/abi/wr_api.h"

#include <algorithm>
#include <cerrno>

#include "soft/abi/guard.h"
#include "soft/abi/qp.h"

namespace verbena::soft {

void WrBuilder::start() {
  mutex_.lock();
  error_ = 0;
  requests_.clear();
  placements_.clear();
  sges_.clear();
  inline_bytes_.clear();
}

void WrBuilder::finish() {
  mutex_.unlock();
}

void WrBuilder::fail(int error) {
  if (error_ == 0) error_ = error;
}

ibv_send_wr& WrBuilder::add(const ibv_qp_ex& qp, ibv_wr_opcode opcode) {
  ibv_send_wr& request = requests_.emplace_back();
  request.wr_id = qp.wr_id;
  request.opcode = opcode;
  request.send_flags = qp.wr_flags & ~static_cast<unsigned>(IBV_SEND_INLINE);
  placements_.push_back({sges_.size(), 0, false});
  return request;
}

void WrBuilder::set_destination(ibv_ah* ah, uint32_t qpn, uint32_t qkey) {
  if (requests_.empty()) return fail(EINVAL);
  requests_.back().wr.ud = {ah, qpn, qkey};
}

void WrBuilder::set_sges(const ibv_sge* sges, size_t count) {
  if (requests_.empty() || count > limits_.max_send_sge) return fail(EINVAL);
  placements_.back() = {sges_.size(), 0, false};
  requests_.back().num_sge = static_cast<int>(count);
  sges_.insert(sges_.end(), sges, sges + count);
}

void WrBuilder::set_inline(const ibv_data_buf* pieces, size_t count) {
  const size_t start = inline_bytes_.size();
  if (requests_.empty()) return fail(EINVAL);
  for (size_t i = 0; i < count; ++i) {
    if (pieces[i].length > limits_.max_inline_data) return fail(EINVAL);
    const auto* bytes = static_cast<const std::byte*>(pieces[i].addr);
    inline_bytes_.insert(inline_bytes_.end(), bytes, bytes + pieces[i].length);
  }
  if (inline_bytes_.size() - start > limits_.max_inline_data) return fail(EINVAL);
  place_inline(start);
}

void WrBuilder::set_value(const void* bytes) {
  if (requests_.empty()) return fail(EINVAL);
  const size_t start = inline_bytes_.size();
  const auto* from = static_cast<const std::byte*>(bytes);
  inline_bytes_.insert(inline_bytes_.end(), from, from + sizeof(uint64_t));
  place_inline(start);
}

// What was appended since `start` becomes the data of the newest request.
void WrBuilder::place_inline(size_t start) {
  const size_t length = inline_bytes_.size() - start;
  placements_.back() = {sges_.size(), start, true};
  sges_.push_back({0, static_cast<uint32_t>(length), 0});
  requests_.back().num_sge = 1;
  requests_.back().send_flags |= IBV_SEND_INLINE;
}

const ibv_send_wr* WrBuilder::link(int& error) {
  error = error_;
  if (error != 0 || requests_.empty()) return nullptr;
  for (size_t i = 0; i < requests_.size(); ++i) {
    const Placement& placement = placements_[i];
    requests_[i].sg_list = sges_.data() + placement.first_sge;
    requests_[i].next = i + 1 < requests_.size() ? &requests_[i + 1] : nullptr;
    if (!placement.is_inline) continue;
    requests_[i].sg_list->addr =
        reinterpret_cast<uintptr_t>(inline_bytes_.data() + placement.first_inline_byte);
  }
  return requests_.data();
}

namespace {

WrBuilder& builder_of(ibv_qp_ex* ex) {
  return *Qp::of(ex).builder;
}

// These functions return nothing: running out of memory is a mistake that complete() reports.
template <class Body>
void building(ibv_qp_ex* ex, Body&& body) {
  const int error = errno_of([&] { body(builder_of(ex)); });
  builder_of(ex).fail(error);
}

void add_rdma(ibv_qp_ex* ex, ibv_wr_opcode opcode, uint32_t rkey, uint64_t address,
              __be32 imm = 0) {
  building(ex, [&](WrBuilder& builder) {
    ibv_send_wr& request = builder.add(*ex, opcode);
    request.wr.rdma.remote_addr = address;
    request.wr.rdma.rkey = rkey;
    request.imm_data = imm;
  });
}

void add_atomic(ibv_qp_ex* ex, ibv_wr_opcode opcode, uint32_t rkey, uint64_t address,
                uint64_t compare_add, uint64_t swap) {
  building(ex, [&](WrBuilder& builder) {
    ibv_send_wr& request = builder.add(*ex, opcode);
    request.wr.atomic.remote_addr = address;
    request.wr.atomic.rkey = rkey;
    request.wr.atomic.compare_add = compare_add;
    request.wr.atomic.swap = swap;
  });
}

void add_atomic_write(ibv_qp_ex* ex, uint32_t rkey, uint64_t address, const void* bytes) {
  add_rdma(ex, IBV_WR_ATOMIC_WRITE, rkey, address);
  building(ex, [&](WrBuilder& builder) { builder.set_value(bytes); });
}

void add_send(ibv_qp_ex* ex, ibv_wr_opcode opcode, __be32 imm = 0) {
  building(ex, [&](WrBuilder& builder) { builder.add(*ex, opcode).imm_data = imm; });
}

void add_invalidate(ibv_qp_ex* ex, ibv_wr_opcode opcode, uint32_t rkey) {
  building(ex, [&](WrBuilder& builder) { builder.add(*ex, opcode).invalidate_rkey = rkey; });
}

void add_bind(ibv_qp_ex* ex, ibv_mw* window, uint32_t rkey, const ibv_mw_bind_info* info) {
  building(ex, [&](WrBuilder& builder) {
    ibv_send_wr& request = builder.add(*ex, IBV_WR_BIND_MW);
    request.bind_mw.mw = window;
    request.bind_mw.rkey = rkey;
    request.bind_mw.bind_info = *info;
  });
}

void set_destination(ibv_qp_ex* ex, ibv_ah* ah, uint32_t qpn, uint32_t qkey) {
  building(ex, [&](WrBuilder& builder) { builder.set_destination(ah, qpn, qkey); });
}

void set_sge_list(ibv_qp_ex* ex, size_t count, const ibv_sge* sges) {
  building(ex, [&](WrBuilder& builder) { builder.set_sges(sges, count); });
}

void set_inline_list(ibv_qp_ex* ex, size_t count, const ibv_data_buf* pieces) {
  building(ex, [&](WrBuilder& builder) { builder.set_inline(pieces, count); });
}

void start(ibv_qp_ex* ex) {
  builder_of(ex).start();
}

void abort(ibv_qp_ex* ex) {
  builder_of(ex).finish();
}

int complete(ibv_qp_ex* ex) {
  WrBuilder& builder = builder_of(ex);
  int error = 0;
  if (const ibv_send_wr* requests = builder.link(error); requests != nullptr) {
    error = post_send_all(Qp::of(ex), requests);
  }
  builder.finish();
  return error;
}

}  // namespace

void fill_builder_functions(ibv_qp_ex& ex) {
  ex.wr_start = start;
  ex.wr_complete = complete;
  ex.wr_abort = abort;
  ex.wr_send = [](ibv_qp_ex* qp) { add_send(qp, IBV_WR_SEND); };
  ex.wr_send_imm = [](ibv_qp_ex* qp, __be32 imm) { add_send(qp, IBV_WR_SEND_WITH_IMM, imm); };
  ex.wr_rdma_write = [](ibv_qp_ex* qp, uint32_t rkey, uint64_t address) {
    add_rdma(qp, IBV_WR_RDMA_WRITE, rkey, address);
  };
  ex.wr_rdma_write_imm = [](ibv_qp_ex* qp, uint32_t rkey, uint64_t address, __be32 imm) {
    add_rdma(qp, IBV_WR_RDMA_WRITE_WITH_IMM, rkey, address, imm);
  };
  ex.wr_rdma_read = [](ibv_qp_ex* qp, uint32_t rkey, uint64_t address) {
    add_rdma(qp, IBV_WR_RDMA_READ, rkey, address);
  };
  ex.wr_atomic_cmp_swp = [](ibv_qp_ex* qp, uint32_t rkey, uint64_t address, uint64_t compare,
                            uint64_t swap) {
    add_atomic(qp, IBV_WR_ATOMIC_CMP_AND_SWP, rkey, address, compare, swap);
  };
  ex.wr_atomic_fetch_add = [](ibv_qp_ex* qp, uint32_t rkey, uint64_t address, uint64_t add) {
    add_atomic(qp, IBV_WR_ATOMIC_FETCH_AND_ADD, rkey, address, add, 0);
  };
  ex.wr_send_inv = [](ibv_qp_ex* qp, uint32_t rkey) {
    add_invalidate(qp, IBV_WR_SEND_WITH_INV, rkey);
  };
  ex.wr_local_inv = [](ibv_qp_ex* qp, uint32_t rkey) {
    add_invalidate(qp, IBV_WR_LOCAL_INV, rkey);
  };
  ex.wr_atomic_write = add_atomic_write;
  ex.wr_bind_mw = add_bind;
  ex.wr_set_ud_addr = set_destination;
  ex.wr_set_sge = [](ibv_qp_ex* qp, uint32_t lkey, uint64_t address, uint32_t length) {
    const ibv_sge sge{address, length, lkey};
    set_sge_list(qp, 1, &sge);
  };
  ex.wr_set_sge_list = set_sge_list;
  ex.wr_set_inline_data = [](ibv_qp_ex* qp, void* address, size_t length) {
    const ibv_data_buf piece{address, length};
    set_inline_list(qp, 1, &piece);
  };
  ex.wr_set_inline_data_list = set_inline_list;
}

}  // namespace verbena::soft
