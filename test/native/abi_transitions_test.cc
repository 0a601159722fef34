// Every step from every state of every type of queue pair, with every attribute missing or too
// many: the device takes exactly what the transition table allows.
#include <gtest/gtest.h>

#include "support/verbs_objects.h"
#include "util/qp_transitions.h"

namespace verbena::test {
namespace {

using util::qp_transition;
using util::QpTransition;

// The device has no alternate path to offer, whatever the table allows.
constexpr int kNeverTaken = IBV_QP_ALT_PATH;
// SQE is never entered: a failed send takes the queue pair to ERR.
constexpr ibv_qp_state kReachable[] = {IBV_QPS_RESET, IBV_QPS_INIT, IBV_QPS_RTR,
                                       IBV_QPS_RTS,   IBV_QPS_SQD,  IBV_QPS_ERR};

class Transitions : public testing::TestWithParam<ibv_qp_type> {
 protected:
  // Attributes that are all good, so that the mask alone decides.
  ibv_qp_attr good(ibv_qp_state from, ibv_qp_state to) const {
    ibv_qp_attr attributes{};
    attributes.qp_state = to;
    attributes.cur_qp_state = from;
    attributes.port_num = 1;
    attributes.path_mtu = IBV_MTU_1024;
    attributes.dest_qp_num = 5;
    attributes.max_dest_rd_atomic = attributes.max_rd_atomic = 1;
    attributes.timeout = 14;
    attributes.ah_attr.is_global = 1;
    attributes.ah_attr.port_num = 1;
    attributes.ah_attr.grh.dgid = gid_of(context.get());
    return attributes;
  }

  int step(ibv_qp_state from, ibv_qp_state to, int mask) const {
    return endpoint.modify(good(from, to), IBV_QP_STATE | mask);
  }

  // From RESET by the steps that need the least.
  void bring_to(ibv_qp_state state) const {
    ASSERT_EQ(endpoint.to_state(IBV_QPS_RESET), 0);
    if (state == IBV_QPS_RESET) return;
    const ibv_qp_state last = state == IBV_QPS_ERR ? IBV_QPS_INIT : state;
    for (int from = IBV_QPS_RESET; from < last; ++from) {
      const auto here = static_cast<ibv_qp_state>(from), next = static_cast<ibv_qp_state>(from + 1);
      ASSERT_EQ(step(here, next, qp_transition(here, next, GetParam()).required), 0) << from;
    }
    if (state != last) {
      ASSERT_EQ(endpoint.to_state(state), 0);
    }
  }

  // The step with `mask` and what must come of it.
  void attempt(ibv_qp_state from, ibv_qp_state to, int mask) const {
    const QpTransition& rule = qp_transition(from, to, GetParam());
    const bool taken = rule.allowed && (rule.required & ~mask) == 0 &&
                       (mask & ~(rule.required | rule.optional)) == 0 && (mask & kNeverTaken) == 0;
    ASSERT_NO_FATAL_FAILURE(bring_to(from));
    ASSERT_EQ(step(from, to, mask), taken ? 0 : EINVAL) << from << " to " << to << ", " << mask;
    ASSERT_EQ(state_of(endpoint), taken ? to : from) << from << " to " << to << ", " << mask;
  }

  ContextPtr context = open_soft_device();
  Endpoint endpoint{context.get(), {.type = GetParam()}};
};

TEST_P(Transitions, AreExactlyThoseOfTheTable) {
  for (const ibv_qp_state from : kReachable) {
    for (int state = IBV_QPS_RESET; state < util::kQpStates; ++state) {
      const auto to = static_cast<ibv_qp_state>(state);
      const int required = qp_transition(from, to, GetParam()).required;
      ASSERT_NO_FATAL_FAILURE(attempt(from, to, required));
      for (int bit = IBV_QP_CUR_STATE; bit <= IBV_QP_DEST_QPN; bit <<= 1) {
        ASSERT_NO_FATAL_FAILURE(attempt(from, to, required ^ bit));
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(OfEveryType, Transitions,
                         testing::Values(IBV_QPT_RC, IBV_QPT_UC, IBV_QPT_UD));

}  // namespace
}  // namespace verbena::test
