// What the engine needs from outside: time is passed in, packets and events go out through these
// interfaces.
#pragma once

#include <infiniband/verbs.h>

#include <cstddef>
#include <cstdint>
#include <limits>

#include "soft/wire/address.h"

namespace verbena::engine {

// Nanoseconds of a monotonic clock; the engine never reads one itself.
using TimeNs = int64_t;
constexpr TimeNs kNever = std::numeric_limits<TimeNs>::max();

class CompletionQueue;
struct QueuePair;
struct SharedReceiveQueue;

class RandomSource {
 public:
  virtual ~RandomSource() = default;
  virtual uint32_t next() = 0;
};

class PacketSink {
 public:
  virtual ~PacketSink() = default;
  // Room for one packet of `bytes` from the BTH to the padding; the sink adds the ICRC. It always
  // has room: what cannot be sent is lost, as on any network.
  virtual std::byte* reserve(const wire::Address& destination, size_t bytes) = 0;
  virtual void commit() = 0;
};

// Asynchronous events. Called with the lane locked; must not call back into the engine.
class EventSink {
 public:
  virtual ~EventSink() = default;
  virtual void on_qp_event(QueuePair& qp, ibv_event_type event) = 0;
  virtual void on_cq_error(CompletionQueue& cq) = 0;
  virtual void on_srq_limit(SharedReceiveQueue& srq) = 0;
};

// Called when an armed completion queue gets an entry; no completion queue lock is held.
class CompletionListener {
 public:
  virtual ~CompletionListener() = default;
  virtual void on_completion_event(CompletionQueue& cq) = 0;
};

}  // namespace verbena::engine
