// lmtp_backend_session_test: SMTP sessions whose mail goes into mailboxes by LMTP.
// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "test/support/smtp_world.h"

namespace postern::test {
namespace {

using testing::StartsWith;

class LmtpBackendTest : public testing::Test {
 protected:
  LmtpBackendTest() {
    world_.SpeakLmtp(1);
    world_.SpeakLmtp(2);
    world_.config.pools[0].storage = conf::Storage::kShared;
  }
  // "250 452" and the like, of MAIL and these.
  std::string Envelope(const std::string& recipients) {
    std::string group = "MAIL FROM:<a@x.example>\r\n";
    for (const char recipient : recipients)
      group += std::string("RCPT TO:<") + recipient + "@y.example>\r\n";
    world_.Send(group);
    return world_.Codes();
  }
  std::string Holder(const std::string& user) { return world_.held_users.HolderOf("p", user); }

  SmtpWorld world_{conf::Protocol::kSmtp};
  std::unique_ptr<balance::Pins::Pin> other_;
};

TEST_F(LmtpBackendTest, DeliversByLmtp) {
  world_.Hello();
  EXPECT_EQ(world_.Deliver(), "250 250 354 250");
  EXPECT_EQ(world_.Deliver("c@y.example"), "250 250 354 250");
  EXPECT_EQ(world_.server(1).lines.front(), "LHLO client.example");
  EXPECT_EQ(world_.server(1).messages.size(), 2U);
  EXPECT_EQ(world_.server(1).num_connections, 1);
  EXPECT_EQ(world_.Metric("postern_backend_sessions_total{backend=\"b1\",protocol=\"lmtp\","
                          "result=\"client_quit\"}"),
            2);
}

TEST_F(LmtpBackendTest, DefersFurtherRecipients) {
  world_.Hello();
  EXPECT_EQ(Envelope("bcd"), "250 250 452 452");
  EXPECT_EQ(
      world_.Metric("postern_smtp_recipients_total{listener=\"l\",result=\"deferred_other_home\"}"),
      2);
}

TEST_F(LmtpBackendTest, RelaysTheOneReply) {
  world_.server(1).answers["."] = "452 4.2.2 <b@y.example> Quota exceeded";
  world_.Hello();
  EXPECT_EQ(world_.Deliver(), "250 250 354 452");
  EXPECT_EQ(world_.transactions.at(0).reply, "452 4.2.2 <b@y.example> Quota exceeded");
  EXPECT_TRUE(world_.server(2).messages.empty());
}

TEST_F(LmtpBackendTest, SeveralGoToTheMemberThatSpeaksSmtp) {
  world_.config.pools[0].backends = {"b1", "b3"};
  world_.Hello();
  EXPECT_EQ(Envelope("bc"), "250 250 250");
  EXPECT_THAT(world_.Ask("DATA"), StartsWith("354 "));
  EXPECT_THAT(world_.Ask("hello\r\n."), StartsWith("250 "));
  EXPECT_EQ(world_.server(3).messages.at(0).to.size(), 2U);
  EXPECT_TRUE(world_.server(1).messages.empty());
}

TEST_F(LmtpBackendTest, SeveralDoNotMoveToAnLmtpEndpoint) {
  world_.config.pools[0].backends = {"b3", "b1"};
  world_.Hello();
  EXPECT_EQ(Envelope("bc"), "250 250 250");
  world_.server(3).stream()->Reset();
  world_.Settle();
  EXPECT_THAT(world_.Ask("DATA"), StartsWith("451 "));
  EXPECT_EQ(world_.server(1).num_connections, 0);
}

TEST_F(LmtpBackendTest, TellsWhichProtocolWasInClear) {
  world_.Hello();
  EXPECT_EQ(world_.Deliver(), "250 250 354 250");
  EXPECT_EQ(world_.Metric("postern_plaintext_sessions_total{side=\"back\",protocol=\"lmtp\"}"), 1);
}

TEST_F(LmtpBackendTest, GoesWhereTheUserIsInAnExclusivePool) {
  world_.config.pools[0].storage = conf::Storage::kExclusive;
  other_ = world_.held_users.Take("p", "b@y.example", "b2");
  world_.Hello();
  EXPECT_EQ(world_.Deliver(), "250 250 354 250");
  EXPECT_EQ(world_.server(2).messages.size(), 1U);
  EXPECT_EQ(world_.Deliver("c@y.example"), "250 250 354 250");
  EXPECT_EQ(world_.server(1).messages.size(), 1U);
}

TEST_F(LmtpBackendTest, HoldsTheUserWhileItDelivers) {
  world_.config.pools[0].storage = conf::Storage::kExclusive;
  world_.Hello();
  EXPECT_EQ(Envelope("b"), "250 250");
  EXPECT_EQ(Holder("b@y.example"), "b1");
  EXPECT_THAT(world_.Ask("RSET"), StartsWith("250 "));
  EXPECT_EQ(Holder("b@y.example"), "");
}

}  // namespace
}  // namespace postern::test
