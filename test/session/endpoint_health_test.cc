// endpoint_health_test: what sessions tell health of the endpoints that they meet, and how they
// heed what health says.
// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "test/support/mail_world.h"
#include "test/support/smtp_world.h"

namespace postern::test {
namespace {

using balance::Health;
using base::Phase;
using conf::Protocol;
using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;
using Fault = ScriptedBackend::Fault;

size_t Index(Phase phase) {
  return balance::TimedIndex(phase);
}

class ImapHealthTest : public testing::Test {
 protected:
  void Begin() {
    world_.Begin();
    ASSERT_THAT(world_.Read(), StartsWith("* OK "));
  }
  balance::EndpointState& state(int backend) {
    return const_cast<balance::EndpointState&>(world_.state(backend));
  }
  // As health does when checks have taught it what is usual here.
  void KnowAverages(int backend, uint32_t us) {
    for (auto& average : state(backend).average_us) average = us;
  }
  MailWorld world_{Protocol::kImap};
};

TEST_F(ImapHealthTest, ALoginIsAnAttemptWithItsPhases) {
  Begin();
  ASSERT_THAT(world_.LogIn(), HasSubstr(" OK "));
  const balance::LiveSums sums = state(0).Sums();
  EXPECT_EQ(sums.attempts, 1U);
  EXPECT_EQ(sums.failures, 0U);
  for (const Phase phase : {Phase::kConnect, Phase::kGreeting, Phase::kLogin})
    EXPECT_EQ(sums.phases[Index(phase)].count, 1U) << base::Name(phase);
  EXPECT_EQ(sums.phases[Index(Phase::kTls)].count, 0U);
  EXPECT_FALSE(state(0).check_wanted);
}

TEST_F(ImapHealthTest, AWrongPasswordIsNoFailureAndNoMeasurement) {
  Begin();
  EXPECT_THAT(world_.Ask("a LOGIN alice wrong"), IsEmpty());
  world_.Wait(seconds(3));
  EXPECT_THAT(world_.Read(), HasSubstr("NO [AUTHENTICATIONFAILED]"));
  const balance::LiveSums sums = state(0).Sums();
  EXPECT_EQ(sums.attempts, 1U);
  EXPECT_EQ(sums.failures, 0U);
  EXPECT_EQ(sums.phases[Index(Phase::kLogin)].count, 0U);
  EXPECT_FALSE(state(0).check_wanted);
}

TEST_F(ImapHealthTest, ABusyBackendAtTheLoginIsAFailureThatWantsACheckAndNoMore) {
  world_.b1->fault = Fault::kBusy;
  world_.b1->fault_at = 1;
  Begin();
  ASSERT_THAT(world_.LogIn(), HasSubstr("at b2"));
  EXPECT_EQ(state(0).Sums().failures, 1U);
  EXPECT_TRUE(state(0).check_wanted);
  EXPECT_FALSE(state(0).InCooldown(world_.loop.Now()));
  EXPECT_EQ(state(0).health.load(), Health::kUp);
}

TEST_F(ImapHealthTest, ASilentGreetingIsLeftAloneByThoseWhoComeAfterASecond) {
  world_.b1->fault = Fault::kHang;
  Begin();
  KnowAverages(0, 1000);
  world_.Line("a LOGIN alice secret");
  world_.Wait(milliseconds(900));
  EXPECT_FALSE(state(0).check_wanted);
  world_.Wait(milliseconds(200));
  EXPECT_TRUE(state(0).check_wanted);
  EXPECT_TRUE(state(0).InCooldown(world_.loop.Now()));
  EXPECT_EQ(state(0).Sums().failures, 0U) << "it may still answer";
}

TEST_F(ImapHealthTest, ALoginThatHangsWantsACheckButTakesNothingAway) {
  world_.b1->auth_delay = seconds(8);
  Begin();
  KnowAverages(0, 100'000);
  world_.Line("a LOGIN alice secret");
  world_.Wait(milliseconds(1200));
  EXPECT_TRUE(state(0).check_wanted);
  EXPECT_FALSE(state(0).InCooldown(world_.loop.Now()));
  state(0).check_wanted = false;
  world_.Wait(milliseconds(4000));
  EXPECT_FALSE(state(0).check_wanted) << "told once";
  world_.Wait(seconds(4));
  EXPECT_THAT(world_.Read(), HasSubstr("at b1"));
}

TEST_F(ImapHealthTest, WhatIsUsuallySlowIsNoHang) {
  world_.b1->greeting_delay = seconds(6);
  Begin();
  KnowAverages(0, 6'000'000);
  world_.Line("a LOGIN alice secret");
  world_.Wait(seconds(7));
  EXPECT_THAT(world_.Read(), HasSubstr("at b1"));
  EXPECT_FALSE(state(0).check_wanted);
}

TEST_F(ImapHealthTest, WhoWaitsWhereNobodyServesAnyMoreGoesElsewhereAtOnce) {
  world_.b1->auth_delay = seconds(15);
  Begin();
  world_.Line("a LOGIN alice secret");
  world_.Settle();
  ASSERT_THAT(world_.Read(), IsEmpty());
  state(0).health = Health::kDown;
  world_.session->LeaveEndpoint(state(0));
  EXPECT_THAT(world_.Read(), HasSubstr("at b2"));
}

TEST_F(ImapHealthTest, WithNowhereToGoItIsWaitedFor) {
  world_.b1->auth_delay = seconds(3);
  Begin();
  world_.Line("a LOGIN alice secret");
  world_.Settle();
  state(0).health = Health::kDown;
  state(1).admin = balance::AdminState::kMaintenance;
  world_.session->LeaveEndpoint(state(0));
  world_.Wait(seconds(4));
  EXPECT_THAT(world_.Read(), HasSubstr("at b1"));
}

TEST_F(ImapHealthTest, WhoIsLoggedInStays) {
  Begin();
  ASSERT_THAT(world_.LogIn(), HasSubstr("at b1"));
  state(0).health = Health::kDown;
  world_.session->LeaveEndpoint(state(0));
  world_.Settle();
  EXPECT_FALSE(world_.client_sees_end());
}

TEST_F(ImapHealthTest, ABackendThatDiesUnderASessionWantsACheck) {
  Begin();
  ASSERT_THAT(world_.LogIn(), HasSubstr("at b1"));
  world_.b1->stream()->Reset();
  world_.Settle();
  EXPECT_TRUE(state(0).check_wanted);
}

// --- smtp -------------------------------------------------------------------------------------

class SmtpHealthTest : public testing::Test {
 protected:
  balance::EndpointState& state(const std::string& backend) { return world_.state(backend); }
  void KnowAverages(const std::string& backend, uint32_t us) {
    for (auto& average : state(backend).average_us) average = us;
  }
  SmtpWorld world_;
};

TEST_F(SmtpHealthTest, EachTransactionIsAnAttemptAndTheLadderIsTimedOnce) {
  world_.Hello();
  EXPECT_EQ(world_.Deliver(), "250 250 354 250");
  EXPECT_EQ(world_.Deliver(), "250 250 354 250");
  const balance::LiveSums sums = state("b1").Sums();
  EXPECT_EQ(sums.attempts, 2U);
  EXPECT_EQ(sums.failures, 0U);
  for (const Phase phase : {Phase::kConnect, Phase::kGreeting, Phase::kHello})
    EXPECT_EQ(sums.phases[Index(phase)].count, 1U) << base::Name(phase);
  for (const Phase phase : {Phase::kMail, Phase::kRcpt, Phase::kDataReply})
    EXPECT_EQ(sums.phases[Index(phase)].count, 2U) << base::Name(phase);
}

TEST_F(SmtpHealthTest, TwoHellosOfOneLegAreOneMeasurement) {
  world_.endpoint(1).tls = conf::TlsMode::kStartTls;
  world_.server(1).keywords.push_back("STARTTLS");
  world_.Hello();
  EXPECT_EQ(world_.Deliver(), "250 250 354 250");
  EXPECT_EQ(state("b1").Sums().phases[Index(Phase::kHello)].count, 1U);
}

TEST_F(SmtpHealthTest, TooManyErrorsOfAClientTakeNothingAwayFromOthers) {
  world_.server(1).answers["RCPT"] = "421 4.7.0 Error: too many errors";
  world_.Hello();
  EXPECT_EQ(world_.Deliver(), "250 250 354 250") << "moved to b2";
  EXPECT_EQ(state("b1").Sums().failures, 1U);
  EXPECT_TRUE(state("b1").check_wanted);
  EXPECT_FALSE(state("b1").InCooldown(world_.loop.Now()));
  EXPECT_EQ(state("b1").health.load(), Health::kUp);
}

TEST_F(SmtpHealthTest, AGreetingThatDoesNotComeIsLeftAloneByThoseWhoComeAfterASecond) {
  world_.server(1).answers["GREETING"] = "hang";
  world_.Hello();
  KnowAverages("b1", 1000);
  world_.Line("MAIL FROM:<a@x.example>");
  world_.Line("RCPT TO:<b@y.example>");
  world_.Wait(milliseconds(900));
  EXPECT_FALSE(state("b1").check_wanted);
  world_.Wait(milliseconds(300));
  EXPECT_TRUE(state("b1").check_wanted);
  EXPECT_TRUE(state("b1").InCooldown(world_.loop.Now()));
}

TEST_F(SmtpHealthTest, HalfAGreetingIsNoHang) {
  // As postscreen has it: a line that goes on, and then a pause.
  world_.server(1).answers["GREETING"] = "220-b1 looks at you";
  world_.Hello();
  KnowAverages("b1", 1000);
  world_.Line("MAIL FROM:<a@x.example>");
  world_.Line("RCPT TO:<b@y.example>");
  world_.Wait(milliseconds(1500));
  EXPECT_FALSE(state("b1").InCooldown(world_.loop.Now()));
}

TEST_F(SmtpHealthTest, AHangLaterOnWantsACheckAlone) {
  world_.server(1).answers["RCPT"] = "hang";
  world_.Hello();
  KnowAverages("b1", 1000);
  world_.Line("MAIL FROM:<a@x.example>");
  world_.Line("RCPT TO:<b@y.example>");
  world_.Wait(milliseconds(1500));
  EXPECT_TRUE(state("b1").check_wanted);
  EXPECT_FALSE(state("b1").InCooldown(world_.loop.Now()));
}

TEST_F(SmtpHealthTest, ATransactionLeavesAnEndpointThatIsDownAtOnce) {
  world_.server(1).answers["DATA"] = "hang";
  world_.Hello();
  world_.Line("MAIL FROM:<a@x.example>");
  world_.Line("RCPT TO:<b@y.example>");
  EXPECT_EQ(world_.Codes(), "250 250");
  world_.Line("DATA");
  world_.Settle();
  state("b1").health = Health::kDown;
  world_.session->LeaveEndpoint(state("b1"));
  EXPECT_EQ(world_.Codes(), "354");
  world_.Send("hello\r\n.\r\n");
  EXPECT_EQ(world_.Codes(), "250");
  EXPECT_EQ(world_.server(2).messages.size(), 1U);
}

TEST_F(SmtpHealthTest, WhatIsHandedOverIsWaitedFor) {
  world_.server(1).answers["."] = "hang";
  world_.Hello();
  world_.Line("MAIL FROM:<a@x.example>");
  world_.Line("RCPT TO:<b@y.example>");
  world_.Line("DATA");
  world_.Settle();
  world_.Send("hello\r\n.\r\n");
  (void)world_.Codes();
  state("b1").health = Health::kDown;
  world_.session->LeaveEndpoint(state("b1"));
  EXPECT_EQ(world_.Codes(), "");
  EXPECT_THAT(world_.server(2).messages, IsEmpty());
}

TEST_F(SmtpHealthTest, ATransactionWithNowhereToGoStays) {
  world_.Hello();
  world_.Line("MAIL FROM:<a@x.example>");
  world_.Line("RCPT TO:<b@y.example>");
  EXPECT_EQ(world_.Codes(), "250 250");
  state("b1").health = Health::kDown;
  state("b2").health = Health::kDown;
  world_.session->LeaveEndpoint(state("b1"));
  world_.Line("DATA");
  EXPECT_EQ(world_.Codes(), "354");
}

TEST_F(SmtpHealthTest, AnIdleLegIsGivenBackAndTheNextTransactionGoesElsewhere) {
  world_.Hello();
  EXPECT_EQ(world_.Deliver(), "250 250 354 250");
  state("b1").health = Health::kDown;
  world_.session->LeaveEndpoint(state("b1"));
  world_.Settle();
  EXPECT_EQ(world_.server(1).lines.back(), "QUIT");
  EXPECT_EQ(world_.Deliver(), "250 250 354 250");
  EXPECT_EQ(world_.server(2).messages.size(), 1U);
}

}  // namespace
}  // namespace postern::test
