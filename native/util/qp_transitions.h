// Owns the rules of ibv_modify_qp: which state follows which, and which attributes each step needs
// and allows, by type of queue pair (InfiniBand Architecture, 10.3 and 11.2.5.2).
#pragma once

#include <infiniband/verbs.h>

namespace verbena::util {

/** States with a row in the table: IBV_QPS_RESET to IBV_QPS_ERR. */
inline constexpr int kQpStates = IBV_QPS_ERR + 1;

struct QpTransition {
  bool allowed;
  /** Masks of ibv_qp_attr_mask, without IBV_QP_STATE. */
  int required;
  int optional;
};

/** The rule for a step of an RC, UC or UD queue pair; not allowed for states outside the table. */
const QpTransition& qp_transition(ibv_qp_state from, ibv_qp_state to,
                                  ibv_qp_type type = IBV_QPT_RC);

}  // namespace verbena::util
