// Owns the conversion between the attributes of ibv_modify_qp and their JavaScript form.
#pragma once

#include <infiniband/verbs.h>

#include "addon/js.h"

namespace verbena::addon {

struct QpAttributes {
  ibv_qp_attr values{};
  /** ibv_qp_attr_mask of the attributes that were given. */
  int mask = 0;
};

/** Throws ERR_VERBENA_ARGUMENT for unknown names and values out of range. */
QpAttributes to_qp_attributes(const Napi::Value& value);

/** Bytes of an MTU; 0 for a value that is none. */
int mtu_bytes(ibv_mtu mtu);

}  // namespace verbena::addon
