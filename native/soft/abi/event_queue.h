// Events that wait for a program, behind a descriptor that is readable while there are any.
#pragma once

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>

#include <cerrno>
#include <deque>
#include <mutex>

#include "soft/abi/guard.h"
#include "util/unique_fd.h"

namespace verbena::soft {

// Until the descriptor is readable; 0 or EINTR.
inline int wait_readable(int fd) {
  pollfd waited{fd, POLLIN, 0};
  return poll(&waited, 1, -1) < 0 ? errno : 0;
}

// The descriptor belongs to the program as much as to us: it may poll it, and may set O_NONBLOCK.
template <class Event>
class EventQueue {
 public:
  EventQueue() : fd_(eventfd(0, EFD_CLOEXEC)) { require(static_cast<bool>(fd_), errno); }

  int fd() const { return fd_.get(); }

  // Each event raises the counter, so that edge-triggered pollers see every one.
  void push(const Event& event) {
    const std::lock_guard lock(mutex_);
    events_.push_back(event);
    eventfd_write(fd_.get(), 1);  // fails only when 2^64 - 2 events wait
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

  // Takes back the events that `matches`; none of them is delivered after this.
  template <class Matches>
  void purge(Matches&& matches) {
    const std::lock_guard lock(mutex_);
    if (std::erase_if(events_, matches) > 0 && events_.empty()) clear();
  }

 private:
  template <class OnTaken>
  bool take_now(Event& event, OnTaken&& on_taken) {
    const std::lock_guard lock(mutex_);
    if (events_.empty()) return false;
    event = events_.front();
    events_.pop_front();
    on_taken(event);
    if (events_.empty()) clear();
    return true;
  }

  // The counter is above zero exactly while events wait, so that this never blocks.
  void clear() {
    eventfd_t count = 0;
    eventfd_read(fd_.get(), &count);
  }

  util::UniqueFd fd_;
  std::mutex mutex_;
  std::deque<Event> events_;
};

}  // namespace verbena::soft
