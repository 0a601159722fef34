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
  constexpr size_t kBlockBytes = 4096;
  auto to = static_cast<uint8_t*>(destination);
  auto from = static_cast<Bytes>(source);
  while (bytes > 0) {
    const size_t block = std::min(bytes, kBlockBytes);
    std::memcpy(to, from, block);
    state = table_update(state, to, block);
    to += block;
    from += block;
    bytes -= block;
  }
  return state;
}

// --- x86: fold 64 bytes a step by carry-less multiplication -----------------------------------

#ifdef VERBENA_CRC32_X86
#define VERBENA_TARGET_PCLMUL __attribute__((target("pclmul,sse2")))

// The multipliers that move the two halves of a 128-bit register `bits` further along the
// message. A reflected product comes out one bit short, hence the shift.
struct FoldConstants {
  constexpr explicit FoldConstants(uint32_t bits)
      : low(static_cast<long long>(uint64_t{crc32_power_of_x(bits + 32)} << 1)),
        high(static_cast<long long>(uint64_t{crc32_power_of_x(bits - 32)} << 1)) {}
  long long low;
  long long high;
};

constexpr FoldConstants kFoldFour(4 * 128);
constexpr FoldConstants kFoldOne(128);

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

// Handles whole 16-byte blocks, at least four, and returns the state after them.
template <bool kCopy>
VERBENA_TARGET_PCLMUL uint32_t fold_blocks(uint32_t state, uint8_t* to, Bytes from, size_t blocks) {
  __m128i a = _mm_xor_si128(take<kCopy>(to, from, 0), _mm_cvtsi32_si128(static_cast<int>(state)));
  __m128i b = take<kCopy>(to, from, 1);
  __m128i c = take<kCopy>(to, from, 2);
  __m128i d = take<kCopy>(to, from, 3);
  const __m128i by_four = _mm_set_epi64x(kFoldFour.high, kFoldFour.low);
  const __m128i by_one = _mm_set_epi64x(kFoldOne.high, kFoldOne.low);
  size_t done = 4;
  for (; blocks - done >= 4; done += 4) {
    a = fold(a, by_four, take<kCopy>(to, from, done));
    b = fold(b, by_four, take<kCopy>(to, from, done + 1));
    c = fold(c, by_four, take<kCopy>(to, from, done + 2));
    d = fold(d, by_four, take<kCopy>(to, from, done + 3));
  }
  a = fold(fold(fold(a, by_one, b), by_one, c), by_one, d);
  for (; done < blocks; ++done) a = fold(a, by_one, take<kCopy>(to, from, done));
  alignas(16) uint8_t remainder[16];
  _mm_store_si128(reinterpret_cast<__m128i*>(remainder), a);
  return table_update(0, remainder, sizeof remainder);
}

template <bool kCopy>
uint32_t pclmul_run(uint32_t state, void* destination, const void* source, size_t bytes) {
  auto to = static_cast<uint8_t*>(destination);
  auto from = static_cast<Bytes>(source);
  // Below four blocks the last reduction costs more than folding saves.
  const size_t whole = bytes < 64 ? 0 : bytes & ~size_t{15};
  if (whole != 0) state = fold_blocks<kCopy>(state, to, from, whole / 16);
  if constexpr (kCopy) std::memcpy(to + whole, from + whole, bytes - whole);
  return table_update(state, from + whole, bytes - whole);
}

uint32_t pclmul_update(uint32_t state, const void* data, size_t bytes) {
  return pclmul_run<false>(state, nullptr, data, bytes);
}

uint32_t pclmul_copy(uint32_t state, void* destination, const void* source, size_t bytes) {
  if (bytes == 0) return state;  // memcpy must not see null pointers
  return pclmul_run<true>(state, destination, source, bytes);
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
    found.push_back({"pclmul", pclmul_update, pclmul_copy});
  }
#endif
#ifdef VERBENA_CRC32_ARM
  if (arm_has_crc()) found.push_back({"arm-crc", arm_update, arm_copy});
#endif
  return found;
}

// Best of a few rounds over packet-sized input; the best, because interruptions only add time.
int64_t measure_ns(const Crc32Implementation& candidate) {
  alignas(64) static const std::array<uint8_t, 1088> packet{};
  using Clock = std::chrono::steady_clock;
  int64_t best = std::numeric_limits<int64_t>::max();
  uint32_t state = kCrc32InitialState;
  for (int round = 0; round < 6; ++round) {
    const Clock::time_point start = Clock::now();
    for (int packets = 0; packets < 8; ++packets) {
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
