// The responder: checks and executes request packets in PSN order.
#include <algorithm>
#include <atomic>
#include <cstring>

#include "soft/engine/engine.h"
#include "soft/wire/mtu.h"
#include "soft/wire/syndrome.h"

namespace verbena::engine {
namespace {

using wire::Opcode;
using wire::OpcodeFlag;

bool takes_receive(const wire::Packet& packet) {
  if (packet.has(OpcodeFlag::kSend)) return packet.has(OpcodeFlag::kStart);
  return packet.has(OpcodeFlag::kImm);
}

// Its answer is kept, to be given again.
bool is_remembered(const wire::Packet& packet) {
  return packet.has(OpcodeFlag::kRead) || packet.has(OpcodeFlag::kAtomic);
}

bool completes_receive(const wire::Packet& packet) {
  return packet.has(OpcodeFlag::kImm) ||
         (packet.has(OpcodeFlag::kSend) && packet.has(OpcodeFlag::kEnd));
}

}  // namespace

// All memory that the packet may need, before it changes anything. Throws std::bad_alloc.
void Engine::reserve_for(QueuePair& qp, const wire::Packet& packet) {
  if (completes_receive(packet)) reserve_entry(*qp.options.recv_cq);
  if (qp.reliable()) qp.responder.reserve(is_remembered(packet), qp.attributes.max_dest_rd_atomic);
}

void Engine::on_request(QueuePair& qp, const wire::Packet& packet) {
  if (!qp.accepts_requests()) {
    ++counters_.bad_state;
    return;
  }
  if (!qp.communication_established) {
    qp.communication_established = true;
    events_.on_qp_event(qp, IBV_EVENT_COMM_EST);
  }
  reserve_for(qp, packet);
  Responder& responder = qp.responder;
  const int32_t ahead = wire::psn_diff(packet.psn(), responder.expected_psn);
  if (ahead < 0) return on_duplicate(qp, packet);
  if (ahead == 0) {
    responder.nak_outstanding = false;
    return execute(qp, packet);
  }
  ++counters_.out_of_sequence;
  if (responder.nak_outstanding) return;
  responder.nak_outstanding = true;
  ++counters_.sequence_naks_sent;
  // A NAK acknowledges what is before it, but soft-RoCE counts it as a retry without progress, and
  // gives up after a few: the progress is told first.
  if (responder.ack_owed) {
    queue_ack(qp, wire::psn_add(responder.expected_psn, wire::kPsnMask), wire::kAckNoCredits);
  }
  queue_ack(qp, responder.expected_psn, wire::kNakPsnSequence);
}

// The order of the checks is that of IBTA volume 1, 9.7.4.1: sequence, operation, resources,
// length, and in the steps the key.
void Engine::execute(QueuePair& qp, const wire::Packet& packet) {
  const auto refuse = [&] { reject(qp, packet, wire::kNakInvalidRequest, IBV_WC_REM_INV_REQ_ERR); };
  if (!sequence_valid(qp, packet) || !operation_allowed(qp, packet)) return refuse();
  if (takes_receive(packet) && !qp.responder.receive_taken && qp.receives().empty()) {
    if (!qp.reliable()) return abandon_message(qp);
    ++counters_.rnr_naks_sent;
    qp.responder.nak_outstanding = true;
    return queue_ack(qp, packet.psn(), wire::rnr_syndrome(qp.attributes.min_rnr_timer));
  }
  if (!length_valid(qp, packet)) return refuse();
  if (packet.has(OpcodeFlag::kSend)) return execute_send(qp, packet);
  if (packet.has(OpcodeFlag::kWrite)) return execute_write(qp, packet);
  if (packet.has(OpcodeFlag::kRead)) return execute_read(qp, packet);
  if (packet.opcode() == Opcode::kAtomicWrite) return execute_atomic_write(qp, packet);
  execute_atomic(qp, packet);
}

bool Engine::sequence_valid(const QueuePair& qp, const wire::Packet& packet) const {
  const InboundMessage current = qp.responder.message;
  if (packet.has(OpcodeFlag::kStart)) return current == InboundMessage::kNone;
  return current ==
         (packet.has(OpcodeFlag::kSend) ? InboundMessage::kSend : InboundMessage::kWrite);
}

bool Engine::operation_allowed(const QueuePair& qp, const wire::Packet& packet) const {
  const unsigned access = qp.attributes.qp_access_flags;
  if (packet.has(OpcodeFlag::kWrite)) return (access & IBV_ACCESS_REMOTE_WRITE) != 0;
  const bool read = packet.has(OpcodeFlag::kRead);
  if (!read && !packet.has(OpcodeFlag::kAtomic)) return true;
  const bool writes = packet.opcode() == Opcode::kAtomicWrite;
  const unsigned needed = read     ? IBV_ACCESS_REMOTE_READ
                          : writes ? IBV_ACCESS_REMOTE_WRITE
                                   : IBV_ACCESS_REMOTE_ATOMIC;
  if ((access & needed) == 0) return false;
  const auto& responses = qp.responder.responses;
  // What is answered again may wait here after the peer got the first answer and asked on.
  const auto unanswered = std::count_if(responses.begin(), responses.end(), [](const Response& r) {
    return r.kind != Response::Kind::kAck && !r.repeated;
  });
  return unanswered < qp.attributes.max_dest_rd_atomic;
}

bool Engine::length_valid(const QueuePair& qp, const wire::Packet& packet) const {
  constexpr uint32_t kLargestRead = 1U << 31;
  if (packet.has(OpcodeFlag::kRead)) return packet.reth().length <= kLargestRead;
  const size_t bytes = packet.payload().size();
  if (packet.opcode() == Opcode::kAtomicWrite) {
    return bytes == sizeof(uint64_t) && packet.reth().length == bytes;
  }
  if (packet.has(OpcodeFlag::kAtomic)) return true;
  if (bytes > qp.mtu) return false;
  if (!packet.has(OpcodeFlag::kEnd)) {
    if (bytes != qp.mtu) return false;
  } else if (!packet.has(OpcodeFlag::kStart) && bytes == 0) {
    return false;
  }
  if (!packet.has(OpcodeFlag::kWrite)) return true;
  const uint32_t wanted =
      packet.has(OpcodeFlag::kStart) ? packet.reth().length : qp.responder.write_remaining;
  return packet.has(OpcodeFlag::kEnd) ? bytes == wanted : bytes < wanted;
}

void Engine::execute_send(QueuePair& qp, const wire::Packet& packet) {
  Responder& responder = qp.responder;
  if (packet.has(OpcodeFlag::kStart)) {
    responder.message = InboundMessage::kSend;
    responder.received = 0;
    if (!responder.receive_taken) take_receive(qp);
  }
  const auto bytes = packet.payload();
  if (responder.received + bytes.size() > qp.receive.capacity) {
    return reject(qp, packet, wire::kNakInvalidRequest, IBV_WC_LOC_LEN_ERR);
  }
  if (!scatter(qp.receive.sges, qp.receive_pd(), static_cast<uint32_t>(responder.received),
               bytes)) {
    return reject(qp, packet, wire::kNakRemoteOperational, IBV_WC_LOC_PROT_ERR);
  }
  if (packet.has(OpcodeFlag::kIeth) &&
      !memory_.invalidate_window(packet.ieth_rkey(), qp.options.pd)) {
    return reject(qp, packet, wire::kNakRemoteAccess, IBV_WC_WR_FLUSH_ERR);
  }
  responder.received += bytes.size();
  if (packet.has(OpcodeFlag::kEnd)) complete_message(qp, packet, IBV_WC_RECV);
  finish_request(qp, packet, 1);
}

void Engine::execute_write(QueuePair& qp, const wire::Packet& packet) {
  Responder& responder = qp.responder;
  const auto bytes = packet.payload();
  if (packet.has(OpcodeFlag::kStart)) {
    const wire::Reth reth = packet.reth();
    if (reth.length > 0 &&
        memory_.translate_remote(reth.rkey, qp.options.pd, qp.qpn, reth.address, reth.length,
                                 IBV_ACCESS_REMOTE_WRITE) == nullptr) {
      return reject(qp, packet, wire::kNakRemoteAccess, IBV_WC_SUCCESS);
    }
    responder.message = InboundMessage::kWrite;
    responder.received = 0;
    responder.write_address = reth.address;
    responder.write_rkey = reth.rkey;
    responder.write_remaining = reth.length;
  }
  if (!bytes.empty()) {
    // The region may have gone since the first packet.
    std::byte* to =
        memory_.translate_remote(responder.write_rkey, qp.options.pd, qp.qpn,
                                 responder.write_address, bytes.size(), IBV_ACCESS_REMOTE_WRITE);
    if (to == nullptr) return reject(qp, packet, wire::kNakRemoteAccess, IBV_WC_SUCCESS);
    std::memcpy(to, bytes.data(), bytes.size());
  }
  responder.received += bytes.size();
  responder.write_address += bytes.size();
  responder.write_remaining -= static_cast<uint32_t>(bytes.size());
  if (packet.has(OpcodeFlag::kImm)) {
    if (!responder.receive_taken) take_receive(qp);
    complete_message(qp, packet, IBV_WC_RECV_RDMA_WITH_IMM);
  }
  finish_request(qp, packet, 1);
}

void Engine::execute_read(QueuePair& qp, const wire::Packet& packet) {
  const wire::Reth reth = packet.reth();
  if (reth.length > 0 && memory_.translate_remote(reth.rkey, qp.options.pd, qp.qpn, reth.address,
                                                  reth.length, IBV_ACCESS_REMOTE_READ) == nullptr) {
    return reject(qp, packet, wire::kNakRemoteAccess, IBV_WC_SUCCESS);
  }
  const uint32_t packets = wire::packet_count(reth.length, qp.mtu);
  const uint32_t psn = packet.psn();
  const uint32_t end_psn = wire::psn_add(psn, packets);
  remember(qp,
           {false, psn, wire::psn_add(psn, packets - 1), reth.address, reth.rkey, reth.length, 0});
  qp.responder.responses.push_back({.kind = Response::Kind::kRead,
                                    .syndrome = wire::kAckNoCredits,
                                    .psn = psn,
                                    .end_psn = end_psn,
                                    .rkey = reth.rkey,
                                    .address = reth.address,
                                    .remaining = reth.length,
                                    .started = false,
                                    .original = 0});
  make_ready(qp);
  finish_request(qp, packet, packets);
}

void Engine::execute_atomic(QueuePair& qp, const wire::Packet& packet) {
  const wire::AtomicEth atomic = packet.atomic_eth();
  std::byte* at = memory_.translate_remote(atomic.rkey, qp.options.pd, qp.qpn, atomic.address,
                                           sizeof(uint64_t), IBV_ACCESS_REMOTE_ATOMIC);
  if (at == nullptr) return reject(qp, packet, wire::kNakRemoteAccess, IBV_WC_SUCCESS);
  const bool misaligned =
      (atomic.address | reinterpret_cast<uintptr_t>(at)) % sizeof(uint64_t) != 0;
  if (misaligned) {
    return reject(qp, packet, wire::kNakInvalidRequest, IBV_WC_REM_INV_REQ_ERR);
  }
  const std::atomic_ref<uint64_t> value(*reinterpret_cast<uint64_t*>(at));
  uint64_t original = atomic.compare;
  if (packet.opcode() == Opcode::kFetchAdd) {
    original = value.fetch_add(atomic.swap_add);
  } else {
    value.compare_exchange_strong(original, atomic.swap_add);
  }
  const uint32_t psn = packet.psn();
  remember(qp, {true, psn, psn, atomic.address, atomic.rkey, sizeof(uint64_t), original});
  queue_atomic_response(qp, psn, original);
  finish_request(qp, packet, 1);
}

void Engine::execute_atomic_write(QueuePair& qp, const wire::Packet& packet) {
  const wire::Reth reth = packet.reth();
  std::byte* at = memory_.translate_remote(reth.rkey, qp.options.pd, qp.qpn, reth.address,
                                           sizeof(uint64_t), IBV_ACCESS_REMOTE_WRITE);
  if (at == nullptr) return reject(qp, packet, wire::kNakRemoteAccess, IBV_WC_SUCCESS);
  if ((reth.address | reinterpret_cast<uintptr_t>(at)) % sizeof(uint64_t) != 0) {
    return reject(qp, packet, wire::kNakInvalidRequest, IBV_WC_REM_INV_REQ_ERR);
  }
  uint64_t value;
  std::memcpy(&value, packet.payload().data(), sizeof value);
  std::atomic_ref<uint64_t>(*reinterpret_cast<uint64_t*>(at)).store(value);
  const uint32_t psn = packet.psn();
  remember(qp, {true, psn, psn, reth.address, reth.rkey, sizeof value, 0});
  queue_write_response(qp, psn);
  finish_request(qp, packet, 1);
}

// A READ response without data.
void Engine::queue_write_response(QueuePair& qp, uint32_t psn) {
  qp.responder.responses.push_back({.kind = Response::Kind::kRead,
                                    .syndrome = wire::kAckNoCredits,
                                    .psn = psn,
                                    .end_psn = wire::psn_add(psn, 1),
                                    .rkey = 0,
                                    .address = 0,
                                    .remaining = 0,
                                    .started = false,
                                    .original = 0});
  make_ready(qp);
}

void Engine::queue_atomic_response(QueuePair& qp, uint32_t psn, uint64_t original) {
  qp.responder.responses.push_back({.kind = Response::Kind::kAtomic,
                                    .syndrome = wire::kAckNoCredits,
                                    .psn = psn,
                                    .end_psn = wire::psn_add(psn, 1),
                                    .rkey = 0,
                                    .address = 0,
                                    .remaining = 0,
                                    .started = false,
                                    .original = original});
  make_ready(qp);
}

bool Engine::scatter(std::span<const ibv_sge> sges, uint32_t pd, uint32_t offset,
                     std::span<const std::byte> bytes) {
  for (const ibv_sge& sge : sges) {
    if (bytes.empty()) return true;
    if (offset >= sge.length) {
      offset -= sge.length;
      continue;
    }
    const size_t taken = std::min<size_t>(bytes.size(), sge.length - offset);
    std::byte* to =
        memory_.translate(sge.lkey, pd, sge.addr + offset, taken, IBV_ACCESS_LOCAL_WRITE);
    if (to == nullptr) return false;
    std::memcpy(to, bytes.data(), taken);
    bytes = bytes.subspan(taken);
    offset = 0;
  }
  return bytes.empty();
}

void Engine::take_receive(QueuePair& qp) {
  qp.receives().take(qp.receive);
  qp.responder.receive_taken = true;
  SharedReceiveQueue* srq = qp.options.srq;
  if (srq == nullptr || srq->queue.waiting() >= srq->limit) return;
  srq->limit = 0;
  events_.on_srq_limit(*srq);
}

// Completes the receive that was taken.
void Engine::complete_receive(QueuePair& qp, ibv_wc_status status) {
  ibv_wc completion{};
  completion.wr_id = qp.receive.id;
  completion.status = status;
  completion.opcode = IBV_WC_RECV;
  qp.responder.receive_taken = false;
  push_completion(qp, *qp.options.recv_cq, completion, true);
}

void Engine::complete_message(QueuePair& qp, const wire::Packet& packet, ibv_wc_opcode opcode) {
  ibv_wc completion{};
  completion.wr_id = qp.receive.id;
  completion.status = IBV_WC_SUCCESS;
  completion.opcode = opcode;
  completion.byte_len = static_cast<uint32_t>(qp.responder.received);
  completion.src_qp = qp.attributes.dest_qp_num;
  if (packet.has(OpcodeFlag::kImm)) {
    completion.wc_flags = IBV_WC_WITH_IMM;
    completion.imm_data = packet.imm_be();
  } else if (packet.has(OpcodeFlag::kIeth)) {
    completion.wc_flags = IBV_WC_WITH_INV;
    completion.invalidated_rkey = packet.ieth_rkey();
  }
  qp.responder.receive_taken = false;
  push_completion(qp, *qp.options.recv_cq, completion, packet.solicited());
}

void Engine::finish_request(QueuePair& qp, const wire::Packet& packet, uint32_t psns) {
  Responder& responder = qp.responder;
  responder.expected_psn = wire::psn_add(packet.psn(), psns);
  if (packet.has(OpcodeFlag::kEnd)) {
    responder.msn = wire::psn_add(responder.msn, 1);
    responder.message = InboundMessage::kNone;
  }
  const bool answered = is_remembered(packet);
  qp.responder.ack_owed = !answered;
  if (packet.ack_request() && !answered) queue_ack(qp, packet.psn(), wire::kAckNoCredits);
}

}  // namespace verbena::engine
