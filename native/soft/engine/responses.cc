// What the responder answers: acknowledges, READ data and atomic results, also to requests that
// come again.
#include <algorithm>
#include <cstring>

#include "soft/engine/engine.h"
#include "soft/wire/mtu.h"
#include "soft/wire/syndrome.h"

namespace verbena::engine {
namespace {

using wire::Opcode;
using wire::OpcodeFlag;

// Acknowledges between responses and repeated requests beyond this many are dropped; the requester
// asks again.
constexpr size_t kMostResponses = 64;

}  // namespace

// The newest acknowledge stands for one that waits before it: it acknowledges all that the older
// one did.
void Engine::queue_ack(QueuePair& qp, uint32_t psn, uint8_t syndrome) {
  if (!qp.reliable()) return;
  auto& responses = qp.responder.responses;
  const bool replaces =
      syndrome == wire::kAckNoCredits && !responses.empty() && responses.back().is_acknowledge();
  if (!replaces && responses.size() >= kMostResponses) return;
  qp.responder.ack_owed = false;
  if (replaces) responses.pop_back();
  responses.push_back({.kind = Response::Kind::kAck,
                       .syndrome = syndrome,
                       .psn = psn,
                       .end_psn = psn,
                       .rkey = 0,
                       .address = 0,
                       .remaining = 0,
                       .started = false,
                       .original = 0});
  make_ready(qp);
}

// A request that cannot be executed: the peer is told, the receive in use completes with `status`
// unless that is success, and the queue pair fails (IBTA volume 1, 9.9.3.1, class C and J errors).
void Engine::reject(QueuePair& qp, const wire::Packet& packet, uint8_t syndrome,
                    ibv_wc_status status) {
  if (!qp.reliable()) return abandon_message(qp);
  switch (syndrome) {
    case wire::kNakInvalidRequest:
      ++counters_.invalid_request_naks_sent;
      break;
    case wire::kNakRemoteAccess:
      ++counters_.remote_access_naks_sent;
      break;
    default:
      ++counters_.remote_operational_naks_sent;
  }
  queue_ack(qp, packet.psn(), syndrome);
  if (qp.responder.receive_taken && status != IBV_WC_SUCCESS) complete_receive(qp, status);
  events_.on_qp_event(
      qp, syndrome == wire::kNakRemoteAccess ? IBV_EVENT_QP_ACCESS_ERR : IBV_EVENT_QP_REQ_ERR);
  enter_error(qp);
}

void Engine::remember(QueuePair& qp, const ServedRequest& served) {
  auto& kept = qp.responder.served;
  // The limit may be lower than it was.
  while (kept.size() >= qp.attributes.max_dest_rd_atomic) kept.erase(kept.begin());
  kept.push_back(served);
}

// What was executed already is not executed again: acknowledged again, read again, or answered from
// what was kept.
void Engine::on_duplicate(QueuePair& qp, const wire::Packet& packet) {
  ++counters_.duplicate_requests;
  Responder& responder = qp.responder;
  if (packet.has(OpcodeFlag::kSend) || packet.has(OpcodeFlag::kWrite)) {
    return queue_ack(qp, wire::psn_add(responder.expected_psn, wire::kPsnMask),
                     wire::kAckNoCredits);
  }
  const uint32_t psn = packet.psn();
  const auto holds = [psn](const ServedRequest& served) {
    return wire::psn_diff(psn, served.first_psn) >= 0 && wire::psn_diff(psn, served.last_psn) <= 0;
  };
  const auto found = std::find_if(responder.served.begin(), responder.served.end(), holds);
  if (found == responder.served.end() || found->atomic != packet.has(OpcodeFlag::kAtomic)) return;
  drop_responses_from(responder, psn);
  if (!found->atomic) return repeat_read(qp, packet, *found);
  if (packet.opcode() == Opcode::kAtomicWrite) {
    queue_write_response(qp, psn);
  } else {
    queue_atomic_response(qp, psn, found->original);
  }
  responder.responses.back().repeated = true;
}

// The requester went back to `psn` and will ask for everything from there again.
void Engine::drop_responses_from(Responder& responder, uint32_t psn) {
  auto& responses = responder.responses;
  while (!responses.empty() && wire::psn_diff(responses.back().psn, psn) >= 0) responses.pop_back();
  if (responses.empty() || responses.back().kind != Response::Kind::kRead) return;
  Response& newest = responses.back();
  if (wire::psn_diff(newest.end_psn, psn) > 0) newest.end_psn = psn;
}

void Engine::repeat_read(QueuePair& qp, const wire::Packet& packet, const ServedRequest& served) {
  const wire::Reth reth = packet.reth();
  const uint64_t offset =
      uint64_t{qp.mtu} * static_cast<uint32_t>(wire::psn_diff(packet.psn(), served.first_psn));
  const bool part_of_it = reth.rkey == served.rkey && reth.address == served.address + offset &&
                          reth.length <= served.length - std::min<uint64_t>(offset, served.length);
  if (!part_of_it || qp.responder.responses.size() >= kMostResponses) return;
  qp.responder.responses.push_back(
      {.kind = Response::Kind::kRead,
       .syndrome = wire::kAckNoCredits,
       .psn = packet.psn(),
       .end_psn = wire::psn_add(packet.psn(), wire::packet_count(reth.length, qp.mtu)),
       .rkey = reth.rkey,
       .address = reth.address,
       .remaining = reth.length,
       .started = false,
       .original = 0,
       .repeated = true});
  make_ready(qp);
}

// True when it stopped for its budget.
bool Engine::transmit_responses(QueuePair& qp, PacketSink& sink, uint32_t& budget) {
  auto& responses = qp.responder.responses;
  while (!responses.empty()) {
    if (budget == 0) return true;
    --budget;
    Response& response = responses.front();
    bool done = true;
    if (response.kind == Response::Kind::kAck) {
      send_ack(qp, response, sink);
    } else if (response.kind == Response::Kind::kAtomic) {
      send_atomic_response(qp, response, sink);
    } else if (response.psn != response.end_psn) {
      if (!send_read_response(qp, response, sink)) return revoke_read(qp);
      done = response.psn == response.end_psn;
    }
    if (done) responses.erase(responses.begin());
  }
  return false;
}

void Engine::send_ack(QueuePair& qp, const Response& response, PacketSink& sink) {
  constexpr uint32_t kBytes = wire::kBthBytes + wire::kAethBytes;
  std::byte* at = sink.reserve(qp.path->address, kBytes);
  at = wire::write_bth(
      at,
      {.opcode = Opcode::kAcknowledge, .dest_qpn = qp.attributes.dest_qp_num, .psn = response.psn});
  wire::write_aeth(at, {response.syndrome, qp.responder.msn});
  sink.commit();
  ++counters_.acks_sent;
  count_sent(kBytes);
}

void Engine::send_atomic_response(QueuePair& qp, const Response& response, PacketSink& sink) {
  constexpr uint32_t kBytes = wire::kBthBytes + wire::kAethBytes + wire::kAtomicAckEthBytes;
  std::byte* at = sink.reserve(qp.path->address, kBytes);
  at = wire::write_bth(at, {.opcode = Opcode::kAtomicAcknowledge,
                            .dest_qpn = qp.attributes.dest_qp_num,
                            .psn = response.psn});
  at = wire::write_aeth(at, {response.syndrome, qp.responder.msn});
  wire::write_atomic_ack(at, response.original);
  sink.commit();
  count_sent(kBytes);
}

// One packet of READ data. False when the region is gone.
bool Engine::send_read_response(QueuePair& qp, Response& response, PacketSink& sink) {
  const uint32_t bytes = std::min(qp.mtu, response.remaining);
  const std::byte* from = nullptr;
  if (bytes > 0) {
    from = memory_.translate_remote(response.rkey, qp.options.pd, qp.qpn, response.address, bytes,
                                    IBV_ACCESS_REMOTE_READ);
    if (from == nullptr) return false;
  }
  const bool first = !response.started;
  const bool last = wire::psn_add(response.psn, 1) == response.end_psn;
  Opcode opcode = last ? Opcode::kReadResponseLast : Opcode::kReadResponseMiddle;
  if (first) opcode = last ? Opcode::kReadResponseOnly : Opcode::kReadResponseFirst;
  const wire::OpcodeInfo& info = wire::opcode_info(opcode);
  const uint32_t pad = wire::pad_bytes(bytes);
  const uint32_t total = info.header_bytes + bytes + pad;

  std::byte* at = sink.reserve(qp.path->address, total);
  at = wire::write_bth(at, {.opcode = opcode,
                            .pad_count = static_cast<uint8_t>(pad),
                            .dest_qpn = qp.attributes.dest_qp_num,
                            .psn = response.psn});
  if (info.has(OpcodeFlag::kAeth)) at = wire::write_aeth(at, {response.syndrome, qp.responder.msn});
  if (bytes > 0) std::memcpy(at, from, bytes);
  std::fill_n(at + bytes, pad, std::byte{0});
  sink.commit();
  count_sent(total);
  response.started = true;
  response.psn = wire::psn_add(response.psn, 1);
  response.address += bytes;
  response.remaining -= bytes;
  return true;
}

// The region of a READ was deregistered while its data were being sent. A repeated READ may be a
// late copy of one that was answered long ago, and must not end the connection: its sender is told,
// and ignores it unless it still waits.
bool Engine::revoke_read(QueuePair& qp) {
  auto& responses = qp.responder.responses;
  const uint32_t psn = responses.front().psn;
  ++counters_.remote_access_naks_sent;
  if (responses.front().repeated) {
    responses.front().kind = Response::Kind::kAck;
    responses.front().syndrome = wire::kNakRemoteAccess;
    return true;
  }
  responses.clear();
  queue_ack(qp, psn, wire::kNakRemoteAccess);
  events_.on_qp_event(qp, IBV_EVENT_QP_ACCESS_ERR);
  enter_error(qp);
  return true;
}

}  // namespace verbena::engine
