// Registers memory regions with the engine.
#include <infiniband/verbs.h>
#include <unistd.h>

#include <memory>

#include "soft/abi/context.h"
#include "soft/abi/export.h"
#include "soft/abi/guard.h"
#include "soft/abi/mapped_memory.h"
#include "soft/abi/pd.h"
#include "soft/abi/population.h"
#include "soft/abi/use_count.h"

// Macros that choose between these functions by the access bits.
#undef ibv_reg_mr
#undef ibv_reg_mr_iova

namespace verbena::soft {
namespace {

constexpr unsigned kSupportedAccess =
    IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ |
    IBV_ACCESS_REMOTE_ATOMIC | IBV_ACCESS_MW_BIND | IBV_ACCESS_ZERO_BASED | IBV_ACCESS_HUGETLB;

struct Mr : ibv_mr {
  Mr(Pd& domain, const engine::MemoryRegion& region);
  ~Mr();

  static Mr& of(ibv_mr* handle) { return *static_cast<Mr*>(handle); }

  Context& owner;
  std::unique_ptr<Use> pd_use;  // replaced when re-registration moves the region

 private:
  Member counted_;
};

Mr::Mr(Pd& domain, const engine::MemoryRegion& region)
    : ibv_mr{},
      owner(domain.owner()),
      pd_use(std::make_unique<Use>(domain.users)),
      counted_(owner.mrs, this) {
  context = domain.context;
  pd = &domain;
  addr = region.base;
  length = region.length;
  handle = owner.next_handle();
  lkey = rkey = owner.lane->with_engine(
      [&](engine::Engine& engine) { return engine.memory().insert(region); });
}

// The engine touches memory under the lane's lock only: after this, nothing reaches it.
Mr::~Mr() {
  owner.lane->with_engine([&](engine::Engine& engine) { engine.memory().erase(lkey); });
}

bool has_windows(const Mr& mr) {
  return mr.owner.lane->with_engine(
      [&](engine::Engine& engine) { return engine.memory().find(mr.lkey)->windows > 0; });
}

// Hints such as relaxed ordering may be ignored; everything else is an obligation.
void check_access(unsigned access) {
  access &= ~static_cast<unsigned>(IBV_ACCESS_OPTIONAL_RANGE);
  require((access & IBV_ACCESS_ON_DEMAND) == 0, EOPNOTSUPP);
  require((access & ~kSupportedAccess) == 0, EINVAL);
  const bool written_remotely =
      (access & (IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_ATOMIC)) != 0;
  require(!written_remotely || (access & IBV_ACCESS_LOCAL_WRITE) != 0, EINVAL);
}

void check_range(const void* address, size_t length, uint64_t iova) {
  const auto start = reinterpret_cast<uintptr_t>(address);
  const auto page_mask = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE)) - 1;
  require(length > 0, EINVAL);
  require(start + length > start && iova + length > iova, EINVAL);
  // Adapters translate page by page.
  require((start & page_mask) == (iova & page_mask), EINVAL);
}

void check_memory(const Context& context, const void* address, size_t length, unsigned access) {
  const bool writable = (access & IBV_ACCESS_LOCAL_WRITE) != 0;
  const int error = context.memory.check(address, length, writable);
  require(error == 0, error);
}

engine::MemoryRegion describe(const Pd& pd, void* address, size_t length, uint64_t iova,
                              unsigned access) {
  return {pd.id, static_cast<std::byte*>(address), length, iova, static_cast<int>(access)};
}

Mr* register_memory(Pd& pd, void* address, size_t length, uint64_t iova, unsigned access) {
  check_access(access);
  if ((access & IBV_ACCESS_ZERO_BASED) != 0) {
    require(length > 0 && reinterpret_cast<uintptr_t>(address) + length > length, EINVAL);
    iova = 0;
  } else {
    check_range(address, length, iova);
  }
  check_memory(pd.owner(), address, length, access);
  return new Mr(pd, describe(pd, address, length, iova, access));
}

