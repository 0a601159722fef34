// Owns the list of everything an environment has open, and closes it newest first.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <list>
#include <memory>
#include <optional>
#include <unordered_map>
#include <vector>

#include "verbs/error.h"

namespace verbena::addon {

enum class Kind {
  kDevice,
  kProtectionDomain,
  kMemoryRegion,
  kPollGroup,
  kCompletionQueue,
  kQueuePair
};
inline constexpr size_t kKinds = 6;

class Reaper;

/** Something with a native counterpart that must be closed. In the list from open to closed. */
class Closable {
 public:
  Closable() = default;
  Closable(const Closable&) = delete;
  Closable& operator=(const Closable&) = delete;

  /** Idempotent; leaves the list when it succeeds, throws verbs::Error when it does not. */
  virtual void close() = 0;

 protected:
  virtual ~Closable();
  /** `owner` is what it was made from: closing that closes this first. */
  void opened(std::shared_ptr<Reaper> reaper, Kind kind, const Closable* owner);
  void closed();

 private:
  friend class Reaper;
  std::shared_ptr<Reaper> reaper_;
  const Closable* owner_ = nullptr;
  Kind kind_{};
  std::list<Closable*>::iterator position_;
};

/** An object is always newer than those it was made from, so newest first is the order to close. */
class Reaper {
 public:
  Reaper() = default;
  Reaper(const Reaper&) = delete;
  Reaper& operator=(const Reaper&) = delete;

  /** Tries every object, even when an earlier one failed; the first error, if any. */
  std::optional<verbs::Error> close_all();

  /** Closes what was made from `owner`, newest first; tries all, then throws the first error. */
  void close_children(const Closable& owner);

  size_t count_children(const Closable& owner) const;
  size_t count(Kind kind) const { return counts_[static_cast<size_t>(kind)]; }
  /** The same over all environments of the process. */
  static size_t count_everywhere(Kind kind) { return everywhere_[static_cast<size_t>(kind)]; }

 private:
  friend class Closable;
  std::list<Closable*> objects_;
  /** By owner, oldest first. The owner is only compared, never used: it may be gone. */
  std::unordered_map<const Closable*, std::vector<Closable*>> children_;
  std::array<size_t, kKinds> counts_{};
  static std::array<std::atomic<size_t>, kKinds> everywhere_;
};

}  // namespace verbena::addon
