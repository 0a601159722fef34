// Computes CRC-32 by tables, by carry-less multiplication or by ARM's CRC instruction.

#include "soft/wire/crc32.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <limits>
#include <vector>

#if defined(__x86_64__) || defined(__i386__)
#include <immintrin.h>
#define VERBENA_CRC32_X86 1
#elif defined(__aarch64__) && defined(__linux__)
#include <arm_acle.h>
#include <sys/auxv.h>
#define VERBENA_CRC32_ARM 1
#endif

namespace verbena::wire {
namespace {

using Bytes = const uint8_t*;

// --- Tables: sixteen bytes a step -------------------------------------------------------------

using Tables = std::array<std::array<uint32_t, 256>, 16>;

constexpr Tables make_tables() {
  Tables tables{};
  for (uint32_t byte = 0; byte < 256; ++byte) {
    uint32_t state = byte;
    for (int bit = 0; bit < 8; ++bit) {
      state = (state >> 1) ^ ((state & 1) != 0 ? kCrc32Polynomial : 0);
    }
    tables[0][byte] = state;
  }
  for (size_t table = 1; table < tables.size(); ++table) {
    for (size_t byte = 0; byte < 256; ++byte) {
      const uint32_t previous = tables[table - 1][byte];
      tables[table][byte] = (previous >> 8) ^ tables[0][previous & 0xFF];
    }
  }
  return tables;
}

alignas(64) constexpr Tables kTables = make_tables();

uint32_t load_le32(Bytes data) {
  return uint32_t{data[0]} | uint32_t{data[1]} << 8 | uint32_t{data[2]} << 16 |
         uint32_t{data[3]} << 24;
}

// What the word contributes when `after` bytes of the same step follow it.
uint32_t look_up(uint32_t word, size_t after) {
  return kTables[after + 3][word & 0xFF] ^ kTables[after + 2][(word >> 8) & 0xFF] ^
         kTables[after + 1][(word >> 16) & 0xFF] ^ kTables[after][word >> 24];
}

uint32_t table_update(uint32_t state, const void* data, size_t bytes) {
  auto next = static_cast<Bytes>(data);
  for (; bytes >= 16; bytes -= 16, next += 16) {
    state = look_up(state ^ load_le32(next), 12) ^ look_up(load_le32(next + 4), 8) ^
            look_up(load_le32(next + 8), 4) ^ look_up(load_le32(next + 12), 0);
  }
  for (; bytes >= 4; bytes -= 4, next += 4) state = look_up(state ^ load_le32(next), 0);
  for (; bytes > 0; --bytes, ++next) state = (state >> 8) ^ kTables[0][(state ^ *next) & 0xFF];
  return state;
}

uint32_t table_copy(uint32_t state, void* destination, const void* source, size_t bytes) {
  // In blocks that stay in the first-level cache between the copy and the look-ups.
  constexpr size_t kPieceBytes = 4096;
  auto to = static_cast<uint8_t*>(destination);
  auto from = static_cast<Bytes>(source);
  while (bytes > 0) {
    const size_t block = std::min(bytes, kPieceBytes);
    std::memcpy(to, from, block);
    state = table_update(state, to, block);
    to += block;
    from += block;
    bytes -= block;
  }
  return state;
}

// --- x86: carry-less multiplication -----------------------------------------------------------

#ifdef VERBENA_CRC32_X86
#define VERBENA_TARGET_PCLMUL __attribute__((target("pclmul,sse2")))

// A reflected product comes out one bit short, hence the shift.
constexpr long long multiplier(uint32_t exponent) {
  return static_cast<long long>(crc32_power_of_x(exponent)) << 1;
}

// What moves the two halves of a 128-bit register `bits` further along the message.
struct FoldConstants {
  constexpr explicit FoldConstants(uint32_t bits)
      : low(multiplier(bits + 32)), high(multiplier(bits - 32)) {}
  long long low;
  long long high;
};

constexpr FoldConstants kFoldFour(4 * 128);
constexpr FoldConstants kFoldOne(128);
constexpr size_t kBlockBytes = 16;
constexpr size_t kGroupBytes = 4 * kBlockBytes;

VERBENA_TARGET_PCLMUL inline __m128i fold(__m128i accumulator, __m128i constants, __m128i next) {
  const __m128i low = _mm_clmulepi64_si128(accumulator, constants, 0x00);
  const __m128i high = _mm_clmulepi64_si128(accumulator, constants, 0x11);
  return _mm_xor_si128(_mm_xor_si128(low, high), next);
}

template <bool kCopy>
VERBENA_TARGET_PCLMUL inline __m128i take(uint8_t* to, Bytes from, size_t index) {
  const __m128i block = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from) + index);
  if constexpr (kCopy) _mm_storeu_si128(reinterpret_cast<__m128i*>(to) + index, block);
  return block;
}

