// Opens files under names that the environment gave.
#include "soft/io/output_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

namespace verbena::io {
namespace {

std::string insert_pid(const std::string& name) {
  const size_t slash = name.rfind('/');
  const size_t dot = name.rfind('.');
  const bool has_extension =
      dot != std::string::npos && (slash == std::string::npos || dot > slash);
  const size_t at = has_extension ? dot : name.size();
  return name.substr(0, at) + "." + std::to_string(getpid()) + name.substr(at);
}

// -1 with errno; EWOULDBLOCK: in use.
int open_locked(const std::string& path, int access) {
  const int fd = ::open(path.c_str(), access | O_CREAT | O_CLOEXEC, 0644);
  if (fd < 0) return -1;
  if (flock(fd, LOCK_EX | LOCK_NB) == 0 && ftruncate(fd, 0) == 0) return fd;
  const int error = errno;
  close(fd);
  errno = error;
  return -1;
}

}  // namespace

std::string with_process_id(std::string_view pattern) {
  std::string name(pattern);
  const std::string pid = std::to_string(getpid());
  for (size_t at = name.find("%p"); at != std::string::npos; at = name.find("%p", at)) {
    name.replace(at, 2, pid);
  }
  return name;
}

std::optional<OutputFile> open_output_file(const char* variable, std::string_view pattern,
                                           int access, Failure& failure) {
  std::string path = with_process_id(pattern);
  int fd = open_locked(path, access);
  if (fd < 0 && errno == EWOULDBLOCK) {
    path = insert_pid(path);
    fd = open_locked(path, access);
  }
  if (fd < 0) {
    failure = {errno, std::string(variable) + ": cannot write " + path + ": " +
                          std::strerror(errno) +
                          "; name a file in a directory that exists and is writable"};
    return std::nullopt;
  }
  return OutputFile{fd, std::move(path)};
}

}  // namespace verbena::io
