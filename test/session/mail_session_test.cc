// mail_session_test: sessions of IMAP once they relay: slow peers, ends, silence, commands timed,
// drain and kill.
// SPDX-License-Identifier: Apache-2.0
#include "lb/session/mail_session.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "test/session/imap_case.h"

namespace postern::test {
namespace {

using base::SessionResult;
using base::Side;
using conf::TlsMode;
using std::chrono::minutes;
using std::chrono::seconds;
using testing::HasSubstr;
using testing::StartsWith;
using Fault = ScriptedBackend::Fault;

// --- relay --------------------------------------------------------------------------------------

TEST_F(ImapSessionTest, ASlowClientPausesTheBackend) {
  BeginLoggedIn();
  world_.client().PauseReads();
  std::string literal = "* 1 FETCH (BODY[] {4000000}\r\n" + std::string(4'000'000, 'm') + ")\r\n";
  world_.b1->Say(literal);
  world_.Wait(seconds(5));
  // Bounded: the buffer, and what was under way.
  EXPECT_GT(world_.b1->stream()->Unsent(), 3'000'000U);
  world_.client().ResumeReads();
  std::string got;
  for (int i = 0; i < 100 && got.size() < literal.size(); ++i) got += world_.Read();
  EXPECT_EQ(got, literal);
}

TEST_F(ImapSessionTest, ASlowClientGetsAllItsBytesWhileAllBuffersAreTaken) {
  world_.is_short_of_buffers = true;
  world_.net.options.window_bytes = 4000;
  BeginLoggedIn();
  world_.client().PauseReads();
  // Less than limits.buffer, and yet most of it waits.
  const std::string literal =
      "* 1 FETCH (BODY[] {200000}\r\n" + std::string(200'000, 'm') + ")\r\n";
  world_.b1->Say(literal);
  world_.Wait(seconds(5));
  EXPECT_GT(world_.b1->stream()->Unsent(), 60'000U);
  world_.client().ResumeReads();
  std::string got;
  for (int i = 0; i < 100 && got.size() < literal.size(); ++i) got += world_.Read();
  EXPECT_EQ(got, literal);
}

TEST_F(ImapSessionTest, ASlowBackendPausesTheClient) {
  BeginLoggedIn();
  world_.b1->stream()->PauseReads();
  const std::string literal = "b APPEND x {4000000+}\r\n" + std::string(4'000'000, 'm') + "\r\n";
  world_.Send(literal);
  world_.Wait(seconds(5));
  EXPECT_GT(world_.client().Unsent(), 3'000'000U);
  world_.b1->stream()->ResumeReads();
  world_.Wait(seconds(5));
  EXPECT_EQ(world_.b1->relayed, literal);
}

TEST_F(ImapSessionTest, ABackendThatDiesGivesByeAtOnce) {
  BeginLoggedIn();
  world_.b1->stream()->Reset();
  EXPECT_THAT(world_.Read(), StartsWith("* BYE Mailbox server has gone away"));
  EXPECT_TRUE(world_.client_sees_end());
  EXPECT_EQ(account().cause.result, SessionResult::kBackendLost);
  EXPECT_EQ(account().cause.side, Side::kBack);
  EXPECT_EQ(world_.Metric("postern_backend_sessions_total{backend=\"b1\",protocol=\"imap\","
                          "result=\"backend_lost\"}"),
            1);
}

TEST_F(ImapSessionTest, NoByeInTheMiddleOfALiteral) {
  BeginLoggedIn();
  world_.b1->Say("* 1 FETCH (BODY[] {100}\r\nhalf of it");
  world_.Settle();
  world_.b1->stream()->Close();
  EXPECT_EQ(world_.Read(), "* 1 FETCH (BODY[] {100}\r\nhalf of it");
  EXPECT_TRUE(world_.client_sees_end());
}

TEST_F(ImapSessionTest, ABackendsOwnByeIsNotDoubled) {
  BeginLoggedIn();
  world_.b1->Say("* BYE maintenance\r\n");
  world_.b1->stream()->CloseGently();
  EXPECT_EQ(world_.Read(), "* BYE maintenance\r\n");
  EXPECT_TRUE(world_.client_sees_end());
}

TEST_F(ImapSessionTest, IdleForTooLongIsEndedAndActivityCounts) {
  BeginLoggedIn();
  world_.Wait(minutes(34));
  world_.b1->Say("* 4 EXISTS\r\n");
  EXPECT_EQ(world_.Read(), "* 4 EXISTS\r\n");
  world_.Wait(minutes(34));
  EXPECT_FALSE(world_.client_sees_end());
  world_.Wait(minutes(2));
  EXPECT_EQ(world_.Read(), "* BYE Disconnected for inactivity\r\n");
  EXPECT_EQ(account().cause.result, SessionResult::kIdle);
}

TEST_F(ImapSessionTest, UnauthenticateEndsTheSession) {
  BeginLoggedIn();
  world_.Line("b UNAUTHENTICATE");
  EXPECT_THAT(world_.Read(), StartsWith("* BYE "));
  EXPECT_EQ(world_.b1->relayed, "");
  EXPECT_EQ(account().cause.result, SessionResult::kProtocolError);
}

TEST_F(ImapSessionTest, ABrokenClientIsNoticedInTheRelay) {
  BeginLoggedIn();
  world_.ResetClient();
  world_.Settle();
  EXPECT_EQ(account().cause.result, SessionResult::kClientLost);
  world_.Wait(seconds(5));
  EXPECT_EQ(world_.b1->num_open(), 0);
}

TEST_F(ImapSessionTest, CommandsAreTimed) {
  BeginLoggedIn();
  world_.Line("b SELECT INBOX");
  world_.Wait(seconds(1));
  world_.b1->Say("b OK done\r\n");
  world_.Settle();
  EXPECT_EQ(world_.Metric("postern_command_duration_seconds_count{protocol=\"imap\","
                          "command=\"select\"}"),
            1);
}

// --- drain and kill -----------------------------------------------------------------------------

TEST_F(ImapSessionTest, DrainBeforeTheLogin) {
  Begin();
  world_.session->BeginDrain();
  EXPECT_THAT(world_.Read(), StartsWith("* BYE "));
  EXPECT_EQ(account().cause.result, SessionResult::kDrained);
}

TEST_F(ImapSessionTest, DrainDuringALoginWaitsForItsAnswer) {
  world_.b1->auth_delay = seconds(3);
  Begin();
  world_.Line("a LOGIN alice secret");
  world_.Settle();
  world_.session->BeginDrain();
  EXPECT_EQ(world_.Read(), "");
  world_.Wait(seconds(3));
  EXPECT_THAT(world_.Read(), HasSubstr("Logged in at b1\r\n* BYE "));
}

TEST_F(ImapSessionTest, DrainOfAnIdleSessionIsAtOnce) {
  BeginLoggedIn();
  world_.Line("b IDLE");
  world_.Settle();
  world_.b1->Say("+ idling\r\n");
  EXPECT_EQ(world_.Read(), "+ idling\r\n");
  world_.session->BeginDrain();
  EXPECT_THAT(world_.Read(), StartsWith("* BYE "));
  EXPECT_EQ(account().cause.result, SessionResult::kDrained);
}

TEST_F(ImapSessionTest, DrainWaitsForARunningCommand) {
  BeginLoggedIn();
  world_.Line("b FETCH 1 BODY[]");
  world_.Settle();
  world_.b1->Say("* 1 FETCH (BODY[] {10}\r\nabc");
  world_.Settle();
  world_.session->BeginDrain();
  world_.Wait(seconds(5));
  EXPECT_EQ(world_.Read(), "* 1 FETCH (BODY[] {10}\r\nabc");
  world_.b1->Say("defghij)\r\n");
  EXPECT_EQ(world_.Read(), "defghij)\r\n");
  world_.b1->Say("b OK done\r\n");
  EXPECT_THAT(world_.Read(), StartsWith("b OK done\r\n* BYE "));
}

TEST_F(ImapSessionTest, KillEndsWithAWordWhereOneCanBeSaid) {
  BeginLoggedIn();
  world_.Line("b SELECT INBOX");
  world_.Settle();
  world_.session->Kill(SessionResult::kShutdown);
  EXPECT_EQ(world_.Read(), "* BYE Server is shutting down\r\n");
  EXPECT_EQ(account().cause.result, SessionResult::kShutdown);
}

TEST_F(ImapSessionTest, KillInTheMiddleOfALoginLeavesNothingBehind) {
  world_.b1->fault = Fault::kHang;
  Begin();
  world_.Line("a LOGIN alice secret");
  world_.Settle();
  world_.session->Kill(SessionResult::kKicked);
  EXPECT_EQ(world_.Read(), "* BYE Session ended by the administrator\r\n");
  EXPECT_EQ(world_.b1->num_open(), 0);
}

TEST_F(ImapSessionTest, KillDuringAHandshake) {
  world_.is_in_tls = false;
  world_.listener().tls = TlsMode::kStartTls;
  Begin();
  EXPECT_THAT(world_.Ask("t STARTTLS"), StartsWith("t OK "));
  world_.session->Kill(SessionResult::kShutdown);
  world_.Settle();
  EXPECT_EQ(account().cause.result, SessionResult::kShutdown);
}

}  // namespace
}  // namespace postern::test
