// Asynchronous events: what happened to a queue pair or completion queue outside of any call.
#pragma once

#include <infiniband/verbs.h>

#include <cstdint>
#include <memory>

#include "soft/abi/event_queue.h"
#include "soft/engine/ports.h"

namespace verbena::soft {

// An event, and where to count that the program took it; nullptr for those of the port and the
// device, which nobody waits for.
struct AsyncEvent {
  ibv_async_event event;
  const void* object;
  uint32_t* delivered;
};

using AsyncEventQueue = EventQueue<AsyncEvent>;

// Puts what the engine reports into the event queue of the object's context.
std::unique_ptr<engine::EventSink> make_event_sink();

}  // namespace verbena::soft
