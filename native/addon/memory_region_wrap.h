// Owns the JavaScript class of a registered memory region.
#pragma once

#include <memory>
#include <vector>

#include "addon/protection_domain_wrap.h"
#include "addon/wrapped.h"
#include "verbs/memory_region.h"

namespace verbena::addon {

struct MemoryRegionMaking {
  std::shared_ptr<Environment> environment;
  std::shared_ptr<verbs::MemoryRegion> mr;
  uint32_t index;
  ProtectionDomainWrap& pd;
};

class MemoryRegionWrap : public Wrapped<MemoryRegionWrap, MemoryRegionMaking>, public Closable {
 public:
  static constexpr ClassId kClass = ClassId::kMemoryRegion;
  static constexpr const char* kName = "NativeMemoryRegion";
  static constexpr const char* kWhat = "memory region";
  static std::vector<PropertyDescriptor> methods();

  /** Gives the region an index and an object. */
  static Napi::Object add(Environment& environment, std::shared_ptr<verbs::MemoryRegion> mr,
                          ProtectionDomainWrap& pd);

  explicit MemoryRegionWrap(const Napi::CallbackInfo& info);
  ~MemoryRegionWrap() override;

  void close() override;

 private:
  Napi::Value close(const Napi::CallbackInfo& info);

  std::shared_ptr<Environment> environment_;
  std::shared_ptr<verbs::MemoryRegion> mr_;
  uint32_t index_;
  /** Keeps the protection domain from being collected first. */
  Napi::ObjectReference pd_;
};

}  // namespace verbena::addon
