// Posts random work and compares every completion with the model.
#include "end.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "check.h"

namespace verbena::test {
namespace {

constexpr int kLocal = IBV_ACCESS_LOCAL_WRITE;
constexpr int kRemote = kLocal | IBV_ACCESS_MW_BIND | IBV_ACCESS_REMOTE_WRITE |
                        IBV_ACCESS_REMOTE_READ | IBV_ACCESS_REMOTE_ATOMIC;
constexpr uint32_t kForbiddenBytes = 600;
constexpr uint32_t kSlotSlack = 64;  // gaps and alignment of a slot

uint32_t arena_bytes(const ConnectionPlan& plan) {
  return Arena::kSourceBytes + 2 * plan.operations * (plan.most_bytes + kSlotSlack) +
         4 * kSlotSlack + kForbiddenBytes;
}

bool is_fresh(uint32_t before, uint32_t after) {
  return wire::psn_diff(after, before) >= 0;
}

}  // namespace

End::End(Host& host, const ConnectionPlan& plan, bool harsh, uint32_t pd, SharedReceives* shared,
         uint64_t seed)
    : host_(host),
      plan_(plan),
      harsh_(harsh),
      pd_(pd),
      shared_(shared),
      random_(seed),
      cq_(plan.options.cq_depth, nullptr, nullptr),
      local_(host, pd, arena_bytes(plan), kLocal, random_),
      remote_(host, pd, arena_bytes(plan), kRemote, random_),
      sum_(remote_.grant(8, 8)),
      chain_(remote_.grant(8, 8)),
      receives_(local_) {
  const PairOptions& options = plan.options;
  sums_[0] = remote_.number_at(sum_.offset);
  chains_[0] = remote_.number_at(chain_.offset);
  region_.lkey = remote_.key();
  window_.rkey =
      host.insist([&](Engine& engine) { return engine.memory().insert_window(pd, IBV_MW_TYPE_2); });
  qp_ = host.insist([&](Engine& engine) {
    return engine.create_qp({pd, &cq_, &cq_, options.depth, options.depth, Arena::kMaxSge,
                             Arena::kMaxSge, options.max_inline, options.signal_all, nullptr,
                             IBV_QPT_RC, shared == nullptr ? nullptr : shared->queue()});
  });
}

void End::connect_to(End& peer, uint32_t psn, uint32_t peer_psn, const PairOptions& options) {
  peer_ = &peer;
  // What this end's atomics find.
  sums_[0] = peer.remote_.number_at(peer.sum_.offset);
  chains_[0] = peer.remote_.number_at(peer.chain_.offset);
  connect(host_, *qp_, psn, peer.host_, *peer.qp_, peer_psn, options);
}

// A program that does not poll posts no more than its queue of completions holds.
void End::post_sends() {
  if (!alive() || (starving_ && !plan_.tight_cq)) return;
  for (uint32_t burst = 1 + random_.below(8); burst > 0 && next_ < plan_.operations; --burst) {
    if (qp_->send_queue.full()) return;
    trespasses_ ? post_trespass() : post_operation();
  }
}

void End::post_operation() {
  static constexpr std::array kOpcodes = {IBV_WR_SEND,
                                          IBV_WR_SEND_WITH_IMM,
                                          IBV_WR_RDMA_WRITE,
                                          IBV_WR_RDMA_WRITE,
                                          IBV_WR_RDMA_WRITE_WITH_IMM,
                                          IBV_WR_RDMA_READ,
                                          IBV_WR_RDMA_READ,
                                          IBV_WR_ATOMIC_FETCH_AND_ADD,
                                          IBV_WR_ATOMIC_CMP_AND_SWP,
                                          IBV_WR_ATOMIC_WRITE,
                                          IBV_WR_BIND_MW};
  Operation operation{};
  operation.opcode = kOpcodes[random_.below(kOpcodes.size())];
  operation.imm = random_.next();
  // One at least in each half of the queue, or its slots would never come free.
  const uint32_t every = std::max(1U, plan_.options.depth / 2);
  const bool last = next_ + 1 == plan_.operations;
  operation.signaled =
      plan_.options.signal_all || last || next_ % every == 0 || random_.chance(0.5);
  ibv_send_wr request{};
  request.wr_id = operations_.size();
  request.opcode = operation.opcode;
  request.imm_data = operation.imm;
  request.send_flags = operation.signaled ? IBV_SEND_SIGNALED : 0;
  if (random_.chance(0.1)) request.send_flags |= IBV_SEND_FENCE;
  if (random_.chance(0.1)) request.send_flags |= IBV_SEND_SOLICITED;
  sges_.clear();
  if (operation.is_local()) {
    choose_window(operation, request);
  } else if (operation.is_atomic()) {
    choose_atomic(operation, request);
  } else {
    choose_data(operation, request);
  }
  request.sg_list = sges_.data();
  request.num_sge = static_cast<int>(sges_.size());
  hold(post(request) == 0, "a good request was not taken");
  if (operation.opcode == IBV_WR_BIND_MW) window_.rkey = request.bind_mw.rkey;
  // Inline data are the device's from now on.
  std::ranges::fill(inline_bytes_, std::byte{0xEE});
  if (operation.consumes()) messages_.push_back(operations_.size());
  operations_.push_back(std::move(operation));
  ++next_;
}

void End::choose_data(Operation& operation, ibv_send_wr& request) {
  const bool eight = operation.opcode == IBV_WR_ATOMIC_WRITE;
  uint32_t length = random_.below(plan_.most_bytes + 1);
  if (random_.chance(0.3)) length = random_.below(9);
  if (random_.chance(0.2)) length = plan_.most_bytes / 2 / 256 * 256;
  if (eight) length = 8;
  const bool reads = operation.opcode == IBV_WR_RDMA_READ;
  Arena& from = reads ? peer_->remote_ : local_;
  const Arena::Slot source = from.source(length, random_);
  operation.data.assign(from.at(source.offset), from.at(source.offset) + length);
  if (!operation.is_send()) {
    Arena& to = reads ? local_ : peer_->remote_;
    operation.slot = to.grant(length, eight ? 8 : 1);
    const Arena::Slot& remote = reads ? source : *operation.slot;
    request.wr.rdma = {peer_->remote_.address(remote.offset), peer_->remote_.key()};
  }
  local_.split(reads ? *operation.slot : source, random_, sges_);
  const bool fits = length <= plan_.options.max_inline;
  if (eight || (!reads && fits && random_.chance(0.5))) {
    inline_bytes_ = operation.data;
    if (!eight) request.send_flags |= IBV_SEND_INLINE;
    sges_ = {{reinterpret_cast<uint64_t>(inline_bytes_.data()), length, 0}};
  }
}

// Bound and invalidated in turn, by a new key each time.
void End::choose_window(Operation& operation, ibv_send_wr& request) {
  if (bound_) {
    operation.opcode = request.opcode = IBV_WR_LOCAL_INV;
    request.invalidate_rkey = window_.rkey;
  } else {
    request.bind_mw = {&window_,
                       ibv_inc_rkey(window_.rkey),
                       {&region_, remote_.address(0), remote_.size(), IBV_ACCESS_REMOTE_READ}};
  }
  bound_ = !bound_;
}

void End::choose_atomic(Operation& operation, ibv_send_wr& request) {
  const bool adds = operation.opcode == IBV_WR_ATOMIC_FETCH_AND_ADD;
  auto& values = adds ? sums_ : chains_;
  const uint64_t found = values.back();
  const uint64_t operand = random_.next();
  const Arena::Slot& at = adds ? peer_->sum_ : peer_->chain_;
  request.wr.atomic = {peer_->remote_.address(at.offset), adds ? operand : found, operand,
                       peer_->remote_.key()};
  values.push_back(adds ? found + operand : operand);
  operation.original = found;
  operation.slot = local_.grant(8);
  operation.data.resize(8);
  std::memcpy(operation.data.data(), &found, 8);
  sges_ = {{local_.address(operation.slot->offset), 8, local_.key()}};
}

void End::post_receives(bool all) {
  if (shared_ != nullptr || !alive() || (starving_ && !plan_.tight_cq)) return;
  const size_t wanted = all ? peer_->messages_.size() : receives_.posted() + random_.below(4);
  const size_t most = std::min<size_t>(wanted, plan_.operations);
  while (receives_.posted() < most && receives_.posted() - receives_.done() < plan_.options.depth) {
    receives_.add(plan_.most_bytes, random_, [&](const ibv_recv_wr& request) {
      return host_.engine().post_receive(*qp_, request);
    });
  }
}

void End::collect() {
  if (starving_) return;
  std::array<ibv_wc, 16> found{};
  for (int count = 1; count > 0;) {
    count = cq_.poll(static_cast<int>(1 + random_.below(found.size())), found.data());
    for (const ibv_wc& each : std::span(found).first(static_cast<size_t>(count))) take(each);
  }
  if (host_.cq_errors > 0 && plan_.may_overflow) {
    unsettled_ = disturbed_ = true;
    if (shared_ != nullptr) shared_->lose();
  }
}

void End::take(const ibv_wc& completion) {
  digest_ =
      (digest_ ^ completion.wr_id ^ completion.status << 8 ^ completion.byte_len) * 0x100000001B3;
  if (completion.status != IBV_WC_SUCCESS) {
    check_reason(completion.status);
    failed_ = disturbed_ = true;
  }
  const bool receive = completion.status == IBV_WC_SUCCESS ? (completion.opcode & IBV_WC_RECV) != 0
                                                           : completion.opcode == IBV_WC_RECV;
  receive ? take_receive(completion) : take_send(completion);
}

// Each completes once and in order; those that asked for no completion succeeded when a later one
// did.
void End::take_send(const ibv_wc& completion) {
  hold(completion.wr_id >= completed_, "a request completed twice or out of order");
  hold(completion.wr_id < operations_.size(), "a request completed that was not posted");
  while (completed_ < completion.wr_id) {
    Operation& before = operations_[completed_++];
    hold(!before.signaled, "a signaled request did not complete in its turn");
    succeed(before);
  }
  Operation& operation = operations_[completed_++];
  if (completion.status != IBV_WC_SUCCESS) return fail(operation);
  hold(!cause_seen_, "a request succeeded after one that failed");
  hold(operation.signaled, "a request completed that asked for no completion");
  succeed(operation);
}

void End::succeed(Operation& operation) {
  if (operation.is_send() || operation.is_local()) return;
  if (operation.opcode == IBV_WR_ATOMIC_FETCH_AND_ADD) ++sums_done_;
  if (operation.opcode == IBV_WR_ATOMIC_CMP_AND_SWP) ++chains_done_;
  if (!operation.arrives_here()) return check_arrival(operation);
  hold(local_.holds(*operation.slot, operation.data), "a READ or atomic brought wrong bytes");
  local_.retire(*operation.slot);
}

// Nothing comes for it any more; its peer may still get it.
void End::fail(Operation& operation) {
  cause_seen_ = true;
  if (!operation.arrives_here()) return;
  hold(local_.holds_nothing_but(*operation.slot, operation.data),
       "a READ that failed left bytes of something else");
  local_.retire(*operation.slot);
}

// Of a WRITE, at whichever end knows first. It must not be written again.
void End::check_arrival(Operation& operation) {
  if (operation.arrival_checked) return;
  operation.arrival_checked = true;
  hold(peer_->remote_.holds(*operation.slot, operation.data), "a WRITE left wrong bytes");
  peer_->remote_.retire(*operation.slot);
}

void End::take_receive(const ibv_wc& completion) {
  hold(shared_ != nullptr || completion.wr_id == receives_.done(),
       "a receive completed out of order");
  Receives& receives = shared_ == nullptr ? receives_ : shared_->receives();
  const Arena::Slot slot = receives.take(completion.wr_id);
  Arena& arena = receives.arena();
  if (completion.status == IBV_WC_SUCCESS) {
    check_message(completion, arena, slot);
  } else {
    check_flushed(arena, slot);
  }
  arena.retire(slot);
}

void End::check_message(const ibv_wc& completion, const Arena& arena, const Arena::Slot& slot) {
  hold(messages_received_ < peer_->messages_.size(), "a message arrived that was not sent");
  Operation& message = peer_->operations_[peer_->messages_[messages_received_++]];
  hold(completion.byte_len == message.data.size(), "a message has another length than it had");
  const bool has_imm = (completion.wc_flags & IBV_WC_WITH_IMM) != 0;
  hold(has_imm == message.has_imm(), "immediate data came or went");
  hold(!has_imm || completion.imm_data == message.imm, "immediate data changed");
  hold((completion.opcode == IBV_WC_RECV) == message.is_send(), "a message of another kind");
  if (!message.is_send()) return peer_->check_arrival(message);
  hold(arena.holds(slot, message.data), "a message has other bytes than it had");
}

void End::check_flushed(const Arena& arena, const Arena::Slot& slot) const {
  static const std::vector<std::byte> kNothing;
  const bool more = messages_received_ < peer_->messages_.size();
  const auto& data =
      more ? peer_->operations_[peer_->messages_[messages_received_]].data : kNothing;
  hold(arena.holds_nothing_but(slot, data), "a flushed receive holds foreign bytes");
}

void End::check_reason(ibv_wc_status status) const {
  const bool any_disturbed = disturbed_ || peer_->disturbed_;
  bool reason = false;
  switch (status) {
    case IBV_WC_WR_FLUSH_ERR:
      reason = any_disturbed;
      break;
    case IBV_WC_LOC_PROT_ERR:
      reason = local_.revoked();
      break;
    case IBV_WC_MW_BIND_ERR:
      reason = remote_.revoked();
      break;
    case IBV_WC_REM_ACCESS_ERR:
      reason = peer_->remote_.revoked() || trespasses_;
      break;
    case IBV_WC_REM_OP_ERR:
      reason = peer_->local_.revoked();
      break;
    case IBV_WC_RETRY_EXC_ERR:
      reason = harsh_ || any_disturbed;
      break;
    case IBV_WC_RNR_RETRY_EXC_ERR:
      reason = harsh_;
      break;
    default:
      break;
  }
  hold(reason, [&] { return "no reason for completion status " + std::to_string(status); });
}

void End::destroy() {
  if (qp_ == nullptr) return;
  starving_ = false;
  collect();
  disturbed_ = unsettled_ = true;
  if (shared_ != nullptr && qp_->responder.receive_taken) shared_->lose();
  host_.engine().destroy_qp(*qp_);
  qp_ = nullptr;
  host_.engine().memory().erase_window(window_.rkey);
  // Its memory is somebody else's from now on.
  for (size_t i = completed_; i < operations_.size(); ++i) {
    if (operations_[i].arrives_here()) local_.retire(*operations_[i].slot);
  }
  receives_.give_up();
}

void End::to_error() {
  if (qp_ == nullptr) return;
  disturbed_ = true;
  enter(IBV_QPS_ERR);
}

void End::revoke_local() {
  disturbed_ = true;
  local_.revoke();
}

void End::revoke_remote() {
  disturbed_ = true;
  remote_.revoke();
}

// The last that this end posts: it must be refused, and leave nothing.
void End::post_trespass() {
  disturbed_ = true;
  next_ = plan_.operations;
  Operation operation{};
  operation.opcode = random_.chance(0.5) ? IBV_WR_RDMA_WRITE : IBV_WR_RDMA_READ;
  operation.signaled = true;
  const Arena::Slot mine = operation.arrives_here() ? local_.grant(kForbiddenBytes)
                                                    : local_.source(kForbiddenBytes, random_);
  if (operation.arrives_here()) operation.slot = mine;
  ibv_sge sge{local_.address(mine.offset), kForbiddenBytes, local_.key()};
  ibv_send_wr request{};
  request.wr_id = operations_.size();
  request.opcode = operation.opcode;
  request.send_flags = IBV_SEND_SIGNALED;
  request.sg_list = &sge;
  request.num_sge = 1;
  const RemoteRange range = forbidden_range();
  request.wr.rdma = {range.address, range.rkey};
  // A READ is asked for in pieces: those that lie inside may come before one is refused.
  const Arena& arena = peer_->remote_;
  const uint64_t offset = range.address - arena.address(0);
  if (range.rkey == arena.key() && offset < arena.size()) {
    operation.data.assign(arena.at(static_cast<uint32_t>(offset)), arena.at(arena.size()));
  }
  hold(post(request) == 0, "a request was not taken");
  operations_.push_back(std::move(operation));
}

// Beside the region, across either end of it, around the end of all addresses, or by the key of
// another.
RemoteRange End::forbidden_range() {
  const Arena& arena = peer_->remote_;
  const uint32_t end = arena.size(), inside = random_.below(kForbiddenBytes);
  switch (random_.below(5)) {
    case 0:
      return {arena.address(end - inside), arena.key()};
    case 1:
      return {arena.address(0) - 1 - inside, arena.key()};
    case 2:
      return {~uint64_t{0} - inside, arena.key()};
    case 3:
      return {arena.address(0), local_.key()};
    default:
      return {arena.address(0), peer_->local_.key()};
  }
}

void End::pause() {
  if (qp_ != nullptr && qp_->state == IBV_QPS_RTS) enter(IBV_QPS_SQD);
}

void End::resume() {
  starving_ = false;
  if (paused()) enter(IBV_QPS_RTS);
}

void End::enter(ibv_qp_state state) {
  ibv_qp_attr attributes{};
  attributes.qp_state = state;
  host_.insist([&](Engine& engine) { return engine.modify_qp(*qp_, attributes, IBV_QP_STATE); });
}

int End::post(const ibv_send_wr& request) {
  return host_.insist([&](Engine& engine) { return engine.post_send(*qp_, request); });
}

void End::check_state() const {
  if (qp_ == nullptr) return;
  const engine::Requester& requester = qp_->requester;
  hold(is_fresh(requester.una_psn, requester.send_psn) &&
           is_fresh(requester.send_psn, requester.sent_psn) &&
           is_fresh(requester.sent_psn, requester.next_psn),
       "sequence numbers are out of order");
  const engine::SendQueue& queue = qp_->send_queue;
  hold(queue.head() <= requester.cursor && requester.cursor <= requester.started &&
           requester.started <= queue.tail() && queue.tail() - queue.head() <= queue.depth(),
       "the send queue's marks are out of order");
  hold(qp_->responder.served.size() <= plan_.options.rd_atomic, "too many requests are remembered");
  hold(qp_->responder.responses.size() <= 256, "too many responses wait");
  hold(requester.response_ends.size() <= plan_.options.rd_atomic, "too many READs are in flight");
  check_counters();
}

// The peer executed a prefix of this end's atomics, with all that completed.
void End::check_counters() const {
  const auto prefix = [](const std::vector<uint64_t>& values, size_t least, uint64_t now) {
    return std::find(values.begin() + static_cast<ptrdiff_t>(least), values.end(), now) !=
           values.end();
  };
  hold(prefix(sums_, sums_done_, peer_->remote_.number_at(peer_->sum_.offset)),
       "FETCH_ADDs were lost or executed twice");
  hold(prefix(chains_, chains_done_, peer_->remote_.number_at(peer_->chain_.offset)),
       "COMPARE_SWAPs were lost or executed twice");
}

void End::check_end() {
  if (qp_ != nullptr && !unsettled_) {
    hold(completed_ == operations_.size() || !operations_.back().signaled,
         "a request never completed");
    hold(receives_.done() == receives_.posted(), "a receive never completed");
  }
  if (qp_ != nullptr) {
    hold(qp_->path->in_flight_bytes == 0, "bytes are counted as in flight that are not");
  }
  for (const Operation& operation : operations_) {
    if (!operation.slot || operation.arrives_here() || operation.arrival_checked) continue;
    hold(peer_->remote_.holds_nothing_but(*operation.slot, operation.data),
         "a WRITE that failed left bytes of something else");
  }
  if (done() && !failed_) {
    hold(peer_->remote_.number_at(peer_->sum_.offset) == sums_.back(), "FETCH_ADDs were lost");
  }
  check_counters();
  check_last_event();
  local_.check();
  remote_.check();
}

// Whoever shares receives is told once that no more of them come here.
void End::check_last_event() const {
  if (shared_ == nullptr || qp_ == nullptr) return;
  const auto told = std::ranges::count_if(host_.events, [this](const QpEvent& event) {
    return event.qpn == qp_->qpn && event.type == IBV_EVENT_QP_LAST_WQE_REACHED;
  });
  hold(told == 1, "a queue pair with shared receives did not say that it got its last");
}

}  // namespace verbena::test
