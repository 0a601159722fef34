// The requester: turns posted work requests into request packets, as far as windows and limits
// allow.
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "soft/engine/engine.h"
#include "soft/wire/mtu.h"

namespace verbena::engine {
namespace {

using wire::Opcode;

// An acknowledge is asked for at least this often, so that the window moves while it is used.
constexpr uint32_t kAckRequestInterval = 32;

uint32_t left_of(const SendRequest& request, uint32_t psn) {
  return static_cast<uint32_t>(wire::psn_diff(request.last_psn, psn)) + 1;
}

// Request packets in flight that are to be answered by data.
size_t responses_awaited(const Requester& requester) {
  const auto& ends = requester.response_ends;
  const auto not_sent = [&](uint32_t end) { return wire::psn_diff(end, requester.send_psn) >= 0; };
  return static_cast<size_t>(std::find_if(ends.begin(), ends.end(), not_sent) - ends.begin());
}

// Enters a request packet for `packets` PSNs from send_psn. What is sent again is asked for as far
// as it was, whatever the window is now: soft-RoCE forgets the start of a READ once it was asked
// for the rest of it, so that two pieces of one could not both be repeated.
uint32_t enter_response_end(Requester& requester, uint32_t packets) {
  auto& ends = requester.response_ends;
  const size_t next = responses_awaited(requester);
  if (next == ends.size()) ends.push_back(wire::psn_add(requester.send_psn, packets - 1));
  return static_cast<uint32_t>(wire::psn_diff(ends[next], requester.send_psn)) + 1;
}

bool carries_imm(const SendRequest& request) {
  return request.opcode == IBV_WR_SEND_WITH_IMM || request.opcode == IBV_WR_RDMA_WRITE_WITH_IMM;
}

bool is_send(const SendRequest& request) {
  return request.opcode == IBV_WR_SEND || request.opcode == IBV_WR_SEND_WITH_IMM ||
         request.opcode == IBV_WR_SEND_WITH_INV;
}

Opcode data_opcode(const SendRequest& request, bool first, bool last) {
  const bool imm = carries_imm(request);
  if (request.opcode == IBV_WR_SEND_WITH_INV && last) {
    return first ? Opcode::kSendOnlyInvalidate : Opcode::kSendLastInvalidate;
  }
  if (is_send(request)) {
    if (first && last) return imm ? Opcode::kSendOnlyImm : Opcode::kSendOnly;
    if (first) return Opcode::kSendFirst;
    if (last) return imm ? Opcode::kSendLastImm : Opcode::kSendLast;
    return Opcode::kSendMiddle;
  }
  if (first && last) return imm ? Opcode::kWriteOnlyImm : Opcode::kWriteOnly;
  if (first) return Opcode::kWriteFirst;
  if (last) return imm ? Opcode::kWriteLastImm : Opcode::kWriteLast;
  return Opcode::kWriteMiddle;
}

bool opcode_supported(ibv_qp_type type, ibv_wr_opcode opcode) {
  switch (opcode) {
    case IBV_WR_SEND:
    case IBV_WR_SEND_WITH_IMM:
      return true;
    case IBV_WR_RDMA_WRITE:
    case IBV_WR_RDMA_WRITE_WITH_IMM:
      return type != IBV_QPT_UD;
    case IBV_WR_RDMA_READ:
    case IBV_WR_ATOMIC_CMP_AND_SWP:
    case IBV_WR_ATOMIC_FETCH_AND_ADD:
    case IBV_WR_ATOMIC_WRITE:
    case IBV_WR_SEND_WITH_INV:
    case IBV_WR_BIND_MW:
    case IBV_WR_LOCAL_INV:
      return type == IBV_QPT_RC;
    default:
      return false;
  }
}

// 0 or an errno value; fills `length`.
int check_post(const QueuePair& qp, const ibv_send_wr& request, uint64_t& length) {
  constexpr uint64_t kLargestMessage = uint64_t{1} << 30;
  if (!opcode_supported(qp.options.type, request.opcode)) return EINVAL;
  if (request.num_sge < 0 || static_cast<uint32_t>(request.num_sge) > qp.send_queue.max_sge()) {
    return EINVAL;
  }
  if (request.opcode == IBV_WR_BIND_MW && request.bind_mw.mw == nullptr) return EINVAL;
  length = 0;
  for (int i = 0; i < request.num_sge; ++i) length += request.sg_list[i].length;
  if (length > (qp.options.type == IBV_QPT_UD ? qp.mtu : kLargestMessage)) return EINVAL;
  const bool atomic =
      request.opcode == IBV_WR_ATOMIC_CMP_AND_SWP || request.opcode == IBV_WR_ATOMIC_FETCH_AND_ADD;
  const bool atomic_write = request.opcode == IBV_WR_ATOMIC_WRITE;
  if ((atomic || atomic_write) && length != sizeof(uint64_t)) return EINVAL;
  const bool wants_response = atomic || request.opcode == IBV_WR_RDMA_READ;
  if ((wants_response || atomic_write) && qp.attributes.max_rd_atomic == 0) return EINVAL;
  if (atomic_write) return request.num_sge == 1 ? 0 : EINVAL;
  if ((request.send_flags & IBV_SEND_INLINE) == 0) return 0;
  return wants_response || length > qp.send_queue.max_inline() ? EINVAL : 0;
}

Binding binding_of(const ibv_send_wr& from) {
  const ibv_mw_bind_info& info = from.bind_mw.bind_info;
  return {from.bind_mw.mw->rkey,
          from.bind_mw.rkey,
          info.mr == nullptr ? 0 : info.mr->lkey,
          info.addr,
          info.length,
          static_cast<int>(info.mw_access_flags)};
}

RemoteTarget remote_of(const ibv_send_wr& from) {
  const auto& atomic = from.wr.atomic;
  if (from.opcode == IBV_WR_ATOMIC_CMP_AND_SWP || from.opcode == IBV_WR_ATOMIC_FETCH_AND_ADD) {
    return {atomic.remote_addr, atomic.rkey, atomic.compare_add, atomic.swap};
  }
  RemoteTarget target{from.wr.rdma.remote_addr, from.wr.rdma.rkey, 0, 0};
  if (from.opcode == IBV_WR_ATOMIC_WRITE) {
    // Its bytes are always taken now, as inline data are.
    std::memcpy(&target.swap, reinterpret_cast<const void*>(from.sg_list->addr),
                sizeof target.swap);
  }
  return target;
}

void store_request(SendQueue& queue, const ibv_send_wr& from, uint32_t length) {
  queue.make_room();
  const uint64_t number = queue.tail();
  SendRequest& to = queue.at(number);
  to = {};
  to.id = from.wr_id;
  to.opcode = from.opcode;
  to.flags = from.send_flags;
  to.sge_count = from.opcode == IBV_WR_ATOMIC_WRITE ? 0 : static_cast<uint32_t>(from.num_sge);
  to.length = length;
  to.imm_be = from.imm_data;
  to.invalidate_rkey = from.invalidate_rkey;
  if (from.opcode == IBV_WR_BIND_MW) {
    to.target = binding_of(from);
  } else {
    to.target = remote_of(from);
  }
  std::copy_n(from.sg_list, to.sge_count, queue.sges(number));
  if ((from.send_flags & IBV_SEND_INLINE) == 0) return;
  std::byte* at = queue.inline_bytes(number);
  for (const ibv_sge& sge : std::span(from.sg_list, to.sge_count)) {
    // The address of an empty entry may be anything, and null is not for memcpy.
    if (sge.length > 0) std::memcpy(at, reinterpret_cast<const void*>(sge.addr), sge.length);
    at += sge.length;
  }
}

}  // namespace

int Engine::post_send(QueuePair& qp, const ibv_send_wr& request, const wire::Address& destination) {
  if (qp.state != IBV_QPS_RTS && qp.state != IBV_QPS_SQD && qp.state != IBV_QPS_ERR) return EINVAL;
  if (qp.send_queue.full()) return ENOMEM;
  uint64_t length = 0;
  if (const int error = check_post(qp, request, length); error != 0) return error;
  store_request(qp.send_queue, request, static_cast<uint32_t>(length));
  if (qp.options.type == IBV_QPT_UD) {
    SendRequest& stored = qp.send_queue.at(qp.send_queue.tail());
    stored.target =
        DatagramTarget{destination, request.wr.ud.remote_qpn, request.wr.ud.remote_qkey};
  }
  qp.send_queue.push();
  if (qp.state == IBV_QPS_ERR) {
    complete_send(qp, IBV_WC_WR_FLUSH_ERR);
    qp.requester.cursor = qp.requester.started = qp.send_queue.tail();
  } else {
    make_ready(qp);
  }
  return 0;
}

bool Engine::may_wait(const QueuePair& qp) const {
  // Few enough that the peer does not run out of work meanwhile, and no more than leave at once.
  constexpr uint32_t kBusyPackets = 8;
  constexpr uint64_t kMostGathered = 16;
  if (!qp.reliable() || qp.state != IBV_QPS_RTS || qp.packets_in_flight() < kBusyPackets) {
    return false;
  }
  const SendQueue& queue = qp.send_queue;
  if (queue.tail() - qp.requester.cursor >= kMostGathered) return false;
  const SendRequest& newest = queue.at(queue.tail() - 1);
  return !newest.is_local() && newest.length <= qp.mtu;
}

// True when it stopped for its budget, or found no memory, and not because it must wait for
// something.
bool Engine::transmit_requests(TimeNs now, QueuePair& qp, PacketSink& sink, uint32_t& budget) {
  Requester& requester = qp.requester;
  if (!qp.accepts_responses() || requester.rnr_deadline != kNever) return false;
  if (std::exchange(requester.probe_due, false)) send_probe(qp, sink);
  const auto out_of_memory = [&budget] {
    budget = 0;
    return true;
  };
  if (!retire_local(qp)) return out_of_memory();
  while (requester.cursor != qp.send_queue.tail()) {
    if (budget == 0) return true;
    if (requester.cursor == requester.started) {
      if (!may_start(qp)) return false;
      start_request(qp);
    }
    if (qp.send_queue.at(requester.cursor).is_local()) {
      ++requester.cursor;
      if (!retire_local(qp)) return out_of_memory();
      continue;
    }
    if (!window_open(qp)) return false;
    // What is not acknowledged completes as it is sent.
    if (!qp.reliable() && !qp.options.send_cq->make_room_for(1)) return out_of_memory();
    SendRequest& request = qp.send_queue.at(requester.cursor);
    const uint32_t psn = requester.send_psn;
    uint32_t packets = 1;
    if (request.wants_response()) {
      if (responses_awaited(requester) >= qp.attributes.max_rd_atomic) return false;
      packets = send_response_request(qp, request, sink);
    } else {
      const bool ack_request = wants_ack_now(qp, request);
      if (!send_data(qp, requester.cursor, psn, ack_request, sink)) return false;
      requester.since_ack_request = ack_request ? 0 : requester.since_ack_request + 1;
    }
    if (packets == 0) return false;
    --budget;
    note_sent(now, qp, packets);
    if (requester.send_psn == wire::psn_add(request.last_psn, 1)) ++requester.cursor;
    if (!qp.reliable()) acknowledge_until(now, qp, requester.send_psn);
  }
  return false;
}

bool Engine::may_start(QueuePair& qp) {
  const Requester& requester = qp.requester;
  if (qp.state != IBV_QPS_RTS) return false;  // a draining queue finishes what it began
  const SendRequest& request = qp.send_queue.at(requester.cursor);
  if ((request.flags & IBV_SEND_FENCE) != 0 && requester.unfinished_responses > 0) return false;
  if (request.is_local()) return execute_local(qp);
  constexpr uint32_t kMostOutstanding = (1U << 23) - 1;
  const uint32_t outstanding = (requester.next_psn - requester.una_psn) & wire::kPsnMask;
  return outstanding + wire::packet_count(request.length, qp.mtu) <= kMostOutstanding;
}

void Engine::start_request(QueuePair& qp) {
  Requester& requester = qp.requester;
  SendRequest& request = qp.send_queue.at(requester.started++);
  uint32_t packets = request.is_atomic() ? 1 : wire::packet_count(request.length, qp.mtu);
  if (request.is_local()) packets = 0;
  request.first_psn = requester.next_psn;
  request.last_psn = wire::psn_add(request.first_psn, packets - 1);
  requester.next_psn = wire::psn_add(request.first_psn, packets);
  request.first_byte = requester.next_byte;
  requester.next_byte += packet_bytes_of(request);
  if (request.wants_response()) ++requester.unfinished_responses;
}

// Binds or invalidates, once, before the request counts as started. One that cannot be executed
// fails when it is the oldest.
bool Engine::execute_local(QueuePair& qp) {
  const uint64_t number = qp.requester.cursor;
  const SendRequest& request = qp.send_queue.at(number);
  const bool done =
      request.opcode == IBV_WR_BIND_MW
          ? memory_.bind_window(std::get<Binding>(request.target), qp.options.pd, qp.qpn) == 0
          : memory_.invalidate_window(request.invalidate_rkey, qp.options.pd);
  if (!done && qp.send_queue.head() == number) fail_send(qp, number, IBV_WC_MW_BIND_ERR);
  return done;
}

// A queue pair with nothing in flight may always send one packet, so that none is starved by the
// others of its path.
bool Engine::window_open(QueuePair& qp) {
  const uint32_t in_flight = qp.packets_in_flight();
  if (in_flight == 0) return true;
  if (in_flight >= qp.requester.window) return false;
  if (qp.path->in_flight_bytes + packet_bytes(qp.mtu) <= qp.path->window_bytes) return true;
  qp.path->blocked.push_back(qp);
  return false;
}

// Asks at the end of what can be sent now, and every so often before.
bool Engine::wants_ack_now(QueuePair& qp, const SendRequest& request) {
  if (!qp.reliable()) return false;
  const Requester& requester = qp.requester;
  const bool last_packet = requester.send_psn == request.last_psn;
  const uint64_t next = requester.cursor + 1;
  const bool nothing_follows = next == qp.send_queue.tail() || qp.send_queue.at(next).is_local();
  if (last_packet && nothing_follows) return true;
  if (last_packet && qp.path->in_flight_bytes * 2 > qp.path->window_bytes) return true;
  // Nothing more could be sent, and nothing that is on the way asks: it would be silence until the
  // probe or the timeout, which may be the last.
  const bool path_full =
      qp.path->in_flight_bytes + 2 * packet_bytes(qp.mtu) > qp.path->window_bytes;
  if (path_full && requester.since_ack_request >= qp.packets_in_flight()) return true;
  const uint32_t interval = std::min(requester.window / 4, kAckRequestInterval);
  return requester.since_ack_request >= interval || qp.packets_in_flight() + 1 >= requester.window;
}

void Engine::note_sent(TimeNs now, QueuePair& qp, uint32_t packets) {
  Requester& requester = qp.requester;
  const uint32_t first = requester.send_psn;
  move_send_psn(qp, wire::psn_add(first, packets));
  if (wire::psn_diff(requester.send_psn, requester.sent_psn) > 0) {
    requester.sent_psn = requester.send_psn;
    if (!requester.rtt_running) {
      requester.rtt_running = true;
      requester.rtt_psn = first;
      requester.rtt_since = now;
    }
  } else {
    counters_.retransmits += packets;
  }
  if (requester.ack_deadline == kNever && requester.probe_deadline == kNever) {
    restart_timers(now, qp);
  }
}

// Asks for as much of the READ as the window holds: the receiver paces what streams towards it. A
// continuation is an ordinary READ request, as after a retry. Returns the PSNs taken, 0 when it is
// better to wait.
uint32_t Engine::send_read(QueuePair& qp, const SendRequest& request, PacketSink& sink) {
  Requester& requester = qp.requester;
  const uint32_t in_flight = qp.packets_in_flight();
  const uint32_t room = requester.window - std::min(in_flight, requester.window - 1);
  const uint32_t left = left_of(request, requester.send_psn);
  if (in_flight > 0 && room < left && room < requester.window / 4) return 0;
  const uint32_t packets = enter_response_end(requester, std::min(left, room));
  const uint64_t offset = uint64_t{qp.mtu} * static_cast<uint32_t>(wire::psn_diff(
                                                 requester.send_psn, request.first_psn));
  const uint64_t bytes = std::min<uint64_t>(request.length - offset, uint64_t{packets} * qp.mtu);

  std::byte* at = sink.reserve(qp.path->address, wire::kBthBytes + wire::kRethBytes);
  at = wire::write_bth(at, {.opcode = Opcode::kReadRequest,
                            .solicited = (request.flags & IBV_SEND_SOLICITED) != 0,
                            .dest_qpn = qp.attributes.dest_qp_num,
                            .psn = requester.send_psn});
  wire::write_reth(
      at, {request.remote().address + offset, request.remote().rkey, static_cast<uint32_t>(bytes)});
  sink.commit();
  count_sent(wire::kBthBytes + wire::kRethBytes);
  return packets;
}

uint32_t Engine::send_response_request(QueuePair& qp, const SendRequest& request,
                                       PacketSink& sink) {
  if (request.is_read()) return send_read(qp, request, sink);
  if (request.is_atomic_write()) return send_atomic_write(qp, request, sink);
  return send_atomic(qp, request, sink);
}

// InfiniBand Architecture, annex A19 (memory placement extensions).
uint32_t Engine::send_atomic_write(QueuePair& qp, const SendRequest& request, PacketSink& sink) {
  constexpr uint32_t kValueBytes = sizeof request.remote().swap;
  constexpr uint32_t kBytes = wire::kBthBytes + wire::kRethBytes + kValueBytes;
  std::byte* at = sink.reserve(qp.path->address, kBytes);
  at = wire::write_bth(at, {.opcode = Opcode::kAtomicWrite,
                            .dest_qpn = qp.attributes.dest_qp_num,
                            .ack_request = true,
                            .psn = qp.requester.send_psn});
  at = wire::write_reth(at, {request.remote().address, request.remote().rkey, kValueBytes});
  std::memcpy(at, &request.remote().swap, kValueBytes);
  sink.commit();
  count_sent(kBytes);
  return enter_response_end(qp.requester, 1);
}

uint32_t Engine::send_atomic(QueuePair& qp, const SendRequest& request, PacketSink& sink) {
  const bool swap = request.opcode == IBV_WR_ATOMIC_CMP_AND_SWP;
  std::byte* at = sink.reserve(qp.path->address, wire::kBthBytes + wire::kAtomicEthBytes);
  at = wire::write_bth(at, {.opcode = swap ? Opcode::kCompareSwap : Opcode::kFetchAdd,
                            .dest_qpn = qp.attributes.dest_qp_num,
                            .ack_request = true,
                            .psn = qp.requester.send_psn});
  wire::write_atomic_eth(at, {request.remote().address, request.remote().rkey,
                              swap ? request.remote().swap : request.remote().compare_add,
                              swap ? request.remote().compare_add : 0});
  sink.commit();
  count_sent(wire::kBthBytes + wire::kAtomicEthBytes);
  return enter_response_end(qp.requester, 1);
}

// One packet of a SEND or WRITE. False when its bytes cannot be had: a bad lkey fails the request
// once it is the oldest.
bool Engine::send_data(QueuePair& qp, uint64_t number, uint32_t psn, bool ack_request,
                       PacketSink& sink) {
  const SendRequest& request = qp.send_queue.at(number);
  const uint32_t offset = qp.mtu * static_cast<uint32_t>(wire::psn_diff(psn, request.first_psn));
  const uint32_t bytes = std::min(qp.mtu, request.length - offset);
  if (!gather(qp, number, offset, bytes)) {
    if (qp.send_queue.head() == number) fail_send(qp, number, IBV_WC_LOC_PROT_ERR);
    return false;
  }
  const bool last = psn == request.last_psn;
  const Opcode opcode =
      wire::with_transport(data_opcode(request, psn == request.first_psn, last), qp.transport());
  const wire::OpcodeInfo& info = wire::opcode_info(opcode);
  const uint32_t pad = wire::pad_bytes(bytes);
  const uint32_t total = info.header_bytes + bytes + pad;

  std::byte* at = sink.reserve(qp.path->address, total);
  at = wire::write_bth(at, {.opcode = opcode,
                            .solicited = last && (request.flags & IBV_SEND_SOLICITED) != 0,
                            .pad_count = static_cast<uint8_t>(pad),
                            .dest_qpn = qp.attributes.dest_qp_num,
                            .ack_request = ack_request,
                            .psn = psn});
  if (info.has(wire::OpcodeFlag::kReth)) {
    at = wire::write_reth(at, {request.remote().address, request.remote().rkey, request.length});
  }
  if (info.has(wire::OpcodeFlag::kIeth)) at = wire::write_ieth(at, request.invalidate_rkey);
  if (info.has(wire::OpcodeFlag::kImm)) at = wire::write_imm(at, request.imm_be);
  for (const auto piece : pieces_) at = std::copy(piece.begin(), piece.end(), at);
  std::fill_n(at, pad, std::byte{0});
  sink.commit();
  count_sent(total);
  return true;
}

// Repeats the newest packet alone: the answer, an acknowledge or a NAK, tells what arrived of all
// before it.
void Engine::send_probe(QueuePair& qp, PacketSink& sink) {
  Requester& requester = qp.requester;
  if (requester.send_psn == requester.una_psn) return;
  const uint32_t psn = wire::psn_add(requester.send_psn, wire::kPsnMask);
  uint64_t number = std::min(requester.cursor, requester.started - 1);
  while (qp.send_queue.at(number).is_local() ||
         wire::psn_diff(psn, qp.send_queue.at(number).first_psn) < 0) {
    --number;
  }
  ++counters_.tail_probes;
  if (requester.gap_answered || qp.send_queue.at(number).wants_response()) {
    go_back(qp);
  } else {
    send_data(qp, number, psn, true, sink);
  }
}

bool Engine::gather(QueuePair& qp, uint64_t number, uint32_t offset, uint32_t length) {
  pieces_.clear();
  const SendRequest& request = qp.send_queue.at(number);
  if ((request.flags & IBV_SEND_INLINE) != 0) {
    pieces_.push_back({qp.send_queue.inline_bytes(number) + offset, length});
    return true;
  }
  for (const ibv_sge& sge : std::span(qp.send_queue.sges(number), request.sge_count)) {
    if (length == 0) break;
    if (offset >= sge.length) {
      offset -= sge.length;
      continue;
    }
    const uint32_t taken = std::min(length, sge.length - offset);
    const std::byte* at = memory_.translate(sge.lkey, qp.options.pd, sge.addr + offset, taken, 0);
    if (at == nullptr) return false;
    pieces_.push_back({at, taken});
    length -= taken;
    offset = 0;
  }
  return length == 0;
}

}  // namespace verbena::engine
