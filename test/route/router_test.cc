// router_test: rules, patterns, user keys.
// SPDX-License-Identifier: Apache-2.0
#include "lb/route/router.h"

#include <gtest/gtest.h>

#include "lb/route/user_key.h"

namespace postern::route {
namespace {

TEST(PatternTest, Matches) {
  struct Case {
    const char* pattern;
    const char* text;
    bool want;
  };
  for (const Case& c : std::vector<Case>{{"*@example.com", "a@example.com", true},
                                         {"*@example.com", "a@example.org", false},
                                         {"*", "", true},
                                         {"", "", true},
                                         {"", "a", false},
                                         {"a*b*c", "aXXbYYc", true},
                                         {"a*b*c", "aXXbYYcd", false},
                                         {"a**c", "abc", true},
                                         {"*a", "bba", true},
                                         {"*a", "bab", false},
                                         {"a?c", "abc", false},
                                         {"*.*", "a.b", true}}) {
    EXPECT_EQ(PatternMatches(c.pattern, c.text), c.want) << c.pattern << " " << c.text;
  }
}

TEST(PatternTest, ManyStarsStayLinear) {
  std::string pattern;
  for (int i = 0; i < 50; ++i) pattern += "*a";
  EXPECT_FALSE(PatternMatches(pattern + "b", std::string(20000, 'a')));
}

class RouterTest : public testing::Test {
 protected:
  RouterTest() {
    config_.backends.resize(2);
    config_.backends[0].name = "mail1";
    config_.backends[1].name = "mail2";
    config_.pools.resize(1);
    config_.pools[0].name = "store";
    config_.routes.resize(1);
    config_.routes[0].name = "users";
  }
  conf::Rule& Add(const std::string& name) {
    config_.routes[0].rules.emplace_back();
    config_.routes[0].rules.back().name = name;
    return config_.routes[0].rules.back();
  }
  Decision Decide(const Facts& facts) {
    router_ = std::make_unique<Router>(config_);
    return router_->Decide(0, facts);
  }

