// Owns the table of queue-pair transitions and the names in it.
#include "verbs/qp_transitions.h"

#include <array>

namespace verbena::verbs {
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

constexpr Table make_table() {
  Table table{};
  // Every state may be left for RESET and ERR, with nothing but the state, except that the kernel
  // refuses RESET to ERR: there is no work to flush.
  for (Row& row : table) {
    row[IBV_QPS_RESET].allowed = true;
    row[IBV_QPS_ERR].allowed = &row != &table[IBV_QPS_RESET];
  }
  table[IBV_QPS_RESET][IBV_QPS_INIT] = {true, kInitAttributes, 0};
  table[IBV_QPS_INIT][IBV_QPS_INIT] = {true, 0, kInitAttributes};
  table[IBV_QPS_INIT][IBV_QPS_RTR] = {true, kRtrAttributes,
                                      IBV_QP_ALT_PATH | IBV_QP_ACCESS_FLAGS | IBV_QP_PKEY_INDEX};
  table[IBV_QPS_RTR][IBV_QPS_RTS] = {true, kRtsAttributes, kRunning};
  table[IBV_QPS_RTS][IBV_QPS_RTS] = {true, 0, kRunning};
  table[IBV_QPS_RTS][IBV_QPS_SQD] = {true, 0, IBV_QP_EN_SQD_ASYNC_NOTIFY};
  table[IBV_QPS_SQD][IBV_QPS_RTS] = {true, 0, kRunning};
  table[IBV_QPS_SQD][IBV_QPS_SQD] = {true, 0, kDrained};
  // A reliable connection never enters SQE; if a device says so, only RESET and ERR lead out.
  return table;
}

constexpr Table kTable = make_table();
constexpr QpTransition kImpossible{};

struct AttributeName {
  int bit;
  const char* name;
};

constexpr AttributeName kNames[] = {
    {IBV_QP_STATE, "state"},
    {IBV_QP_CUR_STATE, "currentState"},
    {IBV_QP_EN_SQD_ASYNC_NOTIFY, "enableSqdNotify"},
    {IBV_QP_ACCESS_FLAGS, "access"},
    {IBV_QP_PKEY_INDEX, "pkeyIndex"},
    {IBV_QP_PORT, "port"},
    {IBV_QP_QKEY, "qkey"},
    {IBV_QP_AV, "path"},
    {IBV_QP_PATH_MTU, "mtu"},
    {IBV_QP_TIMEOUT, "timeout"},
    {IBV_QP_RETRY_CNT, "retryCount"},
    {IBV_QP_RNR_RETRY, "rnrRetry"},
    {IBV_QP_RQ_PSN, "rqPsn"},
    {IBV_QP_MAX_QP_RD_ATOMIC, "maxRdAtomic"},
    {IBV_QP_ALT_PATH, "alternatePath"},
    {IBV_QP_MIN_RNR_TIMER, "minRnrTimer"},
    {IBV_QP_SQ_PSN, "sqPsn"},
    {IBV_QP_MAX_DEST_RD_ATOMIC, "maxDestRdAtomic"},
    {IBV_QP_PATH_MIG_STATE, "pathMigrationState"},
    {IBV_QP_CAP, "capabilities"},
    {IBV_QP_DEST_QPN, "destQpn"},
    {IBV_QP_RATE_LIMIT, "rateLimit"},
};

bool in_table(ibv_qp_state state) {
  return state >= 0 && state < kQpStates;
}

std::string list(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ", ") + name;
  return text;
}

std::string describe(ibv_qp_state from, ibv_qp_state to, int missing, int illegal) {
  const std::string step = std::string(qp_state_name(from)) + " to " + qp_state_name(to);
  if (illegal == IBV_QP_STATE) {
    return "A queue pair cannot go from " + step +
           ": the order is RESET, INIT, RTR, RTS; RESET is open from everywhere, ERR from all "
           "states but RESET.";
  }
  std::string text = "The queue pair cannot go from " + step + ":";
  if (missing != 0) text += " missing " + list(qp_attribute_names(missing)) + ";";
  if (illegal != 0) text += " not allowed here: " + list(qp_attribute_names(illegal)) + ";";
  text.back() = '.';
  return text;
}

}  // namespace

const QpTransition& qp_transition(ibv_qp_state from, ibv_qp_state to) {
  if (!in_table(from) || !in_table(to)) return kImpossible;
  return kTable[static_cast<size_t>(from)][static_cast<size_t>(to)];
}

const char* qp_state_name(ibv_qp_state state) {
  static constexpr const char* kStates[kQpStates] = {"RESET", "INIT", "RTR", "RTS",
                                                     "SQD",   "SQE",  "ERR"};
  return in_table(state) ? kStates[state] : "UNKNOWN";
}

std::vector<std::string> qp_attribute_names(int mask) {
  std::vector<std::string> names;
  for (const AttributeName& each : kNames) {
    if ((mask & each.bit) != 0) names.emplace_back(each.name);
  }
  return names;
}

QpTransitionError::QpTransitionError(ibv_qp_state from, ibv_qp_state to, int missing, int illegal)
    : Error(code::kQpTransition, describe(from, to, missing, illegal), 0, "ibv_modify_qp"),
      missing_(qp_attribute_names(missing)),
      illegal_(qp_attribute_names(illegal)) {}

void check_qp_transition(ibv_qp_state from, ibv_qp_state to, int mask) {
  const QpTransition& rule = qp_transition(from, to);
  if (!rule.allowed) throw QpTransitionError(from, to, 0, IBV_QP_STATE);
  const int given = mask & ~IBV_QP_STATE;
  const int missing = rule.required & ~given;
  const int illegal = given & ~(rule.required | rule.optional);
  if (missing != 0 || illegal != 0) throw QpTransitionError(from, to, missing, illegal);
}

}  // namespace verbena::verbs
