// Owns checks of single arguments.
#include "addon/arguments.h"

#include <cmath>

#include "verbs/error.h"

namespace verbena::addon {
namespace {

verbs::Error misuse(const std::string& name, const std::string& wanted) {
  return {verbs::code::kArgument, "`" + name + "` must be " + wanted + "."};
}

}  // namespace

uint64_t to_integer(const Napi::Value& value, const std::string& name, uint64_t least,
                    uint64_t most) {
  const double number = value.IsNumber() ? value.As<Napi::Number>().DoubleValue() : NAN;
  const bool fits = std::trunc(number) == number && number >= static_cast<double>(least) &&
                    number <= static_cast<double>(most);
  if (!fits) {
    throw misuse(name, "an integer from " + std::to_string(least) + " to " + std::to_string(most));
  }
  return static_cast<uint64_t>(number);
}

uint32_t to_u32(const Napi::Value& value, const std::string& name, uint32_t least, uint32_t most) {
  return static_cast<uint32_t>(to_integer(value, name, least, most));
}

std::string to_text(const Napi::Value& value, const std::string& name) {
  if (!value.IsString()) throw misuse(name, "a string");
  return value.As<Napi::String>().Utf8Value();
}

Napi::Object to_object(const Napi::Value& value, const std::string& name) {
  if (!value.IsObject()) throw misuse(name, "an object");
  return value.As<Napi::Object>();
}

Napi::Function to_function(const Napi::Value& value, const std::string& name) {
  if (!value.IsFunction()) throw misuse(name, "a function");
  return value.As<Napi::Function>();
}

std::optional<uint32_t> optional_u32(const Napi::Object& object, const char* name, uint32_t least,
                                     uint32_t most) {
  const Napi::Value value = object.Get(name);
  if (value.IsUndefined()) return std::nullopt;
  return to_u32(value, name, least, most);
}

}  // namespace verbena::addon
