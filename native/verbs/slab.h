// Owns page-aligned memory, and the table that finds it again from an ArrayBuffer.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <utility>

namespace verbena::verbs {

/** A zeroed anonymous mapping, from which slabs of one size are cut. */
class SlabPages {
 public:
  /** Whole pages for one slab. Throws ERR_VERBENA_NO_MEMORY. */
  explicit SlabPages(size_t slab_bytes);
  /** A huge page, where the kernel has one. */
  static std::shared_ptr<SlabPages> huge(size_t slab_bytes);
  SlabPages(const SlabPages&) = delete;
  SlabPages& operator=(const SlabPages&) = delete;
  ~SlabPages();

  bool has_room() const { return slab_bytes_ <= bytes_ - cut_; }
  /** Each part is given out once. */
  uint8_t* cut();
  size_t slab_bytes() const { return slab_bytes_; }

 private:
  SlabPages(size_t slab_bytes, size_t bytes, size_t alignment);

  size_t slab_bytes_;
  size_t bytes_;
  size_t cut_ = 0;
  uint8_t* data_;
};

/** Page-aligned memory, zeroed when it is made. */
class Slab {
 public:
  /** With pages of its own. Throws ERR_VERBENA_NO_MEMORY. */
  explicit Slab(size_t bytes) : Slab(std::make_shared<SlabPages>(bytes)) {}
  /** The next part of pages that have room. */
  explicit Slab(std::shared_ptr<SlabPages> pages)
      : pages_(std::move(pages)), bytes_(pages_->slab_bytes()), data_(pages_->cut()) {}
  Slab(const Slab&) = delete;
  Slab& operator=(const Slab&) = delete;

  uint8_t* data() const { return data_; }
  size_t bytes() const { return bytes_; }

  /** Whether a pool keeps it for its next user. */
  bool pooled = true;
  /** What holds it for the ArrayBuffer over it. */
  void* hold = nullptr;

 private:
  std::shared_ptr<SlabPages> pages_;
  size_t bytes_;
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
  std::shared_ptr<Slab> make(size_t bytes);

  std::map<const void*, std::weak_ptr<Slab>> slabs_;
  // The huge pages that slabs were cut from last, by the size of these.
  std::map<size_t, std::shared_ptr<SlabPages>> shared_pages_;
  // By size: mapping and touching pages anew costs more than moving the bytes.
  std::multimap<size_t, std::shared_ptr<Slab>> recycled_;
  size_t recycled_bytes_ = 0;
};

}  // namespace verbena::verbs
