// What the device and its port say of themselves.
#pragma once

#include <infiniband/verbs.h>

#include <cstddef>

namespace verbena::soft {

// The functions that go through the context. 0 or an errno value; structures of any age are filled
// as far as they reach.
int query_device_ex(ibv_context* context, const ibv_query_device_ex_input* input,
                    ibv_device_attr_ex* attributes, size_t size);
int query_port(ibv_context* context, uint8_t port, ibv_port_attr* attributes, size_t size);

}  // namespace verbena::soft
