// Owns binding the calling thread to processors.
#pragma once

#include <cstdint>
#include <vector>

namespace verbena::addon {

/** No machine has more processors than this; their numbers are below it. */
inline constexpr uint32_t kMostProcessors = 8192;

/** Numbers of the processors that the calling thread may run on, ascending. */
std::vector<uint32_t> thread_affinity();

/**
 * Leaves the calling thread, and those that it starts from now on, these processors only. Throws
 * ERR_VERBENA_VERBS with EINVAL when the system has none of them.
 */
void set_thread_affinity(const std::vector<uint32_t>& processors);

}  // namespace verbena::addon
