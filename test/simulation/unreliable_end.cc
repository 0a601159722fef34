// Posts random work, and looks for the origin of all that arrives.
#include "unreliable_end.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "check.h"

namespace verbena::test {
namespace {

constexpr uint32_t kRouteBytes = 40;  // before a received datagram
constexpr uint32_t kSlack = 64;       // gaps of a slot

uint32_t arena_bytes(const UnreliablePlan& plan) {
  const uint32_t messages = (plan.operations + 1) * plan.ends() + plan.options.depth;
  return Arena::kSourceBytes + messages * (plan.most_bytes + kRouteBytes + kSlack);
}

}  // namespace

UnreliableEnd::UnreliableEnd(Host& host, const UnreliablePlan& plan, bool orderly, uint32_t pd,
                             uint64_t seed)
    : host_(host),
      plan_(plan),
      orderly_(orderly),
      random_(seed),
      cq_(plan.options.cq_depth, nullptr, nullptr),
      local_(host, pd, arena_bytes(plan), IBV_ACCESS_LOCAL_WRITE, random_),
      remote_(host, pd, arena_bytes(plan), IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE,
              random_),
      receives_(local_) {
  const PairOptions& options = plan.options;
  qp_ = host.insist([&](Engine& engine) {
    return engine.create_qp({pd, &cq_, &cq_, options.depth, options.depth, Arena::kMaxSge,
                             Arena::kMaxSge, options.max_inline, options.signal_all, nullptr,
                             options.type});
  });
  qpn_ = qp_->qpn;
}

void UnreliableEnd::join(const std::vector<UnreliableEnd*>& ends) {
  for (UnreliableEnd* end : ends) {
    if (end != this || datagrams()) others_.push_back(end);
  }
  next_from_.resize(others_.size());
  if (datagrams()) return start_datagrams();
  const bool first = this == ends.front();
  const uint32_t psn = first ? plan_.options.psn_a : plan_.options.psn_b;
  const uint32_t peer_psn = first ? plan_.options.psn_b : plan_.options.psn_a;
  const UnreliableEnd& other = *others_.back();
  connect(host_, *qp_, psn, other.host_, *other.qp_, peer_psn, plan_.options);
}

void UnreliableEnd::start_datagrams() {
  ibv_qp_attr attributes{};
  const auto enter = [&](ibv_qp_state state, int mask) {
    attributes.qp_state = state;
    host_.engine().modify_qp(*qp_, attributes, IBV_QP_STATE | mask);
  };
  attributes.port_num = 1;
  attributes.qkey = kPairQkey;
  attributes.sq_psn = plan_.options.psn_a;
  enter(IBV_QPS_INIT, IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_QKEY);
  enter(IBV_QPS_RTR, 0);
  enter(IBV_QPS_RTS, IBV_QP_SQ_PSN);
}

void UnreliableEnd::post() {
  if (!alive()) return;
  for (uint32_t burst = random_.below(6); burst > 0; --burst) {
    const bool fits = outstanding() < plan_.options.depth;
    if (sent_.size() < plan_.operations && fits) post_message(random_.below(plan_.most_bytes + 1));
  }
  for (uint32_t burst = random_.below(6); burst > 0; --burst) {
    if (receives_.posted() < plan_.operations * plan_.ends()) post_receive();
  }
}

// Of those for datagrams some are too small for what may come.
void UnreliableEnd::post_receive() {
  if (receives_.posted() - receives_.done() == plan_.options.depth) return;
  uint32_t bytes = plan_.most_bytes;
  if (datagrams() && random_.chance(0.1)) bytes = random_.below(bytes);
  receives_.add(bytes + header_bytes(), random_, [&](const ibv_recv_wr& request) {
    return host_.engine().post_receive(*qp_, request);
  });
}

void UnreliableEnd::speak_at_last() {
  if (!alive()) return;
  spoke_at_last_ = true;
  post_message(datagrams() ? 0 : plan_.most_bytes);
}

// On a network that loses nothing, to an end that waits for it.
void UnreliableEnd::check_heard_at_last() const {
  if (!spoke_at_last_ || unsettled_) return;
  const Message& message = sent_.back();
  const bool expected = message.valid && message.to->alive() && !message.to->unsettled_;
  hold(!expected || message.arrived, "a message was lost on a network that loses none");
}

void UnreliableEnd::post_message(uint32_t length) {
  static constexpr std::array kOpcodes = {IBV_WR_SEND, IBV_WR_SEND_WITH_IMM, IBV_WR_RDMA_WRITE,
                                          IBV_WR_RDMA_WRITE_WITH_IMM};
  Message message{};
  message.opcode = kOpcodes[random_.below(datagrams() ? 2 : kOpcodes.size())];
  if (spoke_at_last_) message.opcode = IBV_WR_SEND_WITH_IMM;  // there is none like it
  message.imm = random_.next();
  const bool last = sent_.size() + 1 >= plan_.operations;
  const uint32_t every = std::max(1U, plan_.options.depth / 2);
  message.signaled = plan_.options.signal_all || last || sent_.size() % every == 0;
  const Arena::Slot source = local_.source(length, random_);
  message.data.assign(local_.at(source.offset), local_.at(source.offset) + length);
  std::vector<ibv_sge> sges;
  local_.split(source, random_, sges);
  ibv_send_wr request{};
  request.wr_id = sent_.size();
  request.opcode = message.opcode;
  request.imm_data = message.imm;
  request.send_flags = message.signaled ? IBV_SEND_SIGNALED : 0;
  request.sg_list = sges.data();
  request.num_sge = static_cast<int>(sges.size());
  address(message, request);
  const int refused = host_.insist(
      [&](Engine& engine) { return engine.post_send(*qp_, request, message.to->host_.address()); });
  hold(refused == 0, "a good request was not taken");
  sent_.push_back(std::move(message));
}

// To whom, and with which key; sometimes a wrong one.
void UnreliableEnd::address(Message& message, ibv_send_wr& request) {
  UnreliableEnd& to = *others_[random_.below(static_cast<uint32_t>(others_.size()))];
  message.to = &to;
  message.valid = !random_.chance(0.1);
  if (datagrams()) {
    request.wr.ud.remote_qpn = to.qpn_;
    request.wr.ud.remote_qkey = message.valid ? kPairQkey : kPairQkey + 1;
  } else if (!message.is_send()) {
    message.slot = to.remote_.grant(static_cast<uint32_t>(message.data.size()));
    const uint32_t key = message.valid ? to.remote_.key() : to.local_.key();
    request.wr.rdma = {to.remote_.address(message.slot->offset), key};
    if (message.data.empty()) message.valid = true;
  } else {
    message.valid = true;
  }
}

void UnreliableEnd::collect() {
  std::array<ibv_wc, 8> found{};
  for (int count = 1; count > 0;) {
    count = cq_.poll(static_cast<int>(found.size()), found.data());
    for (const ibv_wc& each : std::span(found).first(static_cast<size_t>(count))) {
      const bool receive = (each.opcode & IBV_WC_RECV) != 0;
      receive ? take_receive(each) : take_send(each);
    }
  }
  if (host_.cq_errors > 0 && plan_.may_overflow) unsettled_ = disturbed_ = true;
}

// In order and once; nothing can go wrong with them here.
void UnreliableEnd::take_send(const ibv_wc& completion) {
  hold(completion.wr_id >= completed_ && completion.wr_id < sent_.size(),
       "a request completed twice, out of order or without being posted");
  for (; completed_ < completion.wr_id; ++completed_) {
    hold(!sent_[completed_].signaled, "a signaled request did not complete in its turn");
  }
  const bool good = completion.status == IBV_WC_SUCCESS;
  hold(good || (disturbed_ && completion.status == IBV_WC_WR_FLUSH_ERR), "a request failed");
  hold(!good || sent_[completed_].signaled, "a request completed that asked for no completion");
  ++completed_;
}

void UnreliableEnd::take_receive(const ibv_wc& completion) {
  hold(completion.wr_id == receives_.done(), "a receive completed out of order");
  const Arena::Slot slot = receives_.take(completion.wr_id);
  if (completion.status == IBV_WC_SUCCESS) {
    check_message(completion, slot);
  } else {
    const bool too_small = slot.length < plan_.most_bytes + header_bytes();
    hold(completion.status == IBV_WC_LOC_LEN_ERR ? datagrams() && too_small : disturbed_,
         "no reason for a receive to fail");
  }
  local_.retire(slot);
}

// It is one of those that were sent here; on an orderly network later than all that came from
// there before.
void UnreliableEnd::check_message(const ibv_wc& completion, const Arena::Slot& slot) {
  for (size_t from = 0; from < others_.size(); ++from) {
    UnreliableEnd& sender = *others_[from];
    const bool from_there = sender.qpn_ == completion.src_qp;
    for (size_t i = orderly_ ? next_from_[from] : 0; from_there && i < sender.sent_.size(); ++i) {
      Message& message = sender.sent_[i];
      if (message.to != this || !is_message(message, completion, slot)) continue;
      next_from_[from] = i + 1;
      message.arrived = true;
      return check_route(sender, slot);
    }
  }
  hold(false, "a message arrived that was not sent like that");
}

bool UnreliableEnd::is_message(const Message& message, const ibv_wc& completion,
                               const Arena::Slot& slot) const {
  const bool has_imm = (completion.wc_flags & IBV_WC_WITH_IMM) != 0;
  const bool of_this_kind = has_imm == message.has_imm() &&
                            (completion.opcode == IBV_WC_RECV) == message.is_send() &&
                            completion.byte_len == message.data.size() + header_bytes();
  if (!of_this_kind || !message.valid || (has_imm && completion.imm_data != message.imm)) {
    return false;
  }
  if (!message.is_send()) return remote_.holds(*message.slot, message.data);
  const auto* bytes = local_.at(slot.offset + header_bytes());
  return std::equal(message.data.begin(), message.data.end(), bytes);
}

// The global route header of a datagram: for IPv4, its header in the last 20 bytes.
void UnreliableEnd::check_route(const UnreliableEnd& from, const Arena::Slot& slot) const {
  if (!datagrams()) return;
  const auto* header = local_.at(slot.offset);
  hold(header[20] == std::byte{0x45} && header[29] == std::byte{17} &&
           std::memcmp(header + 32, from.host_.address().v4_bytes(), 4) == 0 &&
           std::memcmp(header + 36, host_.address().v4_bytes(), 4) == 0,
       "a datagram has a wrong route header");
}

uint32_t UnreliableEnd::header_bytes() const {
  return datagrams() ? kRouteBytes : 0;
}

void UnreliableEnd::to_error() {
  if (qp_ == nullptr) return;
  disturbed_ = true;
  ibv_qp_attr attributes{};
  attributes.qp_state = IBV_QPS_ERR;
  host_.insist([&](Engine& engine) { return engine.modify_qp(*qp_, attributes, IBV_QP_STATE); });
}

void UnreliableEnd::destroy() {
  if (qp_ == nullptr) return;
  collect();
  disturbed_ = unsettled_ = true;
  host_.engine().destroy_qp(*qp_);
  qp_ = nullptr;
  receives_.give_up();
}

void UnreliableEnd::check_state() const {
  if (qp_ == nullptr) return;
  const engine::SendQueue& queue = qp_->send_queue;
  hold(queue.head() <= queue.tail() && queue.tail() - queue.head() <= queue.depth(),
       "the send queue's marks are out of order");
  hold(qp_->responder.responses.empty(), "an unreliable queue pair answers");
}

void UnreliableEnd::check_end() const {
  if (!unsettled_) {
    hold(completed_ == sent_.size() || !sent_.back().signaled, "a request never completed");
    hold(receives_.done() == receives_.posted(), "a receive never completed");
  }
  for (const Message& message : sent_) {
    if (!message.slot) continue;
    const std::vector<std::byte> nothing;
    hold(message.to->remote_.holds_nothing_but(*message.slot,
                                               message.valid ? message.data : nothing),
         "a WRITE left bytes of something else");
  }
  local_.check();
  remote_.check();
}

}  // namespace verbena::test
