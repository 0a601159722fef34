// Why something could not be set up: an errno value and one sentence or two for a person.
#pragma once

#include <string>

namespace verbena::io {

// `text` says what happened, the likely cause and what to do about it.
struct Failure {
  int error = 0;
  std::string text;
};

}  // namespace verbena::io
