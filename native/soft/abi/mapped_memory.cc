// Asks the kernel about pages with madvise, which neither changes nor crashes on them.
#include "soft/abi/mapped_memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <vector>

namespace verbena::soft {
namespace {

// Linux 5.14; the C library's headers may be older.
constexpr int kPopulateRead = 22;
constexpr int kPopulateWrite = 23;

int advise(uintptr_t start, size_t bytes, int advice) {
  while (madvise(reinterpret_cast<void*>(start), bytes, advice) != 0) {
    if (errno != EINTR && errno != EAGAIN) return errno;
  }
  return 0;
}

// Before Linux 5.14 the kernel tells only whether pages are mapped at all.
int check_mapped(uintptr_t start, size_t bytes, size_t page_bytes) {
  std::vector<unsigned char> residency(bytes / page_bytes);
  return mincore(reinterpret_cast<void*>(start), bytes, residency.data()) == 0 ? 0 : EFAULT;
}

bool kernel_populates(size_t page_bytes) {
  static const bool answer = [page_bytes] {
    void* page =
        mmap(nullptr, page_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED) return false;
    const bool works = madvise(page, page_bytes, kPopulateRead) == 0;
    munmap(page, page_bytes);
    return works;
  }();
  return answer;
}

}  // namespace

int fault_in(const void* address, size_t length, bool writable) {
  const auto page_bytes = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  const uintptr_t start = reinterpret_cast<uintptr_t>(address) & ~(page_bytes - 1);
  const uintptr_t end =
      (reinterpret_cast<uintptr_t>(address) + length + page_bytes - 1) & ~(page_bytes - 1);
  if (!kernel_populates(page_bytes)) return check_mapped(start, end - start, page_bytes);
  switch (advise(start, end - start, writable ? kPopulateWrite : kPopulateRead)) {
    case 0:
      return 0;
    case ENOMEM:  // also what madvise says of a range that is not mapped
      return check_mapped(start, end - start, page_bytes) == 0 ? ENOMEM : EFAULT;
    default:  // EINVAL: no permission; EFAULT and EHWPOISON: a page that cannot be had
      return EFAULT;
  }
}

}  // namespace verbena::soft
