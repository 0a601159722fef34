// The sysfs helpers that libibverbs exports; librdmacm and ibv_devinfo read files of other devices
// with them.
#include <fcntl.h>
#include <unistd.h>

#include <cstdlib>
#include <string>

#include "soft/abi/export.h"
#include "soft/abi/guard.h"
#include "util/unique_fd.h"

namespace {

using verbena::soft::errno_of;
using verbena::soft::require;

// The length of the text, without a newline at the end; it must fit with a terminator.
size_t read_file(const std::string& path, char* buffer, size_t size) {
  const verbena::util::UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  require(static_cast<bool>(fd), errno);
  const ssize_t got = read(fd.get(), buffer, size);
  require(got >= 0, errno);
  size_t length = static_cast<size_t>(got);
  if (length > 0 && buffer[length - 1] == '\n') --length;
  require(length < size, ENOSPC);
  buffer[length] = '\0';
  return length;
}

}  // namespace

VERBENA_EXPORT const char* ibv_get_sysfs_path() {
  const char* path = std::getenv("SYSFS_PATH");
  return path == nullptr ? "/sys" : path;
}

VERBENA_EXPORT int ibv_read_sysfs_file(const char* folder, const char* file, char* buffer,
                                       size_t size) {
  size_t length = 0;
  const int error =
      errno_of([&] { length = read_file(std::string(folder) + "/" + file, buffer, size); });
  if (error == 0) return static_cast<int>(length);
  errno = error;
  return -1;
}
