// Asynchronous events: what happened to a queue pair or completion queue outside of any call.
#pragma once

#include <infiniband/verbs.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <cstdint>
#include <memory>

#include "soft/abi/event_queue.h"
#include "soft/engine/ports.h"

namespace verbena::soft {

// An event, and where to count that the program took it.
struct AsyncEvent {
  ibv_async_event event;
  uint32_t* delivered;
};

using AsyncEventQueue = EventQueue<AsyncEvent>;

// The events of one object, of so many types.
template <size_t kTypes>
class AsyncEventSource {
 public:
  explicit AsyncEventSource(AsyncEventQueue& queue) : queue_(queue) {}
  AsyncEventSource(const AsyncEventSource&) = delete;
  AsyncEventSource& operator=(const AsyncEventSource&) = delete;

  // Not by two threads at once.
  void raise(const ibv_async_event& event) {
    const auto place = std::ranges::find_if(places_, [&](const EventPlace<AsyncEvent>& each) {
      return each.event.delivered == nullptr || each.event.event.event_type == event.event_type;
    });
    assert(place != places_.end());
    if (place->event.delivered == nullptr) place->event = {event, &delivered};
    queue_.push(*place);
  }

  // None is delivered after this.
  void purge() {
    for (auto& place : places_) queue_.purge(place);
  }

  uint32_t delivered = 0;  // written under the lock of the queue

 private:
  AsyncEventQueue& queue_;
  std::array<EventPlace<AsyncEvent>, kTypes> places_;
};

// Of the port and the device; nobody waits for what was delivered.
using DeviceEvents = AsyncEventSource<3>;

// Puts what the engine reports into the event queue of the object's context.
std::unique_ptr<engine::EventSink> make_event_sink();

}  // namespace verbena::soft
