// Owns the wording of verbs failures.
#include "verbs/error.h"

#include <sys/resource.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

namespace verbena::verbs {
namespace {

std::string locked_memory_limit() {
  rlimit limit{};
  getrlimit(RLIMIT_MEMLOCK, &limit);
  if (limit.rlim_cur == RLIM_INFINITY) return "unlimited";
  return std::to_string(limit.rlim_cur / 1024) + " KiB";
}

/** The usual cause and the way out, where there is one that we know. */
std::string hint(const std::string& operation, int error_number) {
  const bool registration = operation.starts_with("ibv_reg_mr");
  if (registration && (error_number == ENOMEM || error_number == EAGAIN)) {
    return "The device has no room for the region, or the locked-memory limit (now " +
           locked_memory_limit() +
           ") is too low: raise it with `ulimit -l unlimited` or LimitMEMLOCK=infinity.";
  }
  if (registration && error_number == EINVAL) {
    return "Remote write and remote atomic access need local write access too.";
  }
  if (error_number == ENOMEM) {
    return "The device or the kernel has no more of these: close some, or lower the limits.";
  }
  if (error_number == EACCES || error_number == EPERM) {
    return "Give this user access to /dev/infiniband/uverbs*.";
  }
  if (operation == "ibv_modify_qp" && error_number == EINVAL) {
    return "The device refused an attribute: compare port, GID index, MTU and PSN with "
           "`ibv_devinfo -v`.";
  }
  if (operation == "ibv_modify_qp" &&
      (error_number == ETIMEDOUT || error_number == ENETUNREACH || error_number == EHOSTUNREACH)) {
    return "The peer's GID could not be resolved: check the route with `ip route get`.";
  }
  return {};
}

}  // namespace

std::string errno_name(int error_number) {
  const char* name = strerrorname_np(error_number);
  return name != nullptr ? name : "errno " + std::to_string(error_number);
}

Error verbs_error(const std::string& operation, int error_number, const std::string& detail) {
  const char* description = strerrordesc_np(error_number);
  std::string message = operation + " failed: " + errno_name(error_number);
  if (description != nullptr) message += std::string(" (") + description + ")";
  message += ".";
  if (!detail.empty()) message += " " + detail;
  const std::string advice = hint(operation, error_number);
  if (detail.empty() && !advice.empty()) message += " " + advice;
  return {code::kVerbs, message, error_number, operation};
}

int error_of(int result) {
  if (result == 0) return 0;
  // Some providers return -1 and set errno, others the value or its negative.
  if (result == -1) return errno != 0 ? errno : EIO;
  return std::abs(result);
}

void check(const char* operation, int result) {
  if (const int error_number = error_of(result); error_number != 0) {
    throw verbs_error(operation, error_number);
  }
}

}  // namespace verbena::verbs
