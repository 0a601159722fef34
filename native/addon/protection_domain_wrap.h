// Owns the JavaScript class of a protection domain.
#pragma once

#include <memory>
#include <vector>

#include "addon/device_wrap.h"
#include "addon/wrapped.h"
#include "verbs/protection_domain.h"

namespace verbena::addon {

struct ProtectionDomainMaking {
  std::shared_ptr<Environment> environment;
  std::shared_ptr<verbs::ProtectionDomain> pd;
  DeviceWrap& device;
};

class ProtectionDomainWrap : public Wrapped<ProtectionDomainWrap, ProtectionDomainMaking>,
                             public Closable {
 public:
  static constexpr ClassId kClass = ClassId::kProtectionDomain;
  static constexpr const char* kName = "NativeProtectionDomain";
  static constexpr const char* kWhat = "protection domain";
  static std::vector<PropertyDescriptor> methods();

  explicit ProtectionDomainWrap(const Napi::CallbackInfo& info);

  /** Closes its memory regions first; throws ERR_VERBENA_IN_USE while queue pairs are open. */
  void close() override;
  const std::shared_ptr<verbs::ProtectionDomain>& require_open() const;

 private:
  Napi::Value register_memory(const Napi::CallbackInfo& info);
  Napi::Value close(const Napi::CallbackInfo& info);

  std::shared_ptr<Environment> environment_;
  std::shared_ptr<verbs::ProtectionDomain> pd_;
  /** Keeps the device from being collected first. */
  Napi::ObjectReference device_;
};

}  // namespace verbena::addon
