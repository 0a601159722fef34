// Owns a JavaScript function that is called from the event loop, outside of any JavaScript.
#pragma once

#include "addon/js.h"

namespace verbena::addon {

/** Held by shared_ptr: the function may release its own JsCallback while it runs. */
class JsCallback {
 public:
  /** `name` is what async_hooks shows. */
  JsCallback(Napi::Function function, const char* name);
  JsCallback(const JsCallback&) = delete;
  JsCallback& operator=(const JsCallback&) = delete;
  ~JsCallback();

  /**
   * Calls with one argument; ticks and promise reactions have run when it returns. What the
   * function throws becomes an 'uncaughtException'. Needs a handle scope.
   */
  void call(napi_value argument);

 private:
  napi_env env_;
  Napi::FunctionReference function_;
  napi_async_context context_ = nullptr;
};

}  // namespace verbena::addon
