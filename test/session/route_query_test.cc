// route_query_test: rules and directories together, with answers at once, later, or never.
// SPDX-License-Identifier: Apache-2.0
#include "lb/session/route_query.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "test/support/meters.h"
#include "test/support/scripted_directory.h"
#include "test/support/sim_loop.h"

namespace postern::test {
namespace {

using route::Decision;
using session::RouteQuery;
using testing::ElementsAre;
using Kind = io::LookupAnswer::Kind;

class RouteQueryTest : public testing::Test {
 protected:
  RouteQueryTest() {
    config_->backends.resize(1);
    config_->backends[0].name = "mail1";
    config_->routes.resize(1);
    config_->routes[0].name = "users";
    for (const char* name : {"people", "cloud"}) {
      config_->directories.emplace_back().name = name;
      conf::Rule& rule = config_->routes[0].rules.emplace_back();
      rule.name = std::string("asks-") + name;
      rule.directory = name;
      directories_.push_back(std::make_shared<ScriptedDirectory>(loop_));
    }
  }
  ScriptedDirectory& people() { return *directories_[0]; }
  ScriptedDirectory& cloud() { return *directories_[1]; }

  // Nothing: it waits.
  std::optional<Decision::Kind> Begin(const std::string& user = "alice@example.com") {
    auto parts = std::make_shared<session::Parts>();
    parts->config = config_;
    parts->router = std::make_shared<route::Router>(*config_);
    parts->endpoints = std::make_shared<balance::EndpointTable>(*config_, book_);
    const auto slots = meters_.registry.Configure(*config_);
    parts->rule_slots = slots.rules;
    parts->directory_slots = slots.directories;
    parts->directories.assign(directories_.begin(), directories_.end());
    route::Facts facts;
    facts.user_key = user;
    facts.protocol = conf::Protocol::kImap;
    query_ = std::make_unique<RouteQuery>(parts, meters_.recorder, loop_, 0, facts, std::nullopt);
    const auto decision = query_->Start([this](const Decision& late) {
      told_.push_back(late.kind);
      if (lets_go_) query_.reset();
    });
    if (!decision) return std::nullopt;
    return decision->kind;
  }
  double Lookups(const std::string& directory, const std::string& result) {
    return meters_.registry.Value("postern_directory_lookups_total{directory=\"" + directory +
                                  "\",result=\"" + result + "\"}");
  }

