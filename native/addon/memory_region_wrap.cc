// Owns the methods of NativeMemoryRegion.
#include "addon/memory_region_wrap.h"

namespace verbena::addon {

std::vector<MemoryRegionWrap::PropertyDescriptor> MemoryRegionWrap::methods() {
  return {method<&MemoryRegionWrap::close>("close")};
}

Napi::Object MemoryRegionWrap::add(Environment& environment,
                                   std::shared_ptr<verbs::MemoryRegion> mr,
                                   ProtectionDomainWrap& pd) {
  const auto index = environment.mrs.reserve();
  if (!index) throw verbs::Error(verbs::code::kArgument, "This thread has too many regions open.");
  Making making{environment.shared_from_this(), std::move(mr), *index, pd};
  return make(environment, making);
}

MemoryRegionWrap::MemoryRegionWrap(const Napi::CallbackInfo& info)
    : Wrapped(info),
      environment_(making().environment),
      mr_(making().mr),
      index_(making().index),
      pd_(Napi::Persistent(making().pd.Value())) {
  const Napi::Env env = info.Env();
  const Napi::Object self = info.This().As<Napi::Object>();
  set_constant(self, "index", Napi::Number::New(env, index_));
  set_constant(self, "lkey", Napi::Number::New(env, mr_->lkey()));
  set_constant(self, "rkey", Napi::Number::New(env, mr_->rkey()));
  set_constant(self, "length", Napi::Number::New(env, static_cast<double>(mr_->length())));
  environment_->mrs.bind(index_, *mr_);
  opened(environment_->shared_reaper(), Kind::kMemoryRegion, &making().pd);
}

MemoryRegionWrap::~MemoryRegionWrap() {
  environment_->mrs.erase(index_);
}

void MemoryRegionWrap::close() {
  if (mr_ == nullptr) return;
  mr_->close();
  environment_->mrs.erase(index_);
  mr_.reset();
  closed();
  pd_.Reset();
}

Napi::Value MemoryRegionWrap::close(const Napi::CallbackInfo& info) {
  close();
  return info.Env().Undefined();
}

}  // namespace verbena::addon
