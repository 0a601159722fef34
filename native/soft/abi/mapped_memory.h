// Makes sure that memory can be used before the device is told to use it.
#pragma once

#include <cstddef>

namespace verbena::soft {

// Brings the pages in, as an adapter that pins them does. 0, EFAULT when a page is not mapped or
// does not permit the access, or ENOMEM.
int fault_in(const void* address, size_t length, bool writable);

}  // namespace verbena::soft
