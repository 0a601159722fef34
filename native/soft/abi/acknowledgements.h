// The acknowledging of events: ibv_cq, ibv_qp and ibv_srq carry a mutex, a condition and a counter
// for it.
#pragma once

#include <pthread.h>

#include <cstdint>

namespace verbena::soft {

// `Object` is ibv_qp, ibv_cq_ex or ibv_srq, whose mutex and condition this initialises.
template <class Object>
class EventLock {
 public:
  explicit EventLock(Object& object) : object_(object) {
    pthread_mutex_init(&object_.mutex, nullptr);
    pthread_cond_init(&object_.cond, nullptr);
  }
  ~EventLock() {
    pthread_cond_destroy(&object_.cond);
    pthread_mutex_destroy(&object_.mutex);
  }
  EventLock(const EventLock&) = delete;
  EventLock& operator=(const EventLock&) = delete;

  void acknowledge(uint32_t& counter, uint32_t events) {
    pthread_mutex_lock(&object_.mutex);
    counter += events;
    pthread_cond_broadcast(&object_.cond);
    pthread_mutex_unlock(&object_.mutex);
  }

  void wait_until(const uint32_t& counter, uint32_t delivered) {
    pthread_mutex_lock(&object_.mutex);
    while (counter != delivered) pthread_cond_wait(&object_.cond, &object_.mutex);
    pthread_mutex_unlock(&object_.mutex);
  }

 private:
  Object& object_;
};

}  // namespace verbena::soft
