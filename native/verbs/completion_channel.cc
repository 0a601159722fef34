// Owns creation, reading and closing of completion channels.
#include "verbs/completion_channel.h"

#include <fcntl.h>

#include <cerrno>
#include <utility>

#include "verbs/error.h"

namespace verbena::verbs {

CompletionChannel::CompletionChannel(std::shared_ptr<Device> device)
    : device_(std::move(device)), functions_(device_->functions()) {
  errno = 0;
  channel_ = functions_.create_comp_channel(device_->context());
  if (channel_ == nullptr) throw verbs_error("ibv_create_comp_channel", errno);
  const int flags = fcntl(channel_->fd, F_GETFL);
  if (flags < 0 || fcntl(channel_->fd, F_SETFL, flags | O_NONBLOCK) < 0) {
    const int error_number = errno;
    functions_.destroy_comp_channel(channel_);
    throw verbs_error("fcntl(completion channel)", error_number);
  }
  device_->library().level_triggered(channel_);
}

CompletionChannel::~CompletionChannel() {
  // Whoever wants the error calls close().
  if (channel_ != nullptr) functions_.destroy_comp_channel(channel_);
}

std::optional<uint64_t> CompletionChannel::next_event() {
  ibv_cq* cq = nullptr;
  void* owner = nullptr;
  if (functions_.get_cq_event(channel_, &cq, &owner) == 0) {
    return reinterpret_cast<uint64_t>(owner);
  }
  if (errno != EAGAIN && errno != EINTR) throw verbs_error("ibv_get_cq_event", errno);
  return std::nullopt;
}

void CompletionChannel::close() {
  if (channel_ == nullptr) return;
  require_no_children("completion channel", "completion queues");
  check("ibv_destroy_comp_channel", functions_.destroy_comp_channel(channel_));
  channel_ = nullptr;
  device_.release();
}

}  // namespace verbena::verbs
