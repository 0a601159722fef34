// A queue of receives that the queue pairs of one device share.
#pragma once

#include "receives.h"

namespace verbena::test {

class SharedReceives {
 public:
  static constexpr uint32_t kBytes = 1500;  // of a message

  SharedReceives(Host& host, uint32_t depth, uint32_t most, uint64_t seed)
      : host_(host),
        most_(most + depth),
        random_(seed),
        arena_(host, kPd, Arena::kSourceBytes + (most_ + 1) * (kBytes + kSlack),
               IBV_ACCESS_LOCAL_WRITE, random_),
        queue_{kPd, engine::ReceiveQueue(depth, Arena::kMaxSge), 0, this},
        receives_(arena_) {}

  engine::SharedReceiveQueue* queue() { return &queue_; }
  Receives& receives() { return receives_; }

  // As many as it likes, or as it holds.
  void post(bool all) {
    uint32_t count = all ? queue_.queue.depth() : random_.below(3);
    for (; count > 0 && !queue_.queue.full() && receives_.posted() < most_; --count) {
      receives_.add(kBytes, random_,
                    [&](const ibv_recv_wr& request) { return queue_.queue.post(request); });
    }
    if (queue_.limit != 0 || queue_.queue.empty() || !random_.chance(0.3)) return;
    queue_.limit = 1 + random_.below(queue_.queue.waiting());
    ++armed_;
  }

  // A completion is missing: it was lost with its queue, or with the queue pair.
  void lose() { unsettled_ = true; }

  // The program is told once each time that fewer wait than it asked for.
  void check_state() const {
    hold(queue_.limit == 0 || queue_.queue.waiting() >= queue_.limit,
         "a limit was passed silently");
    hold(host_.srq_limits == armed_ - (queue_.limit == 0 ? 0 : 1), "a limit was told too often");
  }

  void check_end() const {
    hold(unsettled_ || receives_.done() + queue_.queue.waiting() == receives_.posted(),
         "a shared receive never completed");
    arena_.check();
  }

 private:
  static constexpr uint32_t kPd = 1;
  static constexpr uint32_t kSlack = 64;  // gaps around a slot

  Host& host_;
  const uint32_t most_;
  SeededRandom random_;
  Arena arena_;
  engine::SharedReceiveQueue queue_;
  Receives receives_;
  int armed_ = 0;
  bool unsettled_ = false;
};

}  // namespace verbena::test
