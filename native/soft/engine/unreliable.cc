// What unreliable connections and datagrams do otherwise: nothing is acknowledged, and what is lost
// is lost.
#include <algorithm>
#include <array>

#include "soft/engine/engine.h"

namespace verbena::engine {
namespace {

using wire::Opcode;
using wire::OpcodeFlag;

// Space before a received datagram for its global route header (IBTA volume 1, 11.4.1.2); of an
// IPv4 packet, the header lies in the last 20 bytes.
constexpr uint32_t kGrhBytes = 40;
constexpr uint8_t kUdpProtocol = 17;

std::array<std::byte, kGrhBytes> route_header(const wire::Address& from, const wire::Address& to,
                                              uint16_t payload_bytes) {
  std::array<std::byte, kGrhBytes> header{};
  const auto put = [&header](size_t at, const uint8_t* bytes, size_t count) {
    std::memcpy(&header[at], bytes, count);
  };
  if (from.is_v4()) {
    header[20] = std::byte{0x45};
    wire::store_be16(&header[22], static_cast<uint16_t>(20 + payload_bytes));
    header[29] = std::byte{kUdpProtocol};
    put(32, from.v4_bytes(), 4);
    put(36, to.v4_bytes(), 4);
    return header;
  }
  header[0] = std::byte{0x60};
  wire::store_be16(&header[4], payload_bytes);
  header[6] = std::byte{kUdpProtocol};
  put(8, from.gid.data(), 16);
  put(24, to.gid.data(), 16);
  return header;
}

}  // namespace

// IBTA volume 1, 9.8.2: a packet that is missing ends its message; the next FIRST or ONLY begins
// anew, with the receive that was taken.
void Engine::on_unreliable_request(QueuePair& qp, const wire::Packet& packet) {
  if (!qp.accepts_requests()) {
    ++counters_.bad_state;
    return;
  }
  reserve_for(qp, packet);
  Responder& responder = qp.responder;
  const bool missed = packet.psn() != responder.expected_psn;
  if (missed) ++counters_.out_of_sequence;
  if (missed || packet.has(OpcodeFlag::kStart)) responder.message = InboundMessage::kNone;
  responder.expected_psn = wire::psn_add(packet.psn(), 1);
  if (!packet.has(OpcodeFlag::kStart) && responder.message == InboundMessage::kNone) {
    ++counters_.unreliable_drops;
    return;
  }
  execute(qp, packet);
}

void Engine::abandon_message(QueuePair& qp) {
  ++counters_.unreliable_drops;
  qp.responder.message = InboundMessage::kNone;
}

// True when it stopped for its budget, or found no memory.
bool Engine::transmit_datagrams(QueuePair& qp, PacketSink& sink, uint32_t& budget) {
  while (qp.state == IBV_QPS_RTS && !qp.send_queue.empty()) {
    if (!qp.options.send_cq->make_room_for(1)) budget = 0;
    if (budget == 0) return true;
    --budget;
    const bool sent = send_datagram(qp, sink);
    complete_send(qp, sent ? IBV_WC_SUCCESS : IBV_WC_LOC_PROT_ERR);
    if (!sent) enter_error(qp);
  }
  return false;
}

bool Engine::send_datagram(QueuePair& qp, PacketSink& sink) {
  const uint64_t number = qp.send_queue.head();
  const SendRequest& request = qp.send_queue.at(number);
  const auto& to = std::get<DatagramTarget>(request.target);
  if (!gather(qp, number, 0, request.length)) return false;
  const bool imm = request.opcode == IBV_WR_SEND_WITH_IMM;
  const Opcode opcode = imm ? Opcode::kDatagramSendImm : Opcode::kDatagramSend;
  const uint32_t pad = wire::pad_bytes(request.length);
  const uint32_t total = wire::opcode_info(opcode).header_bytes + request.length + pad;
  // A key with its top bit set stands for the queue pair's own (IBTA volume 1, 10.2.5).
  const bool own_key = (to.qkey & 0x8000'0000) != 0;

  std::byte* at = sink.reserve(to.address, total);
  at = wire::write_bth(at, {.opcode = opcode,
                            .solicited = (request.flags & IBV_SEND_SOLICITED) != 0,
                            .pad_count = static_cast<uint8_t>(pad),
                            .dest_qpn = to.qpn,
                            .psn = qp.requester.send_psn});
  at = wire::write_deth(at, {own_key ? qp.attributes.qkey : to.qkey, qp.qpn});
  if (imm) at = wire::write_imm(at, request.imm_be);
  for (const auto piece : pieces_) at = std::copy(piece.begin(), piece.end(), at);
  std::fill_n(at, pad, std::byte{0});
  sink.commit();
  count_sent(total);
  qp.requester.send_psn = wire::psn_add(qp.requester.send_psn, 1);
  return true;
}

void Engine::on_datagram(QueuePair& qp, const wire::Address& source,
                         const wire::Address& destination, const wire::Packet& packet) {
  if (!qp.accepts_requests()) {
    ++counters_.bad_state;
  } else if (packet.deth().qkey != qp.attributes.qkey) {
    ++counters_.bad_qkey;
  } else if (qp.receives().empty()) {
    ++counters_.unreliable_drops;
  } else {
    receive_datagram(qp, source, destination, packet);
  }
}

void Engine::receive_datagram(QueuePair& qp, const wire::Address& source,
                              const wire::Address& destination, const wire::Packet& packet) {
  reserve_entry(*qp.options.recv_cq);
  take_receive(qp);
  const auto bytes = packet.payload();
  const auto header = route_header(source, destination, static_cast<uint16_t>(bytes.size()));
  const ReceiveRequest& receive = qp.receive;
  if (bytes.size() + kGrhBytes > receive.capacity) return complete_receive(qp, IBV_WC_LOC_LEN_ERR);
  if (!scatter(receive.sges, qp.receive_pd(), 0, header) ||
      !scatter(receive.sges, qp.receive_pd(), kGrhBytes, bytes)) {
    complete_receive(qp, IBV_WC_LOC_PROT_ERR);
    return enter_error(qp);
  }
  ibv_wc completion{};
  completion.wr_id = receive.id;
  completion.opcode = IBV_WC_RECV;
  completion.byte_len = static_cast<uint32_t>(bytes.size() + kGrhBytes);
  completion.src_qp = packet.deth().source_qpn;
  completion.wc_flags = IBV_WC_GRH;
  if (packet.has(OpcodeFlag::kImm)) {
    completion.wc_flags |= IBV_WC_WITH_IMM;
    completion.imm_data = packet.imm_be();
  }
  qp.responder.receive_taken = false;
  push_completion(qp, *qp.options.recv_cq, completion, packet.solicited());
}

}  // namespace verbena::engine
