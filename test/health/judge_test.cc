// judge_test: from checks and live work to up, degraded and down.
// SPDX-License-Identifier: Apache-2.0
#include "health/judge.h"

#include <gtest/gtest.h>

namespace postern::health {
namespace {

using balance::Health;

class JudgeTest : public testing::Test {
 protected:
  // "+" a good check, "-" a failed one.
  Health After(std::string_view checks) {
    for (const char c : checks) judge_.OnCheck(c == '+');
    return judge_.health();
  }
  Judge judge_{2, 3};
};

TEST_F(JudgeTest, IsUpUntilTheFirstCheckHasEnded) {
  EXPECT_EQ(judge_.health(), Health::kUp);
  EXPECT_FALSE(judge_.has_been_checked());
}

TEST_F(JudgeTest, TheFirstCheckDecidesAtOnce) {
  EXPECT_EQ(After("-"), Health::kDown);
  Judge other(2, 3);
  other.OnCheck(true);
  EXPECT_EQ(other.health(), Health::kUp);
}

TEST_F(JudgeTest, FallsAfterThreeInARowOnly) {
  EXPECT_EQ(After("+--"), Health::kUp);
  EXPECT_TRUE(judge_.is_in_doubt());
  EXPECT_EQ(After("+--"), Health::kUp) << "a good one in between begins anew";
  EXPECT_EQ(After("-"), Health::kDown);
  EXPECT_FALSE(judge_.is_in_doubt());
}

TEST_F(JudgeTest, RisesAfterTwoInARow) {
  EXPECT_EQ(After("-+"), Health::kDown);
  EXPECT_TRUE(judge_.is_in_doubt());
  EXPECT_EQ(After("-+"), Health::kDown);
  EXPECT_EQ(After("+"), Health::kUp);
}

TEST_F(JudgeTest, LiveFailuresDegradeButNeverTakeDown) {
  After("+");
  for (int i = 0; i < 100; ++i) judge_.OnInterval(1000, 1000);
  EXPECT_EQ(judge_.health(), Health::kDegraded);
}

TEST_F(JudgeTest, HalfOfTheAttemptsIsNotMoreThanHalf) {
  judge_.OnInterval(20, 10);
  EXPECT_EQ(judge_.health(), Health::kUp);
  judge_.OnInterval(20, 11);
  EXPECT_EQ(judge_.health(), Health::kDegraded);
}

TEST_F(JudgeTest, FewAttemptsSayNothing) {
  for (int i = 0; i < 100; ++i) judge_.OnInterval(9, 9);
  EXPECT_EQ(judge_.health(), Health::kUp) << "each interval for itself";
}

TEST_F(JudgeTest, DegradedEndsWithAnIntervalThatIsGood) {
  judge_.OnInterval(10, 10);
  judge_.OnInterval(10, 2);
  EXPECT_EQ(judge_.health(), Health::kUp);
}

TEST_F(JudgeTest, ADegradedEndpointGetsLittleWorkSoThatItsAttemptsAreGathered) {
  judge_.OnInterval(10, 10);
  for (int i = 0; i < 4; ++i) judge_.OnInterval(2, 2);
  EXPECT_EQ(judge_.health(), Health::kDegraded);
  judge_.OnInterval(2, 2);  // ten by now, all failed
  EXPECT_EQ(judge_.health(), Health::kDegraded);
  for (int i = 0; i < 5; ++i) judge_.OnInterval(2, 0);
  EXPECT_EQ(judge_.health(), Health::kUp);
}

TEST_F(JudgeTest, WithoutAnyWorkDegradedEndsByTime) {
  judge_.OnInterval(10, 10);
  for (uint32_t i = 0; i + 1 < Judge::kPatience; ++i) judge_.OnInterval(0, 0);
  EXPECT_EQ(judge_.health(), Health::kDegraded);
  judge_.OnInterval(0, 0);
  EXPECT_EQ(judge_.health(), Health::kUp);
}

TEST_F(JudgeTest, DownEndsDegraded) {
  judge_.OnInterval(10, 10);
  EXPECT_EQ(After("+---"), Health::kDown);
  EXPECT_EQ(After("++"), Health::kUp);
}

TEST_F(JudgeTest, ItsWordsSayWhy) {
  EXPECT_EQ(judge_.Words(), "");
  After("+-");
  EXPECT_EQ(judge_.Words(), "1 of 3 checks failed on the way down");
  After("--");
  EXPECT_EQ(judge_.Words(), "checks fail");
  After("+");
  EXPECT_EQ(judge_.Words(), "1 of 2 checks passed on the way up");
  After("+");
  judge_.OnInterval(12, 7);
  EXPECT_EQ(judge_.Words(), "7 of 12 live attempts failed while checks pass");
}

}  // namespace
}  // namespace postern::health
