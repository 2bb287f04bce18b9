// smtp_back_test: the ladder alone: what is said at each rung, and what ends it.
// SPDX-License-Identifier: Apache-2.0
#include "lb/proto/smtp_back.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>

namespace postern::proto {
namespace {

using Event = SmtpBack::Event;
using Meaning = SmtpLegFault::Meaning;

class SmtpBackTest : public testing::Test {
 protected:
  SmtpBackTest() {
    settings_.own_name = "mx.example";
    settings_.client_name = "client.example";
    settings_.client = *base::SocketAddress::Parse("192.0.2.7:40000");
    settings_.local = *base::SocketAddress::Parse("192.0.2.1:25");
    login_.user = "alice";
    login_.password = base::Secret("secret");
  }
  void Connect() {
    back_ = std::make_unique<SmtpBack>(settings_);
    last_ = back_->OnConnected(out_);
  }
  // Feeds replies; the event of the last step.
  Event Hear(const std::string& bytes) {
    size_t at = 0;
    do {
      last_ = back_->Next(std::string_view(bytes).substr(at), out_);
      at += last_.consumed;
    } while (last_.event == Event::kWait && last_.consumed > 0);
    return last_.event;
  }
  std::string Said() { return std::exchange(out_, {}); }

  SmtpBackSettings settings_;
  LoginRequest login_;
  std::unique_ptr<SmtpBack> back_;
  SmtpBack::Step last_;
  std::string out_;
};

TEST_F(SmtpBackTest, IsReadyAfterGreetingAndHello) {
  Connect();
  EXPECT_EQ(back_->phase(), base::Phase::kGreeting);
  EXPECT_EQ(Hear("220-wait\r\n220 hi\r\n"), Event::kWait);
  EXPECT_EQ(Said(), "EHLO client.example\r\n");
  EXPECT_EQ(back_->phase(), base::Phase::kHello);
  EXPECT_EQ(Hear("250-b\r\n250 PIPELINING\r\n"), Event::kReady);
  EXPECT_TRUE(back_->extensions().pipelining);
  EXPECT_FALSE(back_->knows_client());
}

TEST_F(SmtpBackTest, SaysItsOwnNameInAProbe) {
  settings_.client_name.clear();
  settings_.is_probe = true;
  settings_.client_address = conf::ClientAddress::kXclient;
  Connect();
  Hear("220 hi\r\n");
  EXPECT_EQ(Said(), "EHLO mx.example\r\n");
  EXPECT_EQ(Hear("250-b\r\n250 XCLIENT ADDR\r\n"), Event::kReady);
  EXPECT_EQ(Said(), "");
}

TEST_F(SmtpBackTest, AProbeIsItsOwnClientInAProxyHeader) {
  settings_.is_probe = true;
  settings_.client_address = conf::ClientAddress::kProxyV1;
  Connect();
  EXPECT_EQ(Said(), "PROXY TCP4 192.0.2.7 192.0.2.1 40000 25\r\n");
  EXPECT_EQ(Hear("554 5.7.1 no\r\n"), Event::kFailed);
  EXPECT_EQ(back_->fault().meaning, Meaning::kFault);
  EXPECT_TRUE(back_->fault().is_passive);
}

TEST_F(SmtpBackTest, StartsImplicitTlsBehindTheProxyHeader) {
  settings_.tls = conf::TlsMode::kImplicit;
  settings_.client_address = conf::ClientAddress::kProxyV1;
  Connect();
  EXPECT_EQ(last_.event, Event::kStartTls);
  EXPECT_EQ(back_->phase(), base::Phase::kTls);
  EXPECT_EQ(Said(), "PROXY TCP4 192.0.2.7 192.0.2.1 40000 25\r\n");
  static_cast<void>(back_->OnTls(out_));
  EXPECT_EQ(back_->phase(), base::Phase::kGreeting);
  EXPECT_TRUE(back_->knows_client());
}

TEST_F(SmtpBackTest, ClimbsAllRungs) {
  settings_.tls = conf::TlsMode::kStartTls;
  settings_.client_address = conf::ClientAddress::kXclient;
  settings_.login = &login_;
  settings_.login_user = "alice";
  Connect();
  Hear("220 hi\r\n");
  EXPECT_EQ(Said(), "EHLO mx.example\r\n");
  Hear("250-b\r\n250 STARTTLS\r\n");
  EXPECT_EQ(Said(), "STARTTLS\r\n");
  EXPECT_EQ(Hear("220 go\r\n"), Event::kStartTls);
  static_cast<void>(back_->OnTls(out_));
  EXPECT_EQ(Said(), "EHLO mx.example\r\n");
  EXPECT_EQ(Hear("250-b\r\n250 XCLIENT ADDR HELO\r\n"), Event::kNeedName);
  EXPECT_EQ(back_->OnPeerName({}, out_).event, Event::kWait);
  EXPECT_EQ(Said(), "XCLIENT HELO=client.example ADDR=192.0.2.7\r\n");
  Hear("220 hi again\r\n");
  EXPECT_EQ(Said(), "EHLO client.example\r\n");
  Hear("250-b\r\n250 AUTH PLAIN\r\n");
  EXPECT_EQ(Said(), "AUTH PLAIN AGFsaWNlAHNlY3JldA==\r\n");
  EXPECT_TRUE(back_->is_authenticating());
  EXPECT_EQ(Hear("235 2.7.0 in\r\n"), Event::kReady);
  EXPECT_TRUE(back_->knows_client());
}

TEST_F(SmtpBackTest, AnswersEachXclientCommand) {
  settings_.client_address = conf::ClientAddress::kXclient;
  settings_.client_name = std::string(495, 'h');
  Connect();
  Hear("220 hi\r\n");
  Said();
  Hear("250-b\r\n250 XCLIENT ADDR HELO PROTO\r\n");
  static_cast<void>(back_->OnPeerName({}, out_));
  EXPECT_EQ(Said(), "XCLIENT PROTO=ESMTP\r\n");
  EXPECT_FALSE(back_->knows_client());
  Hear("250 ok\r\n");
  EXPECT_EQ(Said(), "XCLIENT HELO=" + settings_.client_name + "\r\n");
  Hear("250 ok\r\n");
  EXPECT_EQ(Said(), "XCLIENT ADDR=192.0.2.7\r\n");
  EXPECT_TRUE(back_->knows_client());
}

// RFC 2920 3.1: the server that took a HELO has announced nothing to this client.
TEST_F(SmtpBackTest, NothingIsPipelinedBehindHelo) {
  settings_.client_address = conf::ClientAddress::kXclient;
  settings_.client_name = "client.example";
  settings_.is_esmtp = false;
  Connect();
  Hear("220 hi\r\n");
  Hear("250-b\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 XCLIENT ADDR HELO PROTO\r\n");
  static_cast<void>(back_->OnPeerName({}, out_));
  Said();
  Hear("220 hi again\r\n");
  EXPECT_EQ(Said(), "HELO client.example\r\n");
  EXPECT_EQ(Hear("250 b\r\n"), Event::kReady);
  EXPECT_FALSE(back_->extensions().pipelining);
  EXPECT_TRUE(back_->extensions().eight_bit_mime);
}

struct GreetingRow {
  const char* greeting;
  base::FaultKind kind;
  bool is_passive;
};

TEST_F(SmtpBackTest, TellsFaultsOfAGreetingApart) {
  for (const GreetingRow& row :
       std::initializer_list<GreetingRow>{{"421 4.3.2 busy\r\n", base::FaultKind::kTempfail, true},
                                          {"421 4.7.0 you\r\n", base::FaultKind::kTempfail, false},
                                          {"554 5.7.1 no\r\n", base::FaultKind::kTempfail, true},
                                          {"250 hi\r\n", base::FaultKind::kProtocol, true},
                                          {"* OK IMAP\r\n", base::FaultKind::kProtocol, true}}) {
    Connect();
    EXPECT_EQ(Hear(row.greeting), Event::kFailed) << row.greeting;
    EXPECT_EQ(back_->fault().phase, base::Phase::kGreeting) << row.greeting;
    EXPECT_EQ(back_->fault().kind, row.kind) << row.greeting;
    EXPECT_EQ(back_->fault().is_passive, row.is_passive) << row.greeting;
    EXPECT_EQ(back_->fault().meaning, Meaning::kFault) << row.greeting;
  }
}

TEST_F(SmtpBackTest, RefusesBytesBehindTheGoAheadForTls) {
  settings_.tls = conf::TlsMode::kStartTls;
  Connect();
  Hear("220 hi\r\n");
  Hear("250-b\r\n250 STARTTLS\r\n");
  EXPECT_EQ(Hear("220 go\r\n250-evil\r\n"), Event::kFailed);
  EXPECT_EQ(back_->fault().kind, base::FaultKind::kProtocol);
}

TEST_F(SmtpBackTest, TakesNoReplyThatWasThereBeforeItsCommand) {
  Connect();
  EXPECT_EQ(Hear("220 hi\r\n250 b\r\n"), Event::kFailed);
  EXPECT_EQ(back_->fault().kind, base::FaultKind::kProtocol);
  settings_.login = &login_;
  settings_.login_user = "alice";
  Connect();
  Hear("220 hi\r\n");
  EXPECT_EQ(Hear("250-b\r\n250 AUTH PLAIN\r\n235 in\r\n"), Event::kFailed);
  // What is behind the last rung would be taken for the answer to MAIL.
  Connect();
  Hear("220 hi\r\n");
  Hear("250-b\r\n250 AUTH PLAIN\r\n");
  EXPECT_EQ(Hear("235 in\r\n25"), Event::kFailed);
  EXPECT_EQ(back_->fault().meaning, Meaning::kFault);
}

TEST_F(SmtpBackTest, HearsARefusalThatIsFollowedByAGoodbye) {
  settings_.login = &login_;
  settings_.login_user = "alice";
  Connect();
  Hear("220 hi\r\n");
  Hear("250-b\r\n250 AUTH PLAIN\r\n");
  EXPECT_EQ(Hear("535 5.7.8 no\r\n421 4.7.0 too many errors\r\n"), Event::kFailed);
  EXPECT_EQ(back_->fault().meaning, Meaning::kRefusal);
}

TEST_F(SmtpBackTest, ForgetsWhatWasSaidInClear) {
  settings_.tls = conf::TlsMode::kStartTls;
  Connect();
  Hear("220 hi\r\n");
  Hear("250-b\r\n250-PIPELINING\r\n250-DSN\r\n250 STARTTLS\r\n");
  Hear("220 go\r\n");
  static_cast<void>(back_->OnTls(out_));
  EXPECT_FALSE(back_->extensions().pipelining);
  EXPECT_EQ(Hear("250-b\r\n250 SIZE\r\n"), Event::kReady);
  EXPECT_FALSE(back_->extensions().dsn);
  EXPECT_EQ(back_->ehlo_lines(), "250-b\r\n250 SIZE\r\n");
}

TEST_F(SmtpBackTest, FailsWhereTheLoginIsRefused) {
  settings_.login = &login_;
  settings_.login_user = "alice";
  Connect();
  Hear("220 hi\r\n");
  Hear("250-b\r\n250 AUTH PLAIN\r\n");
  EXPECT_EQ(Hear("535 5.7.8 no\r\n"), Event::kFailed);
  EXPECT_EQ(back_->fault().meaning, Meaning::kRefusal);
  EXPECT_EQ(back_->fault().reply, "535 5.7.8 no\r\n");
}

TEST_F(SmtpBackTest, ChangesNothingAfterAFault) {
  Connect();
  Hear("421 busy\r\n");
  back_->Fail(base::FaultKind::kLost, "later");
  EXPECT_EQ(back_->fault().kind, base::FaultKind::kTempfail);
  EXPECT_EQ(back_->Next("220 hi\r\n", out_).consumed, 0U);
  EXPECT_EQ(Said(), "");
}

}  // namespace
}  // namespace postern::proto
