// Owns the system calls for the processors of a thread.
#include "addon/cpu_affinity.h"

#include <sched.h>

#include <cerrno>
#include <memory>

#include "verbs/error.h"

namespace verbena::addon {
namespace {

/** `cpu_set_t` itself ends at 1024, and the kernel refuses a set that is too small for it. */
class ProcessorSet {
 public:
  ProcessorSet() : set_(CPU_ALLOC(kMostProcessors)) { CPU_ZERO_S(bytes(), get()); }

  static size_t bytes() { return CPU_ALLOC_SIZE(kMostProcessors); }
  cpu_set_t* get() const { return set_.get(); }
  void add(uint32_t processor) { CPU_SET_S(processor, bytes(), get()); }
  bool has(uint32_t processor) const { return CPU_ISSET_S(processor, bytes(), get()) != 0; }

 private:
  struct Free {
    void operator()(cpu_set_t* set) const { CPU_FREE(set); }
  };
  std::unique_ptr<cpu_set_t, Free> set_;
};

void require_done(const char* operation, int result) {
  if (result != 0) throw verbs::verbs_error(operation, errno);
}

}  // namespace

std::vector<uint32_t> thread_affinity() {
  const ProcessorSet set;
  require_done("sched_getaffinity", sched_getaffinity(0, ProcessorSet::bytes(), set.get()));
  std::vector<uint32_t> processors;
  for (uint32_t processor = 0; processor < kMostProcessors; ++processor) {
    if (set.has(processor)) processors.push_back(processor);
  }
  return processors;
}

void set_thread_affinity(const std::vector<uint32_t>& processors) {
  ProcessorSet set;
  for (const uint32_t processor : processors) set.add(processor);
  require_done("sched_setaffinity", sched_setaffinity(0, ProcessorSet::bytes(), set.get()));
}

}  // namespace verbena::addon
