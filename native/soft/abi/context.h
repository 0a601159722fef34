// An open device: the verbs context, what it is connected to, and how many objects it has.
#pragma once

#include <infiniband/verbs.h>

#include <atomic>
#include <cstdint>

#include "soft/abi/async.h"
#include "soft/abi/lane.h"
#include "soft/abi/limits.h"
#include "soft/abi/mapped_memory.h"
#include "soft/abi/population.h"
#include "util/unique_fd.h"

namespace verbena::soft {

struct Context : verbs_context {
  // Throws Refusal and OpenFailure.
  explicit Context(ibv_device* opened);
  // Destroys what the program left, as the kernel does.
  ~Context();

  static Context& of(ibv_context* handle) { return *static_cast<Context*>(verbs_get_ctx(handle)); }

  // Verbs objects carry a handle that names them within their context.
  uint32_t next_handle() { return handles_.fetch_add(1, std::memory_order_relaxed); }

  LaneReference lane;
  AsyncEventQueue async_events;
  DeviceEvents device_events{async_events};
  const MappedMemory memory;

  Population channels;
  Population pds{kMaxPd};
  Population cqs{kMaxCq};
  Population mrs{kMaxMr};
  Population mws{kMaxMw};
  Population qps{kMaxQp};
  Population srqs{kMaxSrq};
  Population ahs{kMaxAh};
  // Objects that go with the context wait for no acknowledgement.
  bool closing = false;

 private:
  void fill_operations();

  util::UniqueFd command_fd_;
  std::atomic<uint32_t> handles_{1};
};

}  // namespace verbena::soft
