// directory_session_test: sessions whose home a directory knows: at once, later, not at all.
// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "test/support/mail_world.h"
#include "test/support/scripted_directory.h"
#include "test/support/smtp_world.h"

namespace postern::test {
namespace {

using base::SessionResult;
using conf::Protocol;
using std::chrono::seconds;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;
using Kind = io::LookupAnswer::Kind;

// Its first rule asks "people", whose answer is the home; the rest goes to the pool.
template <typename World>
std::shared_ptr<ScriptedDirectory> AskFirst(World& world) {
  auto people = std::make_shared<ScriptedDirectory>(world.loop);
  world.config.directories.emplace_back().name = "people";
  world.config.directories.back().type = conf::Directory::Type::kAuthHttp;
  world.directories = {people};
  conf::Rule rule;
  rule.name = "mapped";
  rule.directory = "people";
  auto& rules = world.config.routes[0].rules;
  rules.insert(rules.begin(), rule);
  return people;
}

class ImapDirectoryTest : public testing::Test {
 protected:
  void Begin() {
    world_.Begin();
    ASSERT_THAT(world_.Read(), StartsWith("* OK "));
  }
  MailWorld world_{Protocol::kImap};
  std::shared_ptr<ScriptedDirectory> people_ = AskFirst(world_);
};

TEST_F(ImapDirectoryTest, LogsInWhereTheDirectorySays) {
  people_->SayAtOnce(Kind::kFound, "b2");
  world_.b2->passwords["Alice"] = "secret";
  Begin();
  EXPECT_THAT(world_.LogIn("Alice"), HasSubstr(" OK "));
  EXPECT_THAT(people_->asked, ElementsAre("alice"));
  EXPECT_THAT(people_->passwords, ElementsAre("secret"));
  EXPECT_THAT(world_.b2->logins, ElementsAre("Alice"));
  EXPECT_EQ(world_.Metric("postern_route_decisions_total{route=\"r\",rule=\"mapped\",pool=\"b2\"}"),
            1);
}

TEST_F(ImapDirectoryTest, WhoJudgesNoLoginsIsToldNoPassword) {
  world_.config.directories[0].type = conf::Directory::Type::kRedis;
  people_->SayAtOnce(Kind::kFound, "b2");
  Begin();
  EXPECT_THAT(world_.LogIn(), HasSubstr(" OK "));
  EXPECT_THAT(people_->asked, ElementsAre("alice"));
  EXPECT_THAT(people_->passwords, IsEmpty());
}

TEST_F(ImapDirectoryTest, AnAnswerMayComeLater) {
  Begin();
  EXPECT_EQ(world_.Ask("a LOGIN alice secret"), "");
  people_->Say(Kind::kFound, "b2");
  EXPECT_THAT(world_.Read(), HasSubstr("a OK "));
  EXPECT_THAT(world_.b2->logins, ElementsAre("alice"));
}

TEST_F(ImapDirectoryTest, WhoIsUnknownIsTheNextRulesAffair) {
  people_->SayAtOnce(Kind::kUnknown);
  Begin();
  EXPECT_THAT(world_.LogIn(), HasSubstr(" OK "));
  EXPECT_THAT(world_.b1->logins, ElementsAre("alice"));
}

TEST_F(ImapDirectoryTest, AFailureIsTemporaryAndNobodysMailbox) {
  Begin();
  (void)world_.Ask("a LOGIN alice secret");
  people_->Say(Kind::kFailed);
  EXPECT_EQ(world_.Read(), "a NO [UNAVAILABLE] Temporarily unavailable, try again later\r\n");
  EXPECT_THAT(world_.b1->logins, IsEmpty());
  EXPECT_THAT(world_.b2->logins, IsEmpty());
  people_->SayAtOnce(Kind::kFound, "b2");
  EXPECT_THAT(world_.LogIn(), HasSubstr(" OK "));  // the session has stayed
}

TEST_F(ImapDirectoryTest, AnAnswerThatIsNoHomeIsAFailure) {
  for (const char* nonsense : {"b9", "10.9.9.9:143", ""}) {
    SCOPED_TRACE(nonsense);
    people_->SayAtOnce(Kind::kFound, nonsense);
    if (world_.session == nullptr) Begin();
    EXPECT_THAT(world_.Ask("a LOGIN alice secret"), HasSubstr("[UNAVAILABLE]"));
  }
}

TEST_F(ImapDirectoryTest, AnAddressIsTheEndpointThatHasIt) {
  people_->SayAtOnce(Kind::kFound, world_.config.backends[1].host + ":143");
  Begin();
  EXPECT_THAT(world_.LogIn(), HasSubstr(" OK "));
  EXPECT_THAT(world_.b2->logins, ElementsAre("alice"));
}

TEST_F(ImapDirectoryTest, TheDirectorysUserIsToldToTheBackend) {
  io::LookupAnswer answer;
  answer.kind = Kind::kFound;
  answer.value = "b2";
  answer.user = "alice@inside.example";
  world_.b2->passwords[answer.user] = "secret";
  Begin();
  (void)world_.Ask("a LOGIN alice secret");
  people_->Say(answer);
  world_.Settle();
  EXPECT_THAT(world_.b2->logins, ElementsAre("alice@inside.example"));
}

TEST_F(ImapDirectoryTest, ARefusalReadsLikeAWrongPasswordAndTakesAsLong) {
  io::LookupAnswer answer;
  answer.kind = Kind::kRefused;
  answer.refusal_text = "Go away";
  Begin();
  (void)world_.Ask("a LOGIN alice secret");
  people_->Say(answer);
  EXPECT_EQ(world_.Read(), "");
  world_.Wait(seconds(2));
  EXPECT_EQ(world_.Read(), "a NO [AUTHENTICATIONFAILED] Authentication failed\r\n");
  EXPECT_THAT(world_.auth_failed, ElementsAre("alice"));
}

TEST_F(ImapDirectoryTest, ARefusalForNowIsTemporary) {
  io::LookupAnswer answer;
  answer.kind = Kind::kRefused;
  answer.refusal_code = "454 4.7.0";
  Begin();
  (void)world_.Ask("a LOGIN alice secret");
  people_->Say(answer);
  EXPECT_EQ(world_.Read(), "");
  world_.Wait(seconds(2));
  EXPECT_THAT(world_.Read(), HasSubstr("[UNAVAILABLE]"));
  EXPECT_THAT(world_.auth_failed, IsEmpty());
  EXPECT_EQ(world_.Metric("postern_route_decisions_total{route=\"r\",rule=\"mapped\",pool=\"\"}"),
            1);
}

TEST_F(ImapDirectoryTest, ARefusalForNowKeepsTheDirectorysWaitToo) {
  io::LookupAnswer answer;
  answer.kind = Kind::kRefused;
  answer.refusal_code = "454 4.7.0";
  answer.refusal_delay = seconds(5);
  Begin();
  (void)world_.Ask("a LOGIN alice secret");
  people_->Say(answer);
  world_.Wait(seconds(4));
  EXPECT_EQ(world_.Read(), "");
  world_.Wait(seconds(1));
  EXPECT_THAT(world_.Read(), HasSubstr("[UNAVAILABLE]"));
}

TEST_F(ImapDirectoryTest, AFailingDirectoryOfARuleWithAPoolIsNoDecisionForIt) {
  world_.config.routes[0].rules[0].action = conf::Rule::ToPool{"p"};
  people_->SayAtOnce(Kind::kFailed);
  Begin();
  EXPECT_THAT(world_.LogIn(), HasSubstr("[UNAVAILABLE]"));
  people_->SayAtOnce(Kind::kFound, "anything");
  EXPECT_THAT(world_.LogIn(), HasSubstr(" OK "));
  const auto decisions = [this](const std::string& pool) {
    return world_.Metric("postern_route_decisions_total{route=\"r\",rule=\"mapped\",pool=\"" +
                         pool + "\"}");
  };
  EXPECT_EQ(decisions(""), 1);
  EXPECT_EQ(decisions("p"), 1);
}

TEST_F(ImapDirectoryTest, ARefusalsTextIsPassedWhereWantedAndItsWaitIsKept) {
  world_.listener().pass_refusal_text = true;
  io::LookupAnswer answer;
  answer.kind = Kind::kRefused;
  answer.refusal_text = "Go away";
  answer.refusal_delay = seconds(5);
  Begin();
  (void)world_.Ask("a LOGIN alice secret");
  people_->Say(answer);
  world_.Wait(seconds(4));
  EXPECT_EQ(world_.Read(), "");
  world_.Wait(seconds(1));
  EXPECT_THAT(world_.Read(), HasSubstr("Go away"));
}

TEST_F(ImapDirectoryTest, AClientThatLeavesTakesItsQuestionWithIt) {
  Begin();
  (void)world_.Ask("a LOGIN alice secret");
  EXPECT_EQ(people_->num_waiting(), 1U);
  world_.ResetClient();
  world_.Settle();
  EXPECT_EQ(people_->num_waiting(), 0U);
  EXPECT_EQ(world_.num_retired, 1);
}

TEST_F(ImapDirectoryTest, ADirectoryThatNeverAnswersEndsWithTheLoginsTime) {
  Begin();
  (void)world_.Ask("a LOGIN alice secret");
  world_.Wait(seconds(61));
  EXPECT_THAT(world_.Read(), StartsWith("* BYE "));
  EXPECT_TRUE(world_.client_sees_end());
  EXPECT_EQ(people_->num_waiting(), 0U);
}

TEST_F(ImapDirectoryTest, AStopDoesNotWaitForADirectory) {
  Begin();
  (void)world_.Ask("a LOGIN alice secret");
  world_.session->Kill(SessionResult::kShutdown);
  world_.Settle();
  EXPECT_TRUE(world_.client_sees_end());
  EXPECT_EQ(people_->num_waiting(), 0U);
}

class SmtpDirectoryTest : public testing::Test {
 protected:
  void Hello() { world_.Hello(); }
  SmtpWorld world_{Protocol::kSmtp};
  std::shared_ptr<ScriptedDirectory> people_ = AskFirst(world_);
};

TEST_F(SmtpDirectoryTest, ARecipientGoesWhereTheDirectorySays) {
  people_->SayAtOnce(Kind::kFound, "b3");
  Hello();
  EXPECT_EQ(world_.Deliver("Bob@Y.example"), "250 250 354 250");
  EXPECT_THAT(people_->asked, ElementsAre("bob@y.example"));
  EXPECT_EQ(world_.server(3).messages.size(), 1U);
}

TEST_F(SmtpDirectoryTest, AnswersThatComeLaterKeepTheOrderOfReplies) {
  Hello();
  world_.Send("MAIL FROM:<a@x.example>\r\nRCPT TO:<b@y.example>\r\nRCPT TO:<c@y.example>\r\n");
  EXPECT_THAT(world_.Read(), StartsWith("250 "));
  people_->Say(Kind::kFound, "b3");
  world_.Settle();
  people_->Say(Kind::kFound, "b3");
  EXPECT_EQ(world_.Codes(), "250 250");
}

TEST_F(SmtpDirectoryTest, AFailureDefersTheRecipientAlone) {
  Hello();
  EXPECT_THAT(world_.Ask("MAIL FROM:<a@x.example>"), StartsWith("250 "));
  (void)world_.Ask("RCPT TO:<b@y.example>");
  people_->Say(Kind::kFailed);
  EXPECT_THAT(world_.Read(), StartsWith("451 "));
  (void)world_.Ask("RCPT TO:<c@y.example>");
  people_->Say(Kind::kFound, "b3");
  EXPECT_THAT(world_.Read(), StartsWith("250 "));
}

TEST_F(SmtpDirectoryTest, AnotherHomeIsDeferred) {
  people_->SayAtOnce(Kind::kFound, "b1");
  Hello();
  (void)world_.Ask("MAIL FROM:<a@x.example>");
  EXPECT_THAT(world_.Ask("RCPT TO:<b@y.example>"), StartsWith("250 "));
  people_->SayAtOnce(Kind::kFound, "b3");
  EXPECT_THAT(world_.Ask("RCPT TO:<c@y.example>"), StartsWith("452 4.5.3"));
}

TEST_F(SmtpDirectoryTest, ARefusedRecipientHearsTheDirectorysCode) {
  io::LookupAnswer answer;
  answer.kind = Kind::kRefused;
  answer.refusal_code = "554 5.7.1";
  Hello();
  (void)world_.Ask("MAIL FROM:<a@x.example>");
  (void)world_.Ask("RCPT TO:<b@y.example>");
  people_->Say(answer);
  EXPECT_EQ(world_.Read(), "554 5.7.1 Refused\r\n");
}

// 421 would announce the end of a connection that goes on.
TEST_F(SmtpDirectoryTest, A421OfTheDirectoryIsSaidAs451) {
  io::LookupAnswer answer;
  answer.kind = Kind::kRefused;
  answer.refusal_code = "421 4.3.2";
  Hello();
  (void)world_.Ask("MAIL FROM:<a@x.example>");
  (void)world_.Ask("RCPT TO:<b@y.example>");
  people_->Say(answer);
  EXPECT_EQ(world_.Read(), "451 4.3.2 Refused\r\n");
  EXPECT_THAT(world_.Ask("NOOP"), StartsWith("250 "));
}

TEST_F(SmtpDirectoryTest, AClientThatLeavesTakesItsQuestionWithIt) {
  Hello();
  (void)world_.Ask("MAIL FROM:<a@x.example>");
  (void)world_.Ask("RCPT TO:<b@y.example>");
  EXPECT_EQ(people_->num_waiting(), 1U);
  world_.client().Reset();
  world_.Settle();
  EXPECT_EQ(people_->num_waiting(), 0U);
  EXPECT_EQ(world_.num_retired, 1);
}

TEST(SubmissionDirectoryTest, ARefusedLoginHearsTheDirectorysCodeInTime) {
  SmtpWorld world(Protocol::kSubmission);
  const auto people = AskFirst(world);
  world.is_in_tls = true;
  world.Hello();
  io::LookupAnswer answer;
  answer.kind = Kind::kRefused;
  answer.refusal_code = "535 5.7.0";
  answer.refusal_delay = seconds(3);
  (void)world.Ask("AUTH PLAIN AGFsaWNlAHNlY3JldA==");
  EXPECT_THAT(people->passwords, ElementsAre("secret"));
  people->Say(answer);
  world.Wait(seconds(2));
  EXPECT_EQ(world.Read(), "");
  world.Wait(seconds(1));
  EXPECT_EQ(world.Read(), "535 5.7.0 Authentication failed\r\n");
}

TEST(SubmissionDirectoryTest, ARefusalForNowIsTemporary) {
  SmtpWorld world(Protocol::kSubmission);
  const auto people = AskFirst(world);
  world.is_in_tls = true;
  world.Hello();
  io::LookupAnswer answer;
  answer.kind = Kind::kRefused;
  answer.refusal_code = "454 4.7.0";
  (void)world.Ask("AUTH PLAIN AGFsaWNlAHNlY3JldA==");
  people->Say(answer);
  EXPECT_EQ(world.Read(), "");  // no sooner than a wrong password's answer
  world.Wait(seconds(2));
  EXPECT_EQ(world.Read(), "454 4.7.0 Authentication failed\r\n");
  EXPECT_THAT(world.auth_failed, IsEmpty());
}

TEST(SubmissionDirectoryTest, ALoginIsJudgedOnceAndTheBackendToldWhomTheDirectorySays) {
  SmtpWorld world(Protocol::kSubmission);
  const auto people = AskFirst(world);
  world.is_in_tls = true;
  world.Hello();
  io::LookupAnswer answer;
  answer.kind = Kind::kFound;
  answer.value = "b1";
  answer.user = "alice@inside.example";
  world.server(1).keywords.push_back("AUTH PLAIN");
  (void)world.Ask("AUTH PLAIN AGFsaWNlAHNlY3JldA==");
  people->Say(answer);
  EXPECT_THAT(world.Read(), StartsWith("235 "));
  EXPECT_EQ(world.Deliver("x@far.example"), "250 250 354 250");
  EXPECT_EQ(world.Deliver("y@far.example"), "250 250 354 250");
  EXPECT_EQ(people->asked.size(), 1U);
  // NUL alice@inside.example NUL secret
  EXPECT_THAT(world.server(1).lines,
              testing::Contains("AUTH PLAIN AGFsaWNlQGluc2lkZS5leGFtcGxlAHNlY3JldA=="));
}

TEST_F(SmtpDirectoryTest, TheLogSaysWhyARecipientWasDeferred) {
  Hello();
  (void)world_.Ask("MAIL FROM:<a@x.example>");
  (void)world_.Ask("RCPT TO:<b@y.example>");
  people_->Say(Kind::kFound, "nonsense");
  EXPECT_THAT(world_.Read(), StartsWith("451 "));
  (void)world_.Ask("QUIT");
  ASSERT_EQ(world_.transactions.size(), 1U);
  EXPECT_THAT(world_.transactions[0].cause.why, HasSubstr("neither pool nor backend"));
}

}  // namespace
}  // namespace postern::test
