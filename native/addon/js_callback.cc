// Owns calling from the event loop into JavaScript.
#include "addon/js_callback.h"

#include "addon/errors.h"

namespace verbena::addon {

JsCallback::JsCallback(Napi::Function function, const char* name)
    : env_(function.Env()), function_(Napi::Persistent(function)) {
  const Napi::String resource_name = Napi::String::New(env_, name);
  if (napi_async_init(env_, nullptr, resource_name, &context_) != napi_ok) {
    throw Napi::Error::New(env_);
  }
}

JsCallback::~JsCallback() {
  napi_async_destroy(env_, context_);
}

void JsCallback::call(napi_value argument) {
  napi_value global = nullptr;
  napi_value function = nullptr;
  if (napi_get_global(env_, &global) != napi_ok) return;
  if (napi_get_reference_value(env_, function_, &function) != napi_ok) return;
  // A status other than a pending exception means that this thread may not run JavaScript any more.
  if (napi_make_callback(env_, context_, global, function, 1, &argument, nullptr) != napi_ok) {
    report_pending_exception(env_);
  }
}

}  // namespace verbena::addon
