// The device's counters, in the manner of the kernel's hw_counters. Written under the lane lock,
// read at any time.
#pragma once

#include <atomic>
#include <cstdint>

namespace verbena::engine {

#define VERBENA_SOFT_COUNTERS(X)  \
  X(tx_packets)                   \
  X(rx_packets)                   \
  X(tx_bytes)                     \
  X(rx_bytes)                     \
  X(rx_local_packets)             \
  X(acks_sent)                    \
  X(duplicate_requests)           \
  X(out_of_sequence)              \
  X(sequence_naks_sent)           \
  X(sequence_naks_received)       \
  X(rnr_naks_sent)                \
  X(rnr_naks_received)            \
  X(invalid_request_naks_sent)    \
  X(remote_access_naks_sent)      \
  X(remote_operational_naks_sent) \
  X(fatal_naks_received)          \
  X(retransmits)                  \
  X(ack_timeouts)                 \
  X(tail_probes)                  \
  X(implicit_naks)                \
  X(ghost_responses)              \
  X(malformed)                    \
  X(icrc_errors)                  \
  X(unknown_qpn)                  \
  X(bad_peer)                     \
  X(bad_pkey)                     \
  X(bad_state)                    \
  X(bad_transport)                \
  X(bad_qkey)                     \
  X(unreliable_drops)             \
  X(cq_overflows)                 \
  X(socket_drops)                 \
  X(send_failures)                \
  X(out_of_memory)                \
  X(ids_solved)

// Those who count take turns by the lane lock, so that a plain load and store will do.
class Counter : public std::atomic<uint64_t> {
 public:
  Counter() : atomic(0) {}
  Counter(const Counter& other) : atomic(other.load()) {}
  Counter& operator=(const Counter&) = delete;

  Counter& operator=(uint64_t value) {
    store(value, std::memory_order_relaxed);
    return *this;
  }
  Counter& operator+=(uint64_t count) { return *this = load(std::memory_order_relaxed) + count; }
  Counter& operator++() { return *this += 1; }
};
static_assert(sizeof(Counter) == sizeof(uint64_t) && Counter::is_always_lock_free);

struct Counters {
#define VERBENA_DECLARE(name) Counter name;
  VERBENA_SOFT_COUNTERS(VERBENA_DECLARE)
#undef VERBENA_DECLARE
};

}  // namespace verbena::engine
