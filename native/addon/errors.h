// Owns the conversion of native errors into JavaScript errors.
#pragma once

#include "addon/js.h"
#include "verbs/error.h"

namespace verbena::addon {

/** An Error (TypeError for misuse) with `code` and, where they apply, `errno`, `errnoName`, ... */
Napi::Error to_js(Napi::Env env, const verbs::Error& error);

/** Raises 'uncaughtException' for an error that has no caller. */
void report_uncaught(napi_env env, const verbs::Error& error);

/** The same for the JavaScript exception that is pending; does nothing when there is none. */
void report_pending_exception(napi_env env);

/** Runs `body` and turns native errors into JavaScript ones. */
template <class Body>
auto guarded(const Napi::CallbackInfo& info, Body body) {
  try {
    return body();
  } catch (const verbs::Error& error) {
    throw to_js(info.Env(), error);
  }
}

}  // namespace verbena::addon
