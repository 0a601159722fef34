// Lists, opens and closes the device.
#include "soft/abi/device.h"

#include <cstdlib>
#include <cstring>
#include <mutex>

#include "soft/abi/context.h"
#include "soft/abi/export.h"
#include "soft/abi/guard.h"
#include "soft/abi/last_error.h"
#include "soft/abi/open_failure.h"
#include "soft/abi/random.h"

#undef ibv_get_device_list

namespace verbena::soft {
namespace {

// The sysfs folders do not exist; programs that read from them find nothing, as with a foreign
// kernel.
ibv_device make_device() {
  ibv_device device{};
  device.node_type = IBV_NODE_CA;
  device.transport_type = IBV_TRANSPORT_IB;
  std::strcpy(device.name, "soft0");
  std::strcpy(device.dev_name, "verbena-soft0");
  std::strcpy(device.dev_path, "/sys/class/infiniband_verbs/verbena-soft0");
  std::strcpy(device.ibdev_path, "/sys/class/infiniband/soft0");
  return device;
}

ibv_device* the_device() {
  static ibv_device device = make_device();
  return &device;
}

__be64 draw_guid() {
  uint8_t bytes[8];
  fill_random(bytes, sizeof bytes);
  bytes[0] = static_cast<uint8_t>((bytes[0] & 0xFC) | 0x02);  // locally administered, unicast
  __be64 guid;
  std::memcpy(&guid, bytes, sizeof guid);
  return guid;
}

}  // namespace

__be64 node_guid() {
  static const __be64 guid = draw_guid();
  return guid;
}

}  // namespace verbena::soft

using verbena::soft::Context;

VERBENA_EXPORT ibv_device** ibv_get_device_list(int* count) {
  auto** list = static_cast<ibv_device**>(std::calloc(2, sizeof(ibv_device*)));
  if (list == nullptr) {
    errno = ENOMEM;
    return nullptr;
  }
  list[0] = verbena::soft::the_device();
  if (count != nullptr) *count = 1;
  return list;
}

VERBENA_EXPORT void ibv_free_device_list(ibv_device** list) {
  std::free(list);
}

VERBENA_EXPORT const char* ibv_get_device_name(ibv_device* device) {
  return device->name;
}

// The kernel numbers devices; this one is none of its own.
VERBENA_EXPORT int ibv_get_device_index(ibv_device*) {
  return -1;
}

VERBENA_EXPORT __be64 ibv_get_device_guid(ibv_device*) {
  return verbena::soft::node_guid();
}

VERBENA_EXPORT ibv_context* ibv_open_device(ibv_device* device) {
  verbena::soft::set_last_error("");
  Context* context = verbena::soft::object_of<Context>([&]() -> Context* {
    try {
      return new Context(device);
    } catch (const verbena::soft::OpenFailure& failure) {
      verbena::soft::set_last_error(failure.text);
      throw verbena::soft::Refusal{failure.error};
    }
  });
  return context == nullptr ? nullptr : &context->context;
}

// What the program left goes with the context, as with a kernel: ib_send_bw, for one, leaves a
// queue.
VERBENA_EXPORT int ibv_close_device(ibv_context* handle) {
  delete &Context::of(handle);
  return 0;
}

// The device's counters as docs/soft-device.md lays them out, 4096 bytes, while the context is
// open.
VERBENA_EXPORT const void* verbena_soft_counters(ibv_context* handle) {
  return Context::of(handle).lane->counters_page();
}

// What this thread posts between the two leaves together, with the system calls of one: see
// docs/soft-device.md.
VERBENA_EXPORT void verbena_soft_hold(ibv_context* handle) {
  Context::of(handle).lane->hold();
}

VERBENA_EXPORT void verbena_soft_release(ibv_context* handle) {
  Context::of(handle).lane->release();
}
