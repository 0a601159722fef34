// Moves packets between the socket and the engine.
#include "soft/abi/lane.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <unistd.h>

#include "soft/abi/async.h"
#include "soft/abi/guard.h"
#include "soft/abi/limits.h"
#include "soft/abi/open_failure.h"
#include "soft/io/clock.h"
#include "soft/io/idle_policy.h"

namespace verbena::soft {
namespace {

// There is one lane in a process.
thread_local bool held = false;

std::unique_ptr<io::FaultInjector> make_faults(const Settings& settings) {
  if (!settings.faults) return nullptr;
  return std::make_unique<io::FaultInjector>(*settings.faults);
}

std::unique_ptr<io::PacketCapture> make_capture(const Settings& settings) {
  if (settings.capture_path.empty()) return nullptr;
  io::Failure failure;
  auto capture = io::PacketCapture::open(settings.capture_path, failure);
  if (capture == nullptr) throw OpenFailure{failure};
  return capture;
}

// Neither faults nor captures know of memory.
std::unique_ptr<shm::Neighbours> find_neighbours(const Settings& settings,
                                                 const wire::Address& address, io::Inbox& inbox) {
  if (!settings.shares_memory || settings.faults || !settings.capture_path.empty()) return nullptr;
  auto neighbours = shm::Neighbours::open(address);
  if (neighbours != nullptr && inbox.watch_too(neighbours->fd()) != 0) return nullptr;
  return neighbours;
}

// Several peers send to one socket at the same time, and the kernel charges more than a packet's
// bytes.
engine::EngineOptions engine_options(const io::UdpSocket& socket, ibv_mtu mtu) {
  return {static_cast<uint64_t>(socket.receive_buffer_bytes()) / 4, socket.address(),
          wire::mtu_bytes(mtu)};
}

}  // namespace

Lane::Lane(const Settings& settings)
    : icrc_mode_(settings.icrc_mode),
      socket_(open_socket(settings)),
      inbox_(*socket_),
      link_(find_link(settings, address())),
      faults_(make_faults(settings)),
      capture_(make_capture(settings)),
      neighbours_(find_neighbours(settings, address(), inbox_)),
      transmit_batch_(*socket_, faults_.get(), capture_.get()),
      receive_batch_(*socket_, capture_.get()),
      route_(transmit_batch_, neighbours_.get()),
      counters_(settings.counters_path),
      events_(make_event_sink()),
      engine_(engine_options(*socket_, link_.mtu), random_, *events_, *counters_),
      thread_(*this),
      control_([this](std::string_view command) { return on_command(command); }) {
  io::Failure failure;
  if (!thread_.start(failure)) throw OpenFailure{failure};
  if (!control_.start(settings.control_path, failure)) throw OpenFailure{failure};
}

void Lane::add_listener(DeviceEvents& events) {
  const std::lock_guard lock(mutex_);
  listeners_.push_back(&events);
}

void Lane::remove_listener(DeviceEvents& events) {
  const std::lock_guard lock(mutex_);
  std::erase(listeners_, &events);
}

void Lane::raise(ibv_event_type type) {
  ibv_async_event event{};
  event.element.port_num = kPort;
  event.event_type = type;
  for (DeviceEvents* listener : listeners_) listener->raise(event);
}

bool Lane::on_command(std::string_view command) {
  const std::lock_guard lock(mutex_);
  if (command == "port down") {
    set_port(false);
  } else if (command == "port up") {
    set_port(true);
  } else if (command == "fail") {
    raise(IBV_EVENT_DEVICE_FATAL);
    engine_.fail();
  } else {
    return false;
  }
  return true;
}

// While it is down nothing leaves and nothing arrives; what waits is repeated until its retries
// end.
void Lane::set_port(bool up) {
  route_.set_open(up);
  if (port_up_.exchange(up) != up) raise(up ? IBV_EVENT_PORT_ACTIVE : IBV_EVENT_PORT_ERR);
}

void Lane::hold() {
  held = true;
}

void Lane::release() {
  held = false;
  if (fork_guard_.in_child()) return;
  const std::lock_guard lock(mutex_);
  if (engine_.wants_transmit()) send_ready();
}

bool Lane::is_held() {
  return held;
}

void Lane::poll(const engine::CompletionQueue& queue) {
  if (fork_guard_.in_child()) return;
  const engine::TimeNs now = io::monotonic_now();
  if (another_queue_drives(queue, now)) return;
  wait_politely(drive_unless_driven(now, queue), now);
  // A program that polls an armed queue looks once more before it sleeps, and no poll follows.
  if (queue.armed()) {
    thread_.hand_over();
  } else {
    thread_.note_poll(now);
  }
}

// `now` is when the poll began.
void Lane::wait_politely(bool busy, engine::TimeNs now) {
  using Action = io::IdlePolicy::Action;
  thread_local io::IdlePolicy policy;
  if (busy) return policy.on_work();
  switch (policy.after_idle_poll(now)) {
    case Action::kPollAgain:
      return;
    case Action::kYield:
      sched_yield();
      return policy.on_yielded(now, io::monotonic_now());
    case Action::kSleep:
      pollfd packet{wake_fd(), POLLIN, 0};
      const timespec limit = io::to_timespec(io::IdlePolicy::kLongestSleep);
      if (begin_sleep()) ppoll(&packet, 1, &limit, nullptr);
      end_sleep();
      return policy.on_slept(io::monotonic_now());
  }
}

// A program that polls many queues in turn drives the lane once a round, with one of them: the
// packets are for all. A queue that comes round again, or long after, while that one was not polled
// takes its place.
bool Lane::another_queue_drives(const engine::CompletionQueue& queue, engine::TimeNs now) {
  constexpr engine::TimeNs kRound = 20'000;
  constexpr auto relaxed = std::memory_order_relaxed;
  if (driving_queue_.load(relaxed) != &queue && now - driven_at_.load(relaxed) < kRound) {
    const engine::CompletionQueue* none = nullptr;
    const bool is_first = first_after_.compare_exchange_strong(none, &queue, relaxed);
    const bool came_round = !is_first && none == &queue;
    if (!came_round && !queue.armed()) return true;
  }
  driving_queue_.store(&queue, relaxed);
  driven_at_.store(now, relaxed);
  first_after_.store(nullptr, relaxed);
  return false;
}

// Ends with the scope, even that of a thread that is cancelled in its sleep.
struct Lane::Sleep {
  explicit Sleep(Lane& sleeper) : lane(sleeper), begun(sleeper.begin_sleep()) {}
  Sleep(const Sleep&) = delete;
  Sleep& operator=(const Sleep&) = delete;
  ~Sleep() { lane.end_sleep(); }

