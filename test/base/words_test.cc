// words_test: names of labels as the metrics and logs promise them; clocks that go forward.
// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string_view>
#include <vector>

#include "lb/base/clock.h"
#include "lb/base/end_cause.h"

namespace postern::base {
namespace {

template <typename Enum>
std::vector<std::string_view> Names(int count) {
  std::vector<std::string_view> names;
  for (int i = 0; i < count; ++i) names.push_back(Name(static_cast<Enum>(i)));
  return names;
}

TEST(EndCauseTest, NamesAreThoseOfTheLabels) {
  using ::testing::ElementsAre;
  EXPECT_THAT(Names<Side>(3), ElementsAre("none", "front", "back"));
  EXPECT_THAT(Names<Phase>(kNumPhases),
              ElementsAre("accept", "tls", "greeting", "hello", "login", "route", "connect", "mail",
                          "rcpt", "data", "data_reply", "command", "relay"));
  EXPECT_THAT(Names<FaultKind>(kNumFaultKinds),
              ElementsAre("refused", "timeout", "tls_verify", "tempfail", "protocol", "lost"));
  EXPECT_THAT(Names<SessionResult>(kNumSessionResults),
              ElementsAre("client_quit", "client_lost", "backend_lost", "idle", "kicked", "drained",
                          "protocol_error", "limit", "shutdown"));
}

TEST(ClockTest, SystemClockGoesForward) {
  const Clock& clock = SystemClock();
  const MonoTime first = clock.Now();
  const MonoTime second = clock.Now();
  EXPECT_LE(first, second);
  EXPECT_GT(first.time_since_epoch(), Duration(0));
  // After 2020: the wall clock counts from the Unix epoch.
  EXPECT_GT(clock.WallNow().time_since_epoch(), std::chrono::hours(24 * 365 * 50));
}

TEST(ClockTest, SecondsAreFractions) {
  EXPECT_EQ(Seconds(std::chrono::milliseconds(1500)), 1.5);
  EXPECT_EQ(Seconds(Duration(0)), 0.0);
}

}  // namespace
}  // namespace postern::base
