// The transport of the soft device: queue pairs, memory and timers, with no socket, no clock and no
// lock of its own. The caller serialises all calls; see abi/lane.h.
#pragma once

#include <cstdint>
#include <memory>
#include <new>
#include <optional>
#include <set>
#include <span>
#include <unordered_map>
#include <vector>

#include "soft/engine/counters.h"
#include "soft/engine/key_table.h"
#include "soft/engine/memory_table.h"
#include "soft/engine/ports.h"
#include "soft/engine/queue_pair.h"
#include "soft/wire/mtu.h"
#include "soft/wire/packet.h"

namespace verbena::engine {

// Multicast groups of a device, and queue pairs in one group. Enough, and few enough for a socket
// each.
inline constexpr uint32_t kMostGroups = 256;
inline constexpr uint32_t kMostGroupMembers = 56;

struct EngineOptions {
  // Bytes that may be in flight to one address. What the receive buffer of a peer's socket holds is
  // not known; that of our own is the best guess.
  uint64_t peer_window_bytes;
  // Of the device: the address in the header that a received datagram is shown with, and the
  // longest datagram.
  wire::Address address = {};
  uint32_t port_mtu = wire::kMaxMtuBytes;
};

// How many of each there are.
struct Holdings {
  size_t queue_pairs = 0;
  size_t regions = 0;
  size_t windows = 0;
  size_t paths = 0;
  size_t groups = 0;
  bool operator==(const Holdings&) const = default;
};

class Engine {
 public:
  Engine(const EngineOptions& options, RandomSource& random, EventSink& events, Counters& counters);
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  MemoryTable& memory() { return memory_; }
  Holdings holdings() const {
    return {queue_pairs_.size(), memory_.regions(), memory_.windows(), paths_.size(),
            groups_.size()};
  }

  // Throws std::bad_alloc.
  QueuePair* create_qp(const QueuePairOptions& options);
  void destroy_qp(QueuePair& qp);
  // The transition and its mask must be legal (the transition table says so); values are checked
  // here. 0 or an errno value; on failure nothing has changed.
  int modify_qp(QueuePair& qp, const ibv_qp_attr& attributes, int mask);
  // Every queue pair that is in use goes to ERR, as when a device fails.
  void fail();
  // How much may be in flight to an address from now on, instead of what the options say; 0 for
  // that again. For as long as a queue pair is connected to it.
  void set_window(const wire::Address& address, uint64_t bytes);
  // One request each. 0 or an errno value.
  // `destination` is the address of a datagram's address handle.
  int post_send(QueuePair& qp, const ibv_send_wr& request, const wire::Address& destination = {});
  int post_receive(QueuePair& qp, const ibv_recv_wr& request);

  // Datagrams to a multicast group reach the members, each once. 0, ENOMEM at a limit, or EINVAL
  // where there is nothing to leave; joining again changes nothing.
  int join_group(QueuePair& qp, const wire::Address& group);
  int leave_group(QueuePair& qp, const wire::Address& group);
  bool has_group(const wire::Address& group) const { return groups_.contains(group); }
  void leave_groups(QueuePair& qp);

  // `bytes` is a UDP payload whose ICRC was checked and cut off. A packet for which there is no
  // memory is a lost one: it is counted, and has changed nothing that its sender does not repeat.
  void on_packet(TimeNs now, const wire::Address& source, std::span<const std::byte> bytes);
  // The same of a packet that was sent to a group.
  void on_group_packet(const wire::Address& source, const wire::Address& group,
                       std::span<const std::byte> bytes);
  void on_timeout(TimeNs now);
  // Sends what windows allow, up to a bound; true while there is more to send at once.
  bool transmit(TimeNs now, PacketSink& sink);
  // When on_timeout is due; kNever when nothing is pending.
  TimeNs next_timeout() const { return timers_.empty() ? kNever : timers_.begin()->at; }
  bool wants_transmit() const { return !ready_.empty(); }
  // All that is to be sent is one acknowledge: it may wait a little, for an answer that it can
  // leave with. Where there is more, the system call is shared anyway.
  bool owes_acknowledge_only() const;
  // The queue pair has enough in flight that what was posted may wait a little, for more to leave
  // with.
  bool may_wait(const QueuePair& qp) const;

