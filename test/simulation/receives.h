// The receives that a queue was given: each has a slot of an arena and completes once.
#pragma once

#include <vector>

#include "arena.h"
#include "check.h"

namespace verbena::test {

class Receives {
 public:
  explicit Receives(Arena& arena) : arena_(arena) {}

  // Grants so many bytes and posts them, in pieces, by `post(request)`, which returns 0.
  template <class Post>
  void add(uint32_t bytes, SeededRandom& random, Post&& post) {
    const Arena::Slot slot = arena_.grant(bytes);
    std::vector<ibv_sge> sges;
    arena_.split(slot, random, sges);
    ibv_recv_wr request{};
    request.wr_id = all_.size();
    request.sg_list = sges.data();
    request.num_sge = static_cast<int>(sges.size());
    hold(post(request) == 0, "a good receive was not taken");
    all_.push_back({slot, false});
  }

  // Of a completion; it is no longer outstanding.
  Arena::Slot take(uint64_t id) {
    hold(id < all_.size(), "a receive completed that was not posted");
    hold(!all_[id].done, "a receive completed twice");
    all_[id].done = true;
    ++done_;
    return all_[id].slot;
  }

  // Nothing comes for them any more.
  void give_up() {
    for (Receive& each : all_) {
      if (!each.done) arena_.retire(each.slot);
      each.done = true;
    }
    done_ = all_.size();
  }

  Arena& arena() const { return arena_; }
  size_t posted() const { return all_.size(); }
  size_t done() const { return done_; }

 private:
  struct Receive {
    Arena::Slot slot;
    bool done;
  };

  Arena& arena_;
  std::vector<Receive> all_;
  size_t done_ = 0;
};

}  // namespace verbena::test
