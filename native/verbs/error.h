// Owns the error type of everything below the addon: a stable code, the errno and the operation.
#pragma once

#include <stdexcept>
#include <string>

namespace verbena::verbs {

namespace code {
inline constexpr const char* kArgument = "ERR_VERBENA_ARGUMENT";
inline constexpr const char* kClosed = "ERR_VERBENA_CLOSED";
inline constexpr const char* kInUse = "ERR_VERBENA_IN_USE";
inline constexpr const char* kLibrary = "ERR_VERBENA_LIBRARY";
inline constexpr const char* kUnknownDevice = "ERR_VERBENA_UNKNOWN_DEVICE";
inline constexpr const char* kNoMemory = "ERR_VERBENA_NO_MEMORY";
inline constexpr const char* kQpTransition = "ERR_VERBENA_QP_TRANSITION";
inline constexpr const char* kVerbs = "ERR_VERBENA_VERBS";
}  // namespace code

class Error : public std::runtime_error {
 public:
  Error(const char* code, const std::string& message, int error_number = 0,
        std::string operation = {})
      : std::runtime_error(message),
        code_(code),
        error_number_(error_number),
        operation_(std::move(operation)) {}

  const char* code() const { return code_; }
  /** 0 when no system call failed. */
  int error_number() const { return error_number_; }
  /** The verbs function that failed, or empty. */
  const std::string& operation() const { return operation_; }

 private:
  const char* code_;
  int error_number_;
  std::string operation_;
};

/** `ENOMEM` for 12; `errno 4095` for a number without a name. */
std::string errno_name(int error_number);

/**
 * ERR_VERBENA_VERBS for a failed verbs function: says what failed and why, what usually causes it
 * and what to do. `detail` is what the library itself had to say.
 */
Error verbs_error(const std::string& operation, int error_number, const std::string& detail = {});

/** Throws when a function that returns an errno value (or -1 and sets errno) failed. */
void check(const char* operation, int result);

/** What a verbs function that returned `result` failed with; 0 when it did not. */
int error_of(int result);

}  // namespace verbena::verbs
