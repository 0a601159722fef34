// Why the last ibv_open_device of this thread failed, in words.
#pragma once

#include <string_view>

namespace verbena::soft {

// Kept for verbena_soft_last_error(); also written to stderr when VERBENA_SOFT_LOG=stderr.
void set_last_error(std::string_view text);

}  // namespace verbena::soft