template <bool kCopy>
VERBENA_TARGET_PCLMUL inline __m128i fold_each(__m128i accumulator, uint8_t* to, Bytes from,
                                               size_t blocks) {
  const __m128i by_one = _mm_set_epi64x(kFoldOne.high, kFoldOne.low);
  for (size_t i = 0; i < blocks; ++i) {
    accumulator = fold(accumulator, by_one, take<kCopy>(to, from, i));
  }
  return accumulator;
}

// Both of these handle whole groups of four blocks.
template <bool kCopy>
VERBENA_TARGET_PCLMUL __m128i fold_groups(uint32_t state, uint8_t* to, Bytes from, size_t groups) {
  __m128i a = _mm_xor_si128(take<kCopy>(to, from, 0), _mm_cvtsi32_si128(static_cast<int>(state)));
  __m128i b = take<kCopy>(to, from, 1);
  __m128i c = take<kCopy>(to, from, 2);
  __m128i d = take<kCopy>(to, from, 3);
  const __m128i by_four = _mm_set_epi64x(kFoldFour.high, kFoldFour.low);
  for (size_t done = 4; done < 4 * groups; done += 4) {
    a = fold(a, by_four, take<kCopy>(to, from, done));
    b = fold(b, by_four, take<kCopy>(to, from, done + 1));
    c = fold(c, by_four, take<kCopy>(to, from, done + 2));
    d = fold(d, by_four, take<kCopy>(to, from, done + 3));
  }
  const __m128i by_one = _mm_set_epi64x(kFoldOne.high, kFoldOne.low);
  return fold(fold(fold(a, by_one, b), by_one, c), by_one, d);
}

#define VERBENA_TARGET_WIDE __attribute__((target("avx512f,vpclmulqdq,pclmul,sse2")))

constexpr FoldConstants kFoldFourGroups(16 * 128);
constexpr size_t kFewestWideGroups = 4;

VERBENA_TARGET_WIDE inline __m512i in_each_lane(const FoldConstants& constants) {
  const auto [low, high] = constants;
  return _mm512_set_epi64(high, low, high, low, high, low, high, low);
}

VERBENA_TARGET_WIDE inline __m512i fold_wide(__m512i accumulator, __m512i constants, __m512i next) {
  constexpr int kXorOfThree = 0x96;
  const __m512i low = _mm512_clmulepi64_epi128(accumulator, constants, 0x00);
  const __m512i high = _mm512_clmulepi64_epi128(accumulator, constants, 0x11);
  return _mm512_ternarylogic_epi64(low, high, next, kXorOfThree);
}

template <bool kCopy>
VERBENA_TARGET_WIDE inline __m512i take_wide(uint8_t* to, Bytes from, size_t index) {
  const __m512i group = _mm512_loadu_si512(from + index * kGroupBytes);
  if constexpr (kCopy) _mm512_storeu_si512(to + index * kGroupBytes, group);
  return group;
}

