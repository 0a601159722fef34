// The one place where C++ failures become errno values: nothing is thrown across the ABI.
#pragma once

#include <cerrno>
#include <new>

namespace verbena::soft {

// Thrown to refuse a request with an errno value.
struct Refusal {
  int error;
};

inline void require(bool condition, int error) {
  if (!condition) throw Refusal{error};
}

// Runs `body`, which returns 0 or an errno value, or throws.
template <class Body>
int errno_of_result(Body&& body) noexcept {
  try {
    return body();
  } catch (const Refusal& refusal) {
    return refusal.error;
  } catch (const std::bad_alloc&) {
    return ENOMEM;
  }
}

// The same for a `body` that returns nothing.
template <class Body>
int errno_of(Body&& body) noexcept {
  return errno_of_result([&] {
    body();
    return 0;
  });
}

// Runs `body` for a function that returns an object, or nullptr with errno set.
template <class Object, class Body>
Object* object_of(Body&& body) noexcept {
  Object* object = nullptr;
  const int error = errno_of([&] { object = body(); });
  if (error == 0) return object;
  errno = error;
  return nullptr;
}

}  // namespace verbena::soft
