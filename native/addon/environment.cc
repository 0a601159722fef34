// Owns the start and the teardown of a JavaScript thread's native state.
#include "addon/environment.h"

#include <atomic>
#include <cstdio>

#include "addon/poll_group.h"

namespace verbena::addon {
namespace {

uint32_t next_id() {
  static std::atomic<uint32_t> last{0};
  return ++last;
}

}  // namespace

std::shared_ptr<Environment> Environment::create(Napi::Env env) {
  std::shared_ptr<Environment> environment(new Environment(env));
  environment->self_ = environment;
  // Runs when a worker ends and when the main thread's loop is done; not on process.exit(), where
  // closeAll() is called instead. Asynchronous, because libuv handles close in the loop.
  const napi_status status = napi_add_async_cleanup_hook(
      env,
      [](napi_async_cleanup_hook_handle hook, void* data) {
        static_cast<Environment*>(data)->tear_down(hook);
      },
      environment.get(), nullptr);
  if (status != napi_ok) throw Napi::Error::New(env, "Cannot register the clean-up hook");
  return environment;
}

Environment::Environment(Napi::Env env) : collector(env), env_(env), id_(next_id()) {
  if (napi_get_uv_event_loop(env, &loop_) != napi_ok) {
    throw Napi::Error::New(env, "This thread has no event loop");
  }
}

void Environment::drain_posts() {
  for (PollGroup* group : groups) group->drain();
}

void Environment::handle_closed() {
  --open_handles_;
  if (teardown_ != nullptr && open_handles_ == 0) finish_teardown();
}

void Environment::tear_down(napi_async_cleanup_hook_handle hook) {
  teardown_ = hook;
  if (const auto error = reaper.close_all()) {
    // JavaScript is gone; the operator is the only one left to be told.
    std::fprintf(stderr, "verbena: not everything could be closed: %s\n", error->what());
  }
  for (Napi::FunctionReference& constructor : constructors) constructor.Reset();
  if (open_handles_ == 0) finish_teardown();
}

void Environment::finish_teardown() {
  const std::shared_ptr<Environment> self = std::move(self_);
  napi_remove_async_cleanup_hook(std::exchange(teardown_, nullptr));
}

}  // namespace verbena::addon
