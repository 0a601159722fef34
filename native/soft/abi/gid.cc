// The GID and partition tables of the port. The GID table has room for two, as a kernel's has more
// room than addresses: the second entry is empty.
#include <infiniband/verbs.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "soft/abi/context.h"
#include "soft/abi/export.h"
#include "soft/abi/limits.h"

namespace {

using verbena::soft::Context;
using verbena::soft::kPort;

// How libibverbs and its tools name GID types between themselves.
enum SysfsGidType { kSysfsIbOrRoceV1, kSysfsRoceV2 };

ibv_gid_entry only_entry(ibv_context* context) {
  const verbena::soft::Lane& lane = *Context::of(context).lane;
  ibv_gid_entry entry{};
  std::memcpy(&entry.gid, lane.address().gid.data(), sizeof entry.gid);
  entry.gid_index = 0;
  entry.port_num = kPort;
  entry.gid_type = IBV_GID_TYPE_ROCE_V2;
  entry.ndev_ifindex = lane.interface_index();
  return entry;
}

bool in_table(uint32_t port, uint32_t index) {
  return port == kPort && index < static_cast<uint32_t>(verbena::soft::kGidTableLength);
}

void copy_out(const ibv_gid_entry& from, ibv_gid_entry* to, size_t size) {
  std::memset(to, 0, size);
  std::memcpy(to, &from, std::min(size, sizeof from));
}

int minus_one(int error) {
  errno = error;
  return -1;
}

}  // namespace

VERBENA_EXPORT int ibv_query_gid(ibv_context* context, uint8_t port, int index, ibv_gid* gid) {
  if (index < 0 || !in_table(port, static_cast<uint32_t>(index))) return minus_one(EINVAL);
  *gid = index == 0 ? only_entry(context).gid : ibv_gid{};
  return 0;
}

VERBENA_EXPORT int _ibv_query_gid_ex(ibv_context* context, uint32_t port, uint32_t index,
                                     ibv_gid_entry* entry, uint32_t flags, size_t size) {
  if (flags != 0) return EOPNOTSUPP;
  if (!in_table(port, index)) return EINVAL;
  if (index != 0) return ENODATA;
  copy_out(only_entry(context), entry, size);
  return 0;
}

VERBENA_EXPORT ssize_t _ibv_query_gid_table(ibv_context* context, ibv_gid_entry* entries,
                                            size_t capacity, uint32_t flags, size_t size) {
  if (flags != 0) return -EOPNOTSUPP;
  if (capacity < 1) return -EINVAL;
  copy_out(only_entry(context), entries, size);
  return 1;
}

VERBENA_EXPORT int ibv_query_gid_type(ibv_context*, uint8_t port, unsigned index,
                                      SysfsGidType* type) {
  if (!in_table(port, index)) return minus_one(EINVAL);
  *type = index == 0 ? kSysfsRoceV2 : kSysfsIbOrRoceV1;
  return 0;
}

VERBENA_EXPORT int ibv_query_pkey(ibv_context*, uint8_t port, int index, __be16* pkey) {
  if (port != kPort || index != 0) return minus_one(EINVAL);
  *pkey = htobe16(verbena::soft::kDefaultPkey);
  return 0;
}

VERBENA_EXPORT int ibv_get_pkey_index(ibv_context*, uint8_t port, __be16 pkey) {
  if (port != kPort || pkey != htobe16(verbena::soft::kDefaultPkey)) return minus_one(EINVAL);
  return 0;
}
