// Owns the ArrayBuffer over a slab.
#include "addon/slab_buffer.h"

namespace verbena::addon {
namespace {

struct Hold {
  std::shared_ptr<Environment> environment;
  std::shared_ptr<verbs::Slab> slab;
};

/** No ArrayBuffer is over the slab any more. */
void let_go(Environment& environment, std::shared_ptr<verbs::Slab> slab) {
  environment.slabs.forget(slab->data());
  if (slab->pooled) {
    environment.collector.drop_kept(environment.env(), slab->bytes());
  } else {
    environment.collector.drop_left(environment.env(), slab->bytes());
    environment.slabs.recycle(std::move(slab));
  }
}

void finalize(Napi::Env, void*, Hold* hold) {
  if (hold->slab != nullptr) let_go(*hold->environment, std::move(hold->slab));
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
      Napi::ArrayBuffer::New(env, slab->data(), slab->bytes(), finalize, hold.get());
  slab->hold = hold.release();
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

bool give_back(Environment& environment, const Napi::Value& value) {
  if (!value.IsArrayBuffer()) return false;
  auto buffer = value.As<Napi::ArrayBuffer>();
  std::shared_ptr<verbs::Slab> slab = environment.slabs.find(buffer.Data());
  // Held by its buffer and here; a memory region over it is a third.
  if (slab == nullptr || slab->pooled || slab.use_count() > 2) return false;
  buffer.Detach();
  // The finalizer, which comes later, must not meet the slab's next user.
  static_cast<Hold*>(slab->hold)->slab.reset();
  let_go(environment, std::move(slab));
  return true;
}

}  // namespace verbena::addon
