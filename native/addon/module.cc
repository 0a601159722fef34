// Owns the addon's entry: what JavaScript gets from loading it, once per thread.
#include <cstdint>
#include <memory>
#include <vector>

#include "addon/arguments.h"
#include "addon/completion_queue_wrap.h"
#include "addon/cpu_affinity.h"
#include "addon/device_wrap.h"
#include "addon/environment.h"
#include "addon/errors.h"
#include "addon/library_wrap.h"
#include "addon/memory_region_wrap.h"
#include "addon/poll_group_wrap.h"
#include "addon/protection_domain_wrap.h"
#include "addon/queue_pair_wrap.h"
#include "addon/slab_buffer.h"

namespace verbena::addon {

class Module : public Napi::Addon<Module> {
 public:
  Module(Napi::Env env, Napi::Object exports) : environment_(Environment::create(env)) {
    define_classes();
    DefineAddon(exports, {InstanceMethod("openLibrary", &Module::open_library),
                          InstanceMethod("allocateSlab", &Module::allocate_slab),
                          InstanceMethod("leaveSlabToCollector", &Module::leave_slab_to_collector),
                          InstanceMethod("giveBackSlab", &Module::give_back_slab),
                          InstanceMethod("closeAll", &Module::close_all),
                          InstanceMethod("liveObjects", &Module::live_objects),
                          InstanceMethod("processObjects", &Module::process_objects),
                          InstanceMethod("affinity", &Module::affinity),
                          InstanceMethod("setAffinity", &Module::set_affinity)});
  }

 private:
  void define_classes() {
    LibraryWrap::define(*environment_);
    DeviceWrap::define(*environment_);
    ProtectionDomainWrap::define(*environment_);
    MemoryRegionWrap::define(*environment_);
    PollGroupWrap::define(*environment_);
    CompletionQueueWrap::define(*environment_);
    QueuePairWrap::define(*environment_);
  }

  Napi::Value open_library(const Napi::CallbackInfo& info) {
    return guarded(info, [&] {
      LibraryWrap::Making making{environment_, verbs::Library::open(to_text(info[0], "path"))};
      return LibraryWrap::make(*environment_, making);
    });
  }

  Napi::Value allocate_slab(const Napi::CallbackInfo& info) {
    return guarded(info, [&] {
      const size_t bytes = to_integer(info[0], "bytes", 1, kMaxSafeInteger);
      const bool zeroed = info[1].IsUndefined() || info[1].ToBoolean();
      return to_array_buffer(*environment_, environment_->slabs.allocate(bytes, zeroed));
    });
  }

  Napi::Value leave_slab_to_collector(const Napi::CallbackInfo& info) {
    return guarded(info, [&]() -> Napi::Value {
      leave_to_collector(*environment_, *to_slab(*environment_, info[0]));
      return info.Env().Undefined();
    });
  }

  Napi::Value give_back_slab(const Napi::CallbackInfo& info) {
    return guarded(
        info, [&] { return Napi::Boolean::New(info.Env(), give_back(*environment_, info[0])); });
  }

  Napi::Value close_all(const Napi::CallbackInfo& info) {
    return guarded(info, [&]() -> Napi::Value {
      if (const auto error = environment_->reaper.close_all()) throw verbs::Error(*error);
      return info.Env().Undefined();
    });
  }

  Napi::Value live_objects(const Napi::CallbackInfo& info) {
    return counts(info, [this](Kind kind) { return environment_->reaper.count(kind); });
  }

  Napi::Value process_objects(const Napi::CallbackInfo& info) {
    return counts(info, Reaper::count_everywhere);
  }

  template <class Count>
  static Napi::Value counts(const Napi::CallbackInfo& info, Count count) {
    Napi::Object object = Napi::Object::New(info.Env());
    object["pd"] = static_cast<uint32_t>(count(Kind::kProtectionDomain));
    object["cq"] = static_cast<uint32_t>(count(Kind::kCompletionQueue));
    object["qp"] = static_cast<uint32_t>(count(Kind::kQueuePair));
    object["mr"] = static_cast<uint32_t>(count(Kind::kMemoryRegion));
    object["device"] = static_cast<uint32_t>(count(Kind::kDevice));
    return object;
  }

  Napi::Value affinity(const Napi::CallbackInfo& info) {
    return guarded(info, [&] {
      const std::vector<uint32_t> processors = thread_affinity();
      Napi::Array list = Napi::Array::New(info.Env(), processors.size());
      for (uint32_t at = 0; at < processors.size(); ++at) list[at] = processors[at];
      return list;
    });
  }

  Napi::Value set_affinity(const Napi::CallbackInfo& info) {
    return guarded(info, [&]() -> Napi::Value {
      const Napi::Object list = to_object(info[0], "processors");
      std::vector<uint32_t> processors;
      const uint32_t length = list.IsArray() ? list.As<Napi::Array>().Length() : 0;
      for (uint32_t at = 0; at < length; ++at) {
        processors.push_back(to_u32(list.Get(at), "processor", 0, kMostProcessors - 1));
      }
      set_thread_affinity(processors);
      return info.Env().Undefined();
    });
  }

  std::shared_ptr<Environment> environment_;
};

NODE_API_ADDON(Module)

}  // namespace verbena::addon
