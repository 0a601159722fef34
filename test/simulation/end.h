// One end of a connection: a program that posts random work, and the model that says what must come
// of it.
#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <vector>

#include "arena.h"
#include "scenario.h"
#include "shared_receives.h"

namespace verbena::test {

struct Operation {
  ibv_wr_opcode opcode;
  bool signaled;
  uint32_t imm;
  std::vector<std::byte> data;      // what arrives at the other end of it
  std::optional<Arena::Slot> slot;  // where it arrives, unless in a receive
  uint64_t original = 0;            // atomics: what must be found there
  bool arrival_checked = false;

  bool is_send() const { return opcode == IBV_WR_SEND || opcode == IBV_WR_SEND_WITH_IMM; }
  bool is_atomic() const {
    return opcode == IBV_WR_ATOMIC_FETCH_AND_ADD || opcode == IBV_WR_ATOMIC_CMP_AND_SWP;
  }
  // Of a memory window: executed where it is posted.
  bool is_local() const { return opcode == IBV_WR_BIND_MW || opcode == IBV_WR_LOCAL_INV; }
  bool has_imm() const {
    return opcode == IBV_WR_SEND_WITH_IMM || opcode == IBV_WR_RDMA_WRITE_WITH_IMM;
  }
  // Takes a receive of the peer.
  bool consumes() const { return is_send() || has_imm(); }
  // Its bytes come to the end that asked.
  bool arrives_here() const { return is_atomic() || opcode == IBV_WR_RDMA_READ; }
};

struct RemoteRange {
  uint64_t address;
  uint32_t rkey;
};

class End {
 public:
  // `shared` may be null: then it has receives of its own.
  End(Host& host, const ConnectionPlan& plan, bool harsh, uint32_t pd, SharedReceives* shared,
      uint64_t seed);

  void connect_to(End& peer, uint32_t psn, uint32_t peer_psn, const PairOptions& options);

  // The program.
  void post_sends();
  // As many as it likes, or as its peer's messages need.
  void post_receives(bool all);
  void collect();

  // Incidents.
  void destroy();
  void to_error();
  void revoke_local();
  void revoke_remote();
  void trespass() { trespasses_ = true; }
  void pause();
  void starve() { starving_ = true; }
  // After a pause or while starving; nothing otherwise.
  void resume();

  // Checks of the engine's state that hold at every moment.
  void check_state() const;
  // Nothing more will happen, and all queues are empty unless they were lost with the queue pair.
  void check_end();

  bool alive() const { return qp_ != nullptr && qp_->state != IBV_QPS_ERR; }
  bool done() const { return next_ == plan_.operations && completed_ == operations_.size(); }
  bool outstanding() const { return completed_ < operations_.size(); }
  bool paused() const { return qp_ != nullptr && qp_->state == IBV_QPS_SQD; }
  // Of the oldest packet that was not acknowledged; it moves when there is progress.
  uint32_t una_psn() const { return qp_->requester.una_psn; }
  size_t completed() const { return completed_; }
  uint64_t digest() const { return digest_; }
  const ConnectionPlan& plan() const { return plan_; }

 private:
  void enter(ibv_qp_state state);
  int post(const ibv_send_wr& request);
  void post_operation();
  void post_trespass();
  RemoteRange forbidden_range();
  void choose_data(Operation& operation, ibv_send_wr& request);
  void choose_window(Operation& operation, ibv_send_wr& request);
  void choose_atomic(Operation& operation, ibv_send_wr& request);

  void take(const ibv_wc& completion);
  void take_send(const ibv_wc& completion);
  void take_receive(const ibv_wc& completion);
  void succeed(Operation& operation);
  void fail(Operation& operation);
  void check_arrival(Operation& operation);
  void check_reason(ibv_wc_status status) const;
  void check_message(const ibv_wc& completion, const Arena& arena, const Arena::Slot& slot);
  void check_flushed(const Arena& arena, const Arena::Slot& slot) const;
  void check_last_event() const;
  void check_counters() const;

  Host& host_;
  const ConnectionPlan plan_;
  const bool harsh_;
  const uint32_t pd_;
  SharedReceives* const shared_;
  SeededRandom random_;
  CompletionQueue cq_;
  Arena local_;      // what it sends from and receives into
  Arena remote_;     // what its peer works on
  ibv_mw window_{};  // on remote_; its key is what it will be when all that was posted is done
  ibv_mr region_{};  // as a request to bind names remote_
  bool bound_ = false;
  Arena::Slot sum_;    // in remote_: FETCH_ADDs of the peer
  Arena::Slot chain_;  // in remote_: COMPARE_SWAPs of the peer, each of which expects the last
  End* peer_ = nullptr;
  QueuePair* qp_ = nullptr;

  std::deque<Operation> operations_;  // all that were posted; references stay good
  uint32_t next_ = 0;                 // operation to post
  size_t completed_ = 0;
  std::vector<uint64_t> sums_{0};  // what the peer's counter holds after so many FETCH_ADDs
  std::vector<uint64_t> chains_{0};
  size_t sums_done_ = 0;
  size_t chains_done_ = 0;
  std::vector<size_t> messages_;  // operations that consume a receive, in order
  Receives receives_;
  size_t messages_received_ = 0;

  bool failed_ = false;  // a completion said so
  bool trespasses_ = false;
  bool disturbed_ = false;  // an incident, or a failure
  bool starving_ = false;
  bool unsettled_ = false;  // completions were lost with their queue
  bool cause_seen_ = false;
  uint64_t digest_ = 0;
  std::vector<std::byte> inline_bytes_;
  std::vector<ibv_sge> sges_;
};

}  // namespace verbena::test
