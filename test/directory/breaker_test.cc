// breaker_test: when a directory is left alone, and when it is tried.
// SPDX-License-Identifier: Apache-2.0
#include "lb/directory/breaker.h"

#include <gtest/gtest.h>

#include <vector>

namespace postern::directory {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using Pass = Breaker::Pass;

class BreakerTest : public testing::Test {
 protected:
  void Fail(int times, Pass pass = Pass::kAsk) {
    for (int i = 0; i < times; ++i) breaker_.OnFailure(now_, pass);
  }
  Pass Enter() { return breaker_.Enter(now_); }
  // Fails the trial after the pause; returns the next pause.
  base::Duration FailTrial() {
    now_ += breaker_.Remaining(now_);
    EXPECT_EQ(Enter(), Pass::kTrial);
    Fail(1, Pass::kTrial);
    return breaker_.Remaining(now_);
  }

  Breaker breaker_{BreakerSettings{}};
  base::MonoTime now_{std::chrono::hours(1)};
};

TEST_F(BreakerTest, OpensAfterSoManyFailuresInARow) {
  Fail(4);
  EXPECT_EQ(Enter(), Pass::kAsk);
  EXPECT_FALSE(breaker_.is_open());
  Fail(1);
  EXPECT_EQ(Enter(), Pass::kNo);
  EXPECT_TRUE(breaker_.is_open());
  EXPECT_EQ(breaker_.num_opened(), 1u);
}

TEST_F(BreakerTest, AnAnswerBetweenFailuresStartsTheCountAnew) {
  for (int i = 0; i < 10; ++i) {
    Fail(4);
    breaker_.OnAnswer();
  }
  EXPECT_EQ(Enter(), Pass::kAsk);
}

TEST_F(BreakerTest, OneTrialAfterThePause) {
  Fail(5);
  now_ += milliseconds(999);
  EXPECT_EQ(Enter(), Pass::kNo);
  EXPECT_EQ(breaker_.Remaining(now_), milliseconds(1));
  now_ += milliseconds(1);
  EXPECT_EQ(Enter(), Pass::kTrial);
  EXPECT_EQ(Enter(), Pass::kNo);
  now_ += seconds(100);
  EXPECT_EQ(Enter(), Pass::kNo);
}

TEST_F(BreakerTest, AnAnswerClosesIt) {
  Fail(5);
  now_ += seconds(1);
  EXPECT_EQ(Enter(), Pass::kTrial);
  breaker_.OnAnswer();
  EXPECT_EQ(Enter(), Pass::kAsk);
  Fail(4);
  EXPECT_EQ(Enter(), Pass::kAsk);
}

TEST_F(BreakerTest, PausesDoubleUpToABoundAndBeginAnewOnceClosed) {
  Fail(5);
  std::vector<base::Duration> pauses = {breaker_.Remaining(now_)};
  for (int i = 0; i < 6; ++i) pauses.push_back(FailTrial());
  EXPECT_EQ(pauses, (std::vector<base::Duration>{seconds(1), seconds(2), seconds(4), seconds(8),
                                                 seconds(16), seconds(30), seconds(30)}));
  breaker_.OnAnswer();
  Fail(5);
  EXPECT_EQ(breaker_.Remaining(now_), seconds(1));
  EXPECT_EQ(breaker_.num_opened(), 2u);
}

TEST_F(BreakerTest, LateFailuresOfOthersChangeNothing) {
  Fail(500);
  EXPECT_EQ(breaker_.Remaining(now_), seconds(1));
  now_ += seconds(1);
  EXPECT_EQ(Enter(), Pass::kTrial);
  Fail(500);
  EXPECT_EQ(breaker_.Remaining(now_), base::Duration(0));  // the trial is still under way
  EXPECT_EQ(Enter(), Pass::kNo);
  Fail(1, Pass::kTrial);
  EXPECT_EQ(breaker_.Remaining(now_), seconds(2));
}

TEST_F(BreakerTest, AnAbandonedTrialIsFollowedByTheNext) {
  Fail(5);
  now_ += seconds(1);
  EXPECT_EQ(Enter(), Pass::kTrial);
  breaker_.OnAbandoned(Pass::kAsk);
  EXPECT_EQ(Enter(), Pass::kNo);
  breaker_.OnAbandoned(Pass::kTrial);
  EXPECT_EQ(Enter(), Pass::kTrial);
}

}  // namespace
}  // namespace postern::directory
