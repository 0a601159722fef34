// Owns the JavaScript class of a poll group.
#pragma once

#include <memory>
#include <vector>

#include "addon/device_wrap.h"
#include "addon/poll_group.h"
#include "addon/wrapped.h"

namespace verbena::addon {

struct PollGroupMaking {
  std::shared_ptr<Environment> environment;
  std::shared_ptr<PollGroup> group;
  DeviceWrap& device;
};

/** Open, it is never collected: like a socket, it calls back by itself. */
class PollGroupWrap : public Wrapped<PollGroupWrap, PollGroupMaking>, public Closable {
 public:
  static constexpr ClassId kClass = ClassId::kPollGroup;
  static constexpr const char* kName = "NativePollGroup";
  static constexpr const char* kWhat = "poll group";
  static std::vector<PropertyDescriptor> methods();

  explicit PollGroupWrap(const Napi::CallbackInfo& info);

  /** Closes its queue pairs and completion queues first; polling ends even when one of them fails.
   */
  void close() override;
  const std::shared_ptr<PollGroup>& require_open() const;

 private:
  Napi::Value create_cq(const Napi::CallbackInfo& info);
  Napi::Value create_qp(const Napi::CallbackInfo& info);
  Napi::Value flush(const Napi::CallbackInfo& info);
  Napi::Value stats(const Napi::CallbackInfo& info);
  Napi::Value close(const Napi::CallbackInfo& info);

  std::shared_ptr<Environment> environment_;
  std::shared_ptr<PollGroup> group_;
  Napi::ObjectReference device_;
};

}  // namespace verbena::addon
