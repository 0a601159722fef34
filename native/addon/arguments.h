// Owns reading of arguments from JavaScript; misuse throws ERR_VERBENA_ARGUMENT with what is
// allowed.
#pragma once

#include <infiniband/verbs.h>

#include <cstdint>
#include <optional>
#include <string>

#include "addon/js.h"

namespace verbena::addon {

/** Integers up to 2^53 - 1, which JavaScript represents exactly. */
inline constexpr uint64_t kMaxSafeInteger = (1ULL << 53) - 1;

/** The access flags that JavaScript may ask for. */
inline constexpr uint32_t kAllAccess = IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE |
                                       IBV_ACCESS_REMOTE_READ | IBV_ACCESS_REMOTE_ATOMIC;

uint64_t to_integer(const Napi::Value& value, const std::string& name, uint64_t least,
                    uint64_t most);
uint32_t to_u32(const Napi::Value& value, const std::string& name, uint32_t least = 0,
                uint32_t most = UINT32_MAX);
std::string to_text(const Napi::Value& value, const std::string& name);
Napi::Object to_object(const Napi::Value& value, const std::string& name);
Napi::Function to_function(const Napi::Value& value, const std::string& name);

/** A property that may be left out or undefined. */
std::optional<uint32_t> optional_u32(const Napi::Object& object, const char* name, uint32_t least,
                                     uint32_t most);

}  // namespace verbena::addon