  Lane& lane;
  const bool begun;
};

int Lane::wait(int fd) {
  pollfd sources[] = {{fd, POLLIN, 0}, {wake_fd(), POLLIN, 0}};
  // In a forked child the socket is the parent's.
  if (fork_guard_.in_child()) return ::poll(sources, 1, -1) < 0 ? errno : 0;
  {
    const Sleep sleep(*this);
    if (sleep.begun && ::poll(sources, 2, -1) < 0) return errno;
    if (sleep.begun && sources[1].revents == 0) return 0;
  }
  const std::lock_guard lock(mutex_);
  drive_for_program(io::monotonic_now());
  return 0;
}

bool Lane::begin_sleep() {
  if (neighbours_ == nullptr) return true;
  neighbours_->begin_sleep();
  return !waits_unseen();
}

void Lane::end_sleep() {
  if (neighbours_ != nullptr) neighbours_->end_sleep();
  woken_.store(true);
}

bool Lane::waits_unseen() {
  if (neighbours_ == nullptr) return false;
  const std::lock_guard lock(mutex_);
  return neighbours_->waiting();
}

bool Lane::drive_unless_driven(engine::TimeNs now, const engine::CompletionQueue& polled) {
  const std::unique_lock lock(mutex_, std::try_to_lock);
  return lock && drive_for_program(now, &polled);
}

bool Lane::drive_for_program(engine::TimeNs now, const engine::CompletionQueue* polled) {
  const bool busy = drive_locked(now, polled);
  // What this turn left in the rings rings no more, and the program may not come again soon.
  const bool left = neighbours_ != nullptr && neighbours_->waiting();
  thread_.timer_set(left ? 0 : next_turn());
  return busy;
}

bool Lane::drive() {
  mutex_.lock_after_others();
  const std::lock_guard lock(mutex_, std::adopt_lock);
  return drive_locked(io::monotonic_now());
}

engine::TimeNs Lane::next_deadline() {
  const std::lock_guard lock(mutex_);
  return std::min(next_turn(), looks_.next_readers());
}

int Lane::late_fd() const {
  return neighbours_ == nullptr ? -1 : neighbours_->doorbell();
}

bool Lane::is_told_of_late_packets() {
  const std::lock_guard lock(mutex_);
  return neighbours_ != nullptr && looks_.network_is_quiet(io::monotonic_now());
}

void Lane::on_late_packets() {
  woken_.store(true);
  drive();
}

bool Lane::drive_locked(engine::TimeNs now, const engine::CompletionQueue* polled) {
  bool busy = receive(now);
  if (engine_.next_timeout() <= now) {
    engine_.on_timeout(now);
    busy = true;
  }
  acknowledges_wait_ = acknowledges_may_wait(polled);
  if (!acknowledges_wait_) transmit(now);
  if (!busy) transmit_batch_.release_held();
  update_counters();
  return busy || engine_.wants_transmit();
}

// A program that is about to get completions may answer, and answers take acknowledges with them in
// one message of the kernel, which is half of what a small message costs. Until its next poll only;
// where none comes, the device's thread is there soon.
bool Lane::acknowledges_may_wait(const engine::CompletionQueue* polled) const {
  return !acknowledges_wait_ && polled != nullptr && !polled->empty() && !polled->armed() &&
         thread_.stands_by() && engine_.owes_acknowledge_only();
}

bool Lane::receive(engine::TimeNs now) {
  if (neighbours_ == nullptr) return receive_from_network(now);
  if (woken_.exchange(false)) looks_.on_wakeup();
  if (looks_.neighbours_due(now)) serve_neighbours(now);
  if (looks_.next_readers() <= now) looks_.on_readers_looked_at(now, neighbours_->remind());
  bool any = receive_from_neighbours(now);
  if (neighbours_->any_source() && !looks_.network_due(now)) return any;
  const bool found = receive_from_network(now);
  looks_.on_network_looked_at(now, found);
  return any || found;
}

bool Lane::receive_from_neighbours(engine::TimeNs now) {
  const auto take = [&](const wire::Address& source, std::span<const std::byte> bytes) {
    if (!port_up()) return;
    ++counters_->rx_local_packets;
    engine_.on_packet(now, source, bytes);
  };
  constexpr int kMostReceives = 64;
  const auto settle = [&] {
    for (int i = 0; i < kMostReceives && receive_from(*socket_, now); ++i) {
    }
  };
  return neighbours_->receive(take, settle);
}

void Lane::serve_neighbours(engine::TimeNs now) {
  for (const wire::Address& changed : neighbours_->serve()) use_window(changed);
  looks_.on_neighbours_looked_at(now);
}

void Lane::meet(const wire::Address& peer) {
  if (neighbours_ == nullptr || fork_guard_.in_child()) return;
  const std::lock_guard lock(mutex_);
  try {
    neighbours_->meet(peer);
  } catch (const std::bad_alloc&) {
    return;  // then packets take the network
  }
  use_window(peer);
}

void Lane::use_window(const wire::Address& peer) {
  const bool local = neighbours_->ring_to(peer) != nullptr;
  engine_.set_window(peer, local ? shm::Neighbours::kWindowBytes : 0);
}

bool Lane::receive_from_network(engine::TimeNs now) {
  bool any = receive_from(*socket_, now);
  for (io::UdpSocket* group : inbox_.readable()) any |= receive_from(*group, now);
  return any;
}

// One system call's worth of packets.
bool Lane::receive_from(io::UdpSocket& socket, engine::TimeNs now) {
  if (!receive_batch_.fill_from(socket)) return false;
  while (const auto datagram = receive_batch_.next()) accept(now, *datagram);
  return true;
}

void Lane::accept(engine::TimeNs now, const io::Datagram& datagram) {
  if (!port_up()) return;
  // A soft device sends from the well-known port, which no other local process can have on its
  // address.
  if (icrc_mode_ == wire::IcrcMode::kStrict && datagram.source_port != socket_->port()) {
    ++counters_->bad_peer;
    return;
  }
  const wire::Address& destination = datagram.destination;
  const wire::UdpFlow flow{datagram.source, destination, datagram.source_port, socket_->port()};
  const wire::IcrcVerdict verdict =
      wire::icrc_check(flow, datagram.bytes, static_cast<uint16_t>(datagram.segment), icrc_mode_);
  if (!verdict.valid) {
    ++counters_->icrc_errors;
    return;
  }
  if (verdict.ip_id >= wire::kStrictIpIds) ++counters_->ids_solved;
  const auto bytes = datagram.bytes.first(datagram.bytes.size() - wire::kIcrcBytes);
  if (destination == address()) {
    engine_.on_packet(now, datagram.source, bytes);
  } else {
    engine_.on_group_packet(datagram.source, destination, bytes);
  }
}

// Bounded, for a peer may ask for much at once: what is left waits for the next turn, so that what
// arrives meanwhile is looked at, and others get the lock.
void Lane::transmit(engine::TimeNs now) {
  constexpr int kMostRounds = 4;
  if (!engine_.wants_transmit()) return;
  for (int round = 0; round < kMostRounds && engine_.transmit(now, route_); ++round) {
    if (mutex_.is_wanted()) break;
  }
  if (route_.flush()) looks_.on_left_to_read(now);
}

void Lane::send_ready() {
  transmit(io::monotonic_now());
  thread_.timer_set(next_turn());
}

// Before what it belongs to goes.
void Lane::send_waiting() {
  if (engine_.wants_transmit() && !fork_guard_.in_child()) transmit(io::monotonic_now());
}

void Lane::send_posted(const engine::QueuePair& qp) {
  if (!thread_.stands_by() || !engine_.may_wait(qp)) return send_ready();
  // Should the thread have left its standby meanwhile, it must know.
  thread_.timer_set(next_turn());
}

void Lane::update_counters() {
  counters_->socket_drops = receive_batch_.counters().socket_drops;
  counters_->send_failures = route_.dropped();
}

int Lane::join_group(engine::QueuePair& qp, const wire::Address& group) {
  if (fork_guard_.in_child()) return EIO;
  const std::lock_guard lock(mutex_);
  if (const int refused = engine_.join_group(qp, group); refused != 0) return refused;
  const int error = errno_of_result([&] { return inbox_.join(group); });
  if (error != 0) engine_.leave_group(qp, group);
  // If it sleeps, then on the device's socket alone.
  thread_.timer_set(0);
  return error;
}

int Lane::leave_group(engine::QueuePair& qp, const wire::Address& group) {
  if (fork_guard_.in_child()) return EIO;
  const std::lock_guard lock(mutex_);
  const int error = engine_.leave_group(qp, group);
  leave_unused_groups();
  return error;
}

void Lane::destroy_qp(engine::QueuePair& qp) {
  const std::lock_guard lock(mutex_);
  send_waiting();
  engine_.destroy_qp(qp);
  leave_unused_groups();
}

void Lane::leave_unused_groups() {
  inbox_.leave_unless([this](const wire::Address& group) { return engine_.has_group(group); });
}

void Lane::abandon_socket() {
  if (neighbours_ != nullptr) neighbours_->abandon();
  const int nothing = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  if (nothing < 0) return;
  dup3(nothing, socket_->fd(), O_CLOEXEC);
  inbox_.abandon(nothing);
  close(nothing);
}

}  // namespace verbena::soft
