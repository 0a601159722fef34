// One queue pair: its attributes, its queues, and the state of its requester and its responder.
#pragma once

#include <infiniband/verbs.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <set>
#include <vector>

#include "soft/engine/completion_queue.h"
#include "soft/engine/ports.h"
#include "soft/engine/work_queue.h"
#include "soft/wire/opcode.h"
#include "soft/wire/psn.h"
#include "soft/wire/syndrome.h"
#include "util/linked_list.h"

namespace verbena::engine {

// Packets in flight of one queue pair, whatever was lost.
inline constexpr uint32_t kSmallestWindow = 8;

inline constexpr uint32_t kMaxRdAtomic = 16;

// What a packet with so much payload takes of the receiver's socket buffer, about.
constexpr uint64_t packet_bytes(uint64_t payload_bytes) {
  constexpr uint64_t kOverheadBytes = 512;
  return payload_bytes + kOverheadBytes;
}

// The same of all packets of a request that was started.
inline uint64_t packet_bytes_of(const SendRequest& request) {
  const auto packets =
      static_cast<uint64_t>(wire::psn_diff(request.last_psn, request.first_psn)) + 1;
  return packets * packet_bytes(0) + (packets == 0 ? 0 : request.length);
}

struct PeerPath;

struct Timer {
  TimeNs at;
  uint32_t qpn;
  bool operator<(const Timer& other) const {
    return at != other.at ? at < other.at : qpn < other.qpn;
  }
};

// The last PSN of each READ or atomic request packet sent and not answered, oldest first. A READ
// may be asked for in several pieces, and what is asked for again is the rest of one piece: that is
// what the responder remembers.
class ResponseEnds {
 public:
  size_t size() const { return count_; }
  const uint32_t* begin() const { return psns_.data(); }
  const uint32_t* end() const { return psns_.data() + count_; }
  uint32_t operator[](size_t index) const { return psns_[index]; }
  // No more than max_rd_atomic are outstanding.
  void push_back(uint32_t psn) { psns_[count_++] = psn; }
  void remove_before(uint32_t psn) {
    size_t before = 0;
    while (before < count_ && wire::psn_diff(psns_[before], psn) < 0) ++before;
    if (before == 0) return;
    std::copy(begin() + before, end(), psns_.data());
    count_ -= before;
  }

 private:
  size_t count_ = 0;
  std::array<uint32_t, kMaxRdAtomic> psns_{};
};

// PSNs on the send side: una <= send <= sent. [una, send) is in flight; [send, sent) was sent and
// is to be sent again.
struct Requester {
  uint32_t una_psn = 0;       // oldest not acknowledged
  uint32_t send_psn = 0;      // next to be sent
  uint32_t sent_psn = 0;      // one past the newest ever sent
  uint32_t next_psn = 0;      // next to be assigned to a request
  uint64_t cursor = 0;        // number of the request that holds send_psn
  uint64_t started = 0;       // requests below have their PSNs
  uint64_t next_byte = 0;     // next to be assigned to a request
  uint64_t flight_bytes = 0;  // of what is in flight, as the path counts it

  ResponseEnds response_ends;
  uint32_t unfinished_responses =
      0;  // started READ and atomic requests not completed: what a fence waits for

  uint32_t window = 0;  // packets in flight, at most
  uint32_t slow_start_until =
      0;  // the window grows by what is acknowledged below this, else by one per window
  uint32_t acked_in_window = 0;
  uint32_t recover_psn = 0;  // losses of packets before this were answered already
  bool recovering = false;
  bool gap_answered = false;  // went back for a loss, and nothing was acknowledged since
  uint32_t since_ack_request = 0;

  uint8_t retries_left = 0;
  uint8_t rnr_retries_left = 0;
  TimeNs ack_deadline = kNever;
  TimeNs probe_deadline = kNever;
  TimeNs rnr_deadline = kNever;
  uint32_t probe_backoff = 0;
  bool probe_due = false;

  bool rtt_running = false;
  uint32_t rtt_psn = 0;
  TimeNs rtt_since = 0;
  TimeNs smoothed_rtt = 0;
};

enum class InboundMessage : uint8_t { kNone, kSend, kWrite };

struct Response {
  enum class Kind : uint8_t { kAck, kRead, kAtomic };
  Kind kind;
  uint8_t syndrome;    // kAck: an ACK, RNR NAK or NAK
  uint32_t psn;        // of the next packet to be sent for this response
  uint32_t end_psn;    // one past the last
  uint32_t rkey;       // kRead
  uint64_t address;    // kRead: of the next byte
  uint32_t remaining;  // kRead: bytes
  bool started;        // kRead: FIRST was sent
  uint64_t original;   // kAtomic
  bool repeated = false;

