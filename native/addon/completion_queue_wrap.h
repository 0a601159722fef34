// Owns the JavaScript class of a completion queue.
#pragma once

#include <memory>
#include <vector>

#include "addon/poll_group_wrap.h"
#include "addon/wrapped.h"
#include "verbs/completion_queue.h"
#include "verbs/cq_poller.h"

namespace verbena::addon {

struct CompletionQueueMaking {
  std::shared_ptr<Environment> environment;
  std::shared_ptr<verbs::CompletionQueue> cq;
  /** The queue's place at the poller. */
  std::unique_ptr<verbs::PolledQueue> polled;
  uint32_t place;
  PollGroupWrap& group;
};

class CompletionQueueWrap : public Wrapped<CompletionQueueWrap, CompletionQueueMaking>,
                            public Closable {
 public:
  static constexpr ClassId kClass = ClassId::kCompletionQueue;
  static constexpr const char* kName = "NativeCompletionQueue";
  static constexpr const char* kWhat = "completion queue";
  static std::vector<PropertyDescriptor> methods();

  static Napi::Object create(Environment& environment, PollGroupWrap& group, int depth);

  explicit CompletionQueueWrap(const Napi::CallbackInfo& info);
  ~CompletionQueueWrap() override;

  /** Throws ERR_VERBENA_IN_USE while queue pairs are open. */
  void close() override;
  const std::shared_ptr<verbs::CompletionQueue>& require_open() const;

 private:
  Napi::Value close(const Napi::CallbackInfo& info);
  void leave_poller();

  std::shared_ptr<Environment> environment_;
  std::shared_ptr<verbs::CompletionQueue> cq_;
  std::unique_ptr<verbs::PolledQueue> polled_;
  uint32_t place_;
  std::shared_ptr<PollGroup> group_;
  /** Keeps the poll group from being collected first. */
  Napi::ObjectReference group_object_;
};

}  // namespace verbena::addon
