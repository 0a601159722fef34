// Owns loading: dlopen, the function table, and what to do when the library is not there.
#include "verbs/library.h"

#include <dlfcn.h>

#include <map>
#include <memory>
#include <mutex>

#include "verbs/error.h"

namespace verbena::verbs {
namespace {

constexpr const char* kSoftHint = "The soft device is built by `npm run build:native`.";
constexpr const char* kHardwareHint =
    "Hardware and rdma_rxe devices need libibverbs: install it with "
    "`apt-get install libibverbs1 ibverbs-providers` (Debian, Ubuntu) or `dnf install libibverbs` "
    "(Fedora, RHEL), or use the soft device.";

std::string advice(const std::string& path) {
  const std::string name = path.substr(path.find_last_of('/') + 1);
  if (name.starts_with("libverbena-soft")) return kSoftHint;
  if (name.starts_with("libibverbs")) return kHardwareHint;
  return std::string("Check the path. ") + kSoftHint + " " + kHardwareHint;
}

std::string last_dl_error() {
  const char* text = dlerror();
  return text != nullptr ? text : "unknown reason";
}

void* open_object(const std::string& path) {
  // RTLD_LOCAL: two libraries with the same symbols live side by side in one process.
  void* handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle != nullptr) return handle;
  throw Error(
      code::kLibrary,
      "Cannot load the verbs library " + path + ": " + last_dl_error() + ". " + advice(path), 0,
      "dlopen");
}

template <class Function>
void resolve(void* handle, const std::string& path, const char* symbol, Function& member) {
  member = reinterpret_cast<Function>(dlsym(handle, symbol));
  if (member != nullptr) return;
  throw Error(code::kLibrary,
              path + " has no function " + symbol +
                  ": it is no verbs library, or one older than rdma-core 32. " + advice(path),
              0, "dlsym");
}

/** Null where the library has no such function. */
template <class Function>
void find(void* handle, const char* symbol, Function*& found) {
  found = reinterpret_cast<Function*>(dlsym(handle, symbol));
}

struct Libraries {
  std::mutex mutex;
  /** By what dlopen() returned, which is the same for every path to one file. */
  std::map<void*, Library*> by_handle;
};

/** Never destroyed: threads may still run when static destructors do. */
Libraries& libraries() {
  static auto* const instance = new Libraries;
  return *instance;
}

}  // namespace

Library& Library::open(const std::string& path) {
  Libraries& all = libraries();
  const std::lock_guard lock(all.mutex);
  // Never closed, not even when a function is missing: unloading a library that may have started
  // threads is worse than keeping it.
  void* const handle = open_object(path);
  Library*& entry = all.by_handle[handle];
  if (entry == nullptr) entry = new Library(path, handle);
  return *entry;
}

Library::Library(const std::string& path, void* handle) : path_(path) {
#define VERBENA_RESOLVE(member, symbol) resolve(handle, path, #symbol, functions_.member);
  VERBENA_VERBS_FUNCTIONS(VERBENA_RESOLVE)
#undef VERBENA_RESOLVE
  find(handle, "verbena_soft_last_error", last_error_);
  find(handle, "verbena_soft_counters", counters_page_);
  find(handle, "verbena_soft_hold", hold_);
  find(handle, "verbena_soft_release", release_);
  find(handle, "verbena_soft_level_triggered", level_triggered_);
  // child_process forks; without this a parent's write after fork() could move a pinned page away
  // from the device. Costs nothing where the kernel copies pinned pages at fork.
  check("ibv_fork_init", functions_.fork_init());
}

std::string Library::last_error() const {
  const char* text = last_error_ != nullptr ? last_error_() : nullptr;
  return text != nullptr ? text : "";
}

const void* Library::counters_page(ibv_context* context) const {
  return counters_page_ != nullptr ? counters_page_(context) : nullptr;
}

void Library::hold(ibv_context* context) const {
  if (hold_ != nullptr) hold_(context);
}

void Library::release(ibv_context* context) const {
  if (release_ != nullptr) release_(context);
}

void Library::level_triggered(ibv_comp_channel* channel) const {
  if (level_triggered_ != nullptr) level_triggered_(channel);
}

}  // namespace verbena::verbs
