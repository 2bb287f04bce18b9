// smtp_login_test: AUTH on a submission listener: mechanisms, refusals that tell nothing, homes.
// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "lb/base/base64.h"
#include "test/support/smtp_fixture.h"

namespace postern::proto {
namespace {

using namespace std::string_literals;

std::string Plain(const std::string& user, const std::string& password) {
  return base::Base64Encode("\0"s + user + "\0"s + password);
}

class SmtpLoginTest : public test::SmtpFixture {
 protected:
  void SetUp() override {
    bench_.settings.is_submission = true;
    bench_.settings.tls = SmtpFrontTls::kActive;
    bench_.settings.timeouts.login = std::chrono::seconds(60);
    bench_.settings.offers_xoauth2 = bench_.settings.offers_oauthbearer = true;
    for (const char* name : {"B1", "B2"})
      bench_.backend(name).keywords.push_back("AUTH PLAIN LOGIN XOAUTH2 OAUTHBEARER");
  }
  void Login() {
    Begin();
    ASSERT_EQ(Ask("AUTH PLAIN " + Plain("alice", "secret")), "235");
  }
};
POSTERN_IN_ALL_CUTS(SmtpLoginTest);

TEST_P(SmtpLoginTest, RefusesMailBeforeALogin) {
  Begin();
  EXPECT_EQ(Say("MAIL FROM:<a@x.example>").substr(0, 9), "530 5.7.0");
  EXPECT_EQ(Ask("RCPT TO:<b@y.example>"), "503");
  EXPECT_EQ(b1().num_connections, 0);
}

TEST_P(SmtpLoginTest, LogsInAtTheBackend) {
  Login();
  EXPECT_EQ(b1().lines.back(), "AUTH PLAIN " + Plain("alice", "secret"));
  EXPECT_EQ(bench_.relay->user(), "alice");
  EXPECT_EQ(CountEvents("login alice ok"), 1);
  EXPECT_EQ(Deliver(), "250 250 354 250");
  EXPECT_EQ(b1().num_connections, 1);
}

TEST_P(SmtpLoginTest, TakesPlainWithoutAnInitialResponse) {
  Begin();
  EXPECT_EQ(Say("AUTH PLAIN"), "334 \r\n");
  EXPECT_EQ(Ask(Plain("alice", "secret")), "235");
}

TEST_P(SmtpLoginTest, TakesLogin) {
  Begin();
  EXPECT_EQ(Ask("AUTH LOGIN"), "334");
  EXPECT_EQ(Ask(base::Base64Encode("alice")), "334");
  EXPECT_EQ(Ask(base::Base64Encode("secret")), "235");
  EXPECT_EQ(b1().lines.back(), "AUTH PLAIN " + Plain("alice", "secret"));
}

TEST_P(SmtpLoginTest, TakesLoginWithTheNameInTheCommand) {
  Begin();
  EXPECT_EQ(Ask("auth login " + base::Base64Encode("alice")), "334");
  EXPECT_EQ(Ask(base::Base64Encode("secret")), "235");
}

TEST_P(SmtpLoginTest, SpeaksLoginToABackendThatHasNothingElse) {
  b1().keywords = {"AUTH LOGIN"};
  b1().answers["SASL"] = {"334 UGFzc3dvcmQ6", "235 2.7.0 in"};
  b1().answers[base::Base64Encode("secret")] = {"235 2.7.0 in"};
  Begin();
  EXPECT_EQ(Ask("AUTH PLAIN " + Plain("alice", "secret")), "235");
  const std::vector<std::string> lines = {"EHLO client.example", "AUTH LOGIN",
                                          base::Base64Encode("alice"),
                                          base::Base64Encode("secret")};
  EXPECT_EQ(b1().lines, lines);
}

TEST_P(SmtpLoginTest, PassesATokenOn) {
  const std::string token =
      base::Base64Encode("user=alice@x.example\x01"s + "auth=Bearer ya29.abc\x01\x01"s);
  Begin();
  EXPECT_EQ(Ask("AUTH XOAUTH2 " + token), "235");
  EXPECT_EQ(b1().lines.back(), "AUTH XOAUTH2 " + token);
  EXPECT_EQ(bench_.relay->user(), "alice@x.example");
}

TEST_P(SmtpLoginTest, SendsALongTokenBehindAPrompt) {
  const std::string token = base::Base64Encode("user=alice@x.example\x01"s + "auth=Bearer " +
                                               std::string(2000, 't') + "\x01\x01"s);
  b1().answers["AUTH XOAUTH2"] = {"334 "};
  b1().answers[token] = {"235 2.7.0 in"};
  Begin();
  EXPECT_EQ(Ask("AUTH XOAUTH2 " + token), "235");
  EXPECT_EQ(CountLines(b1(), "AUTH XOAUTH2"), 1);
  EXPECT_EQ(b1().lines[1], "AUTH XOAUTH2");
  EXPECT_EQ(b1().lines[2], token);
}

TEST_P(SmtpLoginTest, PassesAFailureChallengeOn) {
  const std::string challenge = base::Base64Encode("{\"status\":\"401\"}");
  b1().answers["AUTH XOAUTH2"] = {"334 " + challenge};
  b1().answers["(empty)"] = {"535 5.7.8 token refused"};
  Begin();
  const std::string token =
      base::Base64Encode("user=alice@x.example\x01"s + "auth=Bearer bad\x01\x01"s);
  bench_.Line("AUTH XOAUTH2 " + token);
  bench_.After(std::chrono::seconds(2));
  EXPECT_EQ(bench_.Replies(), "334 " + challenge + "\r\n");
  EXPECT_EQ(Ask(""), "535");
  EXPECT_EQ(CountEvents("login alice@x.example bad"), 1);
}

TEST_P(SmtpLoginTest, RefusesWhatItDoesNotOffer) {
  bench_.settings.offers_xoauth2 = false;
  Begin();
  EXPECT_EQ(Ask("AUTH XOAUTH2 AAAA"), "504");
  EXPECT_EQ(Ask("AUTH CRAM-MD5"), "504");
  EXPECT_EQ(Ask("AUTH"), "504");
}

TEST_P(SmtpLoginTest, RefusesMalformedExchanges) {
  Begin();
  EXPECT_EQ(Ask("AUTH PLAIN !!!"), "501");
  EXPECT_EQ(Ask("AUTH PLAIN AAAA BBBB"), "501");
  EXPECT_EQ(Ask("AUTH PLAIN " + base::Base64Encode("noNul")), "501");
  EXPECT_EQ(Ask("AUTH LOGIN"), "334");
  EXPECT_EQ(Ask("not base64"), "501");
  EXPECT_EQ(Ask("NOOP"), "250");
}

TEST_P(SmtpLoginTest, EndsAnExchangeThatIsCancelled) {
  Begin();
  EXPECT_EQ(Ask("AUTH LOGIN"), "334");
  EXPECT_EQ(Ask("*"), "501");
  EXPECT_EQ(Ask("NOOP"), "250");
}

TEST_P(SmtpLoginTest, WantsTlsFirst) {
  bench_.settings.tls = SmtpFrontTls::kOffered;
  Begin();
  EXPECT_EQ(Say("AUTH PLAIN " + Plain("alice", "secret")).substr(0, 10), "538 5.7.11");
  EXPECT_EQ(b1().num_connections, 0);
}

TEST_P(SmtpLoginTest, TakesOneLoginOutsideTransactionsAfterHello) {
  bench_.Start();
  bench_.Codes();
  EXPECT_EQ(Ask("AUTH PLAIN " + Plain("alice", "secret")), "503");
  EXPECT_EQ(Ask("EHLO client.example"), "250");
  EXPECT_EQ(Ask("AUTH PLAIN " + Plain("alice", "secret")), "235");
  EXPECT_EQ(Ask("AUTH PLAIN " + Plain("alice", "secret")), "503");
}

// --- refusals ---------------------------------------------------------------------------------

TEST_P(SmtpLoginTest, RefusesAlikeWhateverTheReason) {
  bench_.homes["nobody"] = "unknown";
  bench_.homes["banned"] = "reject 550 5.7.1 banned";
  bench_.homes["blocked"] = "blocked";
  b1().answers["AUTH"] = {"535 5.7.8 Error: authentication failed: UGFzc3dvcmQ6"};
  Begin();
  bench_.settings.limits.auth_failures = 100;
  for (const char* user : {"alice", "nobody", "banned", "blocked", "with\nbreak"}) {
    bench_.Line("AUTH PLAIN " + Plain(user, "wrong"));
    bench_.After(std::chrono::milliseconds(1999));
    EXPECT_EQ(bench_.Replies(), "") << user;
    bench_.After(std::chrono::milliseconds(1));
    EXPECT_EQ(bench_.Replies(), "535 5.7.8 Authentication failed\r\n") << user;
  }
  EXPECT_EQ(b2().num_connections, 0);
}

TEST_P(SmtpLoginTest, AddsNoDelayToABackendThatWasSlow) {
  b1().answers["AUTH"] = {"hang"};
  Begin();
  bench_.Line("AUTH PLAIN " + Plain("alice", "wrong"));
  bench_.After(std::chrono::seconds(5));
  bench_.BackSays("B1", "535 5.7.8 no\r\n");
  EXPECT_EQ(bench_.Codes(), "535");
}

TEST_P(SmtpLoginTest, PassesTheBackendsWordsWhereAskedTo) {
  bench_.settings.pass_refusal_text = true;
  b1().answers["AUTH"] = {"535 5.7.8 Account locked, call 555"};
  Begin();
  bench_.Line("AUTH PLAIN " + Plain("alice", "wrong"));
  bench_.After(std::chrono::seconds(2));
  EXPECT_EQ(bench_.Replies(), "535 5.7.8 Account locked, call 555\r\n");
}

TEST_P(SmtpLoginTest, EndsAfterTooManyRefusals) {
  b1().answers["AUTH"] = {"535 5.7.8 no"};
  Begin();
  for (int i = 0; i < 3; ++i) {
    bench_.Line("AUTH PLAIN " + Plain("alice", "wrong"));
    bench_.After(std::chrono::seconds(2));
  }
  EXPECT_EQ(bench_.Codes(), "535 535 535 421");
  ASSERT_TRUE(bench_.is_over());
  EXPECT_EQ(bench_.end->result, base::SessionResult::kLimit);
}

TEST_P(SmtpLoginTest, RefusesWhereTheHomeLacksTheMechanism) {
  b1().keywords = {"AUTH GSSAPI"};
  Begin();
  bench_.Line("AUTH PLAIN " + Plain("alice", "secret"));
  bench_.After(std::chrono::seconds(2));
  EXPECT_EQ(bench_.Codes(), "535");
  EXPECT_EQ(CountLines(b1(), "AUTH"), 0);
}

// --- faults -----------------------------------------------------------------------------------

TEST_P(SmtpLoginTest, LogsInElsewhereWhereTheFirstCannotSay) {
  for (const char* what : {"454 4.7.0 try later", "421 4.3.2 busy", "451 4.3.0 no", "hang", "die",
                           "nonsense", "334 !!!"}) {
    test::SmtpBench bench;
    bench.cut = GetParam();
    bench.settings = bench_.settings;
    for (const char* name : {"B1", "B2"}) bench.backend(name).keywords.push_back("AUTH PLAIN");
    bench.backend("B1").answers["AUTH"] = {what};
    bench.Start();
    bench.Line("EHLO client.example");
    bench.Line("AUTH PLAIN " + Plain("alice", "secret"));
    bench.After(std::chrono::seconds(20));
    EXPECT_EQ(bench.Codes(), "220 250 235") << what;
    EXPECT_EQ(bench.leg_backend().empty() ? "B2" : bench.leg_backend(), "B2") << what;
  }
}

TEST_P(SmtpLoginTest, SaysTryLaterWhereNobodyCanSay) {
  b1().door = test::FakeBackend::Door::kRefuses;
  b2().answers["AUTH"] = {"454 4.7.0 ldap is down"};
  Begin();
  EXPECT_EQ(Say("AUTH PLAIN " + Plain("alice", "secret")).substr(0, 9), "454 4.7.0");
  EXPECT_FALSE(bench_.is_over());
  EXPECT_EQ(CountEvents("login alice temp"), 1);
}

TEST_P(SmtpLoginTest, SaysTryLaterWhereTheRouteCannotSay) {
  bench_.homes["alice"] = "tempfail";
  Begin();
  EXPECT_EQ(Ask("AUTH PLAIN " + Plain("alice", "secret")), "454");
}

TEST_P(SmtpLoginTest, ARefusalForNowByRuleTakesAsLongAsAWrongPassword) {
  bench_.homes["alice"] = "tempfail 451 4.3.0 moving house";
  Begin();
  EXPECT_EQ(Ask("AUTH PLAIN " + Plain("alice", "secret")), "");
  bench_.After(std::chrono::seconds(2));
  EXPECT_EQ(bench_.Codes(), "454");
  EXPECT_EQ(CountEvents("login alice temp"), 1);
  EXPECT_EQ(Ask("AUTH PLAIN " + Plain("bob", "secret")), "235");
}

TEST_P(SmtpLoginTest, LogsInAgainWhereAMessageMoves) {
  b1().answers["TEXT"] = {"die"};
  Login();
  EXPECT_EQ(Deliver(), "250 250 354 250");
  EXPECT_EQ(CountLines(b2(), "AUTH PLAIN " + Plain("alice", "secret")), 1);
  EXPECT_EQ(b2().messages.size(), 1U);
}

TEST_P(SmtpLoginTest, LogsInAgainAfterTheLegWasClosed) {
  Login();
  bench_.After(std::chrono::seconds(11));
  EXPECT_EQ(Deliver(), "250 250 354 250");
  EXPECT_EQ(b1().num_connections, 2);
  EXPECT_EQ(CountLines(b1(), "AUTH"), 2);
}

TEST_P(SmtpLoginTest, TellsNoRecipientThatALaterLoginWasRefused) {
  b1().answers["AUTH"] = {"usual", "535 5.7.8 no"};
  b2().answers["AUTH"] = {"535 5.7.8 no"};
  Login();
  bench_.After(std::chrono::seconds(11));
  EXPECT_EQ(Deliver().substr(0, 7), "250 451");
}

TEST_P(SmtpLoginTest, RoutesByTheUserAndNeverByTheRecipient) {
  bench_.homes["alice"] = "B2";
  bench_.homes["b@y.example"] = "unknown";
  Login();
  EXPECT_EQ(Deliver("b@y.example"), "250 250 354 250");
  EXPECT_EQ(b2().messages.size(), 1U);
}

TEST_P(SmtpLoginTest, WaitsForALoginNoLongerThanItsTime) {
  Begin();
  for (int i = 0; i < 6 && !bench_.is_over(); ++i) {
    bench_.After(std::chrono::seconds(10));
    if (!bench_.is_over()) Ask("NOOP");
  }
  EXPECT_TRUE(bench_.is_over());
  EXPECT_EQ(bench_.end->result, base::SessionResult::kIdle);
}

TEST_P(SmtpLoginTest, StaysAfterTheLoginTime) {
  Login();
  bench_.After(std::chrono::seconds(120));
  EXPECT_FALSE(bench_.is_over());
}

TEST_P(SmtpLoginTest, ForgetsTheLoginAfterStartTls) {
  bench_.settings.tls = SmtpFrontTls::kOffered;
  bench_.settings.auth_requires_tls = false;
  Begin();
  ASSERT_EQ(Ask("AUTH PLAIN " + Plain("alice", "secret")), "235");
  EXPECT_EQ(Ask("STARTTLS"), "220");
  bench_.FrontTls();
  EXPECT_EQ(Ask("EHLO client.example"), "250");
  EXPECT_EQ(Ask("MAIL FROM:<a@x.example>"), "530");
}

}  // namespace
}  // namespace postern::proto
