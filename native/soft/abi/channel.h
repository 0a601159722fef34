// A completion channel: completion queues put their events here, and a program waits on its
// descriptor.
#pragma once

#include <infiniband/verbs.h>

#include "soft/abi/context.h"
#include "soft/abi/event_queue.h"
#include "soft/abi/population.h"
#include "soft/abi/use_count.h"
#include "soft/engine/completion_queue.h"

namespace verbena::soft {

struct Cq;

// Queues the events of completion queues.
class ChannelEvents final : public engine::CompletionListener {
 public:
  void on_completion_event(engine::CompletionQueue& queue) override;

  EventQueue<Cq*> queued;
};

struct Channel : ibv_comp_channel {
  explicit Channel(Context& from);

  static Channel& of(ibv_comp_channel* handle) { return *static_cast<Channel*>(handle); }

  ChannelEvents events;
  UseCount cqs;

 private:
  Member counted_;
};

}  // namespace verbena::soft
