// Owns the methods of NativeLibrary.
#include "addon/library_wrap.h"

#include "addon/arguments.h"
#include "addon/device_wrap.h"
#include "verbs/device.h"

namespace verbena::addon {

std::vector<LibraryWrap::PropertyDescriptor> LibraryWrap::methods() {
  return {method<&LibraryWrap::list_devices>("listDevices"),
          method<&LibraryWrap::open_device>("openDevice")};
}

LibraryWrap::LibraryWrap(const Napi::CallbackInfo& info)
    : Wrapped(info), environment_(making().environment), library_(making().library) {
  set_constant(info.This().As<Napi::Object>(), "path",
               Napi::String::New(info.Env(), library_.path()));
}

Napi::Value LibraryWrap::list_devices(const Napi::CallbackInfo& info) {
  Napi::Array list = Napi::Array::New(info.Env());
  for (const verbs::DeviceName& device : verbs::list_devices(library_)) {
    Napi::Object entry = Napi::Object::New(info.Env());
    entry["name"] = device.name;
    entry["guid"] = device.guid;
    list[list.Length()] = entry;
  }
  return list;
}

Napi::Value LibraryWrap::open_device(const Napi::CallbackInfo& info) {
  return DeviceWrap::open(*environment_, library_, to_text(info[0], "name"));
}

}  // namespace verbena::addon
