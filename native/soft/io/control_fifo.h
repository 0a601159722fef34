// A FIFO through which a person or a test tells the device what to do, one line for each command.
#pragma once

#include <pthread.h>

#include <functional>
#include <string>
#include <string_view>

#include "soft/io/failure.h"
#include "soft/io/fork_guard.h"
#include "util/unique_fd.h"

namespace verbena::io {

// Read by a thread of its own, which exists only where a FIFO is wanted.
class ControlFifo {
 public:
  // Called on that thread; false when there is no such command.
  using Execute = std::function<bool(std::string_view command)>;

  explicit ControlFifo(Execute execute) : execute_(std::move(execute)) {}
  // Stops, and removes the FIFO.
  ~ControlFifo();
  ControlFifo(const ControlFifo&) = delete;
  ControlFifo& operator=(const ControlFifo&) = delete;

  // In `pattern`, %p becomes the process id; empty for none. A FIFO that is there already is
  // replaced, anything else is not.
  bool start(const std::string& pattern, Failure& failure);

 private:
  static void* entry(void* self);
  bool make(Failure& failure);
  void run();
  void take(std::string_view bytes);

  Execute execute_;
  ForkGuard fork_guard_;
  std::string path_;
  util::UniqueFd fifo_;
  util::UniqueFd stop_;
  std::string line_;
  pthread_t thread_{};
  bool running_ = false;
};

}  // namespace verbena::io
