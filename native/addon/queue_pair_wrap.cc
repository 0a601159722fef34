// Owns the methods of NativeQueuePair.
#include "addon/queue_pair_wrap.h"

#include "addon/arguments.h"
#include "addon/qp_attributes.h"
#include "verbs/qp_transitions.h"

namespace verbena::addon {

std::vector<QueuePairWrap::PropertyDescriptor> QueuePairWrap::methods() {
  return {method<&QueuePairWrap::modify>("modify"),
          method<&QueuePairWrap::query_state>("queryState"),
          method<&QueuePairWrap::close>("close")};
}

Napi::Object QueuePairWrap::create(Environment& environment, PollGroupWrap& group,
                                   const Napi::Object& options) {
  ProtectionDomainWrap& pd = ProtectionDomainWrap::from(options.Get("pd"));
  CompletionQueueWrap& cq = CompletionQueueWrap::from(options.Get("cq"));
  const verbs::QueuePairLimits limits{to_u32(options.Get("maxSendWr"), "maxSendWr"),
                                      to_u32(options.Get("maxRecvWr"), "maxRecvWr"),
                                      to_u32(options.Get("maxInline"), "maxInline")};
  const auto index = environment.qps.reserve();
  if (!index) throw verbs::Error(verbs::code::kArgument, "This thread has too many queue pairs.");
  std::shared_ptr<verbs::QueuePair> qp;
  try {
    qp = std::make_shared<verbs::QueuePair>(pd.require_open(), cq.require_open(), limits,
                                            environment.owner_of(*index), *index);
  } catch (const verbs::Error&) {
    environment.qps.erase(*index);
    throw;
  }
  Making making{environment.shared_from_this(), std::move(qp), group, pd, cq};
  return make(environment, making);
}

QueuePairWrap::QueuePairWrap(const Napi::CallbackInfo& info)
    : Wrapped(info),
      environment_(making().environment),
      qp_(making().qp),
      index_(qp_->index()),
      group_(Napi::Persistent(making().group.Value())),
      pd_(Napi::Persistent(making().pd.Value())),
      cq_(Napi::Persistent(making().cq.Value())) {
  const Napi::Env env = info.Env();
  const Napi::Object self = info.This().As<Napi::Object>();
  set_constant(self, "index", Napi::Number::New(env, index_));
  set_constant(self, "qpn", Napi::Number::New(env, qp_->qpn()));
  set_constant(self, "maxInline", Napi::Number::New(env, qp_->max_inline()));
  environment_->qps.bind(index_, *qp_);
  opened(environment_->shared_reaper(), Kind::kQueuePair, &making().group);
}

QueuePairWrap::~QueuePairWrap() {
  environment_->qps.erase(index_);
}

verbs::QueuePair& QueuePairWrap::require_open() const {
  if (qp_ == nullptr) throw verbs::Error(verbs::code::kClosed, "The queue pair is closed.");
  return *qp_;
}

Napi::Value QueuePairWrap::modify(const Napi::CallbackInfo& info) {
  QpAttributes attributes = to_qp_attributes(info[0]);
  require_open().modify(attributes.values, attributes.mask);
  return info.Env().Undefined();
}

Napi::Value QueuePairWrap::query_state(const Napi::CallbackInfo& info) {
  return Napi::String::New(info.Env(), verbs::qp_state_name(require_open().query_state()));
}

void QueuePairWrap::close() {
  if (qp_ == nullptr) return;
  qp_->close();
  environment_->qps.erase(index_);
  qp_.reset();
  closed();
  group_.Reset();
  pd_.Reset();
  cq_.Reset();
}

Napi::Value QueuePairWrap::close(const Napi::CallbackInfo& info) {
  close();
  return info.Env().Undefined();
}

}  // namespace verbena::addon
