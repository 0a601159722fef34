// The engine's tables and schedule: queue pairs and their states, paths, timers, the transmit list.
#include "soft/engine/engine.h"

#include <algorithm>
#include <cerrno>
#include <utility>

namespace verbena::engine {
namespace {

constexpr uint32_t kLowestQpn = 2;  // 0 and 1 are the management queue pairs
constexpr uint32_t kHighestQpn = 0xFFFFFE;
constexpr uint32_t kInitialWindow = 64;
constexpr uint32_t kLargestWindow = 4096;
// Packets of one call of transmit, and of one queue pair's turn in it. Few, because whoever wants
// the lane waits for all of them: 64 KiB at most.
constexpr uint32_t kTransmitBudget = 16;
constexpr uint32_t kTurnBudget = 16;

bool address_vector_valid(const ibv_ah_attr& address) {
  return address.is_global != 0 && address.grh.sgid_index == 0 && address.port_num == 1;
}

bool values_valid(const ibv_qp_attr& attributes, int mask) {
  const auto limited = [mask](int bit, uint32_t value, uint32_t largest) {
    return (mask & bit) == 0 || value <= largest;
  };
  if ((mask & IBV_QP_PORT) != 0 && attributes.port_num != 1) return false;
  if ((mask & IBV_QP_AV) != 0 && !address_vector_valid(attributes.ah_attr)) return false;
  if ((mask & IBV_QP_PATH_MTU) != 0 && (attributes.path_mtu < 1 || attributes.path_mtu > 5)) {
    return false;
  }
  return (mask & IBV_QP_ALT_PATH) == 0 && limited(IBV_QP_PKEY_INDEX, attributes.pkey_index, 0) &&
         limited(IBV_QP_DEST_QPN, attributes.dest_qp_num, 0xFFFFFF) &&
         limited(IBV_QP_TIMEOUT, attributes.timeout, 31) &&
         limited(IBV_QP_RETRY_CNT, attributes.retry_cnt, 7) &&
         limited(IBV_QP_RNR_RETRY, attributes.rnr_retry, 7) &&
         limited(IBV_QP_MIN_RNR_TIMER, attributes.min_rnr_timer, 31) &&
         limited(IBV_QP_MAX_QP_RD_ATOMIC, attributes.max_rd_atomic, kMaxRdAtomic) &&
         limited(IBV_QP_MAX_DEST_RD_ATOMIC, attributes.max_dest_rd_atomic, kMaxRdAtomic);
}

void copy_attributes(ibv_qp_attr& to, const ibv_qp_attr& from, int mask) {
  if ((mask & IBV_QP_ACCESS_FLAGS) != 0) to.qp_access_flags = from.qp_access_flags;
  if ((mask & IBV_QP_PKEY_INDEX) != 0) to.pkey_index = from.pkey_index;
  if ((mask & IBV_QP_PORT) != 0) to.port_num = from.port_num;
  if ((mask & IBV_QP_QKEY) != 0) to.qkey = from.qkey;
  if ((mask & IBV_QP_AV) != 0) to.ah_attr = from.ah_attr;
  if ((mask & IBV_QP_PATH_MTU) != 0) to.path_mtu = from.path_mtu;
  if ((mask & IBV_QP_TIMEOUT) != 0) to.timeout = from.timeout;
  if ((mask & IBV_QP_RETRY_CNT) != 0) to.retry_cnt = from.retry_cnt;
  if ((mask & IBV_QP_RNR_RETRY) != 0) to.rnr_retry = from.rnr_retry;
  if ((mask & IBV_QP_RQ_PSN) != 0) to.rq_psn = from.rq_psn & wire::kPsnMask;
  if ((mask & IBV_QP_MAX_QP_RD_ATOMIC) != 0) to.max_rd_atomic = from.max_rd_atomic;
  if ((mask & IBV_QP_MIN_RNR_TIMER) != 0) to.min_rnr_timer = from.min_rnr_timer;
  if ((mask & IBV_QP_SQ_PSN) != 0) to.sq_psn = from.sq_psn & wire::kPsnMask;
  if ((mask & IBV_QP_MAX_DEST_RD_ATOMIC) != 0) to.max_dest_rd_atomic = from.max_dest_rd_atomic;
  if ((mask & IBV_QP_DEST_QPN) != 0) to.dest_qp_num = from.dest_qp_num;
}

// One side at least must be a full member (bit 15), and the low 15 bits equal (IBTA volume
// 1, 10.9.3).
bool pkey_matches(uint16_t pkey) {
  constexpr uint16_t kOurs = 0xFFFF;
  return (pkey & 0x7FFF) == (kOurs & 0x7FFF);
}

}  // namespace

Engine::Engine(const EngineOptions& options, RandomSource& random, EventSink& events,
               Counters& counters)
    : options_(options),
      events_(events),
      counters_(counters),
      memory_(random),
      queue_pairs_(random, kLowestQpn, kHighestQpn) {}

Engine::~Engine() = default;

QueuePair* Engine::create_qp(const QueuePairOptions& options) {
  const auto qp = std::make_shared<QueuePair>(options);
  std::set<Timer> one{{kNever, 0}};
  qp->timer = one.extract(one.begin());
  pieces_.reserve(std::max(options.max_send_sge, 1U));
  qp->qpn = queue_pairs_.insert(qp);
  return qp.get();
}

void Engine::destroy_qp(QueuePair& qp) {
  leave_groups(qp);
  release_path(qp);
  ready_.remove(qp);
  if (qp.timer_at != kNever) timers_.erase({qp.timer_at, qp.qpn});
  queue_pairs_.erase(qp.qpn);
}

int Engine::modify_qp(QueuePair& qp, const ibv_qp_attr& attributes, int mask) {
  if (!values_valid(attributes, mask)) return EINVAL;
  // First, since it may find no memory.
  if ((mask & IBV_QP_AV) != 0) {
    use_path(qp, wire::Address::from_gid(&attributes.ah_attr.grh.dgid));
  }
  copy_attributes(qp.attributes, attributes, mask);
  if ((mask & IBV_QP_STATE) == 0) return 0;
  const ibv_qp_state from = qp.state;
  switch (attributes.qp_state) {
    case IBV_QPS_RESET:
      reset(qp);
      break;
    case IBV_QPS_RTR:
      enter_rtr(qp);
      break;
    case IBV_QPS_RTS:
      if (from == IBV_QPS_RTR) enter_rts(qp);
      make_ready(qp);
      break;
    case IBV_QPS_SQD:
      qp.drain_event_wanted =
          (mask & IBV_QP_EN_SQD_ASYNC_NOTIFY) != 0 && attributes.en_sqd_async_notify != 0;
      break;
    case IBV_QPS_ERR:
      qp.responder.responses.clear();
      enter_error(qp);
      break;
    default:
      break;
  }
  qp.state = attributes.qp_state;
  check_drained(qp);
  return 0;
}

void Engine::enter_rtr(QueuePair& qp) {
  const bool datagrams = qp.options.type == IBV_QPT_UD;
  qp.mtu = datagrams ? options_.port_mtu : wire::mtu_bytes(qp.attributes.path_mtu);
  qp.responder = {};
  qp.responder.expected_psn = qp.attributes.rq_psn;
  qp.communication_established = false;
}

void Engine::enter_rts(QueuePair& qp) {
  qp.communication_established = true;
  Requester& requester = qp.requester;
  const uint64_t tail = qp.send_queue.tail();
  requester = {};
  requester.una_psn = requester.send_psn = requester.sent_psn = requester.next_psn =
      qp.attributes.sq_psn;
  requester.cursor = requester.started = tail;
  requester.window = std::min(kInitialWindow, window_limit(qp));
  requester.slow_start_until = window_limit(qp);
  requester.retries_left = qp.attributes.retry_cnt;
  requester.rnr_retries_left = qp.attributes.rnr_retry;
}

void Engine::reset(QueuePair& qp) {
  release_path(qp);
  qp.send_queue.clear();
  qp.own_receives.clear();
  // What is polled after this must be of the queue pair's next life, as adapters have it.
  qp.options.send_cq->discard(qp.qpn);
  qp.options.recv_cq->discard(qp.qpn);
  qp.requester = {};
  qp.responder = {};
  qp.attributes = {};
}

void Engine::enter_error(QueuePair& qp) {
  if (qp.state == IBV_QPS_ERR) return;
  qp.state = IBV_QPS_ERR;
  take_back(qp);
  while (!qp.send_queue.empty()) complete_send(qp, IBV_WC_WR_FLUSH_ERR);
  qp.requester = {};
  qp.requester.cursor = qp.requester.started = qp.send_queue.tail();
  flush_receives(qp);
}

void Engine::fail() {
  queue_pairs_.for_each([this](const std::shared_ptr<QueuePair>& qp) {
    if (qp->state == IBV_QPS_RESET) return;
    qp->responder.responses.clear();
    enter_error(*qp);
  });
}

void Engine::flush_receives(QueuePair& qp) {
  if (qp.responder.receive_taken) complete_receive(qp, IBV_WC_WR_FLUSH_ERR);
  if (qp.options.srq != nullptr) {
    // What is left in a shared queue goes to others; the program learns that none will come here.
    events_.on_qp_event(qp, IBV_EVENT_QP_LAST_WQE_REACHED);
    return;
  }
  while (!qp.own_receives.empty()) {
    take_receive(qp);
    complete_receive(qp, IBV_WC_WR_FLUSH_ERR);
  }
}

void Engine::push_completion(QueuePair& qp, CompletionQueue& cq, const ibv_wc& completion,
                             bool solicited) {
  ibv_wc stamped = completion;
  stamped.qp_num = qp.qpn;
  if (cq.push(stamped, solicited) != CompletionQueue::Push::kOverflow) return;
  ++counters_.cq_overflows;
  events_.on_cq_error(cq);
  if (qp.state == IBV_QPS_ERR) return;
  events_.on_qp_event(qp, IBV_EVENT_QP_FATAL);
  enter_error(qp);
}

void Engine::check_drained(QueuePair& qp) {
  if (qp.state != IBV_QPS_SQD || !qp.drain_event_wanted) return;
  if (qp.send_queue.head() != qp.requester.started) return;
  qp.drain_event_wanted = false;
  events_.on_qp_event(qp, IBV_EVENT_SQ_DRAINED);
}

int Engine::post_receive(QueuePair& qp, const ibv_recv_wr& request) {
  if (qp.state == IBV_QPS_RESET || qp.options.srq != nullptr) return EINVAL;
  // The one in use is outstanding too: a completion queue may have room for `depth` and no more.
  const uint32_t outstanding = qp.own_receives.waiting() + (qp.responder.receive_taken ? 1 : 0);
  if (outstanding >= qp.own_receives.depth()) return ENOMEM;
  const int error = qp.own_receives.post(request);
  if (error == 0 && qp.state == IBV_QPS_ERR) flush_receives(qp);
  return error;
}

// Counts it, and drops what no queue pair would take.
std::optional<wire::Packet> Engine::parse(std::span<const std::byte> bytes) {
  ++counters_.rx_packets;
  counters_.rx_bytes += bytes.size();
  auto packet = wire::Packet::parse(bytes);
  if (!packet) {
    ++counters_.malformed;
  } else if (!pkey_matches(packet->pkey())) {
    ++counters_.bad_pkey;
    return std::nullopt;
  }
  return packet;
}

inline void Engine::deliver(TimeNs now, QueuePair& qp, const wire::Address& source,
                            const wire::Packet& packet) {
  if (qp.options.type == IBV_QPT_UD) return on_datagram(qp, source, options_.address, packet);
  if (qp.path == nullptr || !(qp.path->address == source)) {
    ++counters_.bad_peer;
    return;
  }
  if (!qp.reliable()) {
    on_unreliable_request(qp, packet);
  } else if (packet.has(wire::OpcodeFlag::kRequest)) {
    on_request(qp, packet);
  } else {
    on_response(now, qp, packet);
  }
}

void Engine::on_packet(TimeNs now, const wire::Address& source, std::span<const std::byte> bytes) {
  const auto packet = parse(bytes);
  if (!packet) return;
  const auto* found = queue_pairs_.find(packet->dest_qpn());
  if (found == nullptr) {
    ++counters_.unknown_qpn;
    return;
  }
  QueuePair& qp = **found;
  if (packet->info().transport != qp.transport()) {
    ++counters_.bad_transport;
    return;
  }
  try {
    deliver(now, qp, source, *packet);
  } catch (const std::bad_alloc&) {
    ++counters_.out_of_memory;
  }
  // A request changes nothing of what this end sends.
  if (packet->has(wire::OpcodeFlag::kRequest)) return;
  check_drained(qp);
  schedule(qp);
}

void Engine::on_timeout(TimeNs now) {
  while (next_timeout() <= now) {
    QueuePair& qp = **queue_pairs_.find(timers_.begin()->qpn);
    qp.timer = timers_.extract(timers_.begin());
    qp.timer_at = kNever;
    on_qp_timeout(now, qp);
    schedule(qp);
  }
}

// For each queue pair that waits there is an entry no later than its deadline. A deadline that
// moves back leaves its entry alone, so that traffic costs no operation here: the entry fires early
// and is set anew. The entry is made with the queue pair, so that this needs no memory.
void Engine::schedule(QueuePair& qp) {
  const Requester& requester = qp.requester;
  const TimeNs deadline =
      std::min({requester.ack_deadline, requester.probe_deadline, requester.rnr_deadline});
  if (deadline >= qp.timer_at) return;
  if (qp.timer_at != kNever) qp.timer = timers_.extract({qp.timer_at, qp.qpn});
  qp.timer_at = deadline;
  qp.timer.value() = {deadline, qp.qpn};
  timers_.insert(std::move(qp.timer));
}

bool Engine::transmit(TimeNs now, PacketSink& sink) {
  uint32_t budget = kTransmitBudget;
  while (budget > 0 && !ready_.empty()) {
    QueuePair& qp = *ready_.pop_front();
    const uint32_t turn = std::min(budget, kTurnBudget);
    uint32_t left = turn;
    // Behind requests an acknowledge, which is shorter, leaves with them as one message of the
    // kernel; it does so even where requests use up the turn.
    const bool acknowledge_last = qp.responder.owes_acknowledge_only();
    bool more = !acknowledge_last && transmit_responses(qp, sink, left);
    more |= qp.options.type == IBV_QPT_UD ? transmit_datagrams(qp, sink, left)
                                          : transmit_requests(now, qp, sink, left);
    if (acknowledge_last) {
      left = std::max(left, 1U);
      more |= transmit_responses(qp, sink, left);
    }
    budget -= turn - left;
    if (more) make_ready(qp);
    schedule(qp);
  }
  return !ready_.empty();
}

bool Engine::owes_acknowledge_only() const {
  const QueuePair* qp = ready_.front();
  if (qp == nullptr || ready_.after(*qp) != nullptr) return false;
  const bool asks = qp->requester.cursor != qp->send_queue.tail() || qp->requester.probe_due;
  return !asks && qp->responder.owes_acknowledge_only();
}

void Engine::use_path(QueuePair& qp, const wire::Address& address) {
  auto found = paths_.find(address);
  if (found == paths_.end()) {
    auto made = std::make_unique<PeerPath>(PeerPath{address, options_.peer_window_bytes, 0, 0, {}});
    found = paths_.emplace(address, std::move(made)).first;
  }
  PeerPath* path = found->second.get();
  ++path->users;
  if (qp.path != nullptr) go_back(qp);
  release_path(qp);
  qp.path = path;
  count_flight(qp);
}

void Engine::set_window(const wire::Address& address, uint64_t bytes) {
  const auto found = paths_.find(address);
  if (found == paths_.end()) return;
  found->second->window_bytes = bytes == 0 ? options_.peer_window_bytes : bytes;
}

void Engine::release_path(QueuePair& qp) {
  if (qp.path == nullptr) return;
  take_back(qp);
  PeerPath* path = std::exchange(qp.path, nullptr);
  path->blocked.remove(qp);
  if (--path->users == 0) paths_.erase(wire::Address(path->address));
}

// Where a PSN is in all that the queue pair sends; `number` is the request that has it, if any has.
uint64_t Engine::byte_at(const QueuePair& qp, uint64_t number, uint32_t psn) {
  if (number >= qp.requester.started) return qp.requester.next_byte;
  const SendRequest& request = qp.send_queue.at(number);
  const auto packets = static_cast<uint64_t>(wire::psn_diff(psn, request.first_psn));
  return request.first_byte + std::min(packets * packet_bytes(qp.mtu), packet_bytes_of(request));
}

uint32_t Engine::window_limit(const QueuePair& qp) const {
  const uint64_t bytes = qp.path == nullptr ? options_.peer_window_bytes : qp.path->window_bytes;
  const uint64_t packets = bytes / packet_bytes(qp.mtu);
  return static_cast<uint32_t>(std::clamp<uint64_t>(packets, kSmallestWindow, kLargestWindow));
}

// As if nothing were in flight: everything not acknowledged is to be sent.
void Engine::take_back(QueuePair& qp) {
  qp.requester.cursor = qp.send_queue.head();
  move_send_psn(qp, qp.requester.una_psn);
}

void Engine::move_send_psn(QueuePair& qp, uint32_t send_psn) {
  qp.requester.send_psn = send_psn;
  count_flight(qp);
}

// After what is in flight has changed: the path has the sum over its queue pairs.
void Engine::count_flight(QueuePair& qp) {
  Requester& requester = qp.requester;
  if (qp.path == nullptr) return;
  const uint64_t sent = byte_at(qp, requester.cursor, requester.send_psn);
  const uint64_t acknowledged = byte_at(qp, qp.send_queue.head(), requester.una_psn);
  const uint64_t before =
      std::exchange(requester.flight_bytes, sent - std::min(sent, acknowledged));
  PeerPath& path = *qp.path;
  path.in_flight_bytes += requester.flight_bytes - before;
  if (requester.flight_bytes >= before) return;
  while (QueuePair* waiting = path.blocked.pop_front()) make_ready(*waiting);
}

}  // namespace verbena::engine
