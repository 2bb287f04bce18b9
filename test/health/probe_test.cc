// probe_test: what a check says to a server, step by step, and what it learns.
// SPDX-License-Identifier: Apache-2.0
#include "health/probe.h"

#include "test/health/check_world.h"

namespace postern::health {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;

class ProbeTest : public CheckWorld {
 protected:
  ProbeTest() { config_->health.interval = std::chrono::hours(1); }
  void Login() { config_->health.login = conf::Credentials{"probe", base::Secret("secret")}; }
  void Check(conf::Protocol protocol, conf::TlsMode tls = conf::TlsMode::kNone) {
    Watch(protocol, tls);
    loop_.RunFor(seconds(30));
  }
  std::string why() { return report().last_check ? report().last_check->why : "no check"; }
  bool is_ok() { return report().last_check && report().last_check->is_ok; }
};

TEST_F(ProbeTest, ImapAsksWhatItCanAndSaysGoodbye) {
  ServeImap();
  Check(conf::Protocol::kImap);
  EXPECT_THAT(server_.lines, ElementsAre("P1 CAPABILITY", "P2 LOGOUT"));
  EXPECT_TRUE(is_ok()) << why();
  EXPECT_THAT(facts()->capabilities, Contains("IDLE"));
  EXPECT_EQ(server_.num_resets, 0);
}

TEST_F(ProbeTest, ImapLogsInAndLooksAtTheInbox) {
  ServeImap();
  Login();
  Check(conf::Protocol::kImap);
  EXPECT_THAT(server_.lines, ElementsAre("P1 CAPABILITY", "P2 LOGIN \"probe\" \"secret\"",
                                         "P3 SELECT INBOX", "P4 LOGOUT"));
  EXPECT_TRUE(is_ok()) << why();
}

TEST_F(ProbeTest, AnInboxThatCannotBeOpenedIsAFailure) {
  ServeImap();
  server_.script[2].answer = "% NO [SERVERBUG] disk\r\n";
  Login();
  Check(conf::Protocol::kImap);
  EXPECT_FALSE(is_ok());
  EXPECT_THAT(why(), HasSubstr("SELECT"));
  EXPECT_THAT(server_.lines.back(), HasSubstr("LOGOUT")) << "said all the same";
}

TEST_F(ProbeTest, ARefusedLoginIsAFailureThatSaysSo) {
  ServeImap();
  server_.script[1].answer = "% NO [AUTHENTICATIONFAILED] no\r\n";
  Login();
  Check(conf::Protocol::kImap);
  EXPECT_FALSE(is_ok());
  EXPECT_THAT(why(), HasSubstr("login of the check is refused: AUTHENTICATIONFAILED no"));
}

TEST_F(ProbeTest, Pop3) {
  ServePop3();
  Check(conf::Protocol::kPop3);
  EXPECT_THAT(server_.lines, ElementsAre("CAPA", "QUIT"));
  EXPECT_THAT(facts()->capabilities, Contains("UIDL"));
}

TEST_F(ProbeTest, Pop3LogsInAndCounts) {
  ServePop3();
  Login();
  Check(conf::Protocol::kPop3);
  EXPECT_THAT(server_.lines, ElementsAre("CAPA", "USER probe", "PASS secret", "STAT", "QUIT"));
  EXPECT_TRUE(is_ok()) << why();
}

TEST_F(ProbeTest, SmtpSaysEhloAndQuit) {
  ServeSmtp();
  Login();
  Check(conf::Protocol::kSmtp);
  EXPECT_THAT(server_.lines, ElementsAre("EHLO lb.example.com", "QUIT")) << "no login on smtp";
  EXPECT_THAT(facts()->capabilities, ElementsAre("SIZE 1000", "8BITMIME"));
  EXPECT_EQ(server_.num_resets, 0);
}

TEST_F(ProbeTest, LmtpSaysLhlo) {
  ServeSmtp();
  server_.script[0].word = "LHLO";
  config_->health.mail = {"", "postmaster@example.com"};
  Check(conf::Protocol::kLmtp);
  EXPECT_THAT(server_.lines, ElementsAre("LHLO lb.example.com", "MAIL FROM:<>",
                                         "RCPT TO:<postmaster@example.com>", "RSET", "QUIT"));
  EXPECT_TRUE(is_ok()) << why();
}

TEST_F(ProbeTest, SmtpWithAnEnvelope) {
  ServeSmtp();
  config_->health.mail = {"probe@example.com", "postmaster@example.com"};
  Check(conf::Protocol::kSmtp);
  EXPECT_THAT(server_.lines, ElementsAre("EHLO lb.example.com", "MAIL FROM:<probe@example.com>",
                                         "RCPT TO:<postmaster@example.com>", "RSET", "QUIT"));
  EXPECT_TRUE(is_ok()) << why();
}

TEST_F(ProbeTest, ARefusedRecipientIsAFailure) {
  ServeSmtp();
  server_.script[3].answer = "451 4.3.0 later\r\n";
  config_->health.mail = {"", "postmaster@example.com"};
  Check(conf::Protocol::kSmtp);
  EXPECT_FALSE(is_ok());
  EXPECT_EQ(report().last_check->phase, base::Phase::kRcpt);
  EXPECT_THAT(server_.lines, ElementsAre("EHLO lb.example.com", "MAIL FROM:<>",
                                         "RCPT TO:<postmaster@example.com>", "QUIT"));
}

TEST_F(ProbeTest, SubmissionLogsIn) {
  ServeSmtp();
  server_.script[0].answer = "250-mail1\r\n250 AUTH PLAIN\r\n";
  server_.script.push_back({"AUTH PLAIN", "235 in\r\n"});
  Login();
  Check(conf::Protocol::kSubmission);
  EXPECT_THAT(server_.lines, ElementsAre("EHLO lb.example.com", StartsWith("AUTH PLAIN "), "QUIT"));
  EXPECT_TRUE(is_ok()) << why();
}

TEST_F(ProbeTest, StartTlsThenEverythingAgain) {
  ServeSmtp(true);
  Check(conf::Protocol::kSubmission, conf::TlsMode::kStartTls);
  EXPECT_TRUE(is_ok()) << why();
  EXPECT_THAT(server_.lines,
              ElementsAre("EHLO lb.example.com", "STARTTLS", "EHLO lb.example.com", "QUIT"));
}

TEST_F(ProbeTest, WithoutTheStartTlsThatIsWantedItFails) {
  ServeSmtp(false);
  Check(conf::Protocol::kSmtp, conf::TlsMode::kStartTls);
  EXPECT_FALSE(facts()->has_capabilities);
  EXPECT_THAT(why(), HasSubstr("STARTTLS"));
}

TEST_F(ProbeTest, ImplicitTlsComesBeforeTheGreetingAndItsCertificateIsNoted) {
  ServeImap();
  server_.is_implicit = true;
  tls_->not_after = loop_.WallNow() + std::chrono::hours(24 * 100);
  Check(conf::Protocol::kImap, conf::TlsMode::kImplicit);
  EXPECT_TRUE(is_ok()) << why();
  EXPECT_EQ(report().certificate_not_after, tls_->not_after);
  EXPECT_GT(Metric("postern_certificate_not_after_timestamp_seconds{backend=\"mail1\",protocol="
                   "\"imap\"}"),
            1.8e9);
  EXPECT_THAT(monitor_->Report()->problems, IsEmpty());
}

TEST_F(ProbeTest, ACertificateThatEndsSoonIsAProblem) {
  ServeImap();
  server_.is_implicit = true;
  tls_->not_after = loop_.WallNow() + std::chrono::hours(24 * 3);
  Check(conf::Protocol::kImap, conf::TlsMode::kImplicit);
  EXPECT_THAT(monitor_->Report()->problems, ElementsAre(HasSubstr("mail1/imap")));
}

TEST_F(ProbeTest, ABadCertificateIsAFailure) {
  ServeImap();
  server_.is_implicit = true;
  net_.SetBadCertificate(address_, true);
  Check(conf::Protocol::kImap, conf::TlsMode::kImplicit);
  EXPECT_FALSE(is_ok());
  EXPECT_EQ(report().last_check->phase, base::Phase::kTls);
  EXPECT_THAT(server_.lines, IsEmpty());
}

TEST_F(ProbeTest, AProxyHeaderOfItsOwnGoesFirst) {
  ServeSmtp();
  config_->backends[0].endpoints = {{.protocol = conf::Protocol::kSmtp,
                                     .port = address_.port,
                                     .client_address = conf::ClientAddress::kProxyV1}};
  WatchAgain();
  loop_.RunFor(seconds(5));
  EXPECT_THAT(server_.lines, ElementsAre(StartsWith("PROXY TCP4 "), "EHLO lb.example.com", "QUIT"));
}

TEST_F(ProbeTest, TcpConnectsAndNoMore) {
  Check(conf::Protocol::kTcp);
  EXPECT_TRUE(is_ok()) << why();
  EXPECT_THAT(server_.lines, IsEmpty());
  EXPECT_EQ(server_.num_resets, 0);
}

TEST_F(ProbeTest, TcpWithTls) {
  server_.is_implicit = true;
  Check(conf::Protocol::kTcp, conf::TlsMode::kImplicit);
  EXPECT_TRUE(is_ok()) << why();
}

TEST_F(ProbeTest, ASilentServerIsLeftAtTheDeadline) {
  Watch(conf::Protocol::kImap);  // no greeting
  loop_.RunFor(milliseconds(10'600));
  ASSERT_TRUE(report().last_check);
  EXPECT_FALSE(is_ok());
  EXPECT_EQ(report().last_check->phase, base::Phase::kGreeting);
  EXPECT_GE(report().last_check->took, seconds(10));
  EXPECT_EQ(server_.num_ends, 1);
}

TEST_F(ProbeTest, AGoodbyeThatIsNeverAnsweredTakesNothingBack) {
  ServeSmtp();
  server_.script.pop_back();
  Check(conf::Protocol::kSmtp);
  EXPECT_TRUE(is_ok());
  EXPECT_EQ(server_.num_ends, 1);
}

TEST_F(ProbeTest, AGreetingInTwoPartsIsTimedByItsFirst) {
  ServeSmtp();
  server_.greeting = "220-wait for it\r\n";
  net_.Listen(address_, [this](auto stream) {
    test::SimStream& raw = *stream;
    server_.Accept(std::move(stream));
    loop_.Schedule(seconds(6), [&raw] { raw.Write("220 mail1 ESMTP\r\n"); });
  });
  Check(conf::Protocol::kSmtp);
  EXPECT_TRUE(is_ok()) << why();
  EXPECT_LT(state().average_us[balance::TimedIndex(base::Phase::kGreeting)].load(), 1'000'000U);
}

TEST_F(ProbeTest, AnAddressThatCannotBeReachedIsNotTheOnlyOneTried) {
  ServeImap();
  resolver_.answer.addresses = {*base::IpAddress::Parse("10.0.0.9"), address_.ip};
  Check(conf::Protocol::kImap);
  EXPECT_TRUE(is_ok()) << why();
}

TEST_F(ProbeTest, EachPhaseIsTimed) {
  ServeImap();
  Login();
  Check(conf::Protocol::kImap);
  for (const auto phase :
       {base::Phase::kConnect, base::Phase::kGreeting, base::Phase::kHello, base::Phase::kLogin})
    EXPECT_GT(state().average_us[balance::TimedIndex(phase)].load(), 0U) << base::Name(phase);
  EXPECT_EQ(Metric("postern_checks_total{backend=\"mail1\",protocol=\"imap\",result=\"ok\"}"), 1);
  EXPECT_EQ(Metric("postern_check_duration_seconds_count{backend=\"mail1\",protocol=\"imap\"}"), 1);
}

// --- the stranger -----------------------------------------------------------------------------

class RelayCheckTest : public ProbeTest {
 protected:
  RelayCheckTest() { config_->health.relay_check = true; }
};

TEST_F(RelayCheckTest, AServerThatTakesAnythingIsNamedLoudly) {
  ServeSmtp();
  Check(conf::Protocol::kSmtp);
  EXPECT_THAT(server_.lines,
              ElementsAre("EHLO lb.example.com", "QUIT", "EHLO lb.example.com", "MAIL FROM:<>",
                          "RCPT TO:<relay-check@www.example.com>", "RSET", "QUIT"));
  EXPECT_THAT(monitor_->Report()->problems, ElementsAre(HasSubstr("OPEN RELAY: mail1/smtp")));
  EXPECT_EQ(state().health.load(), balance::Health::kUp);
}

TEST_F(RelayCheckTest, AServerThatRefusesIsAskedAgainTomorrow) {
  ServeSmtp();
  server_.script[3].answer = "554 5.7.1 Relay access denied\r\n";
  Check(conf::Protocol::kSmtp);
  EXPECT_THAT(monitor_->Report()->problems, IsEmpty());
  server_.lines.clear();
  loop_.RunFor(std::chrono::hours(20));
  EXPECT_THAT(server_.lines, testing::Not(Contains(StartsWith("RCPT"))));
  loop_.RunFor(std::chrono::hours(8));
  EXPECT_THAT(server_.lines, Contains(StartsWith("RCPT")).Times(1));
  server_.script[3].answer = "250 ok\r\n";
  loop_.RunFor(std::chrono::hours(28));
  EXPECT_THAT(monitor_->Report()->problems, ElementsAre(HasSubstr("OPEN RELAY")));
}

TEST_F(RelayCheckTest, ToAServerThatIsToldAddressesTheStrangerHasOne) {
  ServeSmtp();
  config_->backends[0].endpoints = {{.protocol = conf::Protocol::kSmtp,
                                     .port = address_.port,
                                     .client_address = conf::ClientAddress::kProxyV1}};
  WatchAgain();
  loop_.RunFor(seconds(5));
  EXPECT_THAT(server_.lines, Contains(StartsWith("PROXY TCP4 192.0.2.1 ")));
}

TEST_F(RelayCheckTest, SubmissionIsNotAsked) {
  ServeSmtp();
  Check(conf::Protocol::kSubmission);
  EXPECT_THAT(server_.lines, ElementsAre("EHLO lb.example.com", "QUIT"));
}

}  // namespace
}  // namespace postern::health
