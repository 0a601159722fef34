// What a simulation throws when something that must always hold does not.
#pragma once

#include <stdexcept>
#include <string>

namespace verbena::test {

struct Violation : std::runtime_error {
  using std::runtime_error::runtime_error;
};

inline void hold(bool holds, const std::string& what) {
  if (!holds) throw Violation(what);
}

// For checks that run often: the words are put together only when they are needed.
template <class Words>
requires requires(Words words) {
  words();
}
void hold(bool holds, Words&& words) {
  if (!holds) throw Violation(words());
}

}  // namespace verbena::test
