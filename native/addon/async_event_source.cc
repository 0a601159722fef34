// Owns watching for, queueing and delivering asynchronous device events.
#include "addon/async_event_source.h"

#include <fcntl.h>

#include <cerrno>
#include <utility>

#include "verbs/error.h"

namespace verbena::addon {
namespace {

Napi::Object to_js_event(Napi::Env env, const verbs::AsyncEvent& event) {
  Napi::Object object = Napi::Object::New(env);
  object["event"] = verbs::event_name(event.type);
  if (event.subject == verbs::AsyncEvent::Subject::kQueuePair) {
    object["qpIndex"] = static_cast<uint32_t>(event.owner);
  }
  if (event.subject == verbs::AsyncEvent::Subject::kPort) object["port"] = event.port;
  return object;
}

}  // namespace

AsyncEventSource::AsyncEventSource(std::shared_ptr<Environment> environment,
                                   std::shared_ptr<verbs::Device> device)
    : environment_(std::move(environment)), device_(std::move(device)) {}

void AsyncEventSource::start() {
  fd_ = util::UniqueFd(fcntl(device_->context()->async_fd, F_DUPFD_CLOEXEC, 0));
  if (!fd_) throw verbs::verbs_error("fcntl(F_DUPFD_CLOEXEC)", errno);
  int status = wake_.open(environment_, this, [](uv_loop_t* loop, uv_async_t* wake) {
    return uv_async_init(loop, wake, [](uv_async_t* handle) {
      static_cast<AsyncEventSource*>(handle->data)->deliver();
    });
  });
  if (status != 0) throw verbs::verbs_error("uv_async_init", -status);
  subscription_ =
      device_->async_events().subscribe([this](const verbs::AsyncEvent& event) { take(event); });
  subscribed_ = true;
  status = poll_.open(environment_, this, [this](uv_loop_t* loop, uv_poll_t* poll) {
    return uv_poll_init(loop, poll, fd_.get());
  });
  if (status != 0) throw verbs::verbs_error("uv_poll_init", -status);
  uv_poll_start(poll_.get(), UV_READABLE, [](uv_poll_t* handle, int result, int) {
    static_cast<AsyncEventSource*>(handle->data)->on_readable(result);
  });
}

void AsyncEventSource::stop() {
  // First the subscription: no other thread may wake a handle that is closing.
  if (std::exchange(subscribed_, false)) device_->async_events().unsubscribe(subscription_);
  poll_.close();
  wake_.close();
  fd_.reset();
  handler_.reset();
  device_.reset();
}

void AsyncEventSource::set_handler(std::shared_ptr<JsCallback> handler) {
  handler_ = std::move(handler);
  if (handler_ != nullptr) uv_async_send(wake_.get());
}

void AsyncEventSource::on_readable(int status) {
  try {
    if (status < 0) throw verbs::verbs_error("poll(async_fd)", -status);
    device_->async_events().read_all();
  } catch (const verbs::Error&) {
    // The device's event queue itself is broken, as after unplugging: it would be readable for
    // ever.
    uv_poll_stop(poll_.get());
    take({IBV_EVENT_DEVICE_FATAL, verbs::AsyncEvent::Subject::kDevice});
  }
}

void AsyncEventSource::take(const verbs::AsyncEvent& event) {
  const bool of_a_queue = event.owner != 0;
  if (of_a_queue && !environment_->owns(event.owner)) return;
  {
    const std::lock_guard lock(mutex_);
    waiting_.push_back(event);
    if (waiting_.size() > kMaxWaiting) waiting_.pop_front();
  }
  uv_async_send(wake_.get());
}

void AsyncEventSource::deliver() {
  // The handler may close the device or replace itself.
  const auto self = shared_from_this();
  while (const auto handler = handler_) {
    std::unique_lock lock(mutex_);
    if (waiting_.empty()) return;
    const verbs::AsyncEvent event = waiting_.front();
    waiting_.pop_front();
    lock.unlock();
    const Napi::HandleScope scope(environment_->env());
    try {
      handler->call(to_js_event(environment_->env(), event));
    } catch (const Napi::Error&) {
      // The event could not be made: this thread may not run JavaScript any more.
      return;
    }
    environment_->drain_posts();
  }
}

}  // namespace verbena::addon