ibv_mr* register_or_fail(ibv_pd* pd, void* address, size_t length, uint64_t iova, unsigned access) {
  return object_of<Mr>([&] { return register_memory(Pd::of(pd), address, length, iova, access); });
}

void check_reregistration(int flags, const ibv_pd* pd, const void* address, size_t length,
                          unsigned access) {
  require(flags != 0 && (flags & ~IBV_REREG_MR_FLAGS_SUPPORTED) == 0, EINVAL);
  if ((flags & IBV_REREG_MR_CHANGE_PD) != 0) require(pd != nullptr, EINVAL);
  if ((flags & IBV_REREG_MR_CHANGE_ACCESS) != 0) check_access(access);
  if ((flags & IBV_REREG_MR_CHANGE_TRANSLATION) == 0) return;
  require(address != nullptr, EINVAL);
  check_range(address, length, reinterpret_cast<uintptr_t>(address));
}

// The keys stay: whoever has them reaches the region as it is now.
void reregister(Mr& mr, int flags, ibv_pd* pd, void* address, size_t length, unsigned access) {
  check_reregistration(flags, pd, address, length, access);
  Lane& lane = *mr.owner.lane;
  engine::MemoryRegion region =
      lane.with_engine([&](engine::Engine& engine) { return *engine.memory().find(mr.lkey); });
  if ((flags & IBV_REREG_MR_CHANGE_PD) != 0) region.pd = Pd::of(pd).id;
  if ((flags & IBV_REREG_MR_CHANGE_ACCESS) != 0) region.access = static_cast<int>(access);
  if ((flags & IBV_REREG_MR_CHANGE_TRANSLATION) != 0) {
    region.base = static_cast<std::byte*>(address);
    region.length = length;
    region.iova = reinterpret_cast<uintptr_t>(address);
  }
  check_memory(mr.owner, region.base, region.length, static_cast<unsigned>(region.access));
  if ((flags & IBV_REREG_MR_CHANGE_PD) != 0) {
    mr.pd_use = std::make_unique<Use>(Pd::of(pd).users);
    mr.pd = pd;
  }
  mr.addr = region.base;
  mr.length = region.length;
  lane.with_engine([&](engine::Engine& engine) { *engine.memory().find(mr.lkey) = region; });
}

}  // namespace
}  // namespace verbena::soft

using verbena::soft::Mr;
using verbena::soft::register_or_fail;

VERBENA_EXPORT ibv_mr* ibv_reg_mr(ibv_pd* pd, void* address, size_t length, int access) {
  return register_or_fail(pd, address, length, reinterpret_cast<uintptr_t>(address),
                          static_cast<unsigned>(access));
}

VERBENA_EXPORT ibv_mr* ibv_reg_mr_iova(ibv_pd* pd, void* address, size_t length, uint64_t iova,
                                       int access) {
  return register_or_fail(pd, address, length, iova, static_cast<unsigned>(access));
}

VERBENA_EXPORT ibv_mr* ibv_reg_mr_iova2(ibv_pd* pd, void* address, size_t length, uint64_t iova,
                                        unsigned access) {
  return register_or_fail(pd, address, length, iova, access);
}

// Every refusal is found before anything changes, so that the old region is still good.
VERBENA_EXPORT int ibv_rereg_mr(ibv_mr* mr, int flags, ibv_pd* pd, void* address, size_t length,
                                int access) {
  const int error = verbena::soft::errno_of([&] {
    verbena::soft::reregister(Mr::of(mr), flags, pd, address, length,
                              static_cast<unsigned>(access));
  });
  if (error == 0) return 0;
  errno = error;
  return IBV_REREG_MR_ERR_INPUT;
}

VERBENA_EXPORT int ibv_dereg_mr(ibv_mr* mr) {
  if (verbena::soft::has_windows(Mr::of(mr))) return EBUSY;
  delete &Mr::of(mr);
  return 0;
}
