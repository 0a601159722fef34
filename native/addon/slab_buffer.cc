// Owns the ArrayBuffer over a slab.
#include "addon/slab_buffer.h"

namespace verbena::addon {
namespace {

/** So many bytes may be left to the collector before it is offered a look at them. */
constexpr size_t kLeftBetweenLooks = size_t{4} << 20;

struct Hold {
  std::shared_ptr<Environment> environment;
  std::shared_ptr<verbs::Slab> slab;
};

// The collector counts the bytes of every ArrayBuffer and works the harder the more there are.
// Those of a slab that a pool keeps would only make it look, in vain, for what it could free.
void tell_collector(Napi::Env env, int64_t bytes) {
  Napi::MemoryManagement::AdjustExternalMemory(env, bytes);
}

// What the collector counts of a slab that was left to it. Counted in full, large payloads made it
// walk the whole heap for every 16 MiB of them, which took longer than moving them.
int64_t collector_share(const verbs::Slab& slab) {
  return static_cast<int64_t>(slab.bytes() / 4);
}

// Most payloads are dropped soon: a look at the youngest objects would find them. But V8 asks
// whether those hold much memory only where it makes an ArrayBuffer itself; else it walks the whole
// heap once there is too much.
void offer_a_look(Environment& environment, const verbs::Slab& slab) {
  environment.left_bytes += slab.bytes();
  if (environment.left_bytes < kLeftBetweenLooks) return;
  environment.left_bytes = 0;
  Napi::ArrayBuffer::New(environment.env(), 1);
}

void release(Napi::Env env, void* data, Hold* hold) {
  verbs::Slab& slab = *hold->slab;
  tell_collector(env, static_cast<int64_t>(slab.bytes()));
  verbs::SlabTable& slabs = hold->environment->slabs;
  slabs.forget(data);
  if (!slab.pooled) {
    tell_collector(env, -collector_share(slab));
    slabs.recycle(std::move(hold->slab));
  }
  delete hold;
}

}  // namespace

Napi::ArrayBuffer to_array_buffer(Environment& environment,
                                  const std::shared_ptr<verbs::Slab>& slab) {
  auto hold = std::make_unique<Hold>(Hold{environment.shared_from_this(), slab});
  Napi::ArrayBuffer buffer =
      Napi::ArrayBuffer::New(environment.env(), slab->data(), slab->bytes(), release, hold.get());
  static_cast<void>(hold.release());
  tell_collector(environment.env(), -static_cast<int64_t>(slab->bytes()));
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
  tell_collector(environment.env(), collector_share(slab));
  offer_a_look(environment, slab);
}

}  // namespace verbena::addon
