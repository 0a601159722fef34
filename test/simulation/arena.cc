// Canaries around and between what was granted.
#include "arena.h"

#include <algorithm>
#include <cstring>

#include "check.h"

namespace verbena::test {
namespace {

constexpr size_t kPatternBytes = size_t{1} << 21;
constexpr size_t kPhases = size_t{1} << 20;

// Random bytes, so that bytes that went astray by any distance are seen.
const std::vector<std::byte>& pattern() {
  static const std::vector<std::byte> bytes = [] {
    SeededRandom random(0xCA9A47);
    std::vector<std::byte> filled(kPatternBytes);
    for (auto& byte : filled) byte = static_cast<std::byte>(random.next());
    return filled;
  }();
  return bytes;
}

// Addresses that a peer sees need not be ours: from 0, near the end of all, or our own.
uint64_t choose_iova(const std::byte* own, uint32_t bytes, SeededRandom& random) {
  switch (random.below(3)) {
    case 0:
      return 0;
    case 1:
      return (~uint64_t{0} - bytes) & ~uint64_t{7};
    default:
      return reinterpret_cast<uint64_t>(own);
  }
}

}  // namespace

Arena::Arena(Host& host, uint32_t pd, uint32_t bytes, int access, SeededRandom& random)
    : host_(host), bytes_(bytes + 2 * kMargin), phase_(random.below(kPhases)) {
  const auto fill = canary(0, bytes_.size());
  std::copy(fill.begin(), fill.end(), bytes_.begin());
  iova_ = choose_iova(at(0), bytes, random);
  key_ = host.engine().memory().insert({pd, &bytes_[kMargin], bytes, iova_, access});
}

uint64_t Arena::number_at(uint32_t offset) const {
  uint64_t value;
  std::memcpy(&value, at(offset), sizeof value);
  return value;
}

Arena::Slot Arena::grant(uint32_t length, uint32_t alignment) {
  const uint32_t offset = (free_ + kGap + alignment - 1) / alignment * alignment;
  free_ = offset + length;
  hold(free_ + 2 * kMargin <= bytes_.size(), "the simulation needs larger arenas");
  granted_.push_back({{offset, length}, false});
  return granted_.back().slot;
}

void Arena::retire(const Slot& slot) {
  const auto found = std::ranges::lower_bound(
      granted_, slot.offset, {}, [](const Granted& granted) { return granted.slot.offset; });
  hold(found != granted_.end() && found->slot.offset == slot.offset && !found->retired,
       "a slot is retired once");
  const size_t from = kMargin + slot.offset, to = from + slot.length;
  hold(intact(from - kGap, from) && intact(to, to + kGap), "written beside what was granted");
  const auto fill = canary(from, slot.length);
  std::copy(fill.begin(), fill.end(), bytes_.begin() + static_cast<ptrdiff_t>(from));
  if (revoked()) {
    std::copy(fill.begin(), fill.end(), frozen_.begin() + static_cast<ptrdiff_t>(from));
  }
  found->retired = true;
}

Arena::Slot Arena::source(uint32_t length, SeededRandom& random) const {
  return {random.below(kSourceBytes - length), length};
}

void Arena::split(Slot whole, SeededRandom& random, std::vector<ibv_sge>& sges) const {
  for (uint32_t more = random.below(kMaxSge); more > 0; --more) {
    const uint32_t taken = random.below(whole.length + 1);
    sges.push_back({address(whole.offset), taken, key()});
    whole = {whole.offset + taken, whole.length - taken};
  }
  sges.push_back({address(whole.offset), whole.length, key()});
}

std::span<const std::byte> Arena::bytes_of(const Slot& slot) const {
  return std::span(bytes_).subspan(kMargin + slot.offset, slot.length);
}

bool Arena::holds(const Slot& slot, std::span<const std::byte> data) const {
  return std::ranges::equal(bytes_of(slot).first(data.size()), data);
}

bool Arena::holds_nothing_but(const Slot& slot, std::span<const std::byte> data) const {
  const auto bytes = bytes_of(slot);
  const auto before = canary(kMargin + slot.offset, slot.length);
  for (size_t i = 0; i < bytes.size(); ++i) {
    const bool written = i < data.size() && bytes[i] == data[i];
    if (!written && bytes[i] != before[i]) return false;
  }
  return true;
}

void Arena::revoke() {
  if (revoked()) return;
  host_.engine().memory().erase(key_);
  key_lives_ = false;
  frozen_ = bytes_;
}

void Arena::check() const {
  size_t from = 0;
  for (const Granted& granted : granted_) {
    if (granted.retired) continue;
    const size_t start = kMargin + granted.slot.offset;
    hold(intact(from, start), "written outside of what was granted");
    from = start + granted.slot.length;
  }
  hold(intact(from, bytes_.size()), "written outside of what was granted");
  hold(!revoked() || bytes_ == frozen_, "written after the key was taken away");
}

void Arena::check_edges() const {
  const bool kept = intact(0, kMargin) && intact(bytes_.size() - kMargin, bytes_.size());
  hold(kept, "written outside of a region");
}

std::span<const std::byte> Arena::canary(size_t from, size_t count) const {
  return std::span(pattern()).subspan(phase_ + from, count);
}

bool Arena::intact(size_t from, size_t to) const {
  const auto expected = canary(from, to - from);
  return std::memcmp(&bytes_[from], expected.data(), to - from) == 0;
}

}  // namespace verbena::test
