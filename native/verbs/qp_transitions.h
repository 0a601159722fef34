// Owns the rules of ibv_modify_qp for reliable connections: which state follows which, and which
// attributes each step needs and allows (InfiniBand Architecture, 10.3 and 11.2.5.2).
#pragma once

#include <infiniband/verbs.h>

#include <string>
#include <vector>

#include "verbs/error.h"

namespace verbena::verbs {

/** States with a row in the table: IBV_QPS_RESET to IBV_QPS_ERR. */
inline constexpr int kQpStates = IBV_QPS_ERR + 1;

struct QpTransition {
  bool allowed;
  /** Masks of ibv_qp_attr_mask, without IBV_QP_STATE. */
  int required;
  int optional;
};

/** The rule for a step; not allowed for states outside the table. */
const QpTransition& qp_transition(ibv_qp_state from, ibv_qp_state to);

/** `RTR` and so on. */
const char* qp_state_name(ibv_qp_state state);

/** Names, as the JavaScript surface spells them, of the attributes in a mask. */
std::vector<std::string> qp_attribute_names(int mask);

/** ERR_VERBENA_QP_TRANSITION. A step that does not exist has `state` as its illegal attribute. */
class QpTransitionError : public Error {
 public:
  QpTransitionError(ibv_qp_state from, ibv_qp_state to, int missing, int illegal);

  const std::vector<std::string>& missing() const { return missing_; }
  const std::vector<std::string>& illegal() const { return illegal_; }

 private:
  std::vector<std::string> missing_;
  std::vector<std::string> illegal_;
};

/** Throws QpTransitionError unless `mask` fits the step. */
void check_qp_transition(ibv_qp_state from, ibv_qp_state to, int mask);

}  // namespace verbena::verbs
