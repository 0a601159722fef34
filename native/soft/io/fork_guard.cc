// Counts forks, in the children only.

#include "soft/io/fork_guard.h"

#include <pthread.h>

#include <atomic>
#include <mutex>

namespace verbena::io {
namespace {

std::atomic<uint32_t> generation{0};

uint32_t current_generation() {
  return generation.load(std::memory_order_relaxed);
}

void watch_forks() {
  static std::once_flag once;
  std::call_once(once, [] {
    pthread_atfork(nullptr, nullptr, [] { generation.fetch_add(1, std::memory_order_relaxed); });
  });
}

}  // namespace

ForkGuard::ForkGuard() {
  watch_forks();
  generation_ = current_generation();
}

bool ForkGuard::in_child() const {
  return current_generation() != generation_;
}

}  // namespace verbena::io
