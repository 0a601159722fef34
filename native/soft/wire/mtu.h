// Path MTU codes (IBTA volume 1, 9.2; enum ibv_mtu).
#pragma once

#include <cstdint>

namespace verbena::wire {

constexpr uint32_t kMaxMtuBytes = 4096;

constexpr bool mtu_code_valid(uint32_t code) {
  return code >= 1 && code <= 5;
}
constexpr uint32_t mtu_bytes(uint32_t code) {
  return 128U << code;
}

constexpr uint32_t packet_count(uint32_t bytes, uint32_t mtu) {
  return bytes == 0 ? 1 : (bytes - 1) / mtu + 1;
}

}  // namespace verbena::wire
