// Owns the loaded verbs libraries of the process and the table of their functions.
#pragma once

#include <infiniband/verbs.h>

#include <string>

namespace verbena::verbs {

// Every function that is used by name. The inline data-path functions of <infiniband/verbs.h>
// (ibv_poll_cq, ibv_post_send, ...) go through the context and need no entry.
#define VERBENA_VERBS_FUNCTIONS(X)                  \
  X(get_device_list, ibv_get_device_list)           \
  X(free_device_list, ibv_free_device_list)         \
  X(get_device_name, ibv_get_device_name)           \
  X(get_device_guid, ibv_get_device_guid)           \
  X(open_device, ibv_open_device)                   \
  X(close_device, ibv_close_device)                 \
  X(query_device, ibv_query_device)                 \
  X(query_port, ibv_query_port)                     \
  X(query_gid_table, _ibv_query_gid_table)          \
  X(get_async_event, ibv_get_async_event)           \
  X(ack_async_event, ibv_ack_async_event)           \
  X(alloc_pd, ibv_alloc_pd)                         \
  X(dealloc_pd, ibv_dealloc_pd)                     \
  X(reg_mr_iova2, ibv_reg_mr_iova2)                 \
  X(dereg_mr, ibv_dereg_mr)                         \
  X(create_comp_channel, ibv_create_comp_channel)   \
  X(destroy_comp_channel, ibv_destroy_comp_channel) \
  X(get_cq_event, ibv_get_cq_event)                 \
  X(ack_cq_events, ibv_ack_cq_events)               \
  X(create_cq, ibv_create_cq)                       \
  X(destroy_cq, ibv_destroy_cq)                     \
  X(create_qp, ibv_create_qp)                       \
  X(query_qp, ibv_query_qp)                         \
  X(modify_qp, ibv_modify_qp)                       \
  X(destroy_qp, ibv_destroy_qp)                     \
  X(fork_init, ibv_fork_init)

/** Members carry no `ibv_` prefix because several such names are macros in <infiniband/verbs.h>. */
struct Functions {
#define VERBENA_MEMBER(member, symbol) decltype(&::symbol) member = nullptr;
  VERBENA_VERBS_FUNCTIONS(VERBENA_MEMBER)
#undef VERBENA_MEMBER
};

/** A verbs library, never unloaded: its threads and its objects may outlive whoever asked for it.
 */
class Library {
 public:
  /**
   * Loads the library once per process, however many paths lead to it; any thread may ask.
   * Throws ERR_VERBENA_LIBRARY when it cannot be loaded or lacks a function.
   */
  static Library& open(const std::string& path);

  Library(const Library&) = delete;
  Library& operator=(const Library&) = delete;

  const std::string& path() const { return path_; }
  const Functions& functions() const { return functions_; }

  /** What the library itself says about this thread's last failure; often empty. */
  std::string last_error() const;

  /** The page of counters that our own device keeps; nullptr where the library has none. */
  const void* counters_page(ibv_context* context) const;
  /** What this thread posts between the two leaves together, where the library knows how. */
  void hold(ibv_context* context) const;
  void release(ibv_context* context) const;
  /** The channel's descriptor is not polled for edges, which our own device need not make then. */
  void level_triggered(ibv_comp_channel* channel) const;

 private:
  Library(const std::string& path, void* handle);

  std::string path_;
  Functions functions_;
  const char* (*last_error_)() = nullptr;
  const void* (*counters_page_)(ibv_context*) = nullptr;
  void (*hold_)(ibv_context*) = nullptr;
  void (*release_)(ibv_context*) = nullptr;
  void (*level_triggered_)(ibv_comp_channel*) = nullptr;
};

}  // namespace verbena::verbs
