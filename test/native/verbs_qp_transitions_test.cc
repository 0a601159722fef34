// Tests the transition table against a list written from the manual page and the kernel's rules.
#include "verbs/qp_transitions.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <string>

namespace verbena::verbs {
namespace {

using Names = std::set<std::string>;

struct Step {
  std::string from;
  std::string to;
  Names required;
  Names optional;
};

const Names kInit = {"pkeyIndex", "port", "access"};
const Names kAlter = {"currentState", "alternatePath", "access", "minRnrTimer",
                      "pathMigrationState"};

/** Every step that exists; all others must be refused. */
const std::vector<Step> kSteps = {
    {"RESET", "RESET", {}, {}},
    {"RESET", "INIT", kInit, {}},
    {"INIT", "RESET", {}, {}},
    {"INIT", "ERR", {}, {}},
    {"INIT", "INIT", {}, kInit},
    {"INIT",
     "RTR",
     {"path", "mtu", "destQpn", "rqPsn", "maxDestRdAtomic", "minRnrTimer"},
     {"alternatePath", "access", "pkeyIndex"}},
    {"RTR", "RESET", {}, {}},
    {"RTR", "ERR", {}, {}},
    {"RTR", "RTS", {"timeout", "retryCount", "rnrRetry", "sqPsn", "maxRdAtomic"}, kAlter},
    {"RTS", "RESET", {}, {}},
    {"RTS", "ERR", {}, {}},
    {"RTS", "RTS", {}, kAlter},
    {"RTS", "SQD", {}, {"enableSqdNotify"}},
    {"SQD", "RESET", {}, {}},
    {"SQD", "ERR", {}, {}},
    {"SQD", "RTS", {}, kAlter},
    {"SQD",
     "SQD",
     {},
     {"port", "path", "timeout", "retryCount", "rnrRetry", "maxRdAtomic", "maxDestRdAtomic",
      "alternatePath", "access", "pkeyIndex", "minRnrTimer", "pathMigrationState"}},
    {"SQE", "RESET", {}, {}},
    {"SQE", "ERR", {}, {}},
    {"ERR", "RESET", {}, {}},
    {"ERR", "ERR", {}, {}},
};

const Step* find_step(ibv_qp_state from, ibv_qp_state to) {
  const auto found = std::ranges::find_if(kSteps, [&](const Step& step) {
    return step.from == qp_state_name(from) && step.to == qp_state_name(to);
  });
  return found == kSteps.end() ? nullptr : &*found;
}

Names as_set(const std::vector<std::string>& names) {
  return {names.begin(), names.end()};
}

/** Every attribute bit that has a name, except the state itself. */
std::vector<int> all_bits() {
  std::vector<int> bits;
  for (int bit = 1; bit < 1 << 30; bit <<= 1) {
    if (bit != IBV_QP_STATE && !qp_attribute_names(bit).empty()) bits.push_back(bit);
  }
  return bits;
}

template <class Check>
void for_each_pair(Check check) {
  for (int from = 0; from < kQpStates; ++from) {
    for (int to = 0; to < kQpStates; ++to) {
      const auto a = static_cast<ibv_qp_state>(from);
      const auto b = static_cast<ibv_qp_state>(to);
      SCOPED_TRACE(std::string(qp_state_name(a)) + " to " + qp_state_name(b));
      check(a, b);
    }
  }
}

TEST(QpTransitions, AllowsExactlyTheListedSteps) {
  for_each_pair([](ibv_qp_state from, ibv_qp_state to) {
    const Step* step = find_step(from, to);
    const QpTransition& rule = qp_transition(from, to);
    ASSERT_EQ(rule.allowed, step != nullptr);
    if (step == nullptr) return;
    EXPECT_EQ(as_set(qp_attribute_names(rule.required)), step->required);
    EXPECT_EQ(as_set(qp_attribute_names(rule.optional)), step->optional);
  });
}

TEST(QpTransitions, KnowsEveryAttributeOfTheHeaderByName) {
  EXPECT_EQ(all_bits().size(), 21U);
  std::set<std::string> names;
  for (const int bit : all_bits()) {
    EXPECT_TRUE(names.insert(qp_attribute_names(bit).front()).second);
  }
}

TEST(QpTransitions, AcceptsRequiredAloneAndWithAllOptional) {
  for_each_pair([](ibv_qp_state from, ibv_qp_state to) {
    const QpTransition& rule = qp_transition(from, to);
    if (!rule.allowed) return;
    EXPECT_NO_THROW(check_qp_transition(from, to, IBV_QP_STATE | rule.required));
    EXPECT_NO_THROW(check_qp_transition(from, to, IBV_QP_STATE | rule.required | rule.optional));
  });
}

TEST(QpTransitions, NamesEachMissingAttribute) {
  for_each_pair([](ibv_qp_state from, ibv_qp_state to) {
    const QpTransition& rule = qp_transition(from, to);
    for (const int bit : all_bits()) {
      if ((rule.required & bit) == 0) continue;
      try {
        check_qp_transition(from, to, rule.required & ~bit);
        ADD_FAILURE() << "accepted without " << qp_attribute_names(bit).front();
      } catch (const QpTransitionError& error) {
        EXPECT_EQ(error.missing(), qp_attribute_names(bit));
        EXPECT_TRUE(error.illegal().empty());
        EXPECT_STREQ(error.code(), "ERR_VERBENA_QP_TRANSITION");
      }
    }
  });
}

TEST(QpTransitions, NamesEachIllegalAttribute) {
  for_each_pair([](ibv_qp_state from, ibv_qp_state to) {
    const QpTransition& rule = qp_transition(from, to);
    if (!rule.allowed) return;
    for (const int bit : all_bits()) {
      if (((rule.required | rule.optional) & bit) != 0) continue;
      try {
        check_qp_transition(from, to, rule.required | bit);
        ADD_FAILURE() << "accepted " << qp_attribute_names(bit).front();
      } catch (const QpTransitionError& error) {
        EXPECT_EQ(error.illegal(), qp_attribute_names(bit));
        EXPECT_TRUE(error.missing().empty());
      }
    }
  });
}

TEST(QpTransitions, SaysThatAStepDoesNotExist) {
  try {
    check_qp_transition(IBV_QPS_RESET, IBV_QPS_RTS, IBV_QP_SQ_PSN);
    FAIL();
  } catch (const QpTransitionError& error) {
    EXPECT_EQ(error.illegal(), std::vector<std::string>{"state"});
    EXPECT_TRUE(error.missing().empty());
    EXPECT_NE(std::string(error.what()).find("RESET to RTS"), std::string::npos);
  }
}

TEST(QpTransitions, RefusesStatesOutsideTheTable) {
  EXPECT_FALSE(qp_transition(IBV_QPS_UNKNOWN, IBV_QPS_ERR).allowed);
  EXPECT_FALSE(qp_transition(IBV_QPS_RESET, static_cast<ibv_qp_state>(-1)).allowed);
}

TEST(QpTransitions, PutsEveryNameIntoTheMessage) {
  const QpTransitionError error(IBV_QPS_INIT, IBV_QPS_RTR, IBV_QP_PATH_MTU | IBV_QP_AV,
                                IBV_QP_TIMEOUT);
  EXPECT_STREQ(error.what(),
               "The queue pair cannot go from INIT to RTR: missing path, mtu; not allowed here: "
               "timeout.");
}

struct TypedStep {
  ibv_qp_type type;
  ibv_qp_state from;
  ibv_qp_state to;
  int required;
  int optional;
};

constexpr int kInitMask = IBV_QP_PKEY_INDEX | IBV_QP_PORT;
constexpr int kUcChange =
    IBV_QP_CUR_STATE | IBV_QP_ALT_PATH | IBV_QP_ACCESS_FLAGS | IBV_QP_PATH_MIG_STATE;
constexpr int kUdChange = IBV_QP_CUR_STATE | IBV_QP_QKEY;

const std::vector<TypedStep> kTypedSteps = {
    {IBV_QPT_UC, IBV_QPS_RESET, IBV_QPS_INIT, kInitMask | IBV_QP_ACCESS_FLAGS, 0},
    {IBV_QPT_UC, IBV_QPS_INIT, IBV_QPS_RTR,
     IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN | IBV_QP_RQ_PSN,
     IBV_QP_ALT_PATH | IBV_QP_ACCESS_FLAGS | IBV_QP_PKEY_INDEX},
    {IBV_QPT_UC, IBV_QPS_RTR, IBV_QPS_RTS, IBV_QP_SQ_PSN, kUcChange},
    {IBV_QPT_UC, IBV_QPS_RTS, IBV_QPS_RTS, 0, kUcChange},
    {IBV_QPT_UC, IBV_QPS_SQE, IBV_QPS_RTS, 0, IBV_QP_CUR_STATE | IBV_QP_ACCESS_FLAGS},
    {IBV_QPT_UD, IBV_QPS_RESET, IBV_QPS_INIT, kInitMask | IBV_QP_QKEY, 0},
    {IBV_QPT_UD, IBV_QPS_INIT, IBV_QPS_RTR, 0, IBV_QP_PKEY_INDEX | IBV_QP_QKEY},
    {IBV_QPT_UD, IBV_QPS_RTR, IBV_QPS_RTS, IBV_QP_SQ_PSN, kUdChange},
    {IBV_QPT_UD, IBV_QPS_RTS, IBV_QPS_RTS, 0, kUdChange},
    {IBV_QPT_UD, IBV_QPS_SQE, IBV_QPS_RTS, 0, kUdChange},
};

TEST(QpTransitions, OfUnreliableTypesAskForWhatTheManualPageSays) {
  for (const TypedStep& step : kTypedSteps) {
    const QpTransition& rule = qp_transition(step.from, step.to, step.type);
    EXPECT_TRUE(rule.allowed) << step.type << ": " << step.from << " to " << step.to;
    EXPECT_EQ(rule.required, step.required) << step.type << ": " << step.from << " to " << step.to;
    EXPECT_EQ(rule.optional, step.optional) << step.type << ": " << step.from << " to " << step.to;
  }
}

TEST(QpTransitions, OfEveryTypeLeadToErrorFromAllStatesButReset) {
  for (const ibv_qp_type type : {IBV_QPT_RC, IBV_QPT_UC, IBV_QPT_UD}) {
    for (int from = IBV_QPS_RESET; from < kQpStates; ++from) {
      const auto state = static_cast<ibv_qp_state>(from);
      EXPECT_EQ(qp_transition(state, IBV_QPS_ERR, type).allowed, state != IBV_QPS_RESET);
      EXPECT_TRUE(qp_transition(state, IBV_QPS_RESET, type).allowed);
    }
    EXPECT_FALSE(qp_transition(IBV_QPS_RESET, IBV_QPS_RTS, type).allowed);
  }
}

}  // namespace
}  // namespace verbena::verbs
