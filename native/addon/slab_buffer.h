// Owns giving a slab to JavaScript.
#pragma once

#include <memory>

#include "addon/environment.h"
#include "addon/js.h"
#include "verbs/slab.h"

namespace verbena::addon {

/** An ArrayBuffer over the slab that shares its ownership. */
Napi::ArrayBuffer to_array_buffer(Environment& environment,
                                  const std::shared_ptr<verbs::Slab>& slab);

}  // namespace verbena::addon
