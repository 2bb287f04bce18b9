// smtp_relay_test: the three stories that any change of the relay must walk.
// SPDX-License-Identifier: Apache-2.0
#include "lb/proto/smtp_relay.h"

#include <gtest/gtest.h>

#include "test/support/smtp_fixture.h"

namespace postern::proto {
namespace {

class SmtpRelayTest : public test::SmtpFixture {};
POSTERN_IN_ALL_CUTS(SmtpRelayTest);

TEST_P(SmtpRelayTest, DeliversOneMessage) {
  Begin();
  Envelope();
  Text("Subject: hi\r\n\r\nhello\r\n");
  EXPECT_EQ(bench_.Replies(),
            "250 2.1.0 Sender noted\r\n250 2.1.5 Ok\r\n354 go on\r\n"
            "250 2.0.0 Ok: queued as B1Q1\r\n");
  ASSERT_EQ(b1().messages.size(), 1U);
  EXPECT_EQ(b1().messages[0].from, "a@x.example");
  EXPECT_EQ(b1().messages[0].text, "Subject: hi\r\n\r\nhello\r\n");
  EXPECT_EQ(Ask("QUIT"), "221");
  ASSERT_TRUE(bench_.is_over());
  EXPECT_EQ(bench_.end->result, base::SessionResult::kClientQuit);
  EXPECT_TRUE(b1().was_quit);
  EXPECT_EQ(bench_.budget_taken, 0U);
}

TEST_P(SmtpRelayTest, WritesDownWhatBecameOfAMessage) {
  Begin();
  EXPECT_EQ(Deliver(), "250 250 354 250");
  ASSERT_EQ(bench_.outcomes.size(), 1U);
  const SmtpOutcome& outcome = bench_.outcomes[0];
  EXPECT_EQ(outcome.number, 1U);
  EXPECT_EQ(outcome.from, "a@x.example");
  EXPECT_EQ(outcome.to, std::vector<std::string>{"b@y.example"});
  EXPECT_EQ(outcome.size, 7U);
  EXPECT_EQ(outcome.code, 250);
  EXPECT_EQ(outcome.reply, "250 2.0.0 Ok: queued as B1Q1");
  EXPECT_EQ(outcome.queue_id, "B1Q1");
  EXPECT_FALSE(outcome.is_lost);
}

// Story 1: MAIL/RCPT/RCPT/DATA in one packet, one recipient elsewhere and one refused.
TEST_P(SmtpRelayTest, AnswersAMixedGroupInOrder) {
  bench_.homes["away@y.example"] = "B3";
  b1().answers["RCPT no@y.example"] = {"550 5.1.1 nobody"};
  Begin();
  bench_.Send(
      "MAIL FROM:<a@x.example>\r\nRCPT TO:<no@y.example>\r\nRCPT TO:<yes@y.example>\r\n"
      "RCPT TO:<away@y.example>\r\nDATA\r\nbody\r\n.\r\n");
  EXPECT_EQ(bench_.Codes(), "250 550 250 452 354 250");
  ASSERT_EQ(b1().messages.size(), 1U);
  EXPECT_EQ(bench_.backend("B3").num_connections, 0);
}

TEST_P(SmtpRelayTest, TakesTheHomeOfTheFirstAccepted) {
  bench_.homes["away@y.example"] = "B3";
  b1().answers["RCPT no@y.example"] = {"550 5.1.1 nobody"};
  Begin();
  bench_.Send(
      "MAIL FROM:<a@x.example>\r\nRCPT TO:<no@y.example>\r\nRCPT TO:<away@y.example>\r\n"
      "RCPT TO:<yes@y.example>\r\nDATA\r\nbody\r\n.\r\n");
  EXPECT_EQ(bench_.Codes(), "250 550 250 452 354 250");
  EXPECT_EQ(bench_.backend("B3").messages.size(), 1U);
  EXPECT_EQ(b1().messages.size(), 0U);
  EXPECT_EQ(CountEvents("deferred"), 1);
}

// Story 2: a backend that dies after 354, with part of the text sent and more to come.
TEST_P(SmtpRelayTest, MovesAMessageWhoseBackendDies) {
  Begin();
  Envelope();
  bench_.Send("first\r\n");
  bench_.LoseBack("B1");
  Text("second\r\n");
  EXPECT_EQ(bench_.Codes(), "250 250 354 250");
  ASSERT_EQ(b2().messages.size(), 1U);
  EXPECT_EQ(b2().messages[0].text, "first\r\nsecond\r\n");
  EXPECT_EQ(b1().messages.size(), 0U);
  EXPECT_EQ(CountEvents("replay"), 1);
}

// Story 3: STARTTLS on the new leg during a replay.
TEST_P(SmtpRelayTest, MovesToABackendWithStartTls) {
  b2().tls = conf::TlsMode::kStartTls;
  b2().keywords.push_back("STARTTLS");
  b1().answers["TEXT"] = {"die"};
  Begin();
  EXPECT_EQ(Deliver(), "250 250 354 250");
  const std::vector<std::string> lines = {"EHLO mx.example",
                                          "STARTTLS",
                                          "(tls)",
                                          "EHLO client.example",
                                          "MAIL FROM:<a@x.example>",
                                          "RCPT TO:<b@y.example>",
                                          "DATA"};
  EXPECT_EQ(b2().lines, lines);
  ASSERT_EQ(b2().messages.size(), 1U);
  EXPECT_EQ(b2().messages[0].text, "hello\r\n");
}

}  // namespace
}  // namespace postern::proto
