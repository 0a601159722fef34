// Makes acquaintance with devices of this machine, and forgets those that have gone.
#include "soft/shm/neighbours.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <memory>
#include <new>
#include <optional>

#include "soft/shm/greeting.h"

namespace verbena::shm {
namespace {

bool never_blocks(const util::UniqueFd& fd) {
  return (fcntl(fd.get(), F_GETFL) & O_NONBLOCK) != 0;
}

// A machine that promises no memory that it does not have ends whoever touches the first page too
// much of a shared file, which are not counted before.
bool pages_may_be_missing() {
  const std::unique_ptr<FILE, int (*)(FILE*)> file(fopen("/proc/sys/vm/overcommit_memory", "re"),
                                                   fclose);
  return file != nullptr && fgetc(file.get()) == '2';
}

size_t most_neighbours() {
  rlimit descriptors{};
  if (getrlimit(RLIMIT_NOFILE, &descriptors) != 0) return 0;
  return std::min<size_t>(Neighbours::kMostNeighbours, descriptors.rlim_cur / 16);
}

}  // namespace

// A neighbour that reads: asked, and once it has answered, open.
struct Neighbours::Destination : Watched {
  Destination(const wire::Address& to, util::UniqueFd socket, Mapping ring)
      : Watched{Role::kDestination, std::move(socket)},
        address(to),
        memory(std::move(ring)),
        writer(memory.memory()) {}

  const wire::Address address;
  const Mapping memory;
  RingWriter writer;
  std::optional<Doorbell> doorbell;
  bool is_written = false;
  // Up to where it was to read at the last reminder; 0 when it had read all.
  uint64_t awaited = 0;
  uint64_t rung_for = 0;
};

std::unique_ptr<Neighbours> Neighbours::open(const wire::Address& own) {
  if (pages_may_be_missing()) return nullptr;
  util::UniqueFd epoll(epoll_create1(EPOLL_CLOEXEC));
  util::UniqueFd listener = listen_as(own);
  util::UniqueFd doorbell(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  SharedMemory attention = make_shared_memory(kAttentionBytes, Others::kMayRead);
  if (!epoll || !listener || !doorbell || !attention) return nullptr;
  std::unique_ptr<Neighbours> made(new Neighbours(own, std::move(epoll), std::move(listener),
                                                  std::move(doorbell), std::move(attention)));
  if (!made->watch(made->listener_) || !made->watch(made->doorbell_)) return nullptr;
  return made;
}

Neighbours::Neighbours(const wire::Address& own, util::UniqueFd epoll, util::UniqueFd listener,
                       util::UniqueFd doorbell, SharedMemory attention)
    : own_(own),
      most_neighbours_(most_neighbours()),
      epoll_(std::move(epoll)),
      listener_{Role::kListener, std::move(listener)},
      doorbell_{Role::kDoorbell, std::move(doorbell)},
      attention_(std::move(attention)),
      sleepers_(*new (attention_.mapping.memory().data()) Attention{}) {}

Neighbours::~Neighbours() = default;

bool Neighbours::watch(Watched& watched) {
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.ptr = &watched;
  return epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, watched.fd.get(), &event) == 0;
}

// Not left to closing: where a forked child has the descriptor too, it would stay.
void Neighbours::hang_up(Watched& watched) {
  epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, watched.fd.get(), nullptr);
  watched.fd.reset();
}

void Neighbours::meet(const wire::Address& address) {
  if (destinations_.contains(address) || destinations_.size() >= most_neighbours_) return;
  util::UniqueFd socket = call(address);
  if (!socket) return;
  SharedMemory ring = make_shared_memory(ring_memory_bytes(kRingBytes), Others::kMayWrite);
  if (!ring) return;
  Hello hello;
  hello.gid = own_.gid;
  const int descriptors[] = {ring.fd.get()};
  if (!send_greeting(socket, bytes_of(hello), descriptors)) return;
  written_.reserve(destinations_.size() + 1);
  auto made = std::make_unique<Destination>(address, std::move(socket), std::move(ring.mapping));
  if (watch(*made)) destinations_.emplace(address, std::move(made));
}

RingWriter* Neighbours::ring_to(const wire::Address& address) {
  if (latest_ == nullptr || !(latest_->address == address)) {
    const auto found = destinations_.find(address);
    if (found == destinations_.end()) return nullptr;
    latest_ = found->second.get();
  }
  if (!latest_->doorbell) return nullptr;
  if (!std::exchange(latest_->is_written, true)) written_.push_back(latest_);
  return &latest_->writer;
}

bool Neighbours::publish() {
  bool any_awake = false;
  for (Destination* destination : written_) {
    destination->is_written = false;
    if (destination->writer.publish()) any_awake |= !destination->doorbell->ring_if_asleep();
  }
  written_.clear();
  return any_awake;
}

