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
  /** Without `zeroed` there may be bytes in it from before. */
  std::shared_ptr<Slab> allocate(size_t bytes, bool zeroed);
  /** Null when the address is not the start of a slab. */
  std::shared_ptr<Slab> find(const void* data) const;
  /** Called when the ArrayBuffer is gone. */
  void forget(const void* data) { slabs_.erase(data); }
  /** Keeps a slab that the collector found, unless somebody else holds it or there are many. */
  void recycle(std::shared_ptr<Slab> slab);

 private:
  static constexpr size_t kMostRecycledBytes = size_t{64} << 20;

  std::shared_ptr<Slab> take_recycled(size_t bytes);

  std::map<const void*, std::weak_ptr<Slab>> slabs_;
  // By size: mapping and touching pages anew costs more than moving the bytes.
  std::multimap<size_t, std::shared_ptr<Slab>> recycled_;
  size_t recycled_bytes_ = 0;
};

}  // namespace verbena::verbs