  bool is_acknowledge() const { return kind == Kind::kAck && syndrome == wire::kAckNoCredits; }
};

// What a repeated READ or atomic request is answered from.
struct ServedRequest {
  bool atomic;
  uint32_t first_psn;
  uint32_t last_psn;
  uint64_t address;
  uint32_t rkey;
  uint32_t length;
  uint64_t original;
};

struct Responder {
  uint32_t expected_psn = 0;
  uint32_t msn = 0;
  bool nak_outstanding = false;  // silent until expected_psn arrives
  bool ack_owed = false;         // something was executed, and nothing sent since says so

  InboundMessage message = InboundMessage::kNone;
  bool receive_taken = false;  // QueuePair::receive has not completed
  uint64_t received = 0;       // bytes of the current message
  uint64_t write_address = 0;  // of the next byte
  uint32_t write_rkey = 0;
  uint32_t write_remaining = 0;

  // Few at a time, so that taking from the front costs little, and nothing until they are used.
  std::vector<Response> responses;
  // All that is to be answered is that requests were executed.
  bool owes_acknowledge_only() const {
    return responses.size() == 1 && responses.front().is_acknowledge();
  }
  std::vector<ServedRequest> served;  // newest last; at most max_dest_rd_atomic

  // Room for what one packet may add. Throws std::bad_alloc.
  void reserve(bool remembered, size_t most_served) {
    constexpr size_t kMostAtOnce = 2;
    const bool unused = responses.empty() && responses.capacity() > 0;
    if (!unused && responses.capacity() - responses.size() < kMostAtOnce) {
      responses.reserve(2 * responses.capacity() + kMostAtOnce);
    }
    if (remembered && served.size() == served.capacity() && served.size() < most_served) {
      served.reserve(std::min(2 * served.size() + 1, most_served));
    }
  }
};

struct QueuePairOptions {
  uint32_t pd;
  CompletionQueue* send_cq;
  CompletionQueue* recv_cq;
  uint32_t max_send_wr;
  uint32_t max_recv_wr;
  uint32_t max_send_sge;
  uint32_t max_recv_sge;
  uint32_t max_inline;
  bool signal_all;
  void* owner;  // the verbs object around this queue pair
  ibv_qp_type type = IBV_QPT_RC;
  SharedReceiveQueue* srq = nullptr;  // instead of a receive queue of its own
};

struct QueuePair {
  explicit QueuePair(const QueuePairOptions& from)
      : options(from),
        send_queue(from.max_send_wr, from.max_send_sge, from.max_inline),
        own_receives(from.max_recv_wr, from.max_recv_sge) {
    receive.sges.reserve(receives().max_sge());
  }

  QueuePairOptions options;
  uint32_t qpn = 0;
  ibv_qp_state state = IBV_QPS_RESET;
  ibv_qp_attr attributes{};  // as set by modify; `state` and the requester's and responder's PSNs
                             // live outside
  uint32_t mtu = 0;
  PeerPath* path = nullptr;

  SendQueue send_queue;
  ReceiveQueue own_receives;
  Requester requester;
  Responder responder;
  ReceiveRequest receive;  // of the current message

  util::ListLink<QueuePair> ready;           // in the engine's transmit list
  util::ListLink<QueuePair> waits_for_path;  // in path->blocked
  // Of this queue pair's entry in the engine's timers; kNever while that lies in `timer`.
  TimeNs timer_at = kNever;
  std::set<Timer>::node_type timer;
  bool communication_established = false;
  bool drain_event_wanted = false;
  uint32_t groups = 0;  // multicast groups that it is in

  wire::Transport transport() const {
    if (options.type == IBV_QPT_UD) return wire::Transport::kUnreliableDatagram;
    return options.type == IBV_QPT_UC ? wire::Transport::kUnreliableConnection
                                      : wire::Transport::kReliableConnection;
  }
  bool reliable() const { return options.type == IBV_QPT_RC; }
  ReceiveQueue& receives() { return options.srq == nullptr ? own_receives : options.srq->queue; }
  // The domain that the keys of receives belong to.
  uint32_t receive_pd() const { return options.srq == nullptr ? options.pd : options.srq->pd; }
  bool accepts_requests() const {
    return state == IBV_QPS_RTR || state == IBV_QPS_RTS || state == IBV_QPS_SQD;
  }
  bool accepts_responses() const { return state == IBV_QPS_RTS || state == IBV_QPS_SQD; }
  uint32_t packets_in_flight() const {
    return static_cast<uint32_t>(wire::psn_diff(requester.send_psn, requester.una_psn));
  }
};

// Packets in flight to one address, over all of its queue pairs: the peer's socket buffer is what
// they share.
struct PeerPath {
  wire::Address address;
  uint64_t window_bytes;  // what may be in flight
  uint64_t in_flight_bytes = 0;
  uint32_t users = 0;
  util::LinkedList<QueuePair, &QueuePair::waits_for_path> blocked;  // served when something arrived
};

}  // namespace verbena::engine
