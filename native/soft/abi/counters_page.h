// The device's counters, on a page of their own that other processes can read in a file.
#pragma once

#include <string>

#include "soft/engine/counters.h"

namespace verbena::soft {

// The page holds the values, in host byte order and in the order of their names; the names follow
// from byte 2048 on, one a line. It outlives a process that is killed.
class CountersPage {
 public:
  // `pattern` names the file, see io::open_output_file; empty for none. Throws OpenFailure.
  explicit CountersPage(const std::string& pattern);
  ~CountersPage();
  CountersPage(const CountersPage&) = delete;
  CountersPage& operator=(const CountersPage&) = delete;

  engine::Counters& operator*() const { return *counters_; }
  engine::Counters* operator->() const { return counters_; }
  // The whole page, 4096 bytes.
  const void* data() const { return counters_; }

 private:
  int fd_ = -1;  // keeps the file's lock
  engine::Counters* counters_ = nullptr;
};

}  // namespace verbena::soft
