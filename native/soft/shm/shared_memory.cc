// Makes, seals and maps anonymous files.
#include "soft/shm/shared_memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

namespace verbena::shm {
namespace {

#ifndef F_SEAL_FUTURE_WRITE
constexpr int F_SEAL_FUTURE_WRITE = 0x0010;
#endif
#ifndef MFD_NOEXEC_SEAL
constexpr unsigned MFD_NOEXEC_SEAL = 0x0008;
#endif

constexpr int kFixedSize = F_SEAL_SHRINK | F_SEAL_GROW;

bool has_fixed_size(int fd, size_t bytes) {
  struct stat status {};
  const int seals = fcntl(fd, F_GET_SEALS);
  return seals >= 0 && (seals & kFixedSize) == kFixedSize && fstat(fd, &status) == 0 &&
         static_cast<size_t>(status.st_size) == bytes;
}

// Some systems want to be told that nothing there is a program, and older kernels do not know how.
util::UniqueFd make_file() {
  constexpr unsigned kFlags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
  util::UniqueFd file(memfd_create("verbena-soft", kFlags | MFD_NOEXEC_SEAL));
  if (file || errno != EINVAL) return file;
  return util::UniqueFd(memfd_create("verbena-soft", kFlags));
}

// `ulimit -f` counts such files, too, and ends whoever makes one longer.
bool may_be_so_long(size_t bytes) {
  rlimit limit{};
  return getrlimit(RLIMIT_FSIZE, &limit) == 0 && bytes <= limit.rlim_cur;
}

}  // namespace

Mapping Mapping::of(const util::UniqueFd& fd, size_t bytes, bool writable) {
  if (!has_fixed_size(fd.get(), bytes)) return {};
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
  if (may_be_so_long(bytes)) made.fd = make_file();
  if (!made.fd || ftruncate(made.fd.get(), static_cast<off_t>(bytes)) != 0) return {};
  if (fcntl(made.fd.get(), F_ADD_SEALS, kFixedSize) != 0) return {};
  made.mapping = Mapping::of(made.fd, bytes, true);
  if (others == Others::kMayWrite) return made;
  if (fcntl(made.fd.get(), F_ADD_SEALS, F_SEAL_FUTURE_WRITE) != 0) return {};
  return made;
}

}  // namespace verbena::shm
