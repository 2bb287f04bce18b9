// front_base_test: the table of states, and answers that nobody asked for.
// SPDX-License-Identifier: Apache-2.0
#include "lb/proto/front_base.h"

#include <gtest/gtest.h>

#include <memory>
#include <set>
#include <string>
#include <variant>

namespace postern::proto {
namespace {

FrontState StateAt(int i) {
  return static_cast<FrontState>(i);
}

TEST(FrontStatesTest, EveryStateCanBeReachedAndLeft) {
  std::set<int> reached = {0};
  for (int round = 0; round < kNumFrontStates; ++round)
    for (const int from : std::set<int>(reached))
      for (int to = 0; to < kNumFrontStates; ++to)
        if (MayFollow(StateAt(from), StateAt(to))) reached.insert(to);
  EXPECT_EQ(reached.size(), static_cast<size_t>(kNumFrontStates));
  for (int i = 0; i < kNumFrontStates; ++i) {
    const bool is_last = StateAt(i) == FrontState::kEnded || StateAt(i) == FrontState::kHandedOver;
    EXPECT_EQ(RowOf(StateAt(i)).next == 0, is_last) << RowOf(StateAt(i)).name;
  }
}

TEST(FrontStatesTest, WhereverAGoodbyeIsPossibleTheSessionMayEnd) {
  for (int i = 0; i < kNumFrontStates; ++i) {
    const FrontStateRow& row = RowOf(StateAt(i));
    EXPECT_EQ(MayFollow(row.state, FrontState::kEnding), row.drain != DrainPoint::kNever)
        << row.name;
  }
}

TEST(FrontStatesTest, OnlyALoginThatWasAskedForIsHandedOver) {
  for (int i = 0; i < kNumFrontStates; ++i) {
    const FrontState from = StateAt(i);
    EXPECT_EQ(MayFollow(from, FrontState::kHandOver),
              from == FrontState::kDeciding || from == FrontState::kResponding)
        << RowOf(from).name;
    EXPECT_EQ(MayFollow(from, FrontState::kHandedOver), from == FrontState::kHandOver);
  }
}

std::string SaidBy(FrontMachine& machine, std::string input) {
  std::string said;
  while (true) {
    const FrontStep step = machine.Next(input);
    input.erase(0, step.consumed);
    const auto* send = std::get_if<Send>(&step.event);
    if (send == nullptr) return said;
    said += send->bytes;
  }
}

class UnaskedAnswersTest : public testing::TestWithParam<MailProtocol> {};

TEST_P(UnaskedAnswersTest, ChangeNothing) {
  FrontPlan plan;
  plan.hostname = "h";
  plan.auth_requires_tls = true;
  plan.has_starttls = true;
  const std::unique_ptr<FrontMachine> machine = MakeFront(GetParam(), plan);
  EXPECT_NE(SaidBy(*machine, ""), "");
  machine->TlsUp();
  machine->LoginOk({"X", "in"});
  machine->LoginRefused({"AUTH", "no", true});
  machine->LoginUnavailable();
  machine->PassChallenge("e30=");
  EXPECT_EQ(SaidBy(*machine, ""), "");
  // Still in clear: no login.
  const std::string said = SaidBy(*machine, "a LOGIN x y\r\n");
  EXPECT_EQ(said.find("OK"), std::string::npos) << said;
  EXPECT_EQ(machine->phase(), base::Phase::kCommand);
}

INSTANTIATE_TEST_SUITE_P(Both, UnaskedAnswersTest,
                         testing::Values(MailProtocol::kImap, MailProtocol::kPop3));

}  // namespace
}  // namespace postern::proto
