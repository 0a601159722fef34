// Owns the properties of JavaScript errors and the way of errors that have no caller.
#include "addon/errors.h"

#include <cstring>

#include "verbs/qp_transitions.h"

namespace verbena::addon {
namespace {

Napi::Array names(Napi::Env env, const std::vector<std::string>& list) {
  Napi::Array array = Napi::Array::New(env, list.size());
  for (uint32_t index = 0; index < list.size(); ++index) array[index] = list[index];
  return array;
}

}  // namespace

Napi::Error to_js(Napi::Env env, const verbs::Error& error) {
  const bool misuse = std::strcmp(error.code(), verbs::code::kArgument) == 0;
  Napi::Error result =
      misuse ? Napi::TypeError::New(env, error.what()) : Napi::Error::New(env, error.what());
  Napi::Object object = result.Value();
  object["code"] = error.code();
  if (!error.operation().empty()) object["operation"] = error.operation();
  if (error.error_number() != 0) {
    object["errno"] = error.error_number();
    object["errnoName"] = verbs::errno_name(error.error_number());
  }
  if (const auto* transition = dynamic_cast<const verbs::QpTransitionError*>(&error)) {
    object["missing"] = names(env, transition->missing());
    object["illegal"] = names(env, transition->illegal());
  }
  return result;
}

void report_uncaught(napi_env env, const verbs::Error& error) {
  Napi::HandleScope scope(env);
  try {
    napi_fatal_exception(env, to_js(env, error).Value());
  } catch (const Napi::Error&) {
    // JavaScript cannot run any more: the thread is ending, and nobody is left to be told.
  }
}

void report_pending_exception(napi_env env) {
  bool pending = false;
  if (napi_is_exception_pending(env, &pending) != napi_ok || !pending) return;
  napi_value exception = nullptr;
  if (napi_get_and_clear_last_exception(env, &exception) != napi_ok) return;
  napi_fatal_exception(env, exception);
}

}  // namespace verbena::addon
