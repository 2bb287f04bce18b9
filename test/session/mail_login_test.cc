// mail_login_test: logins of IMAP sessions in memory: TLS, refusals, delays, tokens, the client's
// address handed on.
// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "test/session/imap_case.h"

namespace postern::test {
namespace {

using base::Phase;
using base::SessionResult;
using conf::TlsMode;
using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::ElementsAre;
using testing::EndsWith;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;
using Fault = ScriptedBackend::Fault;

// --- logins -----------------------------------------------------------------------------------

TEST_F(ImapSessionTest, LogsInAndRelaysBothWays) {
  Begin();
  EXPECT_EQ(world_.LogIn(), "a1 OK [CAPABILITY IMAP4rev1 IDLE X-BACK] Logged in at b1\r\n");
  EXPECT_THAT(world_.b1->logins, ElementsAre("alice"));
  EXPECT_EQ(world_.b2->num_connections(), 0);
  world_.Line("b SELECT INBOX");
  world_.Settle();
  EXPECT_EQ(world_.b1->relayed, "b SELECT INBOX\r\n");
  world_.b1->Say("* 3 EXISTS\r\nb OK done\r\n");
  EXPECT_EQ(world_.Read(), "* 3 EXISTS\r\nb OK done\r\n");
  EXPECT_EQ(world_.Ask("c LOGOUT"), "* BYE bye\r\nc OK done\r\n");
  EXPECT_TRUE(world_.client_sees_end());
  EXPECT_EQ(account().cause.result, SessionResult::kClientQuit);
  EXPECT_EQ(account().user, "alice");
  EXPECT_EQ(account().backend, "b1");
  EXPECT_EQ(account().commands, 3U);
  EXPECT_EQ(account().bytes_in, 23U + 16U + 10U);
  EXPECT_GE(account().phases_ms[static_cast<size_t>(Phase::kLogin)], 0);
  EXPECT_LT(account().phases_ms[static_cast<size_t>(Phase::kTls)], 0);
  EXPECT_EQ(account().tls_version, "TLSv1.3");
  EXPECT_EQ(Auth("login", "ok") + Auth("LOGIN", "ok") + Auth("login_command", "ok"), 1);
  EXPECT_THAT(world_.auth_succeeded, ElementsAre("alice"));
}

TEST_F(ImapSessionTest, NothingBehindTheLoginIsLostOrDoubled) {
  Begin();
  world_.b1->behind_ok = "* OK news\r\n";
  world_.Send("a LOGIN alice secret\r\nb SELECT INBOX\r\nc FETCH 1 X\r\n");
  EXPECT_EQ(world_.Read(),
            "a OK [CAPABILITY IMAP4rev1 IDLE X-BACK] Logged in at b1\r\n* OK news\r\n");
  EXPECT_EQ(world_.b1->relayed, "b SELECT INBOX\r\nc FETCH 1 X\r\n");
}

TEST_F(ImapSessionTest, ByteByByteIsTheSame) {
  world_.net.options.cut = SimCut::kByByte;
  Begin();
  world_.b1->behind_ok = "* OK news\r\n";
  world_.Send("a LOGIN alice secret\r\nb SELECT INBOX\r\n");
  EXPECT_EQ(world_.Read(),
            "a OK [CAPABILITY IMAP4rev1 IDLE X-BACK] Logged in at b1\r\n* OK news\r\n");
  EXPECT_EQ(world_.b1->relayed, "b SELECT INBOX\r\n");
}

TEST_F(ImapSessionTest, StartTlsThenLogin) {
  world_.is_in_tls = false;
  world_.listener().tls = TlsMode::kStartTls;
  Begin();
  EXPECT_THAT(world_.LogIn(), HasSubstr("[PRIVACYREQUIRED]"));
  EXPECT_THAT(world_.Ask("t STARTTLS"), StartsWith("t OK "));
  world_.StartClientTls();
  EXPECT_THAT(world_.LogIn(), HasSubstr("OK [CAPABILITY"));
  EXPECT_TRUE(world_.client().in_tls());
}

TEST_F(ImapSessionTest, WhereTlsIsRequiredNobodyLogsInWithoutIt) {
  world_.is_in_tls = false;
  world_.listener().tls = TlsMode::kStartTls;
  world_.listener().auth_requires_tls = false;
  world_.listener().require_tls = true;
  Begin();
  EXPECT_THAT(world_.LogIn(), HasSubstr("[PRIVACYREQUIRED]"));
  EXPECT_EQ(world_.b1->num_connections(), 0);
}

TEST_F(ImapSessionTest, BytesBehindStartTlsEndTheSession) {
  world_.is_in_tls = false;
  world_.listener().tls = TlsMode::kStartTls;
  Begin();
  world_.Send("t STARTTLS\r\nb LOGIN alice secret\r\n");
  EXPECT_THAT(world_.Read(), StartsWith("t BAD "));
  EXPECT_TRUE(world_.client_sees_end());
  EXPECT_EQ(account().cause.result, SessionResult::kProtocolError);
  EXPECT_EQ(world_.b1->num_connections(), 0);
}

TEST_F(ImapSessionTest, AHandshakeThatHangsIsEnded) {
  world_.is_in_tls = false;
  world_.listener().tls = TlsMode::kStartTls;
  Begin();
  EXPECT_THAT(world_.Ask("t STARTTLS"), StartsWith("t OK "));
  world_.Wait(seconds(9));
  EXPECT_FALSE(world_.client_sees_end());
  world_.Wait(seconds(2));
  EXPECT_TRUE(world_.client_sees_end());
  EXPECT_EQ(account().cause.phase, Phase::kTls);
}

TEST_F(ImapSessionTest, GarbageInPlaceOfAHandshakeIsEnded) {
  world_.is_in_tls = false;
  world_.listener().tls = TlsMode::kStartTls;
  Begin();
  EXPECT_THAT(world_.Ask("t STARTTLS"), StartsWith("t OK "));
  world_.Line("b LOGIN alice secret");
  world_.Settle();
  EXPECT_EQ(account().cause.result, SessionResult::kProtocolError);
  EXPECT_EQ(world_.b1->num_connections(), 0);
}

TEST_F(ImapSessionTest, AWrongPasswordIsFinalAndComesLate) {
  Begin();
  const base::MonoTime asked = world_.loop.Now();
  world_.Line("a LOGIN alice wrong");
  EXPECT_EQ(world_.Read(), "");
  EXPECT_EQ(world_.b1->num_connections(), 1);
  EXPECT_EQ(world_.b1->num_open(), 0);  // it holds no leg while it waits
  EXPECT_THAT(world_.auth_failed, ElementsAre("alice"));
  std::string answer;
  while (answer.empty() && world_.loop.Now() < asked + seconds(10)) answer = world_.Read();
  EXPECT_EQ(answer, std::string("a ") + kRefused);
  EXPECT_GE(world_.loop.Now() - asked, seconds(2));
  EXPECT_LE(world_.loop.Now() - asked, seconds(2) + milliseconds(100));
  EXPECT_EQ(world_.b2->num_connections(), 0);
  // The session goes on.
  EXPECT_THAT(world_.LogIn(), HasSubstr(" OK "));
}

TEST_F(ImapSessionTest, ASlowRefusalIsNotDelayedFurther) {
  world_.b1->auth_delay = seconds(3);
  Begin();
  world_.Line("a LOGIN alice wrong");
  world_.Wait(milliseconds(2900));
  EXPECT_EQ(world_.Read(), "");
  world_.Wait(milliseconds(100));
  EXPECT_EQ(world_.Read(), std::string("a ") + kRefused);
}

TEST_F(ImapSessionTest, AUserWithoutAHomeReadsLikeAWrongPassword) {
  Begin();
  world_.Line("a LOGIN nobody secret");
  world_.Wait(milliseconds(1900));
  EXPECT_EQ(world_.Read(), "");
  world_.Wait(milliseconds(100));
  EXPECT_EQ(world_.Read(), std::string("a ") + kRefused);
  EXPECT_EQ(world_.b1->num_connections() + world_.b2->num_connections(), 0);
  EXPECT_THAT(world_.auth_failed, ElementsAre("nobody"));
}

TEST_F(ImapSessionTest, WhatMayNotReachABackendReadsLikeAWrongPassword) {
  Begin();
  world_.Send("a LOGIN {7+}\r\nali\r\nce {6+}\r\nsecret\r\n");
  EXPECT_EQ(world_.Read(), "");
  world_.Wait(seconds(2));
  EXPECT_EQ(world_.Read(), std::string("a ") + kRefused);
  // With a good name, too.
  world_.Send("b LOGIN alice {8+}\r\nsec\r\nret\r\n");
  world_.Wait(seconds(2));
  EXPECT_EQ(world_.Read(), std::string("b ") + kRefused);
  EXPECT_EQ(world_.b1->num_connections(), 0);
}

TEST_F(ImapSessionTest, ABlockedUserReadsLikeAWrongPassword) {
  world_.is_auth_blocked = true;
  Begin();
  EXPECT_EQ(world_.LogIn(), "");
  world_.Wait(seconds(2));
  EXPECT_EQ(world_.Read(), std::string("a1 ") + kRefused);
  EXPECT_EQ(world_.b1->num_connections(), 0);
  EXPECT_THAT(world_.auth_failed, IsEmpty());
}

TEST_F(ImapSessionTest, ATempFailRuleSaysUnavailable) {
  Begin();
  EXPECT_EQ(world_.LogIn("later"), "");  // no sooner than a wrong password's answer
  world_.Wait(seconds(2));
  EXPECT_EQ(world_.Read(), std::string("a1 ") + kUnavailable);
  EXPECT_THAT(world_.auth_failed, IsEmpty());
  EXPECT_THAT(world_.LogIn(), HasSubstr(" OK "));
}

TEST_F(ImapSessionTest, TooManyRefusalsEndTheSession) {
  world_.listener().limits.auth_failures = 2;
  Begin();
  (void)world_.LogIn("alice", "wrong");
  world_.Wait(seconds(2));
  EXPECT_THAT(world_.Read(), EndsWith(kRefused));
  (void)world_.LogIn("alice", "wrong");
  world_.Wait(seconds(2));
  EXPECT_THAT(world_.Read(), EndsWith("* BYE Too many failed logins\r\n"));
  EXPECT_EQ(account().cause.result, SessionResult::kLimit);
}

TEST_F(ImapSessionTest, ATokensFailureChallengeIsPassedOn) {
  world_.b1->capabilities = "IMAP4rev1 SASL-IR AUTH=XOAUTH2";
  world_.b1->token_challenge = "eyJzdGF0dXMiOiI0MDEifQ==";
  Begin();
  EXPECT_EQ(world_.Ask("a AUTHENTICATE XOAUTH2 dXNlcj1hbGljZQFhdXRoPUJlYXJlciB0b2sBAQ=="),
            "+ eyJzdGF0dXMiOiI0MDEifQ==\r\n");
  // It is the client's turn: no backend's deadline runs.
  world_.Wait(seconds(30));
  EXPECT_EQ(world_.Read(), "");
  EXPECT_EQ(world_.Ask("AQ=="), std::string("a ") + kRefused);
  EXPECT_THAT(
      world_.b1->lines,
      ElementsAre("P1 AUTHENTICATE XOAUTH2 dXNlcj1hbGljZQFhdXRoPUJlYXJlciB0b2sBAQ==", "AQ=="));
}

TEST_F(ImapSessionTest, ABackendThatGoesDuringAChallengeIsNoWrongPassword) {
  world_.b1->capabilities = world_.b2->capabilities = "IMAP4rev1 SASL-IR AUTH=XOAUTH2";
  world_.b1->token_challenge = "e30=";
  world_.b2->fault = Fault::kClose;
  Begin();
  EXPECT_EQ(world_.Ask("a AUTHENTICATE XOAUTH2 dXNlcj1hbGljZQFhdXRoPUJlYXJlciB0b2sBAQ=="),
            "+ e30=\r\n");
  world_.b1->stream()->Reset();
  world_.Settle();
  EXPECT_EQ(world_.Ask("AQ=="), std::string("a ") + kUnavailable);
}

TEST_F(ImapSessionTest, ReportsWhatTheBackendCanDo) {
  BeginLoggedIn();
  ASSERT_EQ(world_.learned.size(), 1U);
  EXPECT_EQ(world_.learned[0].first, "b1");
  EXPECT_THAT(world_.learned[0].second, ElementsAre("IMAP4rev1", "SASL-IR", "ID", "AUTH=PLAIN"));
}

// --- the client's address -----------------------------------------------------------------------

TEST_F(ImapSessionTest, HandsTheAddressOnById) {
  world_.endpoint(0).client_address = conf::ClientAddress::kImapId;
  Begin();
  EXPECT_THAT(world_.Ask("i ID (\"x-originating-ip\" \"6.6.6.1\")"), HasSubstr("i OK"));
  EXPECT_THAT(world_.LogIn(), HasSubstr(" OK "));
  ASSERT_EQ(world_.b1->lines.size(), 2U);
  EXPECT_EQ(world_.b1->lines[0],
            "P1 ID (\"x-originating-ip\" \"192.0.2.7\" \"x-originating-port\" \"4711\" "
            "\"x-connected-ip\" \"198.51.100.1\" \"x-connected-port\" \"993\" "
            "\"x-session-id\" \"0000000000001234\")");
}

TEST_F(ImapSessionTest, WritesAProxyHeaderBeforeAll) {
  world_.endpoint(0).client_address = conf::ClientAddress::kProxyV1;
  world_.b1->expects_proxy = true;
  BeginLoggedIn();
  EXPECT_EQ(world_.b1->before_tls, "PROXY TCP4 192.0.2.7 198.51.100.1 4711 993\r\n");
}

TEST_F(ImapSessionTest, WritesAProxyHeaderBeforeTls) {
  world_.endpoint(0).client_address = conf::ClientAddress::kProxyV2;
  world_.endpoint(0).tls = TlsMode::kImplicit;
  world_.b1->expects_proxy = true;
  world_.b1->is_implicit = true;
  BeginLoggedIn();
  EXPECT_THAT(world_.b1->before_tls, StartsWith("\r\n\r\n"));
  EXPECT_TRUE(world_.b1->stream()->in_tls());
}

TEST_F(ImapSessionTest, AfterAProxyHeaderABusyGreetingBlamesNobody) {
  world_.endpoint(0).client_address = conf::ClientAddress::kProxyV1;
  world_.b1->expects_proxy = true;
  world_.b1->fault = Fault::kBusy;
  BeginLoggedIn();
  EXPECT_THAT(world_.b2->logins, ElementsAre("alice"));
  EXPECT_FALSE(world_.state(0).InCooldown(world_.loop.Now()));
}

}  // namespace
}  // namespace postern::test
