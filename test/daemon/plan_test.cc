// plan_test: who would move with another configuration, with answers at once and later.
// SPDX-License-Identifier: Apache-2.0
#include "lb/daemon/plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "conf/load.h"
#include "test/support/meters.h"
#include "test/support/scripted_directory.h"
#include "test/support/sim_loop.h"

namespace postern::daemon {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::Pair;
using AnswerKind = io::LookupAnswer::Kind;

// A configuration with these rules; "people" is a directory.
std::string ConfigWith(const std::string& users, const std::string& inbound) {
  return R"({
  "hostname": "mail.example.com",
  "listeners": [
    { "name": "imap", "protocol": "imap", "address": "127.0.0.1:1143", "tls": "none",
      "route": "users" },
    { "name": "mx", "protocol": "smtp", "address": "127.0.0.1:1025", "tls": "none",
      "route": "inbound" }
  ],
  "backends": {
    "mail1": { "host": "192.0.2.1", "imap": { "port": 143, "tls": "none" },
               "smtp": { "port": 25, "tls": "none" } },
    "mail2": { "host": "192.0.2.2", "imap": { "port": 143, "tls": "none" },
               "smtp": { "port": 25, "tls": "none" } }
  },
  "pools": { "old": { "backends": ["mail1"] }, "new": { "backends": ["mail2"] } },
  "directories": { "people": { "type": "redis", "addresses": ["192.0.2.9:6379"] },
                   "judge": { "type": "auth_http", "url": "http://192.0.2.8/auth" } },
  "routes": { "users": [)" +
         users + R"(], "inbound": [)" + inbound + R"(] }
})";
}

class PlanTest : public testing::Test {
 protected:
  std::shared_ptr<session::Parts> Side(const std::string& text) {
    conf::LoadResult loaded = conf::LoadText(text, "test.json", {});
    for (const conf::Problem& error : loaded.errors) ADD_FAILURE() << error.ToString();
    if (!loaded.config) return nullptr;
    auto parts = std::make_shared<session::Parts>();
    parts->config = std::make_shared<const conf::Config>(std::move(*loaded.config));
    parts->router = std::make_shared<route::Router>(*parts->config);
    parts->user_key = std::make_shared<route::UserKey>(parts->config->users);
    parts->endpoints = std::make_shared<balance::EndpointTable>(*parts->config, book_);
    parts->directory_slots = meters_.registry.Configure(*parts->config).directories;
    parts->directories.assign(2, people_);
    return parts;
  }
  void Make(const std::string& names, const std::string& now, const std::string& then,
            const std::string& listener = "imap") {
    const auto side = [&](const std::string& rules) {
      return Side(listener == "mx" ? ConfigWith(R"({"pool": "old"})", rules)
                                   : ConfigWith(rules, R"({"pool": "old"})"));
    };
    names_.str(names);
    plan_ = std::make_unique<Plan>(
        loop_, meters_.recorder, Plan::Sides{side(now), then.empty() ? nullptr : side(then)},
        PlanQuestion{.listener = listener}, names_,
        Plan::Ear{[this](const PlannedName& name) { told_.push_back(name); },
                  [this](uint64_t line, const std::string& why) {
                    bad_lines_.push_back(std::to_string(line) + ": " + why);
                  },
                  [this] { ++num_done_; }});
    EXPECT_EQ(plan_->Fault(), "");
    plan_->Start();
  }
  // "alice: old (a) -> new (b)", of those who move.
  [[nodiscard]] std::vector<std::string> Moves() const {
    std::vector<std::string> moves;
    for (const PlannedName& name : told_)
      if (name.is_moved())
        moves.push_back(name.name + ": " + name.now.home + " (" + name.now.rule + ") -> " +
                        name.then->home + " (" + name.then->rule + ")");
    return moves;
  }

  test::SimLoop loop_;
  test::Meters meters_;
  balance::EndpointBook book_{1};
  std::shared_ptr<test::ScriptedDirectory> people_ =
      std::make_shared<test::ScriptedDirectory>(loop_);
  std::istringstream names_;
  std::vector<PlannedName> told_;
  std::vector<std::string> bad_lines_;
  int num_done_ = 0;
  std::unique_ptr<Plan> plan_;
};

constexpr const char* kOld = R"({"name": "rest", "pool": "old"})";

TEST_F(PlanTest, TellsWhoMovesAndByWhichRules) {
  Make("alice@a.example\nbob@b.example\ncarol@b.example\n", kOld,
       R"({"name": "b", "user": "*@b.example", "pool": "new"}, {"name": "rest", "pool": "old"})");
  EXPECT_EQ(num_done_, 1);
  EXPECT_THAT(Moves(), ElementsAre("bob@b.example: old (rest) -> new (b)",
                                   "carol@b.example: old (rest) -> new (b)"));
  const PlanTotals& totals = plan_->totals();
  EXPECT_EQ(totals.num_names, 3U);
  EXPECT_EQ(totals.num_moved, 2U);
  EXPECT_EQ(totals.num_unknown, 0U);
  EXPECT_THAT(totals.pairs,
              ElementsAre(Pair(Pair("old", "new"), 2U), Pair(Pair("old", "old"), 1U)));
}

