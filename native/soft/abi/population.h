// The objects of one kind that a context has: held to a limit, and destroyed with it if need be.
#pragma once

#include <cerrno>
#include <limits>
#include <mutex>
#include <tuple>
#include <unordered_map>

#include "soft/abi/guard.h"

namespace verbena::soft {

class Population {
 public:
  explicit Population(size_t limit = std::numeric_limits<size_t>::max()) : limit_(limit) {}
  Population(const Population&) = delete;
  Population& operator=(const Population&) = delete;

  // Deletes the objects that are left.
  void destroy_rest() {
    for (;;) {
      void* object = nullptr;
      Destroy destroy = nullptr;
      {
        const std::lock_guard lock(mutex_);
        if (members_.empty()) return;
        std::tie(object, destroy) = *members_.begin();
      }
      destroy(object);  // which takes it out
    }
  }

 private:
  friend class Member;
  using Destroy = void (*)(void* object);

  void add(void* object, Destroy destroy) {
    const std::lock_guard lock(mutex_);
    require(members_.size() < limit_, ENOMEM);
    members_.emplace(object, destroy);
  }

  void remove(void* object) {
    const std::lock_guard lock(mutex_);
    members_.erase(object);
  }

  const size_t limit_;
  std::mutex mutex_;
  std::unordered_map<void*, Destroy> members_;
};

// A part of an object that counts it. Refuses with ENOMEM beyond the limit.
class Member {
 public:
  template <class Object>
  Member(Population& of, Object* object) : of_(of), object_(object) {
    of_.add(object_, [](void* member) { delete static_cast<Object*>(member); });
  }
  ~Member() { of_.remove(object_); }
  Member(const Member&) = delete;
  Member& operator=(const Member&) = delete;

 private:
  Population& of_;
  void* object_;
};

}  // namespace verbena::soft
