// The send and receive queues of a queue pair: rings of work requests, their scatter lists and
// inline bytes.
#pragma once

#include <infiniband/verbs.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <variant>
#include <vector>

#include "soft/engine/memory_table.h"
#include "soft/wire/address.h"

namespace verbena::engine {

// Where a WRITE, READ or atomic goes, and an atomic's operands.
struct RemoteTarget {
  uint64_t address;
  uint32_t rkey;
  uint64_t compare_add;
  uint64_t swap;  // of an ATOMIC WRITE: its bytes as they are in memory
};

struct DatagramTarget {
  wire::Address address;
  uint32_t qpn;
  uint32_t qkey;
};

struct SendRequest {
  uint64_t id;
  ibv_wr_opcode opcode;
  unsigned flags;  // ibv_send_flags
  uint32_t sge_count;
  uint32_t length;  // bytes to be sent or read
  uint32_t imm_be;
  uint32_t invalidate_rkey;
  // Assigned when the first packet is sent.
  uint32_t first_psn;
  uint32_t last_psn;
  uint64_t first_byte;  // of all that the queue pair sent, as they count in flight
  // By opcode, and by the type of the queue pair.
  std::variant<RemoteTarget, Binding, DatagramTarget> target;

  const RemoteTarget& remote() const { return std::get<RemoteTarget>(target); }

  bool is_read() const { return opcode == IBV_WR_RDMA_READ; }
  bool is_atomic() const {
    return opcode == IBV_WR_ATOMIC_CMP_AND_SWP || opcode == IBV_WR_ATOMIC_FETCH_AND_ADD;
  }
  // Eight bytes written at once; answered by a READ response without data.
  bool is_atomic_write() const { return opcode == IBV_WR_ATOMIC_WRITE; }
  // Executed here when its turn comes; no packet is sent.
  bool is_local() const { return opcode == IBV_WR_BIND_MW || opcode == IBV_WR_LOCAL_INV; }
  // Answered by data and not by a bare acknowledge.
  bool wants_response() const { return is_read() || is_atomic() || is_atomic_write(); }
};

// Requests are numbered from 0 in the order posted; number n lives at n % room. [head, tail) are
// outstanding. The room doubles up to the depth as it is needed: most queue pairs of a busy server
// are idle, and never use theirs.
class SendQueue {
 public:
  SendQueue(uint32_t depth, uint32_t max_sge, uint32_t max_inline)
      : SendQueue(depth, std::min(depth, kFirstRoom), max_sge, max_inline) {}

  uint32_t depth() const { return depth_; }
  uint32_t max_sge() const { return max_sge_; }
  uint32_t max_inline() const { return max_inline_; }
  bool full() const { return tail_ - head_ == depth_; }
  bool empty() const { return tail_ == head_; }
  uint64_t head() const { return head_; }
  uint64_t tail() const { return tail_; }

  SendRequest& at(uint64_t number) { return requests_[number % room_]; }
  const SendRequest& at(uint64_t number) const { return requests_[number % room_]; }
  ibv_sge* sges(uint64_t number) { return &sges_[(number % room_) * max_sge_]; }
  std::byte* inline_bytes(uint64_t number) {
    return &inline_bytes_[(number % room_) * max_inline_];
  }

  // To be called before number `tail` is written. The queue must not be full. Throws
  // std::bad_alloc, and is as it was then.
  void make_room();
  void push() { ++tail_; }
  void pop() { ++head_; }
  // Takes back what was pushed since the tail was `tail`, none of which was started.
  void take_back(uint64_t tail) { tail_ = tail < head_ ? head_ : tail; }
  void clear() { head_ = tail_; }

 private:
  static constexpr uint32_t kFirstRoom = 8;

  SendQueue(uint32_t depth, uint32_t room, uint32_t max_sge, uint32_t max_inline)
      : depth_(depth),
        room_(room),
        max_sge_(max_sge),
        max_inline_(max_inline),
        requests_(room),
        sges_(size_t{room} * max_sge),
        inline_bytes_(size_t{room} * max_inline) {}

  uint32_t depth_;
  uint32_t room_;
  uint32_t max_sge_;
  uint32_t max_inline_;
  uint64_t head_ = 0;
  uint64_t tail_ = 0;
  std::vector<SendRequest> requests_;
  std::vector<ibv_sge> sges_;
  std::vector<std::byte> inline_bytes_;
};

struct ReceiveRequest {
  uint64_t id = 0;
  uint64_t capacity = 0;  // bytes, over all of its scatter list
  std::vector<ibv_sge> sges;
};

class ReceiveQueue {
 public:
  ReceiveQueue(uint32_t depth, uint32_t max_sge)
      : depth_(depth), max_sge_(max_sge), slots_(depth), sges_(size_t{depth} * max_sge) {}

  uint32_t depth() const { return depth_; }
  uint32_t max_sge() const { return max_sge_; }
  bool full() const { return tail_ - head_ == depth_; }
  bool empty() const { return tail_ == head_; }
  uint32_t waiting() const { return static_cast<uint32_t>(tail_ - head_); }

  // 0 or an errno value.
  int post(const ibv_recv_wr& request);
  // Moves the oldest request into `to`, which has room for `max_sge` entries. The queue must not be
  // empty.
  void take(ReceiveRequest& to);
  void clear() { head_ = tail_; }
  // False when more are waiting than `depth`. Throws std::bad_alloc.
  bool resize(uint32_t depth);

 private:
  struct Slot {
    uint64_t id;
    uint32_t sge_count;
  };

  uint32_t depth_;
  uint32_t max_sge_;
  uint64_t head_ = 0;
  uint64_t tail_ = 0;
  std::vector<Slot> slots_;
  std::vector<ibv_sge> sges_;
};

// A receive queue that many queue pairs take from.
struct SharedReceiveQueue {
  uint32_t pd;
  ReceiveQueue queue;
  uint32_t limit;  // raises one event when fewer are waiting; 0 when it is not armed
  void* owner;     // the verbs object around this queue
};

}  // namespace verbena::engine
