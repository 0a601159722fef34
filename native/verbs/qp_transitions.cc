// Owns the names of queue-pair states and attributes, and the errors of steps that do not fit.
#include "verbs/qp_transitions.h"

namespace verbena::verbs {
namespace {

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
