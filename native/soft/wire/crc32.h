// Owns CRC-32 (IEEE 802.3, the polynomial of zlib) over raw states, and its arithmetic mod P.

#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace verbena::wire {

// The state before the first byte. A finished CRC is the state inverted; nothing here inverts.
inline constexpr uint32_t kCrc32InitialState = 0xFFFFFFFFu;

// Feeds `bytes` bytes to the state.
uint32_t crc32_update(uint32_t state, const void* data, size_t bytes);

// As `crc32_update` over `source`, and copies it to `destination` (no overlap) on the way.
uint32_t crc32_copy(uint32_t state, void* destination, const void* source, size_t bytes);

// One way to compute it. All give the same result; which is fastest depends on the machine.
struct Crc32Implementation {
  const char* name;
  uint32_t (*update)(uint32_t state, const void* data, size_t bytes);
  uint32_t (*copy)(uint32_t state, void* destination, const void* source, size_t bytes);
};

// Those that this CPU can execute; the portable one comes first.
std::span<const Crc32Implementation> crc32_implementations();

// The one in use: the winner of a race of some 50 µs, run once per process at first use. A CPUID
// bit alone does not tell: under emulation the tables beat the carry-less multiply.
const Crc32Implementation& crc32_chosen();

// The reflected CRC-32 polynomial P.
inline constexpr uint32_t kCrc32Polynomial = 0xEDB88320u;

// a * b mod P, polynomials in reflected form (bit 31 is x^0). Early out when `a` has few terms.
constexpr uint32_t crc32_multiply(uint32_t a, uint32_t b) {
  uint32_t product = 0;
  for (; a != 0; a <<= 1) {
    if (a & 0x80000000u) product ^= b;
    b = (b >> 1) ^ ((b & 1) != 0 ? kCrc32Polynomial : 0);
  }
  return product;
}

// x^exponent mod P. P is primitive, so exponents count mod 2^32 - 1 and x^-n is
// x^(2^32 - 1 - n). Feeding n zero bits multiplies a state by x^n.
constexpr uint32_t crc32_power_of_x(uint32_t exponent) {
  uint32_t result = 0x80000000u;
  uint32_t square = 0x40000000u;
  for (; exponent != 0; exponent >>= 1) {
    if ((exponent & 1) != 0) result = crc32_multiply(result, square);
    square = crc32_multiply(square, square);
  }
  return result;
}

}  // namespace verbena::wire
