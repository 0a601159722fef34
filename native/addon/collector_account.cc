// Owns the sums of what the garbage collector is told.
#include "addon/collector_account.h"

#include <algorithm>

namespace verbena::addon {
namespace {

/** So many bytes may be left to the collector before it is offered a look at them. */
constexpr size_t kLeftBetweenLooks = size_t{4} << 20;

int64_t discount(size_t bytes) {
  return static_cast<int64_t>(bytes - bytes / 4);
}

/**
 * From here on V8 counts the bytes of ArrayBuffers and what it is told in one sum, and ends the
 * process when it takes an ArrayBuffer off that and less is left.
 */
constexpr uint32_t kStrictNodeMajor = 23;

}  // namespace

CollectorAccount::CollectorAccount(Napi::Env env)
    : is_told_(Napi::VersionManagement::GetNodeVersion(env)->major < kStrictNodeMajor) {}

int64_t CollectorAccount::tell(Napi::Env env, int64_t change) const {
  return is_told_ ? Napi::MemoryManagement::AdjustExternalMemory(env, change) : 0;
}

void CollectorAccount::before_making(Napi::Env env) {
  ahead_ = taken_off_ - put_back_;
  count_before_ = tell(env, ahead_);
}

void CollectorAccount::after_making(Napi::Env env, size_t bytes) {
  const bool found = tell(env, 0) < count_before_ + static_cast<int64_t>(bytes);
  if (found) {
    put_back_ += ahead_;
  } else {
    tell(env, -ahead_);
  }
}

void CollectorAccount::keep(Napi::Env env, size_t bytes) const {
  tell(env, -static_cast<int64_t>(bytes));
}

void CollectorAccount::drop_kept(Napi::Env env, size_t bytes) const {
  tell(env, static_cast<int64_t>(bytes));
}

void CollectorAccount::leave(Napi::Env env, size_t bytes) {
  tell(env, static_cast<int64_t>(bytes) - discount(bytes));
  taken_off_ += discount(bytes);
  left_bytes_ += bytes;
  if (left_bytes_ >= kLeftBetweenLooks) offer_a_look(env);
}

void CollectorAccount::drop_left(Napi::Env env, size_t bytes) {
  const int64_t done = std::min(put_back_, discount(bytes));
  put_back_ -= done;
  taken_off_ -= discount(bytes);
  tell(env, discount(bytes) - done);
}

void CollectorAccount::offer_a_look(Napi::Env env) {
  left_bytes_ = 0;
  before_making(env);
  Napi::ArrayBuffer::New(env, 1);
  after_making(env, 1);
}

}  // namespace verbena::addon
