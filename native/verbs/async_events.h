// Owns the asynchronous events of one open device: reads them, acknowledges them, and hands a copy
// to every thread that shares the device.
#pragma once

#include <infiniband/verbs.h>

#include <cstdint>
#include <functional>
#include <list>
#include <mutex>
#include <string>

#include "verbs/library.h"

namespace verbena::verbs {

/** A copy that stays valid after the event was acknowledged. */
struct AsyncEvent {
  enum class Subject { kDevice, kPort, kQueuePair, kCompletionQueue };

  ibv_event_type type;
  Subject subject;
  /** What the queue was created with as its context; 0 for device and port events. */
  uint64_t owner = 0;
  int port = 0;
};

/** `QP_FATAL` and so on: the name of the event type without its prefix. */
std::string event_name(ibv_event_type type);

/**
 * All threads that share a device wait on its one descriptor. Whichever is there first reads every
 * event and passes a copy to all sinks, so none depends on one thread being responsive; the others
 * then find the descriptor empty. An event is acknowledged as soon as it is copied: destroying a
 * queue pair, on any thread, waits for that.
 */
class AsyncEvents {
 public:
  /** Runs on the reading thread, with the lock held: may only queue the event and wake its owner.
   */
  using Sink = std::function<void(const AsyncEvent&)>;
  using Subscription = std::list<Sink>::iterator;

  AsyncEvents(const Functions& functions, ibv_context* context)
      : functions_(functions), context_(context) {}

  Subscription subscribe(Sink sink);
  /** When this returns, the sink does not run and never will again. */
  void unsubscribe(Subscription subscription);

  /** Reads until there are no more events. The descriptor must be non-blocking. */
  void read_all();

 private:
  const Functions& functions_;
  ibv_context* context_;
  std::mutex mutex_;
  std::list<Sink> sinks_;
};

}  // namespace verbena::verbs
