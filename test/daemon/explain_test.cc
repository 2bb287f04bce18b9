// explain_test: the way of a user or recipient in words, with answers at once and later.
// SPDX-License-Identifier: Apache-2.0
#include "lb/daemon/explain.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "conf/load.h"
#include "test/support/meters.h"
#include "test/support/scripted_directory.h"
#include "test/support/sim_loop.h"

namespace postern::daemon {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using AnswerKind = io::LookupAnswer::Kind;

constexpr const char* kConfig = R"({
  "hostname": "mail.example.com",
  "listeners": [
    { "name": "imap", "protocol": "imap", "address": "127.0.0.1:1143", "tls": "none",
      "route": "users" },
    { "name": "mx", "protocol": "smtp", "address": "127.0.0.1:1025", "tls": "none",
      "route": "inbound" },
    { "name": "web", "protocol": "imap", "address": "127.0.0.1:1144", "tls": "none",
      "route": "judged" }
  ],
  "backends": {
    "mail1": { "host": "192.0.2.1", "imap": { "port": 143, "tls": "none" },
               "smtp": { "port": 25, "tls": "none" } },
    "mail2": { "host": "192.0.2.2", "imap": { "port": 143, "tls": "none" },
               "smtp": { "port": 25, "tls": "none" } },
    "mail3": { "host": "192.0.2.3", "priority": 1, "imap": { "port": 143, "tls": "none" } }
  },
  "pools": {
    "store": { "backends": ["mail1", "mail2", "mail3"], "storage": "shared", "balance": "first" },
    "by-client": { "backends": ["mail1", "mail2"], "storage": "shared", "balance": "hash",
                   "hash_on": "client" },
    "one": { "backends": ["mail1", "mail2"], "storage": "exclusive", "balance": "first" }
  },
  "directories": {
    "people": { "type": "redis", "addresses": ["192.0.2.9:6379"] },
    "judge": { "type": "auth_http", "url": "http://192.0.2.8/auth" }
  },
  "routes": {
    "users": [ { "name": "old", "sni": "old.example.com", "backend": "mail2" },
               { "name": "office", "client": "10.0.0.0/8", "pool": "by-client" },
               { "name": "kept", "user": "*@one.example", "pool": "one" },
               { "name": "mapped", "directory": "people" },
               { "name": "rest", "user": "*@example.com", "pool": "store" } ],
    "inbound": [ { "name": "ours", "recipient": "*@example.com", "pool": "store" },
                 { "name": "never", "recipient": "*@never.example", "reject": "550 5.7.1 Never" },
                 { "name": "lists", "recipient": "*@lists.example", "mixed": { "relay": "one" },
                   "pool": "store" } ],
    "judged": [ { "name": "mapped", "directory": "people" },
                { "name": "asked", "directory": "judge", "on_error": "tempfail" } ]
  }
})";

class ExplainTest : public testing::Test {
 protected:
  ExplainTest() {
    conf::LoadResult loaded = conf::LoadText(kConfig, "test.json", {});
    for (const conf::Problem& error : loaded.errors) ADD_FAILURE() << error.ToString();
    if (!loaded.config) return;
    auto parts = std::make_shared<session::Parts>();
    parts->config = std::make_shared<const conf::Config>(std::move(*loaded.config));
    parts->router = std::make_shared<route::Router>(*parts->config);
    parts->user_key = std::make_shared<route::UserKey>(parts->config->users);
    table_ = std::make_shared<balance::EndpointTable>(*parts->config, book_);
    parts->endpoints = table_;
    const auto slots = meters_.registry.Configure(*parts->config);
    parts->directory_slots = slots.directories;
    for (const conf::Directory& directory : parts->config->directories)
      parts->directories.push_back(directory.name == "people" ? people_ : judge_);
    parts_ = parts;
    explainer_->Use(parts);
  }

