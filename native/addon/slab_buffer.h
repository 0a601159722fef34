// Owns giving a slab to JavaScript.
#pragma once

#include <memory>

#include "addon/environment.h"
#include "addon/js.h"
#include "verbs/slab.h"

namespace verbena::addon {

/** An ArrayBuffer over the slab that shares its ownership. The garbage collector ignores its size.
 */
Napi::ArrayBuffer to_array_buffer(Environment& environment,
                                  const std::shared_ptr<verbs::Slab>& slab);

/** The slab under an ArrayBuffer; throws ERR_VERBENA_ARGUMENT for anything else. */
std::shared_ptr<verbs::Slab> to_slab(const Environment& environment, const Napi::Value& value);

/** No pool keeps the slab any more: from now on the garbage collector counts its bytes. */
void leave_to_collector(Environment& environment, verbs::Slab& slab);

/**
 * Detaches the ArrayBuffer of a slab that was left to the collector, and keeps the slab for its
 * next user at once. False for anything else.
 */
bool give_back(Environment& environment, const Napi::Value& value);

}  // namespace verbena::addon
