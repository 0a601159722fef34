// Owns the errors that name what a step of ibv_modify_qp lacks or must not have.
#pragma once

#include <infiniband/verbs.h>

#include <string>
#include <vector>

#include "util/qp_transitions.h"
#include "verbs/error.h"

namespace verbena::verbs {

using util::kQpStates;
using util::qp_transition;
using util::QpTransition;

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
