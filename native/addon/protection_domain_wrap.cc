// Owns the methods of NativeProtectionDomain.
#include "addon/protection_domain_wrap.h"

#include "addon/arguments.h"
#include "addon/memory_region_wrap.h"
#include "addon/slab_buffer.h"

namespace verbena::addon {

std::vector<ProtectionDomainWrap::PropertyDescriptor> ProtectionDomainWrap::methods() {
  return {method<&ProtectionDomainWrap::register_memory>("registerMemory"),
          method<&ProtectionDomainWrap::close>("close")};
}

ProtectionDomainWrap::ProtectionDomainWrap(const Napi::CallbackInfo& info)
    : Wrapped(info),
      environment_(making().environment),
      pd_(making().pd),
      device_(Napi::Persistent(making().device.Value())) {
  opened(environment_->shared_reaper(), Kind::kProtectionDomain, &making().device);
}

const std::shared_ptr<verbs::ProtectionDomain>& ProtectionDomainWrap::require_open() const {
  if (pd_ == nullptr) {
    throw verbs::Error(verbs::code::kClosed, "The protection domain is closed.");
  }
  return pd_;
}

Napi::Value ProtectionDomainWrap::register_memory(const Napi::CallbackInfo& info) {
  const auto& pd = require_open();
  const std::shared_ptr<verbs::Slab> slab = to_slab(*environment_, info[0]);
  const size_t offset = to_integer(info[1], "offset", 0, slab->bytes() - 1);
  const size_t length = to_integer(info[2], "length", 1, slab->bytes() - offset);
  const uint32_t access = to_u32(info[3], "access", 0, kAllAccess);
  // A slab starts a page, so its offsets are as far into their pages as devices want of an iova.
  auto mr = std::make_shared<verbs::MemoryRegion>(pd, slab, slab->data() + offset, offset, length,
                                                  access);
  return MemoryRegionWrap::add(*environment_, std::move(mr), *this);
}

void ProtectionDomainWrap::close() {
  if (pd_ == nullptr) return;
  Reaper& reaper = environment_->reaper;
  pd_->require_no_children("protection domain", "queue pairs", reaper.count_children(*this));
  reaper.close_children(*this);
  pd_->close();
  pd_.reset();
  closed();
  device_.Reset();
}

Napi::Value ProtectionDomainWrap::close(const Napi::CallbackInfo& info) {
  close();
  return info.Env().Undefined();
}

}  // namespace verbena::addon