 private:
  // --- requester.cc: sends requests
  bool transmit_requests(TimeNs now, QueuePair& qp, PacketSink& sink, uint32_t& budget);
  void start_request(QueuePair& qp);
  bool may_start(QueuePair& qp);
  bool execute_local(QueuePair& qp);
  bool window_open(QueuePair& qp);
  uint32_t send_response_request(QueuePair& qp, const SendRequest& request, PacketSink& sink);
  uint32_t send_read(QueuePair& qp, const SendRequest& request, PacketSink& sink);
  uint32_t send_atomic(QueuePair& qp, const SendRequest& request, PacketSink& sink);
  uint32_t send_atomic_write(QueuePair& qp, const SendRequest& request, PacketSink& sink);
  bool send_data(QueuePair& qp, uint64_t number, uint32_t psn, bool ack_request, PacketSink& sink);
  void send_probe(QueuePair& qp, PacketSink& sink);
  bool wants_ack_now(QueuePair& qp, const SendRequest& request);
  void note_sent(TimeNs now, QueuePair& qp, uint32_t packets);
  bool gather(QueuePair& qp, uint64_t number, uint32_t offset, uint32_t length);

  // --- completer.cc: handles responses and timeouts of requests
  void on_response(TimeNs now, QueuePair& qp, const wire::Packet& packet);
  void on_acknowledge(TimeNs now, QueuePair& qp, const wire::Packet& packet);
  void on_nak(TimeNs now, QueuePair& qp, uint8_t syndrome, uint32_t psn);
  void on_rnr_nak(TimeNs now, QueuePair& qp, uint8_t syndrome, uint32_t psn);
  void on_read_response(TimeNs now, QueuePair& qp, const wire::Packet& packet);
  void on_atomic_acknowledge(TimeNs now, QueuePair& qp, const wire::Packet& packet);
  bool acknowledge_until(TimeNs now, QueuePair& qp, uint32_t end_psn);
  void advance_una(TimeNs now, QueuePair& qp, uint32_t una_psn);
  void grow_window(QueuePair& qp, uint32_t packets);
  void on_loss(QueuePair& qp);
  void go_back(QueuePair& qp);
  void retry(TimeNs now, QueuePair& qp);
  void on_gap(TimeNs now, QueuePair& qp);
  bool retire_local(QueuePair& qp);
  void succeed_send(QueuePair& qp);
  void complete_send(QueuePair& qp, ibv_wc_status status);
  void fail_send(QueuePair& qp, uint64_t number, ibv_wc_status status);
  bool scatter_response(QueuePair& qp, uint64_t number, uint32_t offset,
                        std::span<const std::byte> bytes);
  void restart_timers(TimeNs now, QueuePair& qp);
  void on_qp_timeout(TimeNs now, QueuePair& qp);

