// Owns the methods of NativePollGroup.
#include "addon/poll_group_wrap.h"

#include "addon/arguments.h"
#include "addon/completion_queue_wrap.h"
#include "addon/queue_pair_wrap.h"
#include "addon/slab_buffer.h"

namespace verbena::addon {
namespace {

Napi::Uint32Array words_of(Environment& environment, const std::shared_ptr<verbs::Slab>& slab) {
  return Napi::Uint32Array::New(environment.env(), slab->bytes() / sizeof(uint32_t),
                                to_array_buffer(environment, slab), 0);
}

}  // namespace

std::vector<PollGroupWrap::PropertyDescriptor> PollGroupWrap::methods() {
  return {method<&PollGroupWrap::create_cq>("createCq"),
          method<&PollGroupWrap::create_qp>("createQp"), method<&PollGroupWrap::flush>("flush"),
          method<&PollGroupWrap::stats>("stats"), method<&PollGroupWrap::close>("close")};
}

PollGroupWrap::PollGroupWrap(const Napi::CallbackInfo& info)
    : Wrapped(info),
      environment_(making().environment),
      group_(making().group),
      device_(Napi::Persistent(making().device.Value())) {
  const Napi::Object self = info.This().As<Napi::Object>();
  set_constant(self, "completions", words_of(*environment_, group_->completion_memory()));
  set_constant(self, "posts", words_of(*environment_, group_->post_memory()));
  opened(environment_->shared_reaper(), Kind::kPollGroup, &making().device);
  Ref();
}

const std::shared_ptr<PollGroup>& PollGroupWrap::require_open() const {
  if (group_ == nullptr) throw verbs::Error(verbs::code::kClosed, "The poll group is closed.");
  return group_;
}

Napi::Value PollGroupWrap::create_cq(const Napi::CallbackInfo& info) {
  require_open();
  const uint32_t depth = to_u32(info[0], "depth", 1, INT32_MAX);
  return CompletionQueueWrap::create(*environment_, *this, static_cast<int>(depth));
}

Napi::Value PollGroupWrap::create_qp(const Napi::CallbackInfo& info) {
  require_open();
  return QueuePairWrap::create(*environment_, *this, to_object(info[0], "options"));
}

Napi::Value PollGroupWrap::flush(const Napi::CallbackInfo& info) {
  require_open()->flush();
  return info.Env().Undefined();
}

Napi::Value PollGroupWrap::stats(const Napi::CallbackInfo& info) {
  PollGroup& group = *require_open();
  const PollGroupStats& loop = group.stats();
  const verbs::PollStats& polling = group.poller().stats();
  const verbs::PostStats& posting = group.posts().stats();
  Napi::Object object = Napi::Object::New(info.Env());
  const auto set = [&object](const char* name, uint64_t value) {
    object[name] = static_cast<double>(value);
  };
  set("polls", polling.polls);
  set("completions", polling.completions);
  set("batches", loop.batches);
  set("wakeups", loop.wakeups);
  set("spins", loop.spins);
  set("spinHits", loop.spin_hits);
  set("spinNs", loop.spin_ns);
  set("posts", posting.posts);
  set("postBatches", posting.batches);
  set("postFailures", posting.failures);
  set("hotCqs", group.poller().hot_count());
  set("armedCqs", group.poller().armed_count());
  return object;
}

void PollGroupWrap::close() {
  if (group_ == nullptr) return;
  // Whatever its children say, no callback comes after this.
  group_->stop();
  environment_->reaper.close_children(*this);
  group_->channel()->close();
  group_.reset();
  closed();
  device_.Reset();
  Unref();
}

Napi::Value PollGroupWrap::close(const Napi::CallbackInfo& info) {
  close();
  return info.Env().Undefined();
}

}  // namespace verbena::addon
