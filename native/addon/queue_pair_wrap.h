// Owns the JavaScript class of a queue pair.
#pragma once

#include <memory>
#include <vector>

#include "addon/completion_queue_wrap.h"
#include "addon/poll_group_wrap.h"
#include "addon/protection_domain_wrap.h"
#include "addon/wrapped.h"
#include "verbs/queue_pair.h"

namespace verbena::addon {

struct QueuePairMaking {
  std::shared_ptr<Environment> environment;
  std::shared_ptr<verbs::QueuePair> qp;
  PollGroupWrap& group;
  ProtectionDomainWrap& pd;
  CompletionQueueWrap& cq;
};

class QueuePairWrap : public Wrapped<QueuePairWrap, QueuePairMaking>, public Closable {
 public:
  static constexpr ClassId kClass = ClassId::kQueuePair;
  static constexpr const char* kName = "NativeQueuePair";
  static constexpr const char* kWhat = "queue pair";
  static std::vector<PropertyDescriptor> methods();

  static Napi::Object create(Environment& environment, PollGroupWrap& group,
                             const Napi::Object& options);

  explicit QueuePairWrap(const Napi::CallbackInfo& info);
  ~QueuePairWrap() override;

  void close() override;

 private:
  Napi::Value modify(const Napi::CallbackInfo& info);
  Napi::Value query_state(const Napi::CallbackInfo& info);
  Napi::Value close(const Napi::CallbackInfo& info);

  verbs::QueuePair& require_open() const;

  std::shared_ptr<Environment> environment_;
  std::shared_ptr<verbs::QueuePair> qp_;
  uint32_t index_;
  /** Keep what it was made from from being collected first. */
  Napi::ObjectReference group_;
  Napi::ObjectReference pd_;
  Napi::ObjectReference cq_;
};

}  // namespace verbena::addon
