// Keeps and reports the reason of the last failure.
#include "soft/abi/last_error.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "soft/abi/export.h"

namespace verbena::soft {
namespace {

// Plain bytes: a thread that ends after the library's static objects must find nothing to destroy.
thread_local char last_error[1024];

}  // namespace

void set_last_error(std::string_view text) {
  const size_t length = std::min(text.size(), sizeof last_error - 1);
  std::memcpy(last_error, text.data(), length);
  last_error[length] = '\0';
  const char* log = std::getenv("VERBENA_SOFT_LOG");
  if (length > 0 && log != nullptr && std::strcmp(log, "stderr") == 0) {
    std::fprintf(stderr, "verbena-soft: %s\n", last_error);
  }
}

}  // namespace verbena::soft

// The text lives until this thread's next ibv_open_device; empty when that succeeded.
VERBENA_EXPORT const char* verbena_soft_last_error() {
  return verbena::soft::last_error;
}
