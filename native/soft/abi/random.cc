// Reads the kernel's random number generator.
#include "soft/abi/random.h"

#include <sys/random.h>

#include <cerrno>
#include <cstdlib>

namespace verbena::soft {

void fill_random(void* to, size_t bytes) {
  auto* at = static_cast<char*>(to);
  while (bytes > 0) {
    const ssize_t filled = getrandom(at, bytes, 0);
    if (filled < 0) {
      if (errno == EINTR) continue;
      std::abort();  // a kernel without getrandom: guessable keys are not an option
    }
    at += filled;
    bytes -= static_cast<size_t>(filled);
  }
}

uint32_t KernelRandom::next() {
  if (left_ == 0) {
    fill_random(numbers_.data(), sizeof numbers_);
    left_ = numbers_.size();
  }
  return numbers_[--left_];
}

}  // namespace verbena::soft
