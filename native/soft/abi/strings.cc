// The words for statuses, events, node types and port states.
#include <infiniband/verbs.h>

#include <cstddef>
#include <iterator>

#include "soft/abi/export.h"

namespace {

constexpr const char* kStatuses[] = {
    "success",
    "local length error",
    "local QP operation error",
    "local EE context operation error",
    "local protection error",
    "flushed: the queue pair is in error",
    "memory window bind error",
    "bad response",
    "local access error",
    "remote invalid request",
    "remote access error",
    "remote operation error",
    "transport retries exhausted",
    "RNR retries exhausted",
    "local RDD violation",
    "remote invalid RD request",
    "remote abort",
    "invalid EE context number",
    "invalid EE context state",
    "fatal error",
    "response timeout",
    "general error",
    "tag matching error",
    "tag matching rendezvous incomplete",
};
static_assert(std::size(kStatuses) == IBV_WC_TM_RNDV_INCOMPLETE + 1);

constexpr const char* kEvents[] = {
    "completion queue error",
    "queue pair fatal error",
    "invalid request at queue pair",
    "access violation at queue pair",
    "communication established",
    "send queue drained",
    "path migrated",
    "path migration failed",
    "device fatal error",
    "port active",
    "port error",
    "LID change",
    "P_Key change",
    "subnet manager change",
    "shared receive queue error",
    "shared receive queue limit reached",
    "last work request reached",
    "client reregistration",
    "GID change",
    "work queue fatal error",
};
static_assert(std::size(kEvents) == IBV_EVENT_WQ_FATAL + 1);

constexpr const char* kNodeTypes[] = {
    "unknown", "channel adapter", "switch", "router", "RNIC", "usNIC", "usNIC UDP", "unspecified",
};
static_assert(std::size(kNodeTypes) == IBV_NODE_UNSPECIFIED + 1);

constexpr const char* kPortStates[] = {
    "no change", "down", "initializing", "armed", "active", "active, deferred",
};
static_assert(std::size(kPortStates) == IBV_PORT_ACTIVE_DEFER + 1);

template <size_t kCount>
const char* word(const char* const (&words)[kCount], int value) {
  return value >= 0 && static_cast<size_t>(value) < kCount ? words[value] : "unknown";
}

}  // namespace

VERBENA_EXPORT const char* ibv_wc_status_str(ibv_wc_status status) {
  return word(kStatuses, status);
}

VERBENA_EXPORT const char* ibv_event_type_str(ibv_event_type event) {
  return word(kEvents, event);
}

VERBENA_EXPORT const char* ibv_node_type_str(ibv_node_type type) {
  return word(kNodeTypes, type);
}

VERBENA_EXPORT const char* ibv_port_state_str(ibv_port_state state) {
  return word(kPortStates, state);
}