  // Nothing: it waits for a directory.
  std::optional<Explanation> Ask(const RouteQuestion& question) {
    made_.reset();
    error_.clear();
    explainer_->Explain(question, [this](const base::Result<Explanation>& made) {
      EXPECT_FALSE(made_);
      if (made) {
        made_ = *made;
      } else {
        error_ = made.error();
      }
    });
    return made_;
  }
  balance::EndpointState& StateOf(const std::string& backend, conf::Protocol protocol) {
    return *book_.Get(backend, protocol);
  }
  // Each rule tried as "rule: why", with a star at the one that decided.
  static std::vector<std::string> Rules(const Explanation& made) {
    std::vector<std::string> words;
    for (const Explanation::Rule& rule : made.rules)
      words.push_back((rule.matched ? "*" : "") + rule.rule + ": " + rule.why);
    return words;
  }

  test::SimLoop loop_;
  test::Meters meters_;
  base::SeededRng rng_{1};
  balance::EndpointBook book_{1};
  balance::Pins pins_;
  std::shared_ptr<balance::EndpointTable> table_;
  std::shared_ptr<test::ScriptedDirectory> people_ =
      std::make_shared<test::ScriptedDirectory>(loop_);
  std::shared_ptr<test::ScriptedDirectory> judge_ =
      std::make_shared<test::ScriptedDirectory>(loop_);
  std::shared_ptr<health::HealthReport> report_ = std::make_shared<health::HealthReport>();
  std::shared_ptr<const session::Parts> parts_;
  std::optional<Explanation> made_;
  std::string error_;
  std::unique_ptr<Explainer> explainer_ =
      std::make_unique<Explainer>(loop_, meters_.recorder, rng_, pins_, [this] { return report_; });
};

TEST_F(ExplainTest, TellsWhatBecomesOfRecipientsWithOtherHomes) {
  const auto deferred = Ask({.listener = "mx", .recipient = "a@example.com"});
  ASSERT_TRUE(deferred) << error_;
  EXPECT_THAT(AsJson(*deferred), HasSubstr(R"("mixed":"defer")"));
  const auto relayed = Ask({.listener = "mx", .recipient = "a@lists.example"});
  ASSERT_TRUE(relayed) << error_;
  EXPECT_THAT(AsJson(*relayed), HasSubstr(R"("mixed":{"relay":"one"})"));
  people_->SayAtOnce(AnswerKind::kUnknown);
  const auto user = Ask({.listener = "imap", .user = "a@example.com"});
  ASSERT_TRUE(user) << error_;
  EXPECT_THAT(AsJson(*user), testing::Not(HasSubstr("mixed")));
}

TEST_F(ExplainTest, TellsEachRuleTheDirectoryAndTheChoice) {
  people_->SayAtOnce(AnswerKind::kUnknown);
  const auto made = Ask({.listener = "imap", .user = "Alice+news@Example.com"});
  ASSERT_TRUE(made) << error_;
  EXPECT_EQ(made->key, "alice@example.com");
  EXPECT_THAT(people_->asked, ElementsAre("alice@example.com"));
  EXPECT_THAT(Rules(*made),
              ElementsAre("old: sni differs", "office: client is in none of the networks",
                          "kept: user differs", "mapped: the directory knows nobody of that name",
                          "*rest: every condition holds"));
  EXPECT_EQ(made->rules[0].route, "users");
  EXPECT_EQ(made->directory->name, "people");
  EXPECT_EQ(made->directory->answer, "");
  EXPECT_EQ(made->pool, "store");
  ASSERT_EQ(made->candidates.size(), 3U);
  EXPECT_EQ(made->candidates[0].reason, "as configured");
  EXPECT_EQ(made->candidates[0].tier, 1U);
  EXPECT_EQ(made->candidates[2].tier, 2U);
  EXPECT_EQ(made->choice, "mail1");
  EXPECT_EQ(made->answer, "");
}

