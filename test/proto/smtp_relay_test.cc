// smtp_relay_test: the three stories, and what the client and the backends see of a session.
// SPDX-License-Identifier: Apache-2.0
#include "lb/proto/smtp_relay.h"

#include <gtest/gtest.h>

#include "test/support/smtp_bench.h"

namespace postern::proto {
namespace {

using test::FakeBackend;
using test::SmtpBench;

// Each test runs with bytes whole, one by one, and in seeded pieces.
class SmtpRelayTest : public testing::TestWithParam<SmtpBench::Cut> {
 protected:
  SmtpRelayTest() { bench_.cut = GetParam(); }
  void Begin() {
    bench_.Start();
    bench_.Line("EHLO client.example");
    ASSERT_EQ(bench_.Codes(), "220 250");
  }
  void Deliver() {
    bench_.Send("MAIL FROM:<a@x.example>\r\nRCPT TO:<b@y.example>\r\nDATA\r\n");
    bench_.Send("Subject: hi\r\n\r\nhello\r\n.\r\n");
  }
  SmtpBench bench_;
};

INSTANTIATE_TEST_SUITE_P(Cuts, SmtpRelayTest,
                         testing::Values(SmtpBench::Cut::kWhole, SmtpBench::Cut::kByByte,
                                         SmtpBench::Cut::kRandom));

TEST_P(SmtpRelayTest, DeliversOneMessage) {
  Begin();
  Deliver();
  EXPECT_EQ(bench_.Replies(),
            "250 2.1.0 Sender noted\r\n250 2.1.5 Ok\r\n354 go on\r\n"
            "250 2.0.0 Ok: queued as B1Q1\r\n");
  ASSERT_EQ(bench_.backend("B1").messages.size(), 1U);
  EXPECT_EQ(bench_.backend("B1").messages[0].from, "a@x.example");
  EXPECT_EQ(bench_.backend("B1").messages[0].text, "Subject: hi\r\n\r\nhello\r\n");
  bench_.Line("QUIT");
  EXPECT_EQ(bench_.Codes(), "221");
  ASSERT_TRUE(bench_.is_over());
  EXPECT_EQ(bench_.end->result, base::SessionResult::kClientQuit);
  ASSERT_EQ(bench_.outcomes.size(), 1U);
  EXPECT_EQ(bench_.outcomes[0].queue_id, "B1Q1");
  EXPECT_EQ(bench_.outcomes[0].code, 250);
  EXPECT_EQ(bench_.budget_taken, 0U);
  EXPECT_TRUE(bench_.backend("B1").was_quit);
}

// Story 1: MAIL/RCPT/RCPT/DATA in one packet, one recipient elsewhere and one refused.
TEST_P(SmtpRelayTest, AnswersAMixedGroupInOrder) {
  bench_.homes["away@y.example"] = "B3";
  bench_.backend("B1").answers["RCPT no@y.example"] = {"550 5.1.1 nobody"};
  Begin();
  bench_.Send(
      "MAIL FROM:<a@x.example>\r\nRCPT TO:<no@y.example>\r\nRCPT TO:<yes@y.example>\r\n"
      "RCPT TO:<away@y.example>\r\nDATA\r\nbody\r\n.\r\n");
  EXPECT_EQ(bench_.Codes(), "250 550 250 452 354 250");
  ASSERT_EQ(bench_.backend("B1").messages.size(), 1U);
  EXPECT_EQ(bench_.backend("B3").num_connections, 0);
}

TEST_P(SmtpRelayTest, TakesTheHomeOfTheFirstAccepted) {
  bench_.homes["away@y.example"] = "B3";
  bench_.backend("B1").answers["RCPT no@y.example"] = {"550 5.1.1 nobody"};
  Begin();
  bench_.Send(
      "MAIL FROM:<a@x.example>\r\nRCPT TO:<no@y.example>\r\nRCPT TO:<away@y.example>\r\n"
      "RCPT TO:<yes@y.example>\r\nDATA\r\nbody\r\n.\r\n");
  EXPECT_EQ(bench_.Codes(), "250 550 250 452 354 250");
  EXPECT_EQ(bench_.backend("B3").messages.size(), 1U);
  EXPECT_EQ(bench_.backend("B1").messages.size(), 0U);
}

// Story 2: a backend that dies after 354, with part of the text sent and more to come.
TEST_P(SmtpRelayTest, MovesAMessageWhoseBackendDies) {
  Begin();
  bench_.Send("MAIL FROM:<a@x.example>\r\nRCPT TO:<b@y.example>\r\nDATA\r\nfirst\r\n");
  bench_.LoseBack("B1");
  bench_.Send("second\r\n.\r\n");
  EXPECT_EQ(bench_.Codes(), "250 250 354 250");
  ASSERT_EQ(bench_.backend("B2").messages.size(), 1U);
  EXPECT_EQ(bench_.backend("B2").messages[0].text, "first\r\nsecond\r\n");
  EXPECT_EQ(bench_.backend("B1").messages.size(), 0U);
}

// Story 3: STARTTLS on the new leg during a replay.
TEST_P(SmtpRelayTest, MovesToABackendWithStartTls) {
  bench_.backend("B2").tls = LegTls::kStartTls;
  bench_.backend("B2").keywords.push_back("STARTTLS");
  bench_.backend("B1").answers["TEXT"] = {"die"};
  Begin();
  Deliver();
  EXPECT_EQ(bench_.Codes(), "250 250 354 250");
  const std::vector<std::string> lines = {"EHLO mx.example",
                                          "STARTTLS",
                                          "(tls)",
                                          "EHLO client.example",
                                          "MAIL FROM:<a@x.example>",
                                          "RCPT TO:<b@y.example>",
                                          "DATA"};
  EXPECT_EQ(bench_.backend("B2").lines, lines);
  ASSERT_EQ(bench_.backend("B2").messages.size(), 1U);
  EXPECT_EQ(bench_.backend("B2").messages[0].text, "Subject: hi\r\n\r\nhello\r\n");
}

}  // namespace
}  // namespace postern::proto
