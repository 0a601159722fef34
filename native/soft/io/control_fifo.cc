// Makes the FIFO, reads it line by line, and removes it.
#include "soft/io/control_fifo.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>

#include "soft/io/output_file.h"

namespace verbena::io {
namespace {

constexpr size_t kLongestLine = 256;

Failure complain(const std::string& path, int error) {
  return {error, "VERBENA_SOFT_CONTROL: cannot make the FIFO " + path + ": " +
                     std::strerror(error) +
                     "; name one in a directory that exists and is writable"};
}

// Only what is a FIFO: a mistyped name must not cost anybody a file.
void remove_fifo(const std::string& path) {
  struct stat found {};
  if (lstat(path.c_str(), &found) == 0 && S_ISFIFO(found.st_mode)) unlink(path.c_str());
}

}  // namespace

ControlFifo::~ControlFifo() {
  // A forked child has this object, but neither the thread nor the FIFO is its own.
  if (!running_ || fork_guard_.in_child()) return;
  eventfd_write(stop_.get(), 1);
  pthread_join(thread_, nullptr);
  remove_fifo(path_);
}

bool ControlFifo::start(const std::string& pattern, Failure& failure) {
  if (pattern.empty()) return true;
  path_ = with_process_id(pattern);
  if (!make(failure)) return false;
  // The program's signal handlers are none of this thread's business: it inherits a full mask.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  const int error = pthread_create(&thread_, nullptr, &ControlFifo::entry, this);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  running_ = error == 0;
  if (!running_) failure = complain(path_, error);
  return running_;
}

bool ControlFifo::make(Failure& failure) {
  remove_fifo(path_);
  if (mkfifo(path_.c_str(), 0600) == 0) {
    // Also for writing, so that it has no end when a writer leaves.
    fifo_ = util::UniqueFd(open(path_.c_str(), O_RDWR | O_NONBLOCK | O_CLOEXEC));
    if (fifo_) stop_ = util::UniqueFd(eventfd(0, EFD_CLOEXEC));
  }
  if (stop_) return true;
  failure = complain(path_, errno);
  return false;
}

void* ControlFifo::entry(void* self) {
  pthread_setname_np(pthread_self(), "verbena-control");
  static_cast<ControlFifo*>(self)->run();
  return nullptr;
}

void ControlFifo::run() {
  for (;;) {
    pollfd sources[] = {{fifo_.get(), POLLIN, 0}, {stop_.get(), POLLIN, 0}};
    poll(sources, 2, -1);
    if (sources[1].revents != 0) return;
    char bytes[kLongestLine];
    const ssize_t count = read(fifo_.get(), bytes, sizeof bytes);
    if (count > 0) take({bytes, static_cast<size_t>(count)});
  }
}

void ControlFifo::take(std::string_view bytes) {
  for (const char byte : bytes) {
    if (byte != '\n') {
      if (line_.size() < kLongestLine) line_.push_back(byte);
      continue;
    }
    if (!line_.empty() && !execute_(line_)) {
      std::fprintf(stderr, "VERBENA_SOFT_CONTROL: \"%s\": want port down, port up or fail\n",
                   line_.c_str());
    }
    line_.clear();
  }
}

}  // namespace verbena::io
