// Owns page-aligned memory, and the table that finds it again from an ArrayBuffer.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>

namespace verbena::verbs {

/** A zeroed anonymous mapping of whole pages. */
class Slab {
 public:
  /** Throws ERR_VERBENA_NO_MEMORY. */
  explicit Slab(size_t bytes);
  Slab(const Slab&) = delete;
  Slab& operator=(const Slab&) = delete;
  ~Slab();

  uint8_t* data() const { return data_; }
  size_t bytes() const { return bytes_; }

  /** Whether a pool keeps it for its next user. */
  bool pooled = true;

 private:
  size_t bytes_;
  size_t mapped_;
  uint8_t* data_;
};

/**
 * The slabs of one environment by address. A slab is shared by its ArrayBuffer and by the memory
 * regions over it, so that a region never outlives its memory, whatever happens to the buffer.
 */
class SlabTable {
 public:
  std::shared_ptr<Slab> allocate(size_t bytes);
  /** Null when the address is not the start of a slab. */
  std::shared_ptr<Slab> find(const void* data) const;
  /** Called when the ArrayBuffer is gone. */
  void forget(const void* data) { slabs_.erase(data); }

 private:
  std::map<const void*, std::weak_ptr<Slab>> slabs_;
};

}  // namespace verbena::verbs
