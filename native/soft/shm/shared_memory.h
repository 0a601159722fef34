// Memory that two processes map: one makes it, the other gets its descriptor.
#pragma once

#include <cstddef>
#include <span>
#include <utility>

#include "util/unique_fd.h"

namespace verbena::shm {

// Unmaps what it holds. Empty when mapping failed.
class Mapping {
 public:
  Mapping() = default;
  // All of the descriptor's memory, which must have exactly so many bytes and be sealed against
  // shrinking: a page that is gone would end this process.
  static Mapping of(const util::UniqueFd& fd, size_t bytes, bool writable);
  Mapping(Mapping&& other) noexcept : memory_(std::exchange(other.memory_, {})) {}
  Mapping& operator=(Mapping&& other) noexcept {
    std::swap(memory_, other.memory_);
    return *this;
  }
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;
  ~Mapping();

  std::span<std::byte> memory() const { return memory_; }
  explicit operator bool() const { return !memory_.empty(); }

 private:
  explicit Mapping(std::span<std::byte> memory) : memory_(memory) {}

  std::span<std::byte> memory_;
};

struct SharedMemory {
  util::UniqueFd fd;
  Mapping mapping;

  explicit operator bool() const { return static_cast<bool>(mapping); }
};

enum class Others { kMayWrite, kMayRead };

// Zeroed; empty, with errno set, when there is none to be had.
SharedMemory make_shared_memory(size_t bytes, Others others);

}  // namespace verbena::shm