TEST_F(PlanTest, WithoutAnotherConfigurationTellsWhereEverybodyIs) {
  Make(
      "alice@a.example\nbob@b.example\n",
      R"({"name": "b", "user": "*@b.example", "backend": "mail2"}, {"name": "rest", "pool": "old"})",
      "");
  ASSERT_EQ(told_.size(), 2U);
  EXPECT_EQ(told_[1].now.home, "mail2");
  EXPECT_EQ(told_[1].now.rule, "b");
  EXPECT_EQ(told_[1].now.route, "users");
  EXPECT_THAT(plan_->totals().pairs,
              ElementsAre(Pair(Pair("mail2", ""), 1U), Pair(Pair("old", ""), 1U)));
}

TEST_F(PlanTest, LosingOnesHomeIsAMove) {
  Make("alice@a.example\nbob@b.example\n", kOld,
       R"({"name": "a", "user": "*@a.example", "pool": "old"})");
  EXPECT_THAT(Moves(), ElementsAre("bob@b.example: old (rest) ->  ()"));
  EXPECT_NE(told_[1].then->answer, "");
}

TEST_F(PlanTest, RecipientsAreWhoComeInByMx) {
  Make("a@a.example\n", R"({"name": "a", "recipient": "*@a.example", "pool": "old"})",
       R"({"name": "never", "recipient": "*@a.example", "reject": "550 5.7.1 Never"},
          {"name": "others", "recipient": "*@b.example", "pool": "old"})",
       "mx");
  ASSERT_THAT(Moves(), ElementsAre("a@a.example: old (a) ->  (never)"));
  EXPECT_EQ(told_[0].then->answer, "550 5.7.1 Never");
}

TEST_F(PlanTest, LateAnswersAreToldInTheOrderOfTheNames) {
  Make("alice\nbob\n", kOld,
       R"({"name": "b", "user": "bob", "pool": "new"}, {"name": "mapped", "directory": "people"})");
  EXPECT_EQ(num_done_, 0);
  EXPECT_THAT(told_, IsEmpty());
  EXPECT_THAT(people_->asked, ElementsAre("alice"));
  people_->Say(AnswerKind::kFound, "new");
  loop_.RunUntilIdle();
  EXPECT_EQ(num_done_, 1);
  EXPECT_THAT(Moves(),
              ElementsAre("alice: old (rest) -> new (mapped)", "bob: old (rest) -> new (b)"));
}

TEST_F(PlanTest, WhatCannotBeKnownIsNoMove) {
  people_->SayAtOnce(AnswerKind::kFailed);
  Make("alice\n", kOld, R"({"name": "mapped", "directory": "people"})");
  EXPECT_THAT(Moves(), IsEmpty());
  EXPECT_FALSE(told_[0].is_known());
  EXPECT_EQ(plan_->totals().num_unknown, 1U);
  EXPECT_THAT(plan_->totals().pairs, IsEmpty());
}

TEST_F(PlanTest, ADirectoryThatJudgesPasswordsIsNotAsked) {
  Make("alice\n", kOld, R"({"name": "judged", "directory": "judge"})");
  EXPECT_THAT(people_->asked, IsEmpty());
  EXPECT_EQ(plan_->totals().num_unknown, 1U);
}

TEST_F(PlanTest, BadLinesHaveTheirNumbersAndTheRestGoesOn) {
  Make("# who\n\n  alice \r\nbad\x01one\n" + std::string(2000, 'x') + "\nbob", kOld, kOld);
  EXPECT_THAT(bad_lines_, ElementsAre("4: no user can have this name",
                                      "5: the line is longer than 1024 bytes"));
  ASSERT_EQ(told_.size(), 2U);
  EXPECT_EQ(told_[0].name, "alice");
  EXPECT_EQ(told_[1].name, "bob");
  EXPECT_EQ(plan_->totals().num_bad_lines, 2U);
  EXPECT_EQ(num_done_, 1);
}

TEST_F(PlanTest, BadRecipientsToo) {
  Make("a@a.example> SIZE=1\n<b@b.example>\nc d@x.example\nd@d.example\n", kOld, kOld, "mx");
  EXPECT_EQ(bad_lines_.size(), 3U);
  ASSERT_EQ(told_.size(), 1U);
  EXPECT_EQ(told_[0].name, "d@d.example");
}

TEST_F(PlanTest, AsksOnlySoManyAtATime) {
  std::string names;
  for (size_t i = 0; i < 3 * Plan::kMaxAsked; ++i) names += "user" + std::to_string(i) + "\n";
  Make(names, kOld, R"({"name": "mapped", "directory": "people"})");
  EXPECT_EQ(people_->num_waiting(), Plan::kMaxAsked);
  while (people_->num_waiting() > 0) {
    EXPECT_LE(people_->num_waiting(), Plan::kMaxAsked);
    people_->Say(AnswerKind::kFound, "new");
    loop_.RunUntilIdle();
  }
  EXPECT_EQ(told_.size(), 3 * Plan::kMaxAsked);
  EXPECT_EQ(plan_->totals().num_moved, 3 * Plan::kMaxAsked);
  EXPECT_EQ(num_done_, 1);
}

TEST_F(PlanTest, AnEmptyListIsDoneAtOnce) {
  Make("", kOld, kOld);
  EXPECT_EQ(num_done_, 1);
  EXPECT_EQ(plan_->totals().num_names, 0U);
}

TEST_F(PlanTest, SaysWhichConfigurationLacksTheListener) {
  const auto side = Side(ConfigWith(kOld, kOld));
  Plan plan(loop_, meters_.recorder, {side, nullptr}, {.listener = "pop3"}, names_, {});
  EXPECT_EQ(plan.Fault(), "the configuration has no listener \"pop3\"");
}

}  // namespace
}  // namespace postern::daemon