  conf::Config config_;
  std::unique_ptr<Router> router_;
};

TEST_F(RouterTest, TheFirstMatchWins) {
  auto& alice = Add("alice");
  alice.users = {"alice@*"};
  alice.action = conf::Rule::ToBackend{"mail2"};
  Add("rest").action = conf::Rule::ToPool{"store"};
  Facts facts;
  facts.user_key = "alice@example.com";
  Decision decision = Decide(facts);
  EXPECT_EQ(decision.kind, Decision::Kind::kBackend);
  EXPECT_EQ(decision.index, 1U);
  EXPECT_EQ(decision.rule, 0U);
  facts.user_key = "bob@example.com";
  decision = Decide(facts);
  EXPECT_EQ(decision.kind, Decision::Kind::kPool);
  EXPECT_EQ(decision.rule, 1U);
}

TEST_F(RouterTest, PatternsMatchTheLowerCaseKey) {
  Add("alice").users = {"Alice@*"};
  config_.routes[0].rules[0].action = conf::Rule::ToPool{"store"};
  Facts facts;
  facts.user_key = "alice@example.com";
  EXPECT_EQ(Decide(facts).kind, Decision::Kind::kPool);
  config_.users.lowercase = false;
  EXPECT_EQ(Decide(facts).kind, Decision::Kind::kUnknown);
}

TEST_F(RouterTest, NoRuleLeftIsUnknown) {
  Add("a").users = {"x"};
  EXPECT_EQ(Decide({}).kind, Decision::Kind::kUnknown);
}

TEST_F(RouterTest, EveryConditionMustHold) {
  auto& rule = Add("office");
  rule.listeners = {"imaps"};
  rule.clients = {*base::Network::Parse("10.0.0.0/8")};
  rule.snis = {"*.example.com"};
  rule.recipients = {"*@example.com"};
  rule.action = conf::Rule::ToPool{"store"};
  Facts facts;
  facts.listener = "imaps";
  facts.client = *base::IpAddress::Parse("10.1.2.3");
  facts.sni = "mail.example.com";
  facts.recipient_key = "a@example.com";
  EXPECT_EQ(Decide(facts).kind, Decision::Kind::kPool);
  Facts other = facts;
  other.listener = "imap";
  EXPECT_EQ(Decide(other).kind, Decision::Kind::kUnknown);
  other = facts;
  other.client = *base::IpAddress::Parse("11.1.2.3");
  EXPECT_EQ(Decide(other).kind, Decision::Kind::kUnknown);
  other = facts;
  other.sni = "";
  EXPECT_EQ(Decide(other).kind, Decision::Kind::kUnknown);
  other = facts;
  other.recipient_key = "a@example.org";
  EXPECT_EQ(Decide(other).kind, Decision::Kind::kUnknown);
}

TEST_F(RouterTest, RejectAndTempFailCarryTheirReply) {
  auto& no = Add("no");
  no.recipients = {"*@bad.example"};
  no.action = conf::Rule::Reject{"550 5.7.1 no"};
  Add("later").action = conf::Rule::TempFail{"451 4.3.0 later"};
  Facts facts;
  facts.recipient_key = "a@bad.example";
  EXPECT_EQ(Decide(facts).text, "550 5.7.1 no");
  facts.recipient_key = "a@good.example";
  const Decision decision = Decide(facts);
  EXPECT_EQ(decision.kind, Decision::Kind::kTempFail);
  EXPECT_EQ(decision.text, "451 4.3.0 later");
}

// --- directories --------------------------------------------------------------------------------

class DirectoryRuleTest : public RouterTest {
 protected:
  DirectoryRuleTest() {
    config_.directories.resize(2);
    config_.directories[0].name = "people";
    config_.directories[1].name = "cloud";
    facts_.user_key = "alice@example.com";
    facts_.protocol = conf::Protocol::kImap;
  }
  conf::Rule& Ask(const std::string& directory) {
    conf::Rule& rule = Add("asks-" + directory);
    rule.directory = directory;
    return rule;
  }
  void AddRest() { Add("rest").action = conf::Rule::ToPool{"store"}; }
  void Answer(io::LookupAnswer::Kind kind, const std::string& value = "", uint32_t directory = 0) {
    io::LookupAnswer answer;
    answer.kind = kind;
    answer.value = value;
    answer.why = "no route to host";
    answers_.push_back({directory, answer});
    facts_.answers = answers_;
  }
  Decision Decide() { return RouterTest::Decide(facts_); }

