// One end of unreliable connections or datagrams: a program that posts random work, and the model
// of what may come of it. Anything may be lost; what arrives must be whole, and from who sent it.
#pragma once

#include <optional>
#include <vector>

#include "receives.h"
#include "scenario.h"

namespace verbena::test {

class UnreliableEnd {
 public:
  // `orderly` if the network neither repeats nor reorders.
  UnreliableEnd(Host& host, const UnreliablePlan& plan, bool orderly, uint32_t pd, uint64_t seed);

  // All of one connection or group of datagrams, this one among them.
  void join(const std::vector<UnreliableEnd*>& ends);

  void post();
  void collect();
  void to_error();
  void destroy();
  // The last message of all, when nothing goes wrong any more; it arrives where there is a receive.
  void listen_at_last() {
    if (alive()) post_receive();
  }
  void speak_at_last();
  void check_heard_at_last() const;
  void check_state() const;
  void check_end() const;

  bool alive() const { return qp_ != nullptr && qp_->state != IBV_QPS_ERR; }
  bool done() const { return !alive() || (sent_.size() == plan_.operations && outstanding() == 0); }

 private:
  struct Message {
    ibv_wr_opcode opcode;
    bool signaled;
    bool valid = true;  // its key is right
    bool arrived = false;
    uint32_t imm;
    std::vector<std::byte> data;
    std::optional<Arena::Slot> slot;  // of a WRITE, at the other end
    const UnreliableEnd* to = nullptr;

    bool is_send() const { return opcode == IBV_WR_SEND || opcode == IBV_WR_SEND_WITH_IMM; }
    bool has_imm() const {
      return opcode == IBV_WR_SEND_WITH_IMM || opcode == IBV_WR_RDMA_WRITE_WITH_IMM;
    }
  };

  bool datagrams() const { return plan_.options.type == IBV_QPT_UD; }
  size_t outstanding() const { return sent_.size() - completed_; }
  void start_datagrams();
  void post_message(uint32_t length);
  void post_receive();
  void address(Message& message, ibv_send_wr& request);
  void take_send(const ibv_wc& completion);
  void take_receive(const ibv_wc& completion);
  void check_message(const ibv_wc& completion, const Arena::Slot& slot);
  bool is_message(const Message& message, const ibv_wc& completion, const Arena::Slot& slot) const;
  void check_route(const UnreliableEnd& from, const Arena::Slot& slot) const;
  uint32_t header_bytes() const;

  Host& host_;
  const UnreliablePlan plan_;
  const bool orderly_;
  SeededRandom random_;
  CompletionQueue cq_;
  Arena local_;
  Arena remote_;
  Receives receives_;
  QueuePair* qp_ = nullptr;
  uint32_t qpn_ = 0;  // outlives the queue pair
  std::vector<UnreliableEnd*> others_;

  std::vector<Message> sent_;
  size_t completed_ = 0;
  std::vector<size_t> next_from_;  // of each of `others_`, the first that may still come
  bool spoke_at_last_ = false;
  bool disturbed_ = false;
  bool unsettled_ = false;
};

}  // namespace verbena::test