TEST_F(ExplainTest, AnswersThatComeLaterAreWaitedFor) {
  EXPECT_FALSE(Ask({.listener = "imap", .user = "alice@example.com"}));
  EXPECT_EQ(error_, "");
  io::LookupAnswer answer;
  answer.kind = AnswerKind::kFound;
  answer.value = "mail2";
  answer.age = std::chrono::seconds(7);
  answer.is_stale = true;
  people_->Say(answer);
  loop_.RunUntilIdle();
  ASSERT_TRUE(made_);
  EXPECT_EQ(made_->choice, "mail2");
  EXPECT_EQ(made_->pool, "");
  const std::string json = AsJson(*made_);
  EXPECT_THAT(json,
              HasSubstr(R"("directory":{"name":"people","answer":"mail2","age_seconds":7,)"
                        R"("stale":true,"why":""},"pool":null,"candidates":[{"backend":"mail2")"));
  EXPECT_THAT(json, HasSubstr(R"("choice":"mail2","answer":null})"));
}

TEST_F(ExplainTest, NobodyIsToldAfterItsEnd) {
  EXPECT_FALSE(Ask({.listener = "imap", .user = "alice@example.com"}));
  explainer_.reset();
  people_->Say(AnswerKind::kUnknown);
  loop_.RunUntilIdle();
  EXPECT_FALSE(made_);
  EXPECT_EQ(people_->num_waiting(), 0U);
}

TEST_F(ExplainTest, AReloadLeavesWhatIsBeingAskedWithItsOwnConfiguration) {
  EXPECT_FALSE(Ask({.listener = "imap", .user = "alice@example.com"}));
  explainer_->Use(nullptr);
  parts_.reset();
  people_->Say(AnswerKind::kFound, "mail2");
  loop_.RunUntilIdle();
  ASSERT_TRUE(made_);
  EXPECT_EQ(made_->choice, "mail2");
  EXPECT_FALSE(Ask({.listener = "imap", .user = "alice@example.com"}));
  EXPECT_THAT(error_, HasSubstr("no configuration"));
}

TEST_F(ExplainTest, WhoIsNotWellIsSaidAndPassedOver) {
  people_->SayAtOnce(AnswerKind::kUnknown);
  StateOf("mail1", conf::Protocol::kImap).health = balance::Health::kDown;
  health::EndpointReport endpoint;
  endpoint.state = book_.Get("mail1", conf::Protocol::kImap);
  endpoint.reason = "checks fail";
  report_->backends = {{"mail1", "", 0, {endpoint}, std::nullopt}};
  StateOf("mail2", conf::Protocol::kImap).cooldown_until_ns =
      (loop_.Now() + std::chrono::seconds(1)).time_since_epoch().count();
  const auto made = Ask({.listener = "imap", .user = "alice@example.com"});
  ASSERT_TRUE(made);
  EXPECT_EQ(made->candidates[0].health, balance::Health::kDown);
  EXPECT_EQ(made->candidates[0].reason, "checks fail");
  EXPECT_THAT(made->candidates[1].reason, HasSubstr("after a failure"));
  EXPECT_EQ(made->choice, "mail3");
}

TEST_F(ExplainTest, WithoutAnybodyThereIsAnAnswer) {
  people_->SayAtOnce(AnswerKind::kUnknown);
  for (const char* name : {"mail1", "mail2", "mail3"})
    StateOf(name, conf::Protocol::kImap).admin = balance::AdminState::kMaintenance;
  const auto made = Ask({.listener = "imap", .user = "alice@example.com"});
  ASSERT_TRUE(made);
  EXPECT_EQ(made->choice, "");
  EXPECT_EQ(made->answer, "a temporary failure (no endpoint can take it now)");
}

TEST_F(ExplainTest, RefusalsAreSpelledOut) {
  const auto refused = Ask({.listener = "mx", .recipient = "a@never.example"});
  ASSERT_TRUE(refused);
  EXPECT_EQ(refused->answer, "550 5.7.1 Never");
  EXPECT_TRUE(refused->candidates.empty());
  const auto unknown = Ask({.listener = "mx", .recipient = "a@other.example"});
  ASSERT_TRUE(unknown);
  EXPECT_THAT(unknown->answer, HasSubstr("550 5.1.1"));
  EXPECT_THAT(Rules(*unknown), ElementsAre("ours: recipient differs", "never: recipient differs",
                                           "lists: recipient differs"));
  EXPECT_FALSE(unknown->mixed);
  people_->SayAtOnce(AnswerKind::kFailed);
  const auto failed = Ask({.listener = "imap", .user = "alice@example.com"});
  ASSERT_TRUE(failed);
  EXPECT_THAT(failed->answer, HasSubstr("a temporary failure"));
  EXPECT_TRUE(failed->rules.back().matched);
}

