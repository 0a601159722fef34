// Owns the JavaScript class of a loaded verbs library.
#pragma once

#include <memory>
#include <vector>

#include "addon/wrapped.h"
#include "verbs/library.h"

namespace verbena::addon {

struct LibraryMaking {
  std::shared_ptr<Environment> environment;
  verbs::Library& library;
};

class LibraryWrap : public Wrapped<LibraryWrap, LibraryMaking> {
 public:
  static constexpr ClassId kClass = ClassId::kLibrary;
  static constexpr const char* kName = "NativeLibrary";
  static constexpr const char* kWhat = "verbs library";
  static std::vector<PropertyDescriptor> methods();

  explicit LibraryWrap(const Napi::CallbackInfo& info);

 private:
  Napi::Value list_devices(const Napi::CallbackInfo& info);
  Napi::Value open_device(const Napi::CallbackInfo& info);

  std::shared_ptr<Environment> environment_;
  verbs::Library& library_;
};

}  // namespace verbena::addon
