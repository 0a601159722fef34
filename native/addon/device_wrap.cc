// Owns the methods of NativeDevice.
#include "addon/device_wrap.h"

#include <cstdio>
#include <cstring>

#include "addon/arguments.h"
#include "addon/poll_group_wrap.h"
#include "addon/protection_domain_wrap.h"
#include "addon/qp_attributes.h"

namespace verbena::addon {
namespace {

const char* port_state(ibv_port_state state) {
  switch (state) {
    case IBV_PORT_DOWN:
      return "DOWN";
    case IBV_PORT_INIT:
      return "INIT";
    case IBV_PORT_ARMED:
      return "ARMED";
    case IBV_PORT_ACTIVE:
      return "ACTIVE";
    case IBV_PORT_ACTIVE_DEFER:
      return "ACTIVE_DEFER";
    default:
      return "NOP";
  }
}

const char* link_layer(uint8_t layer) {
  if (layer == IBV_LINK_LAYER_INFINIBAND) return "InfiniBand";
  return layer == IBV_LINK_LAYER_ETHERNET ? "Ethernet" : "Unspecified";
}

const char* gid_type(uint32_t type) {
  if (type == IBV_GID_TYPE_IB) return "ib";
  return type == IBV_GID_TYPE_ROCE_V1 ? "rocev1" : "rocev2";
}

std::string gid_text(const ibv_gid& gid) {
  std::string text;
  for (const uint8_t byte : gid.raw) {
    char digits[3];
    std::snprintf(digits, sizeof(digits), "%02x", byte);
    text += digits;
  }
  return text;
}

uint8_t to_port(const Napi::Value& value) {
  return static_cast<uint8_t>(to_u32(value, "port", 1, UINT8_MAX));
}

PollGroupOptions to_options(const Napi::Object& object) {
  constexpr uint32_t kMaxEntries = 1U << 20;
  PollGroupOptions options;
  const auto read = [&](const char* name, uint32_t least, uint32_t most, uint32_t& field) {
    field = optional_u32(object, name, least, most).value_or(field);
  };
  read("completionCapacity", 1, kMaxEntries, options.completion_capacity);
  read("postCapacity", 1, kMaxEntries, options.post_capacity);
  read("spinUs", 0, 1'000'000, options.spin_us);
  read("emptyPollsBeforeArm", 1, UINT32_MAX, options.empty_polls_before_arm);
  return options;
}

}  // namespace

std::vector<DeviceWrap::PropertyDescriptor> DeviceWrap::methods() {
  return {method<&DeviceWrap::query_device>("queryDevice"),
          method<&DeviceWrap::query_port>("queryPort"),
          method<&DeviceWrap::gid_table>("gidTable"),
          method<&DeviceWrap::counters_page>("countersPage"),
          method<&DeviceWrap::alloc_pd>("allocPd"),
          method<&DeviceWrap::create_poll_group>("createPollGroup"),
          method<&DeviceWrap::set_async_event_handler>("setAsyncEventHandler"),
          method<&DeviceWrap::close>("close")};
}

Napi::Object DeviceWrap::open(Environment& environment, verbs::Library& library,
                              const std::string& name) {
  Making making{environment.shared_from_this(), verbs::Device::open(library, name), nullptr};
  making.events = std::make_shared<AsyncEventSource>(making.environment, making.device);
  making.events->start();
  return make(environment, making);
}

DeviceWrap::DeviceWrap(const Napi::CallbackInfo& info)
    : Wrapped(info),
      environment_(making().environment),
      device_(making().device),
      events_(making().events) {
  set_constant(info.This().As<Napi::Object>(), "name",
               Napi::String::New(info.Env(), device_->name()));
  opened(environment_->shared_reaper(), Kind::kDevice, nullptr);
}

const std::shared_ptr<verbs::Device>& DeviceWrap::require_open() const {
  if (device_ == nullptr) throw verbs::Error(verbs::code::kClosed, "The device is closed.");
  return device_;
}

Napi::Value DeviceWrap::query_device(const Napi::CallbackInfo& info) {
  const ibv_device_attr attributes = require_open()->query();
  Napi::Object object = Napi::Object::New(info.Env());
  object["firmwareVersion"] = attributes.fw_ver;
  object["vendorId"] = attributes.vendor_id;
  object["vendorPartId"] = attributes.vendor_part_id;
  object["maxQp"] = attributes.max_qp;
  object["maxQpWr"] = attributes.max_qp_wr;
  object["maxSge"] = attributes.max_sge;
  object["maxCq"] = attributes.max_cq;
  object["maxCqe"] = attributes.max_cqe;
  object["maxMr"] = attributes.max_mr;
  object["maxMrBytes"] = static_cast<double>(attributes.max_mr_size);
  object["maxPd"] = attributes.max_pd;
  object["maxQpRdAtomic"] = attributes.max_qp_rd_atom;
  object["maxQpInitRdAtomic"] = attributes.max_qp_init_rd_atom;
  object["atomics"] = attributes.atomic_cap != IBV_ATOMIC_NONE;
  object["portCount"] = static_cast<uint32_t>(attributes.phys_port_cnt);
  return object;
}

Napi::Value DeviceWrap::query_port(const Napi::CallbackInfo& info) {
  const ibv_port_attr attributes = require_open()->query_port(to_port(info[0]));
  Napi::Object object = Napi::Object::New(info.Env());
  object["state"] = port_state(attributes.state);
  object["maxMtu"] = mtu_bytes(attributes.max_mtu);
  object["activeMtu"] = mtu_bytes(attributes.active_mtu);
  object["lid"] = static_cast<uint32_t>(attributes.lid);
  object["linkLayer"] = link_layer(attributes.link_layer);
  object["gidTableLength"] = attributes.gid_tbl_len;
  return object;
}

Napi::Value DeviceWrap::gid_table(const Napi::CallbackInfo& info) {
  Napi::Array list = Napi::Array::New(info.Env());
  for (const ibv_gid_entry& entry : require_open()->gid_table(to_port(info[0]))) {
    Napi::Object object = Napi::Object::New(info.Env());
    object["index"] = entry.gid_index;
    object["gid"] = gid_text(entry.gid);
    object["type"] = gid_type(entry.gid_type);
    list[list.Length()] = object;
  }
  return list;
}

Napi::Value DeviceWrap::counters_page(const Napi::CallbackInfo& info) {
  constexpr size_t kPageBytes = 4096;
  const void* const page = require_open()->counters_page();
  if (page == nullptr) return info.Env().Undefined();
  // A copy: the page goes with the device.
  Napi::ArrayBuffer copy = Napi::ArrayBuffer::New(info.Env(), kPageBytes);
  std::memcpy(copy.Data(), page, kPageBytes);
  return copy;
}

Napi::Value DeviceWrap::alloc_pd(const Napi::CallbackInfo&) {
  ProtectionDomainWrap::Making making{
      environment_, std::make_shared<verbs::ProtectionDomain>(require_open()), *this};
  return ProtectionDomainWrap::make(*environment_, making);
}

Napi::Value DeviceWrap::create_poll_group(const Napi::CallbackInfo& info) {
  const Napi::Object object = to_object(info[0], "options");
  const Napi::Function on_completions = to_function(object.Get("onCompletions"), "onCompletions");
  auto group = std::make_shared<PollGroup>(
      environment_, require_open(), to_options(object),
      std::make_shared<JsCallback>(on_completions, "VERBENA_COMPLETIONS"));
  group->start();
  PollGroupWrap::Making making{environment_, std::move(group), *this};
  return PollGroupWrap::make(*environment_, making);
}

Napi::Value DeviceWrap::set_async_event_handler(const Napi::CallbackInfo& info) {
  require_open();
  if (info[0].IsUndefined()) {
    events_->set_handler(nullptr);
  } else {
    events_->set_handler(
        std::make_shared<JsCallback>(to_function(info[0], "handler"), "VERBENA_ASYNC_EVENT"));
  }
  return info.Env().Undefined();
}

void DeviceWrap::close() {
  if (device_ == nullptr) return;
  device_->require_no_children("device", "protection domains and poll groups");
  events_->stop();
  const auto device = std::exchange(device_, nullptr);
  events_.reset();
  closed();
  device->close();
}

Napi::Value DeviceWrap::close(const Napi::CallbackInfo& info) {
  close();
  return info.Env().Undefined();
}

}  // namespace verbena::addon
