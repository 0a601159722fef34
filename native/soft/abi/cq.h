// A completion queue: the verbs object around the engine's.
#pragma once

#include <infiniband/verbs.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>

#include "soft/abi/acknowledgements.h"
#include "soft/abi/channel.h"
#include "soft/abi/context.h"
#include "soft/abi/population.h"
#include "soft/abi/use_count.h"
#include "soft/engine/completion_queue.h"

namespace verbena::soft {

// What a program sees comes first; newer headers than ours find zeros where their functions would
// be.
struct CqStorage {
  ibv_cq_ex ex{};
  std::array<std::byte, 256> newer_members{};
};

struct Cq : CqStorage {
  Cq(Context& from, const ibv_cq_init_attr_ex& attributes);
  ~Cq();

  static Cq& of(ibv_cq* handle) { return *static_cast<Cq*>(reinterpret_cast<CqStorage*>(handle)); }
  static Cq& of(ibv_cq_ex* handle) { return of(ibv_cq_ex_to_cq(handle)); }
  ibv_cq* handle() { return ibv_cq_ex_to_cq(&ex); }

  Context& owner;
  Lane& lane;
  Channel* const channel;
  engine::CompletionQueue queue;
  EventLock<ibv_cq_ex> events;
  EventPlace<Cq*> completion_events{this};
  uint32_t completion_events_delivered = 0;  // written under the lock of the channel's event queue
  AsyncEventSource<1> async_events;
  UseCount qps;

  // The ibv_start_poll interface: the lock is held from a successful start to the end.
  std::mutex poll_mutex;
  ibv_wc polled{};

 private:
  Member counted_;
  std::unique_ptr<Use> channel_use_;
};

// Refuses with EINVAL, EOPNOTSUPP or ENOMEM.
Cq* create_cq(Context& context, const ibv_cq_init_attr_ex& attributes);

// The functions that go through the context.
int poll_cq(ibv_cq* handle, int count, ibv_wc* completions);
int request_notify_cq(ibv_cq* handle, int solicited_only);
// Sets the ibv_cq_ex functions.
void fill_poll_functions(ibv_cq_ex& ex);

}  // namespace verbena::soft
