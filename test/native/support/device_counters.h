// The counters of an open device, by name.
#pragma once

#include <gtest/gtest.h>
#include <infiniband/verbs.h>

#include <atomic>
#include <cstdint>
#include <cstring>
#include <string_view>

extern "C" const void* verbena_soft_counters(ibv_context* context);

namespace verbena::test {

inline uint64_t device_counter(ibv_context* context, std::string_view name) {
  constexpr size_t kNamesAt = 2048;
  const auto* page = static_cast<const char*>(verbena_soft_counters(context));
  const auto* values = reinterpret_cast<const std::atomic<uint64_t>*>(page);
  const char* at = page + kNamesAt;
  for (size_t i = 0; *at != '\0'; ++i) {
    const size_t length = std::strcspn(at, "\n");
    if (std::string_view(at, length) == name) return values[i].load();
    at += length + 1;
  }
  ADD_FAILURE() << "no counter " << name;
  return 0;
}

}  // namespace verbena::test
