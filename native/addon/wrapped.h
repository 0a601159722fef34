// Owns what all JavaScript classes of the addon share: creation by their parent only, and
// unwrapping that cannot be fooled by an object of another class.
#pragma once

#include <string>
#include <utility>

#include "addon/environment.h"
#include "addon/errors.h"
#include "addon/js.h"

namespace verbena::addon {

/**
 * T provides `kClass` (ClassId), `kName`, `kWhat` (for messages) and `methods()`. `MakingOfT` is
 * what its constructor takes over; whatever can fail is done before, by the parent.
 */
template <class T, class MakingOfT>
class Wrapped : public Napi::ObjectWrap<T> {
 public:
  using Making = MakingOfT;

  explicit Wrapped(const Napi::CallbackInfo& info) : Napi::ObjectWrap<T>(info) {
    Environment* environment = static_cast<Environment*>(info.Data());
    auto* making = std::exchange(environment->under_construction, nullptr);
    if (making == nullptr) {
      throw Napi::TypeError::New(info.Env(), std::string(T::kName) + " cannot be constructed.");
    }
    const napi_type_tag tag = type_tag();
    if (napi_type_tag_object(info.Env(), info.This(), &tag) != napi_ok) {
      throw Napi::Error::New(info.Env());
    }
    making_ = making;
  }

  static void define(Environment& environment) {
    environment.constructors[static_cast<size_t>(T::kClass)] =
        Napi::Persistent(T::DefineClass(environment.env(), T::kName, T::methods(), &environment));
  }

  static Napi::Object make(Environment& environment, Making& making) {
    environment.under_construction = &making;
    try {
      return environment.constructors[static_cast<size_t>(T::kClass)].New({});
    } catch (const Napi::Error&) {
      environment.under_construction = nullptr;
      throw;
    }
  }

  /** The object behind a JavaScript value; throws ERR_VERBENA_ARGUMENT for anything else. */
  static T& from(const Napi::Value& value) {
    const napi_type_tag tag = type_tag();
    bool matches = false;
    if (value.IsObject()) napi_check_object_type_tag(value.Env(), value, &tag, &matches);
    if (!matches) {
      throw verbs::Error(verbs::code::kArgument, std::string("Expected a ") + T::kWhat + ".");
    }
    return *T::Unwrap(value.As<Napi::Object>());
  }

 protected:
  Making& making() { return *static_cast<Making*>(making_); }

  /** A property that never changes, cheaper for JavaScript than an accessor. */
  static void set_constant(Napi::Object object, const char* name, Napi::Value value) {
    object.DefineProperty(Napi::PropertyDescriptor::Value(name, value, napi_enumerable));
  }

  /** A method whose native errors become JavaScript errors. */
  template <Napi::Value (T::*body)(const Napi::CallbackInfo&)>
  static auto method(const char* name) {
    return Napi::ObjectWrap<T>::InstanceMethod(
        name, static_cast<Napi::Value (T::*)(const Napi::CallbackInfo&)>(&T::template call<body>));
  }

  template <Napi::Value (T::*body)(const Napi::CallbackInfo&)>
  Napi::Value call(const Napi::CallbackInfo& info) {
    return guarded(info, [&] { return (static_cast<T*>(this)->*body)(info); });
  }

 private:
  static constexpr napi_type_tag type_tag() {
    return {0x7665'7262'656e'6100ULL, static_cast<uint64_t>(T::kClass) + 1};
  }

  void* making_ = nullptr;
};

}  // namespace verbena::addon
