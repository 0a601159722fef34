// Owns what the garbage collector is told about the bytes of slabs.
#pragma once

#include <cstddef>
#include <cstdint>

#include "addon/js.h"

namespace verbena::addon {

/**
 * The collector counts the bytes of every ArrayBuffer and works the harder the more there are.
 *
 * Those of a slab that a pool keeps would only make it look, in vain, for what it could free: they
 * are taken off its count. A slab that was left to it counts a quarter: counted in full, large
 * payloads made it walk the whole heap for every 16 MiB of them, which took longer than moving
 * them. What was taken off is put back when the slab is found.
 *
 * Most payloads are dropped soon, and a look at the youngest objects finds them. But V8 asks
 * whether these hold much memory only where it makes an ArrayBuffer itself, so it is made to. What
 * it finds, 32 MiB at once, goes off its count while an ArrayBuffer is made, and we hear of the
 * slabs only later. If what had been taken off for them were put back then, the count would seem
 * to have grown by it, and a walk of the whole heap to be due. So it is put back just before.
 *
 * Where V8 permits none of that, every slab counts in full.
 */
class CollectorAccount {
 public:
  explicit CollectorAccount(Napi::Env env);

  /** Before an ArrayBuffer is made, and after: `bytes` is its size. */
  void before_making(Napi::Env env);
  void after_making(Napi::Env env, size_t bytes);

  /** A pool keeps a slab. */
  void keep(Napi::Env env, size_t bytes) const;
  /** A slab that a pool keeps is left to the collector. */
  void leave(Napi::Env env, size_t bytes);
  /** A slab that was kept, or that was left, is gone. */
  void drop_kept(Napi::Env env, size_t bytes) const;
  void drop_left(Napi::Env env, size_t bytes);

 private:
  void offer_a_look(Napi::Env env);
  /** Returns what the collector counts now. */
  int64_t tell(Napi::Env env, int64_t change) const;

  const bool is_told_;

  /** Left since the last look was offered. */
  size_t left_bytes_ = 0;
  /** What was taken off for slabs that were left and not dropped, and what was put back of that. */
  int64_t taken_off_ = 0;
  int64_t put_back_ = 0;
  /** From before to after making an ArrayBuffer. */
  int64_t ahead_ = 0;
  int64_t count_before_ = 0;
};

}  // namespace verbena::addon
