// Owns the process-wide table of open device contexts, and device, port and GID queries.
#include "verbs/device.h"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <map>
#include <mutex>
#include <utility>

#include "verbs/error.h"

namespace verbena::verbs {

/** One open ibv_context and the number of threads' holds on it; both guarded by the table. */
class SharedContext {
 public:
  SharedContext(Library& library, std::string name, ibv_context* context)
      : library_(library),
        name_(std::move(name)),
        context_(context),
        async_events_(library.functions(), context) {}

  Library& library() const { return library_; }
  const std::string& name() const { return name_; }
  ibv_context* context() const { return context_; }
  AsyncEvents& async_events() { return async_events_; }

  int holds = 0;

 private:
  Library& library_;
  std::string name_;
  ibv_context* context_;
  AsyncEvents async_events_;
};

namespace {

/** The list that ibv_get_device_list() returns, freed with its scope. */
class DeviceList {
 public:
  explicit DeviceList(const Functions& functions) : functions_(functions) {
    errno = 0;
    devices_ = functions_.get_device_list(&count_);
    // ENOSYS: the kernel has no RDMA support, which for us means: no devices.
    if (devices_ == nullptr && errno != ENOSYS && errno != 0) {
      throw verbs_error("ibv_get_device_list", errno);
    }
    if (devices_ == nullptr) count_ = 0;
  }
  DeviceList(const DeviceList&) = delete;
  DeviceList& operator=(const DeviceList&) = delete;
  ~DeviceList() {
    if (devices_ != nullptr) functions_.free_device_list(devices_);
  }

  ibv_device** begin() const { return devices_; }
  ibv_device** end() const { return devices_ + count_; }

 private:
  const Functions& functions_;
  ibv_device** devices_ = nullptr;
  int count_ = 0;
};

std::string guid_text(const Functions& functions, ibv_device* device) {
  const __be64 guid = functions.get_device_guid(device);
  uint8_t bytes[8];
  static_assert(sizeof(guid) == sizeof(bytes));
  std::memcpy(bytes, &guid, sizeof(bytes));
  std::string text;
  for (const uint8_t byte : bytes) {
    char digits[3];
    std::snprintf(digits, sizeof(digits), "%02x", byte);
    text += digits;
  }
  return text;
}

Error no_such_device(const std::string& name, const DeviceList& devices, const Functions& functions,
                     const std::string& path) {
  std::string present;
  for (ibv_device* device : devices) {
    present += (present.empty() ? "" : ", ") + std::string(functions.get_device_name(device));
  }
  return {code::kUnknownDevice, "There is no device named " + name + " in " + path +
                                    "; it offers " + (present.empty() ? "none" : present) +
                                    ". List devices with `ibv_devices`."};
}

void make_non_blocking(int fd) {
  const int flags = fcntl(fd, F_GETFL);
  if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0) {
    throw verbs_error("fcntl(async_fd)", errno);
  }
}

ibv_context* open_context(Library& library, const std::string& name) {
  const Functions& functions = library.functions();
  const DeviceList devices(functions);
  const auto found = std::find_if(devices.begin(), devices.end(), [&](ibv_device* device) {
    return name == functions.get_device_name(device);
  });
  if (found == devices.end()) throw no_such_device(name, devices, functions, library.path());
  errno = 0;
  ibv_context* context = functions.open_device(*found);
  if (context == nullptr) {
    throw verbs_error("ibv_open_device", errno != 0 ? errno : EIO, library.last_error());
  }
  try {
    make_non_blocking(context->async_fd);
  } catch (...) {
    functions.close_device(context);
    throw;
  }
  return context;
}

struct OpenContexts {
  // Held while a context is opened or closed too: a thread that opens the device while another
  // closes it for the last time must get a new context, not a dying one.
  std::mutex mutex;
  std::map<std::pair<Library*, std::string>, std::unique_ptr<SharedContext>> by_name;
};

/** Never destroyed: worker threads may still run when static destructors do. */
OpenContexts& open_contexts() {
  static auto* const instance = new OpenContexts;
  return *instance;
}

SharedContext& acquire(Library& library, const std::string& name) {
  OpenContexts& all = open_contexts();
  const std::lock_guard lock(all.mutex);
  auto found = all.by_name.find({&library, name});
  if (found == all.by_name.end()) {
    auto shared = std::make_unique<SharedContext>(library, name, open_context(library, name));
    found = all.by_name.emplace(std::pair{&library, name}, std::move(shared)).first;
  }
  ++found->second->holds;
  return *found->second;
}

/** The errno of closing the context, when this was the last hold; the hold is gone either way. */
int release(SharedContext& shared) {
  OpenContexts& all = open_contexts();
  const std::lock_guard lock(all.mutex);
  if (--shared.holds > 0) return 0;
  const int result = error_of(shared.library().functions().close_device(shared.context()));
  all.by_name.erase({&shared.library(), shared.name()});
  return result;
}

}  // namespace

