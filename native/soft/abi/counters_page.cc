// Maps the page of the counters.
#include "soft/abi/counters_page.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <new>
#include <string_view>

#include "soft/abi/open_failure.h"
#include "soft/io/output_file.h"

namespace verbena::soft {
namespace {

constexpr size_t kPageBytes = 4096;
constexpr size_t kNamesAt = 2048;

#define VERBENA_NAME(name) #name "\n"
constexpr std::string_view kNames = VERBENA_SOFT_COUNTERS(VERBENA_NAME);
#undef VERBENA_NAME

static_assert(sizeof(engine::Counters) <= kNamesAt);
static_assert(kNamesAt + kNames.size() < kPageBytes);

// -1 when no file is wanted.
int open_page_file(const std::string& pattern) {
  if (pattern.empty()) return -1;
  io::Failure failure;
  const auto file = io::open_output_file("VERBENA_SOFT_COUNTERS", pattern, O_RDWR, failure);
  if (!file) throw OpenFailure{failure};
  if (ftruncate(file->fd, kPageBytes) == 0) return file->fd;
  failure = {errno, "VERBENA_SOFT_COUNTERS: " + file->path + ": " + std::strerror(errno)};
  close(file->fd);
  throw OpenFailure{failure};
}

}  // namespace

CountersPage::CountersPage(const std::string& pattern) : fd_(open_page_file(pattern)) {
  const int kind = fd_ < 0 ? MAP_ANONYMOUS : 0;
  void* page = mmap(nullptr, kPageBytes, PROT_READ | PROT_WRITE, MAP_SHARED | kind, fd_, 0);
  if (page == MAP_FAILED) {
    if (fd_ >= 0) close(fd_);
    throw std::bad_alloc();
  }
  counters_ = new (page) engine::Counters{};
  std::memcpy(static_cast<char*>(page) + kNamesAt, kNames.data(), kNames.size());
}

CountersPage::~CountersPage() {
  munmap(counters_, kPageBytes);
  if (fd_ >= 0) close(fd_);
}

}  // namespace verbena::soft
