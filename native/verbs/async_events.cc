// Owns reading and copying of asynchronous events.
#include "verbs/async_events.h"

#include <cerrno>
#include <utility>

#include "verbs/error.h"

namespace verbena::verbs {
namespace {

AsyncEvent copy(const ibv_async_event& event) {
  using Subject = AsyncEvent::Subject;
  switch (event.event_type) {
    case IBV_EVENT_QP_FATAL:
    case IBV_EVENT_QP_REQ_ERR:
    case IBV_EVENT_QP_ACCESS_ERR:
    case IBV_EVENT_COMM_EST:
    case IBV_EVENT_SQ_DRAINED:
    case IBV_EVENT_PATH_MIG:
    case IBV_EVENT_PATH_MIG_ERR:
    case IBV_EVENT_QP_LAST_WQE_REACHED:
      return {event.event_type, Subject::kQueuePair,
              reinterpret_cast<uint64_t>(event.element.qp->qp_context)};
    case IBV_EVENT_CQ_ERR:
      return {event.event_type, Subject::kCompletionQueue,
              reinterpret_cast<uint64_t>(event.element.cq->cq_context)};
    case IBV_EVENT_PORT_ACTIVE:
    case IBV_EVENT_PORT_ERR:
    case IBV_EVENT_LID_CHANGE:
    case IBV_EVENT_PKEY_CHANGE:
    case IBV_EVENT_SM_CHANGE:
    case IBV_EVENT_CLIENT_REREGISTER:
    case IBV_EVENT_GID_CHANGE:
      return {event.event_type, Subject::kPort, 0, event.element.port_num};
    default:
      return {event.event_type, Subject::kDevice};
  }
}

}  // namespace

std::string event_name(ibv_event_type type) {
  static constexpr const char* kNames[] = {"CQ_ERR",
                                           "QP_FATAL",
                                           "QP_REQ_ERR",
                                           "QP_ACCESS_ERR",
                                           "COMM_EST",
                                           "SQ_DRAINED",
                                           "PATH_MIG",
                                           "PATH_MIG_ERR",
                                           "DEVICE_FATAL",
                                           "PORT_ACTIVE",
                                           "PORT_ERR",
                                           "LID_CHANGE",
                                           "PKEY_CHANGE",
                                           "SM_CHANGE",
                                           "SRQ_ERR",
                                           "SRQ_LIMIT_REACHED",
                                           "QP_LAST_WQE_REACHED",
                                           "CLIENT_REREGISTER",
                                           "GID_CHANGE",
                                           "WQ_FATAL"};
  static_assert(std::size(kNames) == IBV_EVENT_WQ_FATAL + 1);
  const auto index = static_cast<size_t>(type);
  return index < std::size(kNames) ? kNames[index] : "EVENT_" + std::to_string(index);
}

AsyncEvents::Subscription AsyncEvents::subscribe(Sink sink) {
  const std::lock_guard lock(mutex_);
  return sinks_.insert(sinks_.end(), std::move(sink));
}

void AsyncEvents::unsubscribe(Subscription subscription) {
  const std::lock_guard lock(mutex_);
  sinks_.erase(subscription);
}

void AsyncEvents::read_all() {
  // Held throughout, so that two threads reading at once do not swap the order of events.
  const std::lock_guard lock(mutex_);
  ibv_async_event event{};
  while (functions_.get_async_event(context_, &event) == 0) {
    const AsyncEvent copied = copy(event);
    functions_.ack_async_event(&event);
    for (const Sink& sink : sinks_) sink(copied);
  }
  if (errno != EAGAIN && errno != EINTR) throw verbs_error("ibv_get_async_event", errno);
}

}  // namespace verbena::verbs
