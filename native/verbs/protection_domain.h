// Owns a protection domain.
#pragma once

#include <infiniband/verbs.h>

#include <memory>

#include "verbs/device.h"
#include "verbs/parent.h"

namespace verbena::verbs {

class ProtectionDomain : public Parent {
 public:
  explicit ProtectionDomain(std::shared_ptr<Device> device);
  ProtectionDomain(const ProtectionDomain&) = delete;
  ProtectionDomain& operator=(const ProtectionDomain&) = delete;
  ~ProtectionDomain();

  ibv_pd* get() const { return pd_; }
  const Functions& functions() const { return functions_; }

  /** Idempotent. Throws ERR_VERBENA_IN_USE while regions or queue pairs are open. */
  void close();

 private:
  ChildOf<Device> device_;
  const Functions& functions_;
  ibv_pd* pd_;
};

}  // namespace verbena::verbs
