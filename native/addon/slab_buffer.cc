// Owns the ArrayBuffer over a slab.
#include "addon/slab_buffer.h"

namespace verbena::addon {
namespace {

struct Hold {
  std::shared_ptr<Environment> environment;
  std::shared_ptr<verbs::Slab> slab;
};

void release(Napi::Env, void* data, Hold* hold) {
  hold->environment->slabs.forget(data);
  delete hold;
}

}  // namespace

Napi::ArrayBuffer to_array_buffer(Environment& environment,
                                  const std::shared_ptr<verbs::Slab>& slab) {
  auto hold = std::make_unique<Hold>(Hold{environment.shared_from_this(), slab});
  Napi::ArrayBuffer buffer =
      Napi::ArrayBuffer::New(environment.env(), slab->data(), slab->bytes(), release, hold.get());
  static_cast<void>(hold.release());
  return buffer;
}

}  // namespace verbena::addon
