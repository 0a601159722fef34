// Owns the methods of NativeCompletionQueue.
#include "addon/completion_queue_wrap.h"

#include <utility>

namespace verbena::addon {

std::vector<CompletionQueueWrap::PropertyDescriptor> CompletionQueueWrap::methods() {
  return {method<&CompletionQueueWrap::close>("close")};
}

Napi::Object CompletionQueueWrap::create(Environment& environment, PollGroupWrap& group,
                                         int depth) {
  const std::shared_ptr<PollGroup> core = group.require_open();
  verbs::CqPoller& poller = core->poller();
  Making making{environment.shared_from_this(), nullptr, std::make_unique<verbs::PolledQueue>(), 0,
                group};
  making.place = poller.reserve(*making.polled);
  try {
    making.cq = std::make_shared<verbs::CompletionQueue>(core->channel(), depth,
                                                         environment.owner_of(making.place));
    making.polled->cq = making.cq.get();
    poller.add(*making.polled);
  } catch (const verbs::Error&) {
    poller.remove(making.place);
    throw;
  }
  return make(environment, making);
}

CompletionQueueWrap::CompletionQueueWrap(const Napi::CallbackInfo& info)
    : Wrapped(info),
      environment_(making().environment),
      cq_(making().cq),
      polled_(std::move(making().polled)),
      place_(making().place),
      group_(making().group.require_open()),
      group_object_(Napi::Persistent(making().group.Value())) {
  set_constant(info.This().As<Napi::Object>(), "depth",
               Napi::Number::New(info.Env(), cq_->depth()));
  opened(environment_->shared_reaper(), Kind::kCompletionQueue, &making().group);
}

CompletionQueueWrap::~CompletionQueueWrap() {
  leave_poller();
}

const std::shared_ptr<verbs::CompletionQueue>& CompletionQueueWrap::require_open() const {
  if (cq_ == nullptr) {
    throw verbs::Error(verbs::code::kClosed, "The completion queue is closed.");
  }
  return cq_;
}

void CompletionQueueWrap::leave_poller() {
  if (group_ == nullptr) return;
  group_->poller().remove(place_);
  group_.reset();
}

void CompletionQueueWrap::close() {
  if (cq_ == nullptr) return;
  cq_->close();
  leave_poller();
  cq_.reset();
  closed();
  group_object_.Reset();
}

Napi::Value CompletionQueueWrap::close(const Napi::CallbackInfo& info) {
  close();
  return info.Env().Undefined();
}

}  // namespace verbena::addon
