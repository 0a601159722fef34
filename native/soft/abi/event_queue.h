// Events that wait for a program, behind a descriptor that is readable while there are any.
// Announcing one needs no memory: it happens in the middle of handling a packet.
#pragma once

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>

#include <cerrno>
#include <mutex>

#include "soft/abi/guard.h"
#include "util/linked_list.h"
#include "util/unique_fd.h"

namespace verbena::soft {

// Until the descriptor is readable; 0 or EINTR.
inline int wait_readable(int fd) {
  pollfd waited{fd, POLLIN, 0};
  return poll(&waited, 1, -1) < 0 ? errno : 0;
}

// A place in a queue, for one event as often as it happens. It belongs to what the event is about,
// which takes it back before it goes.
template <class Event>
struct EventPlace {
  Event event{};
  uint32_t waiting = 0;
  util::ListLink<EventPlace> link{};
};

// The descriptor belongs to the program as much as to us: it may poll it, and may set O_NONBLOCK.
template <class Event>
class EventQueue {
 public:
  EventQueue() : fd_(eventfd(0, EFD_CLOEXEC)) { require(static_cast<bool>(fd_), errno); }

  int fd() const { return fd_.get(); }

  // Each event raises the counter, so that edge-triggered pollers see every one. What happens again
  // before it was taken moves behind the others, with all of its kind: the last of them is told
  // last.
  void push(EventPlace<Event>& place) {
    const std::lock_guard lock(mutex_);
    const bool announced = raises_once_ && !places_.empty();
    ++place.waiting;
    places_.remove(place);
    places_.push_back(place);
    if (!announced) eventfd_write(fd_.get(), 1);  // fails only when 2^64 - 2 events wait
  }

  // Who polls is not edge-triggered: the counter, a system call, is raised for the first only.
  void raise_once() {
    const std::lock_guard lock(mutex_);
    raises_once_ = true;
  }

  // Waits unless the descriptor is non-blocking, by `wait(fd)`, which returns 0 or an errno value.
  // `on_taken` runs before anyone can see the event gone. 0, EAGAIN, or EINTR after a signal.
  template <class OnTaken, class Wait>
  int take(Event& event, OnTaken&& on_taken, Wait&& wait) {
    for (;;) {
      if (take_now(event, on_taken)) return 0;
      const int flags = fcntl(fd_.get(), F_GETFL);
      if (flags < 0) return errno;
      if ((flags & O_NONBLOCK) != 0) return EAGAIN;
      if (const int error = wait(fd_.get()); error != 0) return error;
    }
  }

  // Takes back what waits there; none of it is delivered after this.
  void purge(EventPlace<Event>& place) {
    const std::lock_guard lock(mutex_);
    if (place.waiting == 0) return;
    place.waiting = 0;
    places_.remove(place);
    if (places_.empty()) clear();
  }

 private:
  template <class OnTaken>
  bool take_now(Event& event, OnTaken&& on_taken) {
    const std::lock_guard lock(mutex_);
    EventPlace<Event>* const place = places_.front();
    if (place == nullptr) return false;
    event = place->event;
    if (--place->waiting == 0) places_.remove(*place);
    on_taken(event);
    if (places_.empty()) clear();
    return true;
  }

  // The counter is above zero exactly while events wait, so that this never blocks.
  void clear() {
    eventfd_t count = 0;
    eventfd_read(fd_.get(), &count);
  }

  util::UniqueFd fd_;
  std::mutex mutex_;
  util::LinkedList<EventPlace<Event>, &EventPlace<Event>::link> places_;
  bool raises_once_ = false;
};

}  // namespace verbena::soft
