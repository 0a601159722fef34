// Owns creation and closing of protection domains.
#include "verbs/protection_domain.h"

#include <cerrno>
#include <utility>

#include "verbs/error.h"

namespace verbena::verbs {

ProtectionDomain::ProtectionDomain(std::shared_ptr<Device> device)
    : device_(std::move(device)), functions_(device_->functions()) {
  errno = 0;
  pd_ = functions_.alloc_pd(device_->context());
  if (pd_ == nullptr) throw verbs_error("ibv_alloc_pd", errno);
}

ProtectionDomain::~ProtectionDomain() {
  // Whoever wants the error calls close().
  if (pd_ != nullptr) functions_.dealloc_pd(pd_);
}

void ProtectionDomain::close() {
  if (pd_ == nullptr) return;
  require_no_children("protection domain", "queue pairs and memory regions");
  check("ibv_dealloc_pd", functions_.dealloc_pd(pd_));
  pd_ = nullptr;
  device_.release();
}

}  // namespace verbena::verbs
