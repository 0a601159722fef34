// Owns a libuv handle, whose memory must live on until the loop has let go of it.
#pragma once

#include <uv.h>

#include <memory>
#include <utility>

#include "addon/environment.h"

namespace verbena::addon {

template <class Handle>
class UvHandle {
 public:
  UvHandle() = default;
  UvHandle(const UvHandle&) = delete;
  UvHandle& operator=(const UvHandle&) = delete;
  ~UvHandle() { close(); }

  /** `init` is the call to uv_*_init(); its result is returned. The handle is unref'd. */
  template <class Init>
  int open(const std::shared_ptr<Environment>& environment, void* owner, Init init) {
    auto block = std::make_unique<Block>();
    if (const int result = init(environment->loop(), &block->handle); result != 0) return result;
    environment->handle_opened();
    block->environment = environment;
    block->handle.data = owner;
    uv_unref(reinterpret_cast<uv_handle_t*>(&block->handle));
    block_ = block.release();
    return 0;
  }

  Handle* get() const { return block_ != nullptr ? &block_->handle : nullptr; }

  /** Idempotent. No callback runs after this. */
  void close() {
    Block* block = std::exchange(block_, nullptr);
    if (block == nullptr) return;
    uv_close(reinterpret_cast<uv_handle_t*>(&block->handle), [](uv_handle_t* handle) {
      const std::unique_ptr<Block> block(reinterpret_cast<Block*>(handle));
      block->environment->handle_closed();
    });
  }

 private:
  struct Block {
    // First, so that the handle leads back to its block.
    Handle handle;
    std::shared_ptr<Environment> environment;
  };

  Block* block_ = nullptr;
};

}  // namespace verbena::addon
