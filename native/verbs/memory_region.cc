// Owns registration and deregistration.
#include "verbs/memory_region.h"

#include <cerrno>
#include <utility>

#include "verbs/error.h"

namespace verbena::verbs {

MemoryRegion::MemoryRegion(std::shared_ptr<ProtectionDomain> pd, std::shared_ptr<void> memory,
                           void* address, uint64_t iova, size_t length, unsigned access)
    : pd_(std::move(pd)),
      functions_(pd_->functions()),
      memory_(std::move(memory)),
      address_(static_cast<uint8_t*>(address)),
      iova_(iova),
      length_(length) {
  errno = 0;
  mr_ = functions_.reg_mr_iova2(pd_->get(), address, length, iova, access);
  if (mr_ == nullptr) throw verbs_error("ibv_reg_mr_iova2", errno);
  lkey_ = mr_->lkey;
  rkey_ = mr_->rkey;
}

MemoryRegion::~MemoryRegion() {
  // Whoever wants the error calls close().
  if (mr_ != nullptr) functions_.dereg_mr(mr_);
}

void MemoryRegion::close() {
  if (mr_ == nullptr) return;
  check("ibv_dereg_mr", functions_.dereg_mr(mr_));
  mr_ = nullptr;
  memory_.reset();
  pd_.release();
}

}  // namespace verbena::verbs
