// The device's counters, on a page of their own that can be shared with other processes.
#pragma once

#include "soft/engine/counters.h"

namespace verbena::soft {

class CountersPage {
 public:
  // Throws std::bad_alloc.
  CountersPage();
  ~CountersPage();
  CountersPage(const CountersPage&) = delete;
  CountersPage& operator=(const CountersPage&) = delete;

  engine::Counters& operator*() const { return *counters_; }
  engine::Counters* operator->() const { return counters_; }

 private:
  engine::Counters* counters_;
};

}  // namespace verbena::soft