  // --- responder.cc: executes requests and sends responses
  void on_request(QueuePair& qp, const wire::Packet& packet);
  void on_duplicate(QueuePair& qp, const wire::Packet& packet);
  void reserve_for(QueuePair& qp, const wire::Packet& packet);
  void execute(QueuePair& qp, const wire::Packet& packet);
  bool sequence_valid(const QueuePair& qp, const wire::Packet& packet) const;
  bool length_valid(const QueuePair& qp, const wire::Packet& packet) const;
  bool operation_allowed(const QueuePair& qp, const wire::Packet& packet) const;
  void execute_send(QueuePair& qp, const wire::Packet& packet);
  void execute_write(QueuePair& qp, const wire::Packet& packet);
  void execute_read(QueuePair& qp, const wire::Packet& packet);
  void execute_atomic(QueuePair& qp, const wire::Packet& packet);
  void execute_atomic_write(QueuePair& qp, const wire::Packet& packet);
  bool scatter(std::span<const ibv_sge> sges, uint32_t pd, uint32_t offset,
               std::span<const std::byte> bytes);
  void take_receive(QueuePair& qp);
  void complete_receive(QueuePair& qp, ibv_wc_status status);
  void complete_message(QueuePair& qp, const wire::Packet& packet, ibv_wc_opcode opcode);
  void finish_request(QueuePair& qp, const wire::Packet& packet, uint32_t psns);
  void queue_ack(QueuePair& qp, uint32_t psn, uint8_t syndrome);
  void reject(QueuePair& qp, const wire::Packet& packet, uint8_t syndrome, ibv_wc_status status);
  void queue_atomic_response(QueuePair& qp, uint32_t psn, uint64_t original);
  void queue_write_response(QueuePair& qp, uint32_t psn);
  void drop_responses_from(Responder& responder, uint32_t psn);
  void repeat_read(QueuePair& qp, const wire::Packet& packet, const ServedRequest& served);
  bool revoke_read(QueuePair& qp);
  void remember(QueuePair& qp, const ServedRequest& served);
  bool transmit_responses(QueuePair& qp, PacketSink& sink, uint32_t& budget);
  void send_ack(QueuePair& qp, const Response& response, PacketSink& sink);
  void send_atomic_response(QueuePair& qp, const Response& response, PacketSink& sink);
  bool send_read_response(QueuePair& qp, Response& response, PacketSink& sink);

  // --- unreliable.cc: what unreliable connections and datagrams do otherwise
  void on_unreliable_request(QueuePair& qp, const wire::Packet& packet);
  void abandon_message(QueuePair& qp);
  bool transmit_datagrams(QueuePair& qp, PacketSink& sink, uint32_t& budget);
  bool send_datagram(QueuePair& qp, PacketSink& sink);
  void on_datagram(QueuePair& qp, const wire::Address& source, const wire::Address& destination,
                   const wire::Packet& packet);
  void receive_datagram(QueuePair& qp, const wire::Address& source,
                        const wire::Address& destination, const wire::Packet& packet);

  // --- engine.cc: queue pairs, timers, scheduling
  void deliver(TimeNs now, QueuePair& qp, const wire::Address& source, const wire::Packet& packet);
  std::optional<wire::Packet> parse(std::span<const std::byte> bytes);
  void enter_error(QueuePair& qp);
  void reset(QueuePair& qp);
  void flush_receives(QueuePair& qp);
  static void reserve_entry(CompletionQueue& cq) {
    if (!cq.make_room_for(1)) throw std::bad_alloc();
  }
  void push_completion(QueuePair& qp, CompletionQueue& cq, const ibv_wc& completion,
                       bool solicited);
  void enter_rtr(QueuePair& qp);
  void enter_rts(QueuePair& qp);
  void check_drained(QueuePair& qp);
  void use_path(QueuePair& qp, const wire::Address& address);
  void release_path(QueuePair& qp);
  static uint64_t byte_at(const QueuePair& qp, uint64_t number, uint32_t psn);
  void count_flight(QueuePair& qp);
  void take_back(QueuePair& qp);
  void move_send_psn(QueuePair& qp, uint32_t send_psn);
  uint32_t window_limit(const QueuePair& qp) const;
  void make_ready(QueuePair& qp) { ready_.push_back(qp); }
  void count_sent(uint32_t bytes) {
    ++counters_.tx_packets;
    counters_.tx_bytes += bytes;
  }
  void schedule(QueuePair& qp);

  EngineOptions options_;
  EventSink& events_;
  Counters& counters_;
  MemoryTable memory_;
  KeyTable<std::shared_ptr<QueuePair>> queue_pairs_;
  std::unordered_map<wire::Address, std::unique_ptr<PeerPath>> paths_;
  std::unordered_map<wire::Address, std::vector<QueuePair*>> groups_;
  util::LinkedList<QueuePair, &QueuePair::ready> ready_;
  std::set<Timer> timers_;                          // one of a queue pair at most
  std::vector<std::span<const std::byte>> pieces_;  // what the last gather() found
};

}  // namespace verbena::engine
