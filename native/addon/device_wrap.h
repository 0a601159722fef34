// Owns the JavaScript class of an open device.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "addon/async_event_source.h"
#include "addon/wrapped.h"
#include "verbs/device.h"

namespace verbena::addon {

struct DeviceMaking {
  std::shared_ptr<Environment> environment;
  std::shared_ptr<verbs::Device> device;
  std::shared_ptr<AsyncEventSource> events;
};

class DeviceWrap : public Wrapped<DeviceWrap, DeviceMaking>, public Closable {
 public:
  static constexpr ClassId kClass = ClassId::kDevice;
  static constexpr const char* kName = "NativeDevice";
  static constexpr const char* kWhat = "device";
  static std::vector<PropertyDescriptor> methods();

  static Napi::Object open(Environment& environment, verbs::Library& library,
                           const std::string& name);

  explicit DeviceWrap(const Napi::CallbackInfo& info);

  void close() override;

 private:
  Napi::Value query_device(const Napi::CallbackInfo& info);
  Napi::Value query_port(const Napi::CallbackInfo& info);
  Napi::Value gid_table(const Napi::CallbackInfo& info);
  Napi::Value counters_page(const Napi::CallbackInfo& info);
  Napi::Value alloc_pd(const Napi::CallbackInfo& info);
  Napi::Value create_poll_group(const Napi::CallbackInfo& info);
  Napi::Value set_async_event_handler(const Napi::CallbackInfo& info);
  Napi::Value close(const Napi::CallbackInfo& info);

  const std::shared_ptr<verbs::Device>& require_open() const;

  std::shared_ptr<Environment> environment_;
  std::shared_ptr<verbs::Device> device_;
  std::shared_ptr<AsyncEventSource> events_;
};

}  // namespace verbena::addon