// A group in a register, four of them at a time.
template <bool kCopy>
VERBENA_TARGET_WIDE __m128i fold_wide_groups(uint32_t state, uint8_t* to, Bytes from,
                                             size_t groups) {
  if (groups < kFewestWideGroups) return fold_groups<kCopy>(state, to, from, groups);
  const __m512i before = _mm512_zextsi128_si512(_mm_cvtsi32_si128(static_cast<int>(state)));
  __m512i a = _mm512_xor_si512(take_wide<kCopy>(to, from, 0), before);
  __m512i b = take_wide<kCopy>(to, from, 1);
  __m512i c = take_wide<kCopy>(to, from, 2);
  __m512i d = take_wide<kCopy>(to, from, 3);
  const __m512i by_four = in_each_lane(kFoldFourGroups);
  const __m512i by_one = in_each_lane(kFoldFour);
  size_t done = 4;
  for (; groups - done >= 4; done += 4) {
    a = fold_wide(a, by_four, take_wide<kCopy>(to, from, done));
    b = fold_wide(b, by_four, take_wide<kCopy>(to, from, done + 1));
    c = fold_wide(c, by_four, take_wide<kCopy>(to, from, done + 2));
    d = fold_wide(d, by_four, take_wide<kCopy>(to, from, done + 3));
  }
  a = fold_wide(fold_wide(fold_wide(a, by_one, b), by_one, c), by_one, d);
  for (; done < groups; ++done) a = fold_wide(a, by_one, take_wide<kCopy>(to, from, done));
  alignas(kGroupBytes) uint8_t group[kGroupBytes];
  _mm512_store_si512(group, a);
  return fold_groups<false>(0, nullptr, group, 1);
}

// The state that the register's 128 bits leave behind: folded to 96 and to 64 bits, the rest by
// Barrett's reduction.
VERBENA_TARGET_PCLMUL inline uint32_t reduce(__m128i bits) {
  const __m128i to_64 = _mm_set_epi64x(multiplier(96), multiplier(64));
  // P and the quotient of x^64 by P, both with all of their 33 bits.
  const __m128i barrett = _mm_set_epi64x(0x1F7011641, 0x1DB710641);
  const __m128i low_word = _mm_setr_epi32(-1, 0, -1, 0);
  bits = _mm_xor_si128(_mm_clmulepi64_si128(bits, to_64, 0x10), _mm_srli_si128(bits, 8));
  bits = _mm_xor_si128(_mm_clmulepi64_si128(_mm_and_si128(bits, low_word), to_64, 0x00),
                       _mm_srli_si128(bits, 4));
  __m128i quotient = _mm_clmulepi64_si128(_mm_and_si128(bits, low_word), barrett, 0x10);
  quotient = _mm_clmulepi64_si128(_mm_and_si128(quotient, low_word), barrett, 0x00);
  return static_cast<uint32_t>(_mm_cvtsi128_si32(_mm_srli_si128(_mm_xor_si128(bits, quotient), 4)));
}

using FoldGroups = __m128i (*)(uint32_t state, uint8_t* to, Bytes from, size_t groups);

template <bool kCopy, FoldGroups kFoldGroups>
VERBENA_TARGET_PCLMUL uint32_t fold_all(uint32_t state, uint8_t* to, Bytes from, size_t bytes) {
  // What is no whole block comes first, where it costs least. Below a group the last reduction
  // costs more than folding saves.
  const size_t odd = bytes < kGroupBytes ? bytes : bytes % kBlockBytes;
  if constexpr (kCopy) std::memcpy(to, from, odd);
  state = table_update(state, from, odd);
  if (odd == bytes) return state;
  from += odd;
  if constexpr (kCopy) to += odd;
  const size_t groups = (bytes - odd) / kGroupBytes;
  const __m128i accumulator = kFoldGroups(state, to, from, groups);
  from += groups * kGroupBytes;
  if constexpr (kCopy) to += groups * kGroupBytes;
  const size_t blocks_left = (bytes - odd) % kGroupBytes / kBlockBytes;
  return reduce(fold_each<kCopy>(accumulator, to, from, blocks_left));
}

template <FoldGroups kFoldGroups>
uint32_t pclmul_update(uint32_t state, const void* data, size_t bytes) {
  return fold_all<false, kFoldGroups>(state, nullptr, static_cast<Bytes>(data), bytes);
}

template <FoldGroups kFoldGroups>
uint32_t pclmul_copy(uint32_t state, void* destination, const void* source, size_t bytes) {
  if (bytes == 0) return state;  // memcpy must not see null pointers
  return fold_all<true, kFoldGroups>(state, static_cast<uint8_t*>(destination),
                                     static_cast<Bytes>(source), bytes);
}

