// percent_test: a rule's percent over many names: who is within stays within as it rises, and the
// share is what was asked for.
// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "lb/route/router.h"

namespace postern::route {
namespace {

constexpr size_t kNumNames = 100'000;

// As sites name their people, much alike.
const std::vector<std::string>& Names() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> made;
    for (size_t i = 0; i < kNumNames; ++i)
      made.push_back((i % 2 == 0 ? "user" : "first.last") + std::to_string(i / 2) + "@" +
                     (i % 3 == 0 ? "example.com" : "sales.example.com"));
    return made;
  }();
  return names;
}

enum class By { kUser, kRecipient };

// Whom a rule of so many percent takes.
std::vector<bool> Within(double percent, const std::string& salt, By by) {
  conf::Config config;
  config.pools.emplace_back().name = "new";
  config.routes.emplace_back().name = "r";
  conf::Rule& rule = config.routes[0].rules.emplace_back();
  rule.name = "share";
  rule.percent = percent;
  rule.salt = salt;
  rule.action = conf::Rule::ToPool{"new"};
  const Router router(config);
  std::vector<bool> within;
  for (const std::string& name : Names()) {
    Facts facts;
    (by == By::kUser ? facts.user_key : facts.recipient_key) = name;
    within.push_back(router.Decide(0, facts).kind == Decision::Kind::kPool);
  }
  return within;
}

size_t Count(const std::vector<bool>& within) {
  return static_cast<size_t>(std::count(within.begin(), within.end(), true));
}

class PercentTest : public testing::TestWithParam<By> {};

TEST_P(PercentTest, RaisingItMovesNobodyBack) {
  for (const char* salt : {"", "2026-11", "x"}) {
    std::vector<bool> before(kNumNames, false);
    for (const double percent : {0.01, 0.5, 1.0, 2.0, 5.0, 12.5, 33.3, 50.0, 75.0, 99.99, 100.0}) {
      const std::vector<bool> within = Within(percent, salt, GetParam());
      size_t num_back = 0;
      for (size_t i = 0; i < kNumNames; ++i) num_back += before[i] && !within[i] ? 1 : 0;
      EXPECT_EQ(num_back, 0U) << percent << " " << salt;
      EXPECT_GT(Count(within), Count(before)) << percent << " " << salt;
      before = within;
    }
    EXPECT_EQ(Count(before), kNumNames) << salt;
  }
}

// Within five standard deviations of so many draws: one such test in a million would fail if the
// names were drawn, and they are the same each time.
TEST_P(PercentTest, TheShareIsWhatWasAskedFor) {
  for (const char* salt : {"", "2026-11", "x"})
    for (const double percent : {0.5, 1.0, 5.0, 12.5, 50.0, 90.0}) {
      const double share = percent / 100;
      const double wanted = share * kNumNames;
      const double bound = 5 * std::sqrt(wanted * (1 - share));
      const auto count = static_cast<double>(Count(Within(percent, salt, GetParam())));
      EXPECT_NEAR(count, wanted, bound) << percent << " " << salt;
    }
}

TEST_P(PercentTest, NobodyIsWithinNothing) {
  EXPECT_EQ(Count(Within(0, "2026-11", GetParam())), 0U);
}

// Half of one half: another salt draws anew.
TEST_P(PercentTest, AnotherSaltTakesOthers) {
  const std::vector<bool> one = Within(50, "a", GetParam());
  const std::vector<bool> other = Within(50, "b", GetParam());
  size_t num_both = 0;
  for (size_t i = 0; i < kNumNames; ++i) num_both += one[i] && other[i] ? 1 : 0;
  const double bound = 5 * std::sqrt(0.25 * 0.75 * kNumNames);
  EXPECT_NEAR(static_cast<double>(num_both), 0.25 * kNumNames, bound);
}

INSTANTIATE_TEST_SUITE_P(Both, PercentTest, testing::Values(By::kUser, By::kRecipient),
                         [](const auto& each) {
                           return each.param == By::kUser ? "User" : "Recipient";
                         });

// Mail goes where the mailbox is.
TEST(PercentOfBothTest, ARecipientIsWithinWhereTheUserIs) {
  EXPECT_EQ(Within(12.5, "2026-11", By::kUser), Within(12.5, "2026-11", By::kRecipient));
}

}  // namespace
}  // namespace postern::route