  using Kind = io::LookupAnswer::Kind;
  Facts facts_;
  std::vector<Answered> answers_;
};

TEST_F(DirectoryRuleTest, IsAskedOnceTheOtherConditionsHold) {
  Ask("people").users = {"bob@*"};
  Ask("cloud");
  const Decision decision = Decide();
  EXPECT_EQ(decision.kind, Decision::Kind::kAsk);
  EXPECT_EQ(decision.index, 1U);
}

TEST_F(DirectoryRuleTest, IsNotAskedAboutNobody) {
  Ask("people");
  AddRest();
  facts_.user_key = {};
  EXPECT_EQ(Decide().kind, Decision::Kind::kPool);
}

TEST_F(DirectoryRuleTest, ItsAnswerIsAPoolOrABackend) {
  Ask("people");
  AddRest();
  Answer(Kind::kFound, "mail2");
  Decision decision = Decide();
  EXPECT_EQ(decision.kind, Decision::Kind::kBackend);
  EXPECT_EQ(decision.index, 1U);
  EXPECT_EQ(decision.answer, answers_.data());
  answers_[0].answer.value = "store";
  decision = Decide();
  EXPECT_EQ(decision.kind, Decision::Kind::kPool);
  EXPECT_EQ(decision.index, 0U);
  answers_[0].answer.value = "10.0.0.1:993";
  decision = Decide();
  EXPECT_EQ(decision.kind, Decision::Kind::kAddress);
  EXPECT_EQ(decision.text, "10.0.0.1:993");
}

TEST_F(DirectoryRuleTest, AnswersGoThroughTheTable) {
  config_.directories[0].table = {{"*/cn=SRV1", "mail1"}, {"*/cn=SRV*", "mail2"}};
  Ask("people");
  AddRest();
  Answer(Kind::kFound, "/o=x/cn=SRV1");
  EXPECT_EQ(Decide().index, 0U);
  answers_[0].answer.value = "/o=x/cn=SRV9";
  EXPECT_EQ(Decide().index, 1U);
  answers_[0].answer.value = "/o=x/cn=OTHER";
  EXPECT_EQ(Decide().kind, Decision::Kind::kTempFail);
}

TEST_F(DirectoryRuleTest, WhoIsUnknownGoesOnToTheNextRule) {
  Ask("people");
  AddRest();
  Answer(Kind::kUnknown);
  EXPECT_EQ(Decide().rule, 1U);
}

TEST_F(DirectoryRuleTest, AFailureNeverFallsThrough) {
  Ask("people");
  AddRest();
  Answer(Kind::kFailed);
  const Decision decision = Decide();
  EXPECT_EQ(decision.kind, Decision::Kind::kTempFail);
  EXPECT_EQ(decision.rule, 0U);
  EXPECT_EQ(decision.why, "no route to host");
}

TEST_F(DirectoryRuleTest, AFailureGoesOnWhereTheRuleSaysSo) {
  Ask("people").on_error_next = true;
  AddRest();
  Answer(Kind::kFailed);
  EXPECT_EQ(Decide().rule, 1U);
  answers_[0].answer.kind = Kind::kFound;
  answers_[0].answer.value = "nonsense";
  EXPECT_EQ(Decide().rule, 1U);
}

TEST_F(DirectoryRuleTest, NonsenseIsAFailure) {
  Ask("people");
  AddRest();
  Answer(Kind::kFound, "mail3");
  EXPECT_EQ(Decide().kind, Decision::Kind::kTempFail);
}

TEST_F(DirectoryRuleTest, APoolThatDoesNotShareItsMailboxesIsAFailureForMailboxes) {
  for (conf::Backend& backend : config_.backends)
    backend.endpoints = {{.protocol = conf::Protocol::kSubmission},
                         {.protocol = conf::Protocol::kImap}};
  config_.pools[0].backends = {"mail1", "mail2"};
  Ask("people");
  Answer(Kind::kFound, "store");
  for (const auto storage : {conf::Storage::kUnset, conf::Storage::kSeparate}) {
    config_.pools[0].storage = storage;
    facts_.protocol = conf::Protocol::kImap;
    EXPECT_EQ(Decide().kind, Decision::Kind::kTempFail);
    facts_.protocol = conf::Protocol::kSubmission;
    EXPECT_EQ(Decide().kind, Decision::Kind::kPool);
  }
  config_.pools[0].storage = conf::Storage::kShared;
  facts_.protocol = conf::Protocol::kImap;
  EXPECT_EQ(Decide().kind, Decision::Kind::kPool);
}

TEST_F(DirectoryRuleTest, AValueIsAConditionOnTheAnswer) {
  conf::Rule& sales = Ask("people");
  sales.value = "sales*";
  sales.action = conf::Rule::ToBackend{"mail2"};
  AddRest();
  Answer(Kind::kFound, "sales-east");
  EXPECT_EQ(Decide().kind, Decision::Kind::kBackend);
  answers_[0].answer.value = "lab";
  EXPECT_EQ(Decide().rule, 1U);
}

TEST_F(DirectoryRuleTest, TheNextDirectoryIsAskedInItsTurn) {
  Ask("people");
  Ask("cloud");
  Answer(Kind::kUnknown);
  EXPECT_EQ(Decide().kind, Decision::Kind::kAsk);
  EXPECT_EQ(Decide().index, 1U);
  Answer(Kind::kFound, "mail1", 1);
  EXPECT_EQ(Decide().kind, Decision::Kind::kBackend);
}

TEST_F(DirectoryRuleTest, ARefusedLoginIsRefused) {
  Ask("people").on_error_next = true;  // a verdict is no error
  AddRest();
  Answer(Kind::kRefused);
  EXPECT_EQ(Decide().kind, Decision::Kind::kRefused);
}

TEST_F(DirectoryRuleTest, TheExplanationSaysWhatItSaid) {
  Ask("people").on_error_next = true;
  AddRest();
  Answer(Kind::kFailed);
  router_ = std::make_unique<Router>(config_);
  std::vector<Tried> tried;
  (void)router_->Decide(0, facts_, &tried);
  ASSERT_EQ(tried.size(), 2U);
  EXPECT_FALSE(tried[0].matched);
  EXPECT_EQ(tried[0].why, "the directory fails: no route to host");
  EXPECT_TRUE(tried[1].matched);
}

TEST_F(RouterTest, PercentIsMonotone) {
  auto& rule = Add("canary");
  rule.percent = 10;
  rule.salt = "2026";
  rule.action = conf::Rule::ToPool{"store"};
  std::vector<std::string> in;
  Facts facts;
  for (int i = 0; i < 2000; ++i) {
    const std::string user = "u" + std::to_string(i);
    facts.user_key = user;
    if (Decide(facts).kind == Decision::Kind::kPool) in.push_back(user);
  }
  EXPECT_NEAR(static_cast<double>(in.size()), 200, 60);
  facts.user_key = "";
  EXPECT_EQ(Decide(facts).kind, Decision::Kind::kUnknown) << "nobody is in no percentage";
  config_.routes[0].rules[0].percent = 20;
  for (const std::string& user : in) {
    facts.user_key = user;
    EXPECT_EQ(Decide(facts).kind, Decision::Kind::kPool) << user;
  }
}

TEST_F(RouterTest, ExplainsEachRuleTried) {
  Add("alice").users = {"alice"};
  Add("rest").action = conf::Rule::ToPool{"store"};
  router_ = std::make_unique<Router>(config_);
  std::vector<Tried> tried;
  Facts facts;
  facts.user_key = "bob";
  (void)router_->Decide(0, facts, &tried);
  ASSERT_EQ(tried.size(), 2U);
  EXPECT_FALSE(tried[0].matched);
  EXPECT_EQ(tried[0].why, "user differs");
  EXPECT_TRUE(tried[1].matched);
}

TEST(UserKeyTest, Canonical) {
  conf::Users users;
  users.default_domain = "example.com";
  const UserKey key(users);
  EXPECT_EQ(key.Key("Alice"), "alice@example.com");
  EXPECT_EQ(key.Key("alice+lists@Example.ORG"), "alice@example.org");
  EXPECT_EQ(key.Key("+x@example.com"), "+x@example.com");
  EXPECT_EQ(key.Key("a@b+c.org"), "a@b+c.org");
  EXPECT_EQ(key.Key("\"alice\"@example.com"), "alice@example.com");
  EXPECT_EQ(key.Key("\"al ice\"@example.com"), "\"al ice\"@example.com");
  EXPECT_EQ(key.Key(""), "");
  EXPECT_EQ(key.ForBackend("Alice"), "Alice");
}

TEST(UserKeyTest, RewritesFirst) {
  conf::Users users;
  users.rewrite = {{"^EXAMPLE\\\\(.*)$", "\\1@example.com"}};
  users.send_rewritten = true;
  const UserKey key(users);
  EXPECT_EQ(key.Key("EXAMPLE\\Bob"), "bob@example.com");
  EXPECT_EQ(key.ForBackend("EXAMPLE\\Bob"), "Bob@example.com");
}

TEST(UserKeyTest, RewritesApplyInTurn) {
  conf::Users users;
  users.rewrite = {{"^a-", ""}, {"@old$", "@new.example"}};
  EXPECT_EQ(UserKey(users).Key("a-bob@old"), "bob@new.example");
}

TEST(UserKeyTest, AQuotedLocalPartHasNoExtension) {
  EXPECT_EQ(UserKey(conf::Users()).Key("\"a+b c\"@x"), "\"a+b c\"@x");
}

TEST(UserKeyTest, ExtensionsCanBeOff) {
  conf::Users users;
  users.strip_extension = "";
  users.lowercase = false;
  EXPECT_EQ(UserKey(users).Key("A+b@C"), "A+b@C");
}

}  // namespace
}  // namespace postern::route
