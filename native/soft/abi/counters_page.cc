// Maps the page of the counters.
#include "soft/abi/counters_page.h"

#include <sys/mman.h>

#include <new>

namespace verbena::soft {
namespace {

constexpr size_t kPageBytes = 4096;
static_assert(sizeof(engine::Counters) <= kPageBytes);

}  // namespace

CountersPage::CountersPage() {
  void* page = mmap(nullptr, kPageBytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (page == MAP_FAILED) throw std::bad_alloc();
  counters_ = new (page) engine::Counters{};
}

CountersPage::~CountersPage() {
  munmap(counters_, kPageBytes);
}

}  // namespace verbena::soft
