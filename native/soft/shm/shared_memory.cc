// Makes, seals and maps anonymous files.
#include "soft/shm/shared_memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

namespace verbena::shm {
namespace {

#ifndef F_SEAL_FUTURE_WRITE
constexpr int F_SEAL_FUTURE_WRITE = 0x0010;
#endif

constexpr int kFixedSize = F_SEAL_SHRINK | F_SEAL_GROW;

bool has_fixed_size(int fd) {
  const int seals = fcntl(fd, F_GET_SEALS);
  return seals >= 0 && (seals & kFixedSize) == kFixedSize;
}

}  // namespace

Mapping Mapping::of(const util::UniqueFd& fd, size_t bytes, bool writable) {
  if (bytes == 0 || memory_bytes(fd) != bytes || !has_fixed_size(fd.get())) return {};
  const int access = writable ? PROT_READ | PROT_WRITE : PROT_READ;
  void* at = mmap(nullptr, bytes, access, MAP_SHARED, fd.get(), 0);
  if (at == MAP_FAILED) return {};
  return Mapping({static_cast<std::byte*>(at), bytes});
}

Mapping::~Mapping() {
  if (!memory_.empty()) munmap(memory_.data(), memory_.size());
}

SharedMemory make_shared_memory(size_t bytes, Others others) {
  SharedMemory made;
  made.fd = util::UniqueFd(memfd_create("verbena-soft", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!made.fd || ftruncate(made.fd.get(), static_cast<off_t>(bytes)) != 0) return {};
  if (fcntl(made.fd.get(), F_ADD_SEALS, kFixedSize) != 0) return {};
  made.mapping = Mapping::of(made.fd, bytes, true);
  if (others == Others::kMayWrite) return made;
  if (fcntl(made.fd.get(), F_ADD_SEALS, F_SEAL_FUTURE_WRITE) != 0) return {};
  return made;
}

size_t memory_bytes(const util::UniqueFd& fd) {
  struct stat status {};
  return fstat(fd.get(), &status) == 0 ? static_cast<size_t>(status.st_size) : 0;
}

}  // namespace verbena::shm
