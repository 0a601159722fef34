// The completer: takes responses, retires requests in order, and answers losses and silence by
// sending again.
#include <algorithm>
#include <cstring>

#include "soft/engine/engine.h"
#include "soft/wire/mtu.h"
#include "soft/wire/syndrome.h"

namespace verbena::engine {
namespace {

using wire::Opcode;

constexpr TimeNs kMs = 1'000'000;
// Shorter timeouts than a busy host's scheduling delays would only repeat what has arrived.
constexpr TimeNs kShortestAckTimeout = 10 * kMs;
constexpr TimeNs kShortestProbe = 1 * kMs;
constexpr TimeNs kLongestProbe = 50 * kMs;
constexpr TimeNs kFirstProbe = 10 * kMs;
constexpr uint32_t kMostBackoff = 6;
constexpr uint8_t kRetryForEver = 7;  // rnr_retry only

ibv_wc_opcode completion_opcode(const SendRequest& request) {
  switch (request.opcode) {
    case IBV_WR_RDMA_WRITE:
    case IBV_WR_RDMA_WRITE_WITH_IMM:
      return IBV_WC_RDMA_WRITE;
    case IBV_WR_RDMA_READ:
      return IBV_WC_RDMA_READ;
    case IBV_WR_ATOMIC_CMP_AND_SWP:
      return IBV_WC_COMP_SWAP;
    case IBV_WR_ATOMIC_FETCH_AND_ADD:
      return IBV_WC_FETCH_ADD;
    case IBV_WR_ATOMIC_WRITE:
      return IBV_WC_ATOMIC_WRITE;
    case IBV_WR_BIND_MW:
      return IBV_WC_BIND_MW;
    case IBV_WR_LOCAL_INV:
      return IBV_WC_LOCAL_INV;
    default:
      return IBV_WC_SEND;
  }
}

ibv_wc_status nak_status(uint8_t syndrome) {
  switch (syndrome) {
    case wire::kNakRemoteAccess:
      return IBV_WC_REM_ACCESS_ERR;
    case wire::kNakRemoteOperational:
      return IBV_WC_REM_OP_ERR;
    default:
      return IBV_WC_REM_INV_REQ_ERR;
  }
}

TimeNs probe_delay(const Requester& requester) {
  const TimeNs base = requester.smoothed_rtt == 0
                          ? kFirstProbe
                          : std::clamp(4 * requester.smoothed_rtt, kShortestProbe, kLongestProbe);
  return base << requester.probe_backoff;
}

TimeNs ack_deadline(const QueuePair& qp, TimeNs now) {
  const TimeNs timeout = wire::ack_timeout_ns(qp.attributes.timeout);
  return timeout == 0 ? kNever : now + std::max(timeout, kShortestAckTimeout);
}

}  // namespace

void Engine::on_response(TimeNs now, QueuePair& qp, const wire::Packet& packet) {
  if (!qp.accepts_responses()) {
    ++counters_.bad_state;
    return;
  }
  const Requester& requester = qp.requester;
  if (wire::psn_diff(packet.psn(), requester.una_psn) < 0 ||
      wire::psn_diff(packet.psn(), requester.sent_psn) >= 0) {
    ++counters_.ghost_responses;
    return;
  }
  switch (packet.opcode()) {
    case Opcode::kAcknowledge:
      return on_acknowledge(now, qp, packet);
    case Opcode::kAtomicAcknowledge:
      return on_atomic_acknowledge(now, qp, packet);
    default:
      return on_read_response(now, qp, packet);
  }
}

void Engine::on_acknowledge(TimeNs now, QueuePair& qp, const wire::Packet& packet) {
  const uint8_t syndrome = packet.aeth().syndrome;
  switch (wire::syndrome_kind(syndrome)) {
    case wire::SyndromeKind::kAck:
      if (!acknowledge_until(now, qp, wire::psn_add(packet.psn(), 1))) on_gap(now, qp);
      return;
    case wire::SyndromeKind::kRnrNak:
      return on_rnr_nak(now, qp, syndrome, packet.psn());
    default:
      return on_nak(now, qp, syndrome, packet.psn());
  }
}

// Acknowledges all before `end_psn`. False when it met a READ or atomic whose response has not
// come: the acknowledge came after that response was sent, so the response is lost (IBTA volume
// 1, 9.7.5.1.3). Throws std::bad_alloc where there is no memory to tell the program; what is before
// that is acknowledged, and the rest is as if nothing had come.
bool Engine::acknowledge_until(TimeNs now, QueuePair& qp, uint32_t end_psn) {
  Requester& requester = qp.requester;
  while (requester.una_psn != end_psn && qp.send_queue.head() != requester.started) {
    const SendRequest& request = qp.send_queue.at(qp.send_queue.head());
    if (request.wants_response()) return false;
    if (wire::psn_diff(end_psn, request.last_psn) <= 0) {
      advance_una(now, qp, end_psn);
      return true;
    }
    reserve_entry(*qp.options.send_cq);
    advance_una(now, qp, wire::psn_add(request.last_psn, 1));
    succeed_send(qp);
  }
  return true;
}

void Engine::advance_una(TimeNs now, QueuePair& qp, uint32_t una_psn) {
  Requester& requester = qp.requester;
  const auto packets = static_cast<uint32_t>(wire::psn_diff(una_psn, requester.una_psn));
  const uint32_t send_psn =
      wire::psn_diff(requester.send_psn, una_psn) < 0 ? una_psn : requester.send_psn;
  requester.una_psn = una_psn;
  requester.send_psn = send_psn;
  count_flight(qp);

  requester.response_ends.remove_before(una_psn);
  if (requester.recovering && wire::psn_diff(una_psn, requester.recover_psn) >= 0) {
    requester.recovering = false;
  }
  if (requester.rtt_running && wire::psn_diff(requester.rtt_psn, una_psn) < 0) {
    requester.rtt_running = false;
    const TimeNs sample = now - requester.rtt_since;
    requester.smoothed_rtt =
        requester.smoothed_rtt == 0 ? sample : (7 * requester.smoothed_rtt + sample) / 8;
  }
  requester.gap_answered = false;
  requester.probe_backoff = 0;
  requester.retries_left = qp.attributes.retry_cnt;
  requester.rnr_retries_left = qp.attributes.rnr_retry;
  grow_window(qp, packets);
  restart_timers(now, qp);
  make_ready(qp);
}

void Engine::grow_window(QueuePair& qp, uint32_t packets) {
  Requester& requester = qp.requester;
  const uint32_t limit = window_limit(qp);
  if (requester.window < requester.slow_start_until) {
    requester.window = std::min(limit, requester.window + packets);
    return;
  }
  requester.acked_in_window += packets;
  if (requester.acked_in_window < requester.window) return;
  requester.acked_in_window = 0;
  requester.window = std::min(limit, requester.window + 1);
}

// Halves the window, once for all that was in flight when the loss was seen.
void Engine::on_loss(QueuePair& qp) {
  Requester& requester = qp.requester;
  if (requester.recovering) return;
  requester.recovering = true;
  requester.recover_psn = requester.sent_psn;
  requester.window = std::max(requester.window / 2, kSmallestWindow);
  requester.slow_start_until = requester.window;
}

// Everything from the oldest packet not acknowledged will be sent again.
void Engine::go_back(QueuePair& qp) {
  Requester& requester = qp.requester;
  requester.rtt_running = false;
  requester.since_ack_request = 0;
  take_back(qp);
  make_ready(qp);
}

void Engine::retry(TimeNs now, QueuePair& qp) {
  Requester& requester = qp.requester;
  on_loss(qp);
  if (requester.retries_left == 0) {
    return fail_send(qp, qp.send_queue.head(), IBV_WC_RETRY_EXC_ERR);
  }
  --requester.retries_left;
  requester.gap_answered = true;
  go_back(qp);
  restart_timers(now, qp);
}

// A response is missing. What else of its burst is on the way must not make us go back again.
void Engine::on_gap(TimeNs now, QueuePair& qp) {
  ++counters_.implicit_naks;
  if (!qp.requester.gap_answered) retry(now, qp);
}

void Engine::on_nak(TimeNs now, QueuePair& qp, uint8_t syndrome, uint32_t psn) {
  const bool all_before_done = acknowledge_until(now, qp, psn);
  if (!qp.accepts_responses()) return;
  if (syndrome == wire::kNakPsnSequence) {
    ++counters_.sequence_naks_received;
    // Where a response is missing before it, the NAKs of a burst say the same again and again.
    return all_before_done ? retry(now, qp) : on_gap(now, qp);
  }
  ++counters_.fatal_naks_received;
  uint64_t number = qp.send_queue.head();
  while (!all_before_done && number + 1 < qp.requester.started &&
         wire::psn_diff(psn, qp.send_queue.at(number).last_psn) > 0) {
    ++number;
  }
  fail_send(qp, number, nak_status(syndrome));
}

void Engine::on_rnr_nak(TimeNs now, QueuePair& qp, uint8_t syndrome, uint32_t psn) {
  ++counters_.rnr_naks_received;
  if (!acknowledge_until(now, qp, psn)) return on_gap(now, qp);
  if (!qp.accepts_responses()) return;
  Requester& requester = qp.requester;
  if (requester.rnr_retries_left == 0) {
    return fail_send(qp, qp.send_queue.head(), IBV_WC_RNR_RETRY_EXC_ERR);
  }
  if (requester.rnr_retries_left != kRetryForEver) --requester.rnr_retries_left;
  go_back(qp);
  requester.rnr_deadline = now + wire::rnr_wait_ns(syndrome);
  restart_timers(now, qp);
}

void Engine::on_read_response(TimeNs now, QueuePair& qp, const wire::Packet& packet) {
  const uint32_t psn = packet.psn();
  if (!acknowledge_until(now, qp, psn)) return on_gap(now, qp);
  if (!qp.accepts_responses()) return;
  const uint64_t number = qp.send_queue.head();
  const SendRequest& request = qp.send_queue.at(number);
  if (number == qp.requester.started || !(request.is_read() || request.is_atomic_write())) {
    ++counters_.ghost_responses;
    return;
  }
  const uint32_t offset = qp.mtu * static_cast<uint32_t>(wire::psn_diff(psn, request.first_psn));
  const uint32_t expected = request.is_read() ? std::min(qp.mtu, request.length - offset) : 0;
  if (packet.payload().size() != expected) {
    return fail_send(qp, number, IBV_WC_BAD_RESP_ERR);
  }
  const bool last = psn == request.last_psn;
  if (last) reserve_entry(*qp.options.send_cq);
  if (!scatter_response(qp, number, offset, packet.payload())) {
    return fail_send(qp, number, IBV_WC_LOC_PROT_ERR);
  }
  advance_una(now, qp, wire::psn_add(psn, 1));
  if (last) succeed_send(qp);
}

void Engine::on_atomic_acknowledge(TimeNs now, QueuePair& qp, const wire::Packet& packet) {
  const uint32_t psn = packet.psn();
  if (!acknowledge_until(now, qp, psn)) return on_gap(now, qp);
  if (!qp.accepts_responses()) return;
  const uint64_t number = qp.send_queue.head();
  if (number == qp.requester.started || !qp.send_queue.at(number).is_atomic()) {
    ++counters_.ghost_responses;
    return;
  }
  reserve_entry(*qp.options.send_cq);
  const uint64_t original = packet.atomic_ack_original();
  if (!scatter_response(qp, number, 0, std::as_bytes(std::span(&original, 1)))) {
    return fail_send(qp, number, IBV_WC_LOC_PROT_ERR);
  }
  advance_una(now, qp, wire::psn_add(psn, 1));
  succeed_send(qp);
}

// The oldest request has been answered.
void Engine::succeed_send(QueuePair& qp) {
  complete_send(qp, IBV_WC_SUCCESS);
  if (!retire_local(qp)) make_ready(qp);
}

// Requests that were executed here complete as soon as all before them have. False when there is no
// memory to tell the program: it is to be called again.
bool Engine::retire_local(QueuePair& qp) {
  while (qp.send_queue.head() < qp.requester.cursor &&
         qp.send_queue.at(qp.send_queue.head()).is_local()) {
    if (!qp.options.send_cq->make_room_for(1)) return false;
    complete_send(qp, IBV_WC_SUCCESS);
  }
  return true;
}

bool Engine::scatter_response(QueuePair& qp, uint64_t number, uint32_t offset,
                              std::span<const std::byte> bytes) {
  const SendRequest& request = qp.send_queue.at(number);
  return scatter({qp.send_queue.sges(number), request.sge_count}, qp.options.pd, offset, bytes);
}

// Retires the oldest request. The entry is taken off first: a completion queue that overflows
// flushes the rest from inside.
void Engine::complete_send(QueuePair& qp, ibv_wc_status status) {
  const SendRequest& request = qp.send_queue.at(qp.send_queue.head());  // its place stays as it is
  const bool was_started = qp.send_queue.head() < qp.requester.started;
  qp.send_queue.pop();
  Requester& requester = qp.requester;
  requester.cursor = std::max(requester.cursor, qp.send_queue.head());
  if (was_started && request.wants_response()) --requester.unfinished_responses;
  const bool signaled = qp.options.signal_all || (request.flags & IBV_SEND_SIGNALED) != 0;
  if (status == IBV_WC_SUCCESS && !signaled) return;
  ibv_wc completion{};
  completion.wr_id = request.id;
  completion.status = status;
  completion.opcode = completion_opcode(request);
  completion.byte_len = request.length;
  push_completion(qp, *qp.options.send_cq, completion, status != IBV_WC_SUCCESS);
}

// Request `number` is the cause; those before it were not answered and are flushed like those after
// it.
void Engine::fail_send(QueuePair& qp, uint64_t number, ibv_wc_status status) {
  while (!qp.send_queue.empty() && qp.send_queue.head() < number) {
    complete_send(qp, IBV_WC_WR_FLUSH_ERR);
  }
  if (!qp.send_queue.empty()) complete_send(qp, status);
  enter_error(qp);
}

void Engine::restart_timers(TimeNs now, QueuePair& qp) {
  Requester& requester = qp.requester;
  if (requester.sent_psn == requester.una_psn || requester.rnr_deadline != kNever) {
    requester.ack_deadline = requester.probe_deadline = kNever;
    return;
  }
  requester.ack_deadline = ack_deadline(qp, now);
  requester.probe_deadline = now + probe_delay(requester);
}

void Engine::on_qp_timeout(TimeNs now, QueuePair& qp) {
  Requester& requester = qp.requester;
  if (requester.rnr_deadline <= now) {
    requester.rnr_deadline = kNever;
    restart_timers(now, qp);
    make_ready(qp);
  }
  if (requester.ack_deadline <= now) {
    ++counters_.ack_timeouts;
    return retry(now, qp);
  }
  if (requester.probe_deadline <= now) {
    requester.probe_due = true;
    requester.probe_backoff = std::min(requester.probe_backoff + 1, kMostBackoff);
    requester.probe_deadline = now + probe_delay(requester);
    make_ready(qp);
  }
}

}  // namespace verbena::engine
