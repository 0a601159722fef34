// Owns what one JavaScript thread has: its open objects, its index tables, its slabs, its libuv
// handles, and their end.
#pragma once

#include <uv.h>

#include <array>
#include <cstdint>
#include <list>
#include <memory>

#include "addon/collector_account.h"
#include "addon/js.h"
#include "addon/reaper.h"
#include "util/slot_table.h"
#include "verbs/memory_region.h"
#include "verbs/queue_pair.h"
#include "verbs/slab.h"

namespace verbena::addon {

class PollGroup;

/** The classes that JavaScript sees. */
enum class ClassId {
  kLibrary,
  kDevice,
  kProtectionDomain,
  kMemoryRegion,
  kPollGroup,
  kCompletionQueue,
  kQueuePair
};
inline constexpr size_t kClasses = 7;

/**
 * Shared by the module and by every object of the thread, because Node destroys them in no order
 * that could be relied on.
 */
class Environment : public std::enable_shared_from_this<Environment> {
 public:
  static std::shared_ptr<Environment> create(Napi::Env env);

  Environment(const Environment&) = delete;
  Environment& operator=(const Environment&) = delete;

  Napi::Env env() const { return env_; }
  uv_loop_t* loop() const { return loop_; }

  /** A number of this thread (never 0) joined with a local index: what events are addressed to. */
  uint64_t owner_of(uint32_t index) const { return static_cast<uint64_t>(id_) << 32 | index; }
  bool owns(uint64_t owner) const { return owner >> 32 == id_; }

  /**
   * Hands the post rings of all groups to the device. Called after every callback into JavaScript:
   * code that runs in one group's callback may have written into another group's ring, whose own
   * turn in this iteration of the loop is over.
   */
  void drain_posts();

  void handle_opened() { ++open_handles_; }
  void handle_closed();

  /** The reaper, kept alive with its environment by whoever is in its list. */
  std::shared_ptr<Reaper> shared_reaper() { return {shared_from_this(), &reaper}; }

  Reaper reaper;
  verbs::SlabTable slabs;
  CollectorAccount collector;
  util::SlotTable<verbs::QueuePair> qps;
  util::SlotTable<verbs::MemoryRegion> mrs;
  std::list<PollGroup*> groups;
  std::array<Napi::FunctionReference, kClasses> constructors;
  /** What the constructor that runs next is to be made from; null when JavaScript calls `new`. */
  void* under_construction = nullptr;

 private:
  explicit Environment(Napi::Env env);
  void tear_down(napi_async_cleanup_hook_handle hook);
  void finish_teardown();

  Napi::Env env_;
  uv_loop_t* loop_ = nullptr;
  uint32_t id_;
  uint32_t open_handles_ = 0;
  napi_async_cleanup_hook_handle teardown_ = nullptr;
  /** Keeps the environment until its teardown has finished. */
  std::shared_ptr<Environment> self_;
};

}  // namespace verbena::addon
