// Asks the kernel about memory in ways that neither change it nor crash on it.
#include "soft/abi/mapped_memory.h"

#include <fcntl.h>
#include <sys/ioctl.h>
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

// PROCMAP_QUERY of <linux/fs.h>, Linux 6.11: the mapping that covers an address.
struct MappingQuery {
  uint64_t size = sizeof(MappingQuery);
  uint64_t wanted_flags = 0;
  uint64_t address = 0;
  uint64_t start = 0;
  uint64_t end = 0;
  uint64_t flags = 0;
  uint64_t page_bytes = 0;
  uint64_t offset = 0;
  uint64_t inode = 0;
  uint32_t device[2] = {};
  uint32_t name_bytes = 0;
  uint32_t build_id_bytes = 0;
  uint64_t name = 0;
  uint64_t build_id = 0;
};
constexpr unsigned long kQueryMapping = _IOWR('f', 17, MappingQuery);
constexpr uint64_t kReadable = 1;
constexpr uint64_t kWritable = 2;
constexpr uint64_t kShared = 8;

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

MappedMemory::MappedMemory() : maps_(open("/proc/self/maps", O_RDONLY | O_CLOEXEC)) {}

// False also where the kernel cannot be asked.
bool MappedMemory::is_private(uintptr_t start, uintptr_t end, bool writable) const {
  if (!maps_ || fork_guard_.in_child()) return false;
  while (start < end) {
    MappingQuery mapping;
    mapping.wanted_flags = writable ? kReadable | kWritable : kReadable;
    mapping.address = start;
    if (ioctl(maps_.get(), kQueryMapping, &mapping) != 0) return false;
    if (mapping.inode != 0 || (mapping.flags & kShared) != 0) return false;
    start = mapping.end;
  }
  return true;
}

int MappedMemory::check(const void* address, size_t length, bool writable) const {
  const auto page_bytes = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  const uintptr_t start = reinterpret_cast<uintptr_t>(address) & ~(page_bytes - 1);
  const uintptr_t end =
      (reinterpret_cast<uintptr_t>(address) + length + page_bytes - 1) & ~(page_bytes - 1);
  if (is_private(start, end, writable)) return 0;
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
