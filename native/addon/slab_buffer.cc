// Owns the ArrayBuffer over a slab.
#include "addon/slab_buffer.h"

namespace verbena::addon {
namespace {

struct Hold {
  std::shared_ptr<Environment> environment;
  std::shared_ptr<verbs::Slab> slab;
};

void release(Napi::Env env, void* data, Hold* hold) {
  Environment& environment = *hold->environment;
  const size_t bytes = hold->slab->bytes();
  environment.slabs.forget(data);
  if (hold->slab->pooled) {
    environment.collector.drop_kept(env, bytes);
  } else {
    environment.collector.drop_left(env, bytes);
    environment.slabs.recycle(std::move(hold->slab));
  }
  delete hold;
}

}  // namespace

Napi::ArrayBuffer to_array_buffer(Environment& environment,
                                  const std::shared_ptr<verbs::Slab>& slab) {
  auto hold = std::make_unique<Hold>(Hold{environment.shared_from_this(), slab});
  CollectorAccount& collector = environment.collector;
  const Napi::Env env = environment.env();
  collector.before_making(env);
  Napi::ArrayBuffer buffer =
      Napi::ArrayBuffer::New(env, slab->data(), slab->bytes(), release, hold.get());
  static_cast<void>(hold.release());
  collector.after_making(env, slab->bytes());
  collector.keep(env, slab->bytes());
  return buffer;
}

std::shared_ptr<verbs::Slab> to_slab(const Environment& environment, const Napi::Value& value) {
  std::shared_ptr<verbs::Slab> slab;
  if (value.IsArrayBuffer()) slab = environment.slabs.find(value.As<Napi::ArrayBuffer>().Data());
  if (slab == nullptr) {
    throw verbs::Error(verbs::code::kArgument,
                       "`buffer` must be an ArrayBuffer from allocateSlab() of this thread.");
  }
  return slab;
}

void leave_to_collector(Environment& environment, verbs::Slab& slab) {
  if (!slab.pooled) return;
  slab.pooled = false;
  environment.collector.leave(environment.env(), slab.bytes());
}

}  // namespace verbena::addon
