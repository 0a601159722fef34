// Creates completion channels and hands their events to the program.
#include "soft/abi/channel.h"

#include "soft/abi/cq.h"
#include "soft/abi/export.h"
#include "soft/abi/guard.h"

namespace verbena::soft {

Channel::Channel(Context& from)
    : ibv_comp_channel{&from.context, -1, 0}, counted_(from.channels, this) {
  fd = events.queued.fd();
}

void ChannelEvents::on_completion_event(engine::CompletionQueue& queue) {
  queued.push(static_cast<Cq*>(queue.owner())->completion_events);
}

}  // namespace verbena::soft

using verbena::soft::Channel;
using verbena::soft::Context;
using verbena::soft::Cq;

VERBENA_EXPORT ibv_comp_channel* ibv_create_comp_channel(ibv_context* context) {
  return verbena::soft::object_of<Channel>([&] { return new Channel(Context::of(context)); });
}

VERBENA_EXPORT int ibv_destroy_comp_channel(ibv_comp_channel* channel) {
  if (Channel::of(channel).cqs.in_use()) return EBUSY;
  delete &Channel::of(channel);
  return 0;
}

VERBENA_EXPORT int ibv_get_cq_event(ibv_comp_channel* channel, ibv_cq** cq, void** cq_context) {
  verbena::soft::Lane& lane = *Context::of(channel->context).lane;
  const auto wait = [&lane](int fd) {
    lane.hand_over();
    return lane.wait(fd);
  };
  Cq* taken = nullptr;
  const int error = Channel::of(channel).events.queued.take(
      taken, [](Cq* each) { ++each->completion_events_delivered; }, wait);
  if (error != 0) {
    errno = error;
    return -1;
  }
  *cq = taken->handle();
  *cq_context = taken->ex.cq_context;
  return 0;
}

VERBENA_EXPORT void ibv_ack_cq_events(ibv_cq* cq, unsigned events) {
  Cq& queue = Cq::of(cq);
  queue.events.acknowledge(queue.ex.comp_events_completed, events);
}

// Nobody polls the channel's descriptor for edges: see docs/soft-device.md.
VERBENA_EXPORT void verbena_soft_level_triggered(ibv_comp_channel* channel) {
  Channel::of(channel).events.queued.raise_once();
}
