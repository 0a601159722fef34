// Why the device could not be opened: an errno value and a sentence for a person.
#pragma once

#include "soft/io/failure.h"

namespace verbena::soft {

struct OpenFailure : io::Failure {};

}  // namespace verbena::soft
