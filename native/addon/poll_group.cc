// Owns the turn of a poll group in the event loop.
#include "addon/poll_group.h"

#include <poll.h>
#include <sched.h>

#include <cerrno>
#include <utility>

#include "addon/errors.h"
#include "util/clock.h"
#include "verbs/ring_layout.h"

namespace verbena::addon {
namespace {

/** While spinning, the loop is looked at once in so many polls: that is a system call. */
constexpr uint32_t kPollsPerLoopCheck = 4;

size_t ring_bytes(uint32_t entries, uint32_t words) {
  return static_cast<size_t>(entries) * words * sizeof(uint32_t);
}

PollGroup* owner_of(uv_prepare_t* handle) {
  return static_cast<PollGroup*>(handle->data);
}
PollGroup* owner_of(uv_poll_t* handle) {
  return static_cast<PollGroup*>(handle->data);
}

verbs::Error loop_error(const char* operation, int status) {
  return verbs::verbs_error(operation, -status);
}

}  // namespace

PollGroup::PollGroup(std::shared_ptr<Environment> environment,
                     const std::shared_ptr<verbs::Device>& device, const PollGroupOptions& options,
                     std::shared_ptr<JsCallback> on_completions)
    : environment_(std::move(environment)),
      device_(device),
      options_(options),
      on_completions_(std::move(on_completions)),
      channel_(std::make_shared<verbs::CompletionChannel>(device)),
      completion_memory_(std::make_shared<verbs::Slab>(
          ring_bytes(options.completion_capacity, verbs::completion::kWords))),
      post_memory_(std::make_shared<verbs::Slab>(
          ring_bytes(options.post_capacity + 1, verbs::post::kWords))),
      poller_(*channel_, options.empty_polls_before_arm, environment_->qps),
      posts_(reinterpret_cast<uint32_t*>(post_memory_->data()), options.post_capacity,
             environment_->qps, environment_->mrs),
      packets_taken_(device->counter("rx_packets")) {}

void PollGroup::start() {
  const auto require = [](const char* operation, int status) {
    if (status != 0) throw loop_error(operation, status);
  };
  const int fd = channel_->fd();
  require("uv_prepare_init", prepare_.open(environment_, this, uv_prepare_init));
  require("uv_idle_init", idle_.open(environment_, this, uv_idle_init));
  require("uv_poll_init", channel_poll_.open(environment_, this, [fd](uv_loop_t* loop, auto* poll) {
    return uv_poll_init(loop, poll, fd);
  }));
  position_ = environment_->groups.insert(environment_->groups.end(), this);
  uv_prepare_start(prepare_.get(), [](uv_prepare_t* handle) { owner_of(handle)->on_prepare(); });
  const int status = uv_poll_start(
      channel_poll_.get(), UV_READABLE,
      [](uv_poll_t* handle, int result, int) { owner_of(handle)->on_channel(result); });
  if (status != 0) {
    stop();
    throw loop_error("uv_poll_start", status);
  }
}

void PollGroup::stop() {
  if (channel_poll_.get() != nullptr) environment_->groups.erase(position_);
  prepare_.close();
  idle_.close();
  channel_poll_.close();
  on_completions_.reset();
}

void PollGroup::on_prepare() {
  // JavaScript may close the group while it runs.
  const auto self = shared_from_this();
  drain();
  uint32_t count = gather(/*may_arm=*/!transfers_move());
  if (count == 0 && about_to_block()) {
    count = spin();
    // Other work than this group's may wait in the loop; what is HOT is polled again after it.
    if (count == 0 && !loop_is_ready() && !transfers_move()) {
      count = poller_.arm_all(records(), options_.completion_capacity);
    }
  }
  deliver(count);
  if (!is_running()) return;
  const bool stay_awake = count > 0 || poller_.has_hot() || posts_.has_failures();
  set_awake(stay_awake);
  if (!stay_awake) note_sleep();
}

void PollGroup::on_channel(int status) {
  const auto self = shared_from_this();
  ++stats_.wakeups;
  note_wakeup();
  if (status < 0) {
    give_up_channel(loop_error("poll(completion channel)", status));
  } else {
    collect_events();
  }
  deliver(gather(/*may_arm=*/false));
}

void PollGroup::collect_events() {
  try {
    poller_.collect_events();
  } catch (const verbs::Error& error) {
    give_up_channel(error);
  }
}

void PollGroup::give_up_channel(verbs::Error error) {
  // A channel that fails would be readable for ever.
  uv_poll_stop(channel_poll_.get());
  errors_.push_back(std::move(error));
}

uint32_t PollGroup::gather(bool may_arm) {
  const uint32_t capacity = options_.completion_capacity;
  const uint32_t failures = posts_.take_failures(records(), capacity);
  return failures + poller_.pass(records() + failures, capacity - failures, may_arm);
}

/** Whether nothing else keeps the loop from blocking: an immediate, a timer that is due, ... */
bool PollGroup::about_to_block() {
  set_awake(false);
  return uv_backend_timeout(environment_->loop()) != 0;
}

/** Whether a descriptor that the loop watches has something, this group's channel among them. */
bool PollGroup::loop_is_ready() {
  pollfd loop{uv_backend_fd(environment_->loop()), POLLIN, 0};
  return poll(&loop, 1, 0) > 0;
}

// Whether polling moves a large transfer. Its completions are further apart than a spin lasts, and
// while it moves this thread has work: asleep, it would leave that to the device's thread, whose
// waking and whose handing back cost more than the packets between two completions.
bool PollGroup::transfers_move() {
  if (packets_taken_ == nullptr || posts_.transfers() == 0) return false;
  const uint64_t now = util::monotonic_ns();
  if (const uint64_t taken = *packets_taken_; taken != packets_seen_) {
    packets_seen_ = taken;
    moved_at_ns_ = now;
  }
  return now - moved_at_ns_ < uint64_t{options_.spin_us} * 1000;
}

uint32_t PollGroup::spin() {
  if (options_.spin_us == 0 || !poller_.has_hot()) return 0;
  const uint64_t start = util::monotonic_ns();
  if (!governor_.should_spin(start)) return 0;
  ++stats_.spins;
  const uint64_t deadline = start + uint64_t{options_.spin_us} * 1000;
  const uint32_t count = spin_until(deadline);
  const uint64_t end = util::monotonic_ns();
  governor_.record_end(deadline, end);
  stats_.spin_ns += end - start;
  return count;
}

uint32_t PollGroup::spin_until(uint64_t deadline) {
  uint32_t count = 0;
  for (uint32_t polls = 0; count == 0 && util::monotonic_ns() < deadline; ++polls) {
    if (polls % kPollsPerLoopCheck == 0 && loop_is_ready()) return 0;
    // Whoever else wants this core may be the one that we wait for.
    sched_yield();
    count = poller_.pass(records(), options_.completion_capacity, /*may_arm=*/false);
  }
  if (count > 0) ++stats_.spin_hits;
  governor_.record(count > 0);
  return count;
}

void PollGroup::deliver(uint32_t count) {
  if (count > 0) {
    ++stats_.batches;
    const Napi::HandleScope scope(environment_->env());
    const auto callback = on_completions_;
    napi_value argument = nullptr;
    if (napi_create_uint32(environment_->env(), count, &argument) == napi_ok) {
      callback->call(argument);
    }
    environment_->drain_posts();
  }
  report_errors();
}

void PollGroup::report_errors() {
  for (verbs::Error& error : poller_.take_errors()) errors_.push_back(std::move(error));
  for (const verbs::Error& error : std::exchange(errors_, {})) {
    report_uncaught(environment_->env(), error);
  }
}

void PollGroup::flush() {
  {
    const verbs::Device::PostBatch together(*device_);
    posts_.drain();
  }
  if (posts_.has_failures()) keep_awake();
}

void PollGroup::drain() {
  try {
    flush();
  } catch (const verbs::Error& error) {
    errors_.push_back(error);
    keep_awake();
  }
}

void PollGroup::set_awake(bool awake) {
  if (!is_running() || awake == awake_) return;
  awake_ = awake;
  if (awake) {
    uv_idle_start(idle_.get(), [](uv_idle_t*) {});
  } else {
    uv_idle_stop(idle_.get());
  }
}

void PollGroup::note_sleep() {
  if (options_.spin_us > 0) asleep_since_ns_ = util::monotonic_ns();
}

void PollGroup::note_wakeup() {
  const uint64_t since = std::exchange(asleep_since_ns_, 0);
  if (since == 0) return;
  // The spin is as long as a wake-up takes, so what came within one spin is seen within two.
  const uint64_t slept_ns = util::monotonic_ns() - since;
  if (slept_ns < 2 * uint64_t{options_.spin_us} * 1000) governor_.record_early_wakeup();
}

}  // namespace verbena::addon
