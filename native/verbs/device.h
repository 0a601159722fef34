// Owns open devices: one context per library and name in the process, shared by all threads, and
// the handle through which one thread uses it.
#pragma once

#include <infiniband/verbs.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "verbs/async_events.h"
#include "verbs/library.h"
#include "verbs/parent.h"

namespace verbena::verbs {

struct DeviceName {
  std::string name;
  /** 16 hex digits. */
  std::string guid;
};

/** The devices that the library offers; empty where the kernel has no RDMA support. */
std::vector<DeviceName> list_devices(const Library& library);

class SharedContext;

/** One thread's hold on a shared device context. */
class Device : public Parent {
 public:
  /**
   * Throws ERR_VERBENA_UNKNOWN_DEVICE when no device has the name, ERR_VERBENA_VERBS when it cannot
   * be opened.
   */
  static std::shared_ptr<Device> open(Library& library, const std::string& name);

  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;
  ~Device();

  const std::string& name() const;
  const Library& library() const;
  const Functions& functions() const;
  ibv_context* context() const;
  AsyncEvents& async_events() const;
  bool is_open() const { return shared_ != nullptr; }

  ibv_device_attr query() const;
  ibv_port_attr query_port(uint8_t port) const;
  /** Valid entries of the port's table, in order of their index. */
  std::vector<ibv_gid_entry> gid_table(uint8_t port) const;
  /** The page of counters that our own device keeps while it is open; nullptr for others. */
  const void* counters_page() const;
  /** The page's counter of that name, 0 where there is none. It lives as long as the page. */
  const volatile uint64_t* counter(std::string_view name) const;

  /** While it lives, what its thread posts is held back, to leave together. */
  class PostBatch {
   public:
    explicit PostBatch(const Device& device);
    PostBatch(const PostBatch&) = delete;
    PostBatch& operator=(const PostBatch&) = delete;
    ~PostBatch();

   private:
    const Device& device_;
  };

  /**
   * Gives up this hold; the last one in the process closes the context.
   * Throws ERR_VERBENA_IN_USE while children are open.
   */
  void close();

 private:
  explicit Device(SharedContext& shared) : shared_(&shared) {}

  SharedContext* shared_;
};

}  // namespace verbena::verbs