bool Neighbours::remind() {
  bool again = false;
  for (const auto& [address, destination] : destinations_) {
    if (destination->doorbell) again |= remind(*destination);
  }
  return again;
}

// Once is enough: the doorbell stays rung.
bool Neighbours::remind(Destination& destination) {
  const uint64_t published = destination.writer.published();
  const uint64_t taken = destination.writer.taken();
  const bool is_late = destination.awaited != 0 && taken < destination.awaited;
  if (is_late) {
    if (std::exchange(destination.rung_for, destination.awaited) != destination.awaited) {
      destination.doorbell->ring();
    }
    return false;
  }
  destination.awaited = taken >= published ? 0 : published;
  return destination.awaited != 0;
}

bool Neighbours::waiting() const {
  return std::any_of(sources_.begin(), sources_.end(),
                     [](const auto& source) { return source->reader.waiting(); });
}

// Whatever it finds no memory for is left: its descriptor is closed, or still readable.
std::span<const wire::Address> Neighbours::serve() {
  changed_.clear();
  std::array<epoll_event, 16> events;
  const int ready = epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), 0);
  try {
    for (int i = 0; i < ready; ++i) {
      on_event(*static_cast<Watched*>(events[static_cast<size_t>(i)].data.ptr));
    }
  } catch (const std::bad_alloc&) {
  }
  forget_the_gone();
  return changed_;
}

void Neighbours::on_event(Watched& watched) {
  switch (watched.role) {
    case Role::kListener:
      return answer_calls();
    case Role::kDoorbell: {
      uint64_t rings;
      [[maybe_unused]] const ssize_t taken = read(doorbell_.fd.get(), &rings, sizeof rings);
      return sleepers_.on_doorbell_cleared();
    }
    case Role::kSource:
      return on_hello(static_cast<Source&>(watched));
    case Role::kDestination:
      return on_welcome(static_cast<Destination&>(watched));
  }
}

// Some of them: the others still make the descriptor readable.
void Neighbours::answer_calls() {
  constexpr int kMostCalls = 16;
  for (int i = 0; i < kMostCalls; ++i) {
    util::UniqueFd socket = answer(listener_.fd);
    if (!socket) {
      // Whoever calls a device that has no descriptor left is to take the network; otherwise the
      // call would wake this one for ever.
      if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) hang_up(listener_);
      return;
    }
    if (sources_.size() >= most_neighbours_ || !is_own_user(socket)) continue;
    auto source = std::make_unique<Source>();
    source->role = Role::kSource;
    source->fd = std::move(socket);
    if (!watch(*source)) continue;
    sources_.push_back(std::move(source));
  }
}

// The only message of its kind; what comes after it is the end.
void Neighbours::on_hello(Source& source) {
  Hello hello;
  std::array<util::UniqueFd, 1> ring;
  const Received received = receive_greeting(source.fd, bytes_of(hello), ring);
  if (received == Received::kNothing) return;
  const bool fits = received == Received::kMessage && hello.greeting == kGreeting && !source.memory;
  if (fits) source.memory = Mapping::of(ring[0], ring_memory_bytes(kRingBytes), true);
  Welcome welcome;
  const int descriptors[] = {attention_.fd.get(), doorbell_.fd.get()};
  if (!fits || !source.memory || !send_greeting(source.fd, bytes_of(welcome), descriptors)) {
    return hang_up(source);
  }
  source.address.gid = hello.gid;
  source.reader = RingReader(source.memory.memory());
}

void Neighbours::on_welcome(Destination& destination) {
  Welcome welcome;
  std::array<util::UniqueFd, 2> descriptors;
  const Received received = receive_greeting(destination.fd, bytes_of(welcome), descriptors);
  if (received == Received::kNothing) return;
  const bool fits = received == Received::kMessage && welcome.greeting == kGreeting &&
                    !destination.doorbell && never_blocks(descriptors[1]);
  Mapping attention;
  if (fits) attention = Mapping::of(descriptors[0], kAttentionBytes, false);
  if (!attention) return forget(destination);
  changed_.push_back(destination.address);
  destination.doorbell.emplace(std::move(attention), std::move(descriptors[1]));
}

void Neighbours::forget(Destination& destination) {
  changed_.push_back(destination.address);
  if (latest_ == &destination) latest_ = nullptr;
  std::erase(written_, &destination);
  hang_up(destination);
  destinations_.erase(changed_.back());
}

// What they wrote before is still taken.
void Neighbours::forget_the_gone() {
  std::erase_if(sources_,
                [](const auto& source) { return source->gone() && !source->reader.waiting(); });
}

void Neighbours::abandon() {
  latest_ = nullptr;
  written_.clear();
  for (const auto& source : sources_) source->fd.reset();
  for (const auto& [address, destination] : destinations_) destination->fd.reset();
  listener_.fd.reset();
  doorbell_.fd.reset();
  epoll_.reset();
}

}  // namespace verbena::shm
