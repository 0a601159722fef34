// Owns the way of asynchronous device events to one JavaScript thread.
#pragma once

#include <uv.h>

#include <deque>
#include <memory>
#include <mutex>

#include "addon/environment.h"
#include "addon/js_callback.h"
#include "addon/uv_handle.h"
#include "util/unique_fd.h"
#include "verbs/async_events.h"
#include "verbs/device.h"

namespace verbena::addon {

/**
 * Every thread that has the device open watches its descriptor (a duplicate: libuv takes one
 * watcher per descriptor and loop) and subscribes; see verbs::AsyncEvents for who reads. Events
 * wait here, oldest dropped past a limit, until there is a handler.
 */
class AsyncEventSource : public std::enable_shared_from_this<AsyncEventSource> {
 public:
  AsyncEventSource(std::shared_ptr<Environment> environment, std::shared_ptr<verbs::Device> device);
  AsyncEventSource(const AsyncEventSource&) = delete;
  AsyncEventSource& operator=(const AsyncEventSource&) = delete;
  ~AsyncEventSource() { stop(); }

  void start();
  /** Idempotent, and safe inside the handler. Before the device is closed. */
  void stop();
  void set_handler(std::shared_ptr<JsCallback> handler);

 private:
  static constexpr size_t kMaxWaiting = 1024;

  void on_readable(int status);
  /** Runs on any thread. */
  void take(const verbs::AsyncEvent& event);
  void deliver();

  std::shared_ptr<Environment> environment_;
  std::shared_ptr<verbs::Device> device_;
  std::shared_ptr<JsCallback> handler_;
  util::UniqueFd fd_;
  bool subscribed_ = false;
  verbs::AsyncEvents::Subscription subscription_;
  std::mutex mutex_;
  std::deque<verbs::AsyncEvent> waiting_;
  UvHandle<uv_poll_t> poll_;
  UvHandle<uv_async_t> wake_;
};

}  // namespace verbena::addon
