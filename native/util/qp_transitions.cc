// Owns the table of queue-pair transitions.
#include "util/qp_transitions.h"

#include <array>
#include <cstddef>

namespace verbena::util {
namespace {

using Row = std::array<QpTransition, kQpStates>;
using Table = std::array<Row, kQpStates>;

constexpr int kInitAttributes = IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_ACCESS_FLAGS;
constexpr int kRtrAttributes = IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN | IBV_QP_RQ_PSN |
                               IBV_QP_MAX_DEST_RD_ATOMIC | IBV_QP_MIN_RNR_TIMER;
constexpr int kRtsAttributes =
    IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT | IBV_QP_RNR_RETRY | IBV_QP_SQ_PSN | IBV_QP_MAX_QP_RD_ATOMIC;
/** What may change while the queue pair runs. */
constexpr int kRunning = IBV_QP_CUR_STATE | IBV_QP_ALT_PATH | IBV_QP_ACCESS_FLAGS |
                         IBV_QP_MIN_RNR_TIMER | IBV_QP_PATH_MIG_STATE;
/** What may change while the send queue is drained. */
constexpr int kDrained = IBV_QP_PORT | IBV_QP_AV | IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT |
                         IBV_QP_RNR_RETRY | IBV_QP_MAX_QP_RD_ATOMIC | IBV_QP_MAX_DEST_RD_ATOMIC |
                         IBV_QP_ALT_PATH | IBV_QP_ACCESS_FLAGS | IBV_QP_PKEY_INDEX |
                         IBV_QP_MIN_RNR_TIMER | IBV_QP_PATH_MIG_STATE;

// Every state may be left for RESET and ERR, with nothing but the state, except that the kernel
// refuses RESET to ERR: there is no work to flush.
constexpr Table make_common_table() {
  Table table{};
  for (Row& row : table) {
    row[IBV_QPS_RESET].allowed = true;
    row[IBV_QPS_ERR].allowed = &row != &table[IBV_QPS_RESET];
  }
  table[IBV_QPS_RTS][IBV_QPS_SQD] = {true, 0, IBV_QP_EN_SQD_ASYNC_NOTIFY};
  return table;
}

// A reliable connection never enters SQE; if a device says so, only RESET and ERR lead out.
constexpr Table make_reliable_table() {
  Table table = make_common_table();
  table[IBV_QPS_RESET][IBV_QPS_INIT] = {true, kInitAttributes, 0};
  table[IBV_QPS_INIT][IBV_QPS_INIT] = {true, 0, kInitAttributes};
  table[IBV_QPS_INIT][IBV_QPS_RTR] = {true, kRtrAttributes,
                                      IBV_QP_ALT_PATH | IBV_QP_ACCESS_FLAGS | IBV_QP_PKEY_INDEX};
  table[IBV_QPS_RTR][IBV_QPS_RTS] = {true, kRtsAttributes, kRunning};
  table[IBV_QPS_RTS][IBV_QPS_RTS] = {true, 0, kRunning};
  table[IBV_QPS_SQD][IBV_QPS_RTS] = {true, 0, kRunning};
  table[IBV_QPS_SQD][IBV_QPS_SQD] = {true, 0, kDrained};
  return table;
}

constexpr Table make_unreliable_table() {
  constexpr int kMayChange =
      IBV_QP_CUR_STATE | IBV_QP_ALT_PATH | IBV_QP_ACCESS_FLAGS | IBV_QP_PATH_MIG_STATE;
  Table table = make_common_table();
  table[IBV_QPS_RESET][IBV_QPS_INIT] = {true, kInitAttributes, 0};
  table[IBV_QPS_INIT][IBV_QPS_INIT] = {true, 0, kInitAttributes};
  table[IBV_QPS_INIT][IBV_QPS_RTR] = {true,
                                      IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN | IBV_QP_RQ_PSN,
                                      IBV_QP_ALT_PATH | IBV_QP_ACCESS_FLAGS | IBV_QP_PKEY_INDEX};
  table[IBV_QPS_RTR][IBV_QPS_RTS] = {true, IBV_QP_SQ_PSN, kMayChange};
  table[IBV_QPS_RTS][IBV_QPS_RTS] = {true, 0, kMayChange};
  table[IBV_QPS_SQD][IBV_QPS_RTS] = {true, 0, kMayChange};
  table[IBV_QPS_SQD][IBV_QPS_SQD] = {true, 0,
                                     IBV_QP_AV | IBV_QP_ALT_PATH | IBV_QP_ACCESS_FLAGS |
                                         IBV_QP_PKEY_INDEX | IBV_QP_PATH_MIG_STATE};
  table[IBV_QPS_SQE][IBV_QPS_RTS] = {true, 0, IBV_QP_CUR_STATE | IBV_QP_ACCESS_FLAGS};
  return table;
}

constexpr Table make_datagram_table() {
  constexpr int kDatagramInit = IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_QKEY;
  constexpr int kMayChange = IBV_QP_CUR_STATE | IBV_QP_QKEY;
  Table table = make_common_table();
  table[IBV_QPS_RESET][IBV_QPS_INIT] = {true, kDatagramInit, 0};
  table[IBV_QPS_INIT][IBV_QPS_INIT] = {true, 0, kDatagramInit};
  table[IBV_QPS_INIT][IBV_QPS_RTR] = {true, 0, IBV_QP_PKEY_INDEX | IBV_QP_QKEY};
  table[IBV_QPS_RTR][IBV_QPS_RTS] = {true, IBV_QP_SQ_PSN, kMayChange};
  table[IBV_QPS_RTS][IBV_QPS_RTS] = {true, 0, kMayChange};
  table[IBV_QPS_SQD][IBV_QPS_RTS] = {true, 0, kMayChange};
  table[IBV_QPS_SQD][IBV_QPS_SQD] = {true, 0, IBV_QP_PKEY_INDEX | IBV_QP_QKEY};
  table[IBV_QPS_SQE][IBV_QPS_RTS] = {true, 0, kMayChange};
  return table;
}

constexpr Table kReliable = make_reliable_table();
constexpr Table kUnreliable = make_unreliable_table();
constexpr Table kDatagram = make_datagram_table();
constexpr QpTransition kImpossible{};

bool in_table(ibv_qp_state state) {
  return state >= 0 && state < kQpStates;
}

const Table& table_of(ibv_qp_type type) {
  if (type == IBV_QPT_UD) return kDatagram;
  return type == IBV_QPT_UC ? kUnreliable : kReliable;
}

}  // namespace

const QpTransition& qp_transition(ibv_qp_state from, ibv_qp_state to, ibv_qp_type type) {
  if (!in_table(from) || !in_table(to)) return kImpossible;
  return table_of(type)[static_cast<size_t>(from)][static_cast<size_t>(to)];
}

}  // namespace verbena::util
