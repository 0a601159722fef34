// Owns mapping and unmapping of slabs.
#include "verbs/slab.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>

#include "verbs/error.h"

namespace verbena::verbs {
namespace {

constexpr size_t kHugePageBytes = size_t{2} << 20;

size_t whole_pages(size_t bytes) {
  const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  return (bytes + page - 1) / page * page;
}

}  // namespace

Slab::Slab(size_t bytes) : bytes_(bytes), mapped_(whole_pages(bytes)) {
  // Rounding up a size near the limit wraps to less.
  errno = ENOMEM;
  void* mapping = mapped_ < bytes ? MAP_FAILED
                                  : mmap(nullptr, mapped_, PROT_READ | PROT_WRITE,
                                         MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapping == MAP_FAILED) {
    throw Error(code::kNoMemory,
                "Cannot map " + std::to_string(bytes) +
                    " bytes: the machine or this process has no memory left. See "
                    "`free -m` and `ulimit -v`.",
                errno, "mmap");
  }
  data_ = static_cast<uint8_t*>(mapping);
  // Whoever touches a large one first would spend more time on page faults than on the bytes. Where
  // there are no huge pages nothing is lost.
  if (mapped_ >= kHugePageBytes) madvise(data_, mapped_, MADV_HUGEPAGE);
}

Slab::~Slab() {
  munmap(data_, mapped_);
}

std::shared_ptr<Slab> SlabTable::allocate(size_t bytes, bool zeroed) {
  std::shared_ptr<Slab> slab = take_recycled(bytes);
  if (slab == nullptr) {
    slab = std::make_shared<Slab>(bytes);
  } else if (zeroed) {
    std::memset(slab->data(), 0, bytes);
  }
  slabs_[slab->data()] = slab;
  return slab;
}

void SlabTable::recycle(std::shared_ptr<Slab> slab) {
  const size_t bytes = slab->bytes();
  if (slab.use_count() > 1 || recycled_bytes_ + bytes > kMostRecycledBytes) return;
  recycled_bytes_ += bytes;
  recycled_.emplace(bytes, std::move(slab));
}

std::shared_ptr<Slab> SlabTable::take_recycled(size_t bytes) {
  const auto found = recycled_.find(bytes);
  if (found == recycled_.end()) return nullptr;
  std::shared_ptr<Slab> slab = std::move(found->second);
  recycled_.erase(found);
  recycled_bytes_ -= bytes;
  slab->pooled = true;
  return slab;
}

std::shared_ptr<Slab> SlabTable::find(const void* data) const {
  const auto found = slabs_.find(data);
  return found == slabs_.end() ? nullptr : found->second.lock();
}

}  // namespace verbena::verbs