  SimLoop loop_;
  Meters meters_;
  balance::EndpointBook book_{1};
  std::shared_ptr<conf::Config> config_ = std::make_shared<conf::Config>();
  std::vector<std::shared_ptr<ScriptedDirectory>> directories_;
  std::unique_ptr<RouteQuery> query_;
  std::vector<Decision::Kind> told_;
  bool lets_go_ = false;
};

TEST_F(RouteQueryTest, WhatIsKnownAtOnceIsDecidedAtOnce) {
  people().SayAtOnce(Kind::kUnknown);
  cloud().SayAtOnce(Kind::kFound, "mail1");
  EXPECT_EQ(Begin(), Decision::Kind::kBackend);
  EXPECT_THAT(people().asked, ElementsAre("alice@example.com"));
  loop_.RunUntilIdle();
  EXPECT_TRUE(told_.empty());
  EXPECT_EQ(Lookups("people", "miss"), 1);
  EXPECT_EQ(Lookups("cloud", "hit"), 1);
}

TEST_F(RouteQueryTest, WaitsForOneDirectoryAfterTheOther) {
  EXPECT_FALSE(Begin());
  people().Say(Kind::kUnknown);
  loop_.RunUntilIdle();
  EXPECT_TRUE(told_.empty());
  cloud().Say(Kind::kFound, "mail1");
  loop_.RunUntilIdle();
  EXPECT_THAT(told_, ElementsAre(Decision::Kind::kBackend));
  EXPECT_EQ(query_->answers().size(), 2U);
}

TEST_F(RouteQueryTest, EachIsAskedOnce) {
  conf::Rule again = config_->routes[0].rules[0];
  again.name = "again";
  config_->routes[0].rules.push_back(again);
  people().SayAtOnce(Kind::kUnknown);
  cloud().SayAtOnce(Kind::kUnknown);
  EXPECT_EQ(Begin(), Decision::Kind::kUnknown);
  EXPECT_EQ(people().asked.size(), 1U);
}

TEST_F(RouteQueryTest, FailuresAreDecisionsAndAreCounted) {
  EXPECT_FALSE(Begin());
  people().Say(Kind::kFailed);
  loop_.RunUntilIdle();
  EXPECT_THAT(told_, ElementsAre(Decision::Kind::kTempFail));
  EXPECT_EQ(Lookups("people", "error"), 1);
  EXPECT_TRUE(cloud().asked.empty());
}

TEST_F(RouteQueryTest, WhatJudgesPasswordsIsNotAskedWithoutOne) {
  config_->directories[0].type = conf::Directory::Type::kAuthHttp;
  config_->routes[0].rules[0].on_error_next = true;
  EXPECT_EQ(Begin(), Decision::Kind::kRefused);
  EXPECT_TRUE(people().asked.empty());
  EXPECT_TRUE(cloud().asked.empty());
  EXPECT_EQ(query_->answers()[0].answer.why, "asked at the login only");
  for (const char* result : {"hit", "miss", "error"}) EXPECT_EQ(Lookups("people", result), 0);
}

TEST_F(RouteQueryTest, AnAddressIsThatOfAnEndpointOrAFailure) {
  config_->backends[0].host = "10.0.0.1";
  config_->backends[0].endpoints.emplace_back().protocol = conf::Protocol::kImap;
  config_->backends[0].endpoints[0].port = 143;
  people().SayAtOnce(Kind::kFound, "10.0.0.1:143");
  EXPECT_EQ(Begin(), Decision::Kind::kAddress);
  EXPECT_EQ(Lookups("people", "hit"), 1);
  people().SayAtOnce(Kind::kFound, "10.0.0.2:143");
  EXPECT_EQ(Begin(), Decision::Kind::kTempFail);
  EXPECT_EQ(Lookups("people", "hit"), 1);
  EXPECT_EQ(Lookups("people", "error"), 1);
  EXPECT_EQ(query_->answers()[0].answer.why, "its answer, 10.0.0.2:143, is no endpoint's address");
  EXPECT_TRUE(cloud().asked.empty());
  config_->routes[0].rules[0].on_error_next = true;
  cloud().SayAtOnce(Kind::kFound, "mail1");
  EXPECT_EQ(Begin(), Decision::Kind::kBackend);
}

TEST_F(RouteQueryTest, ADirectoryThatThisBuildLacksFails) {
  directories_.clear();
  EXPECT_EQ(Begin(), Decision::Kind::kTempFail);
}

TEST_F(RouteQueryTest, WhoGoesAwayHearsNothing) {
  EXPECT_FALSE(Begin());
  query_.reset();
  EXPECT_EQ(people().num_waiting(), 0U);
  loop_.RunUntilIdle();
  EXPECT_TRUE(told_.empty());
}

TEST_F(RouteQueryTest, WhoIsToldMayLetGo) {
  lets_go_ = true;
  EXPECT_FALSE(Begin());
  people().Say(Kind::kFound, "mail1");
  loop_.RunUntilIdle();
  EXPECT_THAT(told_, ElementsAre(Decision::Kind::kBackend));
}

TEST_F(RouteQueryTest, ExplainsEveryRuleItHasLookedAt) {
  people().SayAtOnce(Kind::kUnknown);
  cloud().SayAtOnce(Kind::kFound, "mail1");
  (void)Begin();
  const std::vector<route::Tried> tried = query_->Explain();
  ASSERT_EQ(tried.size(), 2U);
  EXPECT_EQ(tried[0].why, "the directory knows nobody of that name");
  EXPECT_TRUE(tried[1].matched);
}

}  // namespace
}  // namespace postern::test
