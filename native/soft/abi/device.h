// The one device that the library offers.
#pragma once

#include <infiniband/verbs.h>

namespace verbena::soft {

// Drawn once per process: a device's address is not known before it is opened.
__be64 node_guid();

}  // namespace verbena::soft
