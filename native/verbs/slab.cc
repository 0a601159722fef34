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

// Large enough that their pages matter, and small enough that two share a huge page.
constexpr size_t kLeastShared = kHugePageBytes / 4;
constexpr size_t kMostShared = kHugePageBytes / 2;

size_t page_bytes() {
  static const auto bytes = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  return bytes;
}

size_t whole_pages(size_t bytes) {
  return (bytes + page_bytes() - 1) / page_bytes() * page_bytes();
}

}  // namespace

SlabPages::SlabPages(size_t slab_bytes)
    : SlabPages(slab_bytes, whole_pages(slab_bytes), page_bytes()) {}

std::shared_ptr<SlabPages> SlabPages::huge(size_t slab_bytes) {
  return std::shared_ptr<SlabPages>(new SlabPages(slab_bytes, kHugePageBytes, kHugePageBytes));
}

SlabPages::SlabPages(size_t slab_bytes, size_t bytes, size_t alignment)
    : slab_bytes_(slab_bytes), bytes_(bytes) {
  const size_t mapped = bytes + alignment - page_bytes();
  // Rounding up a size near the limit wraps to less.
  errno = ENOMEM;
  void* mapping = bytes < slab_bytes ? MAP_FAILED
                                     : mmap(nullptr, mapped, PROT_READ | PROT_WRITE,
                                            MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapping == MAP_FAILED) {
    throw Error(code::kNoMemory,
                "Cannot map " + std::to_string(bytes) +
                    " bytes: the machine or this process has no memory left. See "
                    "`free -m` and `ulimit -v`.",
                errno, "mmap");
  }
  auto* const first = static_cast<uint8_t*>(mapping);
  const size_t before = -reinterpret_cast<uintptr_t>(first) % alignment;
  data_ = first + before;
  if (before > 0) munmap(first, before);
  if (mapped > before + bytes) munmap(data_ + bytes, mapped - before - bytes);
  // Whoever touches a large one first would spend more time on page faults than on the bytes, and
  // whoever registers it on its pages. Where there are no huge pages nothing is lost.
  if (bytes_ >= kHugePageBytes) madvise(data_, bytes_, MADV_HUGEPAGE);
}

SlabPages::~SlabPages() {
  munmap(data_, bytes_);
}

uint8_t* SlabPages::cut() {
  uint8_t* const part = data_ + cut_;
  cut_ += whole_pages(slab_bytes_);
  return part;
}

std::shared_ptr<Slab> SlabTable::allocate(size_t bytes, bool zeroed) {
  std::shared_ptr<Slab> slab = take_recycled(bytes);
  if (slab == nullptr) {
    slab = make(bytes);
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

std::shared_ptr<Slab> SlabTable::make(size_t bytes) {
  if (bytes < kLeastShared || bytes > kMostShared) return std::make_shared<Slab>(bytes);
  std::shared_ptr<SlabPages>& pages = shared_pages_[bytes];
  if (pages == nullptr) pages = SlabPages::huge(bytes);
  auto slab = std::make_shared<Slab>(pages);
  if (!pages->has_room()) shared_pages_.erase(bytes);
  return slab;
}

std::shared_ptr<Slab> SlabTable::find(const void* data) const {
  const auto found = slabs_.find(data);
  return found == slabs_.end() ? nullptr : found->second.lock();
}

}  // namespace verbena::verbs