// The compiler's check is also of the system: whether it saves registers so wide.
bool x86_has_wide() {
  return __builtin_cpu_supports("vpclmulqdq") != 0 && __builtin_cpu_supports("avx512f") != 0;
}
#endif

// --- ARM: eight bytes an instruction ----------------------------------------------------------

#ifdef VERBENA_CRC32_ARM
__attribute__((target("+crc"))) uint32_t arm_update(uint32_t state, const void* data,
                                                    size_t bytes) {
  auto next = static_cast<Bytes>(data);
  for (; bytes >= 8; bytes -= 8, next += 8) {
    uint64_t word;
    std::memcpy(&word, next, sizeof word);
    state = __crc32d(state, word);
  }
  for (; bytes > 0; --bytes, ++next) state = __crc32b(state, *next);
  return state;
}

uint32_t arm_copy(uint32_t state, void* destination, const void* source, size_t bytes) {
  if (bytes == 0) return state;
  std::memcpy(destination, source, bytes);
  return arm_update(state, destination, bytes);
}

bool arm_has_crc() {
  constexpr unsigned long kHwcapCrc32 = 1ul << 7;
  return (getauxval(AT_HWCAP) & kHwcapCrc32) != 0;
}
#endif

// --- Choice -----------------------------------------------------------------------------------

std::vector<Crc32Implementation> find_implementations() {
  std::vector<Crc32Implementation> found{{"tables", table_update, table_copy}};
#ifdef VERBENA_CRC32_X86
  if (__builtin_cpu_supports("pclmul") != 0) {
    found.push_back({"pclmul", pclmul_update<fold_groups<false>>, pclmul_copy<fold_groups<true>>});
    if (x86_has_wide()) {
      found.push_back({"vpclmul-512", pclmul_update<fold_wide_groups<false>>,
                       pclmul_copy<fold_wide_groups<true>>});
    }
  }
#endif
#ifdef VERBENA_CRC32_ARM
  if (arm_has_crc()) found.push_back({"arm-crc", arm_update, arm_copy});
#endif
  return found;
}

// Best of a few rounds over input as large as a large packet, where it matters most; the best,
// because interruptions only add time.
int64_t measure_ns(const Crc32Implementation& candidate) {
  alignas(64) static const std::array<uint8_t, 4160> packet{};
  using Clock = std::chrono::steady_clock;
  int64_t best = std::numeric_limits<int64_t>::max();
  uint32_t state = kCrc32InitialState;
  for (int round = 0; round < 6; ++round) {
    const Clock::time_point start = Clock::now();
    for (int packets = 0; packets < 2; ++packets) {
      state = candidate.update(state, packet.data(), packet.size());
    }
    asm volatile("" : : "r"(state));  // keeps the work from being optimised away
    const auto elapsed = Clock::now() - start;
    best = std::min(best, std::chrono::nanoseconds(elapsed).count());
  }
  return best;
}

const Crc32Implementation& race() {
  const auto candidates = crc32_implementations();
  const Crc32Implementation* winner = &candidates.front();
  int64_t winner_ns = measure_ns(*winner);
  for (const Crc32Implementation& candidate : candidates.subspan(1)) {
    const int64_t ns = measure_ns(candidate);
    if (ns < winner_ns) {
      winner = &candidate;
      winner_ns = ns;
    }
  }
  return *winner;
}

}  // namespace

std::span<const Crc32Implementation> crc32_implementations() {
  // Never destroyed: the device's thread may still compute while the process exits.
  static const auto* const implementations =
      new std::vector<Crc32Implementation>(find_implementations());
  return *implementations;
}

const Crc32Implementation& crc32_chosen() {
  static const Crc32Implementation& chosen = race();
  return chosen;
}

uint32_t crc32_update(uint32_t state, const void* data, size_t bytes) {
  return crc32_chosen().update(state, data, bytes);
}

uint32_t crc32_copy(uint32_t state, void* destination, const void* source, size_t bytes) {
  return crc32_chosen().copy(state, destination, source, bytes);
}

}  // namespace verbena::wire
