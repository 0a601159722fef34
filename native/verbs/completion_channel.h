// Owns a completion channel with a non-blocking descriptor.
#pragma once

#include <infiniband/verbs.h>

#include <cstdint>
#include <memory>
#include <optional>

#include "verbs/device.h"
#include "verbs/parent.h"

namespace verbena::verbs {

class CompletionChannel : public Parent {
 public:
  explicit CompletionChannel(std::shared_ptr<Device> device);
  CompletionChannel(const CompletionChannel&) = delete;
  CompletionChannel& operator=(const CompletionChannel&) = delete;
  ~CompletionChannel();

  ibv_comp_channel* get() const { return channel_; }
  int fd() const { return channel_->fd; }
  const Functions& functions() const { return functions_; }
  ibv_context* context() const { return device_->context(); }

  /** The `owner` of a completion queue that has an event; nothing when there are no more. */
  std::optional<uint64_t> next_event();

  /** Idempotent. Throws ERR_VERBENA_IN_USE while completion queues are open. */
  void close();

 private:
  ChildOf<Device> device_;
  const Functions& functions_;
  ibv_comp_channel* channel_;
};

}  // namespace verbena::verbs