TEST_F(ExplainTest, WhatHangsOnThePasswordIsSaidAndNotAsked) {
  people_->SayAtOnce(AnswerKind::kUnknown);
  const auto made = Ask({.listener = "web", .user = "alice@example.com"});
  ASSERT_TRUE(made);
  EXPECT_TRUE(judge_->asked.empty());
  EXPECT_THAT(Rules(*made), ElementsAre("mapped: the directory knows nobody of that name",
                                        "asked: asked at the login only"));
  EXPECT_EQ(made->choice, "");
  EXPECT_THAT(made->answer, HasSubstr("password"));
  EXPECT_THAT(AsJson(*made),
              HasSubstr(R"("directory":{"name":"judge","answer":null,"age_seconds":null)"));
}

TEST_F(ExplainTest, AHashOnTheClientNeedsIt) {
  RouteQuestion question{.listener = "imap", .user = "alice@example.com"};
  question.client = base::IpAddress::Parse("10.1.2.3");
  const auto made = Ask(question);
  ASSERT_TRUE(made);
  EXPECT_EQ(made->pool, "by-client");
  balance::Picker picker(0, rng_);
  const balance::Home* home = table_->PoolHome(1, conf::Protocol::kImap);
  EXPECT_EQ(made->choice, picker.Pick(*home, "10.1.2.3", {}, loop_.Now())->backend->name);
}

TEST_F(ExplainTest, AnExclusivePoolsUserGoesWhereTheUserIs) {
  const RouteQuestion question{.listener = "imap", .user = "alice@one.example"};
  EXPECT_EQ(Ask(question)->choice, "mail1");
  const auto pin = pins_.Take("one", "alice@one.example", "mail2");
  const auto held = Ask(question);
  EXPECT_EQ(held->choice, "mail2");
  EXPECT_THAT(held->candidates[1].reason, HasSubstr("has the user's sessions"));
  StateOf("mail2", conf::Protocol::kImap).admin = balance::AdminState::kMaintenance;
  EXPECT_EQ(Ask(question)->choice, "");
  EXPECT_THAT(made_->answer, HasSubstr("mail2 has the user's sessions"));
  StateOf("mail2", conf::Protocol::kImap).health = balance::Health::kDown;
  EXPECT_EQ(Ask(question)->choice, "mail1");
}

TEST_F(ExplainTest, TheNameAskedForInTlsCountsInAnyCase) {
  const auto made =
      Ask({.listener = "imap", .user = "alice@example.com", .sni = "OLD.example.com"});
  ASSERT_TRUE(made);
  EXPECT_EQ(made->rules.back().rule, "old");
  EXPECT_EQ(made->choice, "mail2");
}

TEST_F(ExplainTest, OfTwoNamesTheListenersCounts) {
  people_->SayAtOnce(AnswerKind::kFound, "mail2");
  const RouteQuestion both{.user = "u@example.com", .recipient = "r@example.com"};
  RouteQuestion question = both;
  question.listener = "imap";
  EXPECT_EQ(Ask(question)->key, "u@example.com");
  question.listener = "mx";
  EXPECT_EQ(Ask(question)->key, "r@example.com");
}

TEST_F(ExplainTest, QuestionsThatMakeNoSenseAreErrors) {
  EXPECT_FALSE(Ask({.listener = "nothing", .user = "alice"}));
  EXPECT_THAT(error_, HasSubstr("no listener \"nothing\""));
  EXPECT_FALSE(Ask({.listener = "imap"}));
  EXPECT_THAT(error_, HasSubstr("user and recipient are missing"));
  EXPECT_TRUE(people_->asked.empty());
}

}  // namespace
}  // namespace postern::daemon