std::vector<DeviceName> list_devices(const Library& library) {
  const Functions& functions = library.functions();
  std::vector<DeviceName> names;
  for (ibv_device* device : DeviceList(functions)) {
    names.push_back({functions.get_device_name(device), guid_text(functions, device)});
  }
  return names;
}

std::shared_ptr<Device> Device::open(Library& library, const std::string& name) {
  return std::shared_ptr<Device>(new Device(acquire(library, name)));
}

Device::~Device() {
  // Whoever wants the error calls close().
  if (shared_ != nullptr) release(*shared_);
}

const std::string& Device::name() const {
  return shared_->name();
}
const Library& Device::library() const {
  return shared_->library();
}

const Functions& Device::functions() const {
  return shared_->library().functions();
}
ibv_context* Device::context() const {
  return shared_->context();
}
AsyncEvents& Device::async_events() const {
  return shared_->async_events();
}

ibv_device_attr Device::query() const {
  ibv_device_attr attributes{};
  check("ibv_query_device", functions().query_device(context(), &attributes));
  return attributes;
}

ibv_port_attr Device::query_port(uint8_t port) const {
  ibv_port_attr attributes{};
  // The exported ibv_query_port fills an older, shorter structure; the whole one comes through the
  // context, which is what the macro of that name does.
  verbs_context* const full = verbs_get_ctx_op(context(), query_port);
  const int result =
      full != nullptr ? full->query_port(context(), port, &attributes, sizeof(attributes))
                      : functions().query_port(
                            context(), port, reinterpret_cast<_compat_ibv_port_attr*>(&attributes));
  check("ibv_query_port", result);
  return attributes;
}

std::vector<ibv_gid_entry> Device::gid_table(uint8_t port) const {
  size_t entries = 0;
  const uint8_t ports = query().phys_port_cnt;
  for (int each = 1; each <= ports; ++each) {
    entries += static_cast<size_t>(query_port(static_cast<uint8_t>(each)).gid_tbl_len);
  }
  std::vector<ibv_gid_entry> table(entries);
  errno = 0;
  const ssize_t found =
      functions().query_gid_table(context(), table.data(), table.size(), 0, sizeof(ibv_gid_entry));
  if (found < 0) throw verbs_error("ibv_query_gid_table", static_cast<int>(-found));
  table.resize(static_cast<size_t>(found));
  std::erase_if(table, [port](const ibv_gid_entry& entry) { return entry.port_num != port; });
  std::ranges::sort(table, {}, &ibv_gid_entry::gid_index);
  return table;
}

const void* Device::counters_page() const {
  return shared_->library().counters_page(context());
}

const volatile uint64_t* Device::counter(std::string_view name) const {
  constexpr size_t kNamesAt = 2048;
  const void* page = counters_page();
  if (page == nullptr) return nullptr;
  std::string_view names = static_cast<const char*>(page) + kNamesAt;
  for (const auto* value = static_cast<const volatile uint64_t*>(page); !names.empty(); ++value) {
    const size_t end = names.find('\n');
    if (names.substr(0, end) == name) return value;
    names.remove_prefix(end == std::string_view::npos ? names.size() : end + 1);
  }
  return nullptr;
}

Device::PostBatch::PostBatch(const Device& device) : device_(device) {
  device_.shared_->library().hold(device_.context());
}

Device::PostBatch::~PostBatch() {
  device_.shared_->library().release(device_.context());
}

void Device::close() {
  if (shared_ == nullptr) return;
  require_no_children("device " + name(), "protection domains and poll groups");
  if (const int result = release(*std::exchange(shared_, nullptr)); result != 0) {
    throw verbs_error("ibv_close_device", result);
  }
}

}  // namespace verbena::verbs
