// smtp_commit_session_test: whole sessions whose backend is chosen behind the text: what a slow
// client holds, what the books say, and what a reload or an outage does meanwhile.
// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "test/support/smtp_world.h"

namespace postern::test {
namespace {

using base::Phase;
using std::chrono::seconds;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::Pair;
using testing::StartsWith;

class SmtpCommitSessionTest : public testing::Test {
 protected:
  SmtpCommitSessionTest() {
    world_.config.smtp.commit = conf::Commit::kAfterData;
    for (int i = 0; long_text_.size() < 300'000; ++i)
      long_text_ += "line " + std::to_string(i) + "\r\n";
  }
  void BeginText(const std::string& recipient = "b@y.example") {
    world_.Send("MAIL FROM:<a@x.example>\r\nRCPT TO:<" + recipient + ">\r\nDATA\r\n");
    EXPECT_EQ(world_.Codes(), "250 250 354");
  }
  std::string EndText() {
    world_.Send("hello\r\n.\r\n");
    return world_.Read();
  }
  uint32_t Active(const std::string& backend) {
    return world_.state(backend).load[0].active.load();
  }
  double CopiesLost(const std::string& reason) {
    return world_.Metric("postern_smtp_copies_lost_total{reason=\"" + reason + "\"}");
  }
  SmtpWorld world_;
  std::string long_text_;
};

TEST_F(SmtpCommitSessionTest, ASlowClientHoldsNoBackend) {
  world_.Hello();
  BeginText();
  for (int i = 0; i < 10; ++i) {
    world_.Send("a line now and then\r\n");
    world_.Wait(seconds(20));
    EXPECT_EQ(Active("b1") + Active("b2"), 0U);
  }
  EXPECT_EQ(world_.server(1).num_connections, 0);
  EXPECT_EQ(EndText(), "250 2.0.0 Ok: queued as b1Q1\r\n");
  EXPECT_EQ(world_.server(1).messages[0].text.size(), 10U * 21 + 7);

  ASSERT_EQ(world_.transactions.size(), 1U);
  const metrics::TransactionAccount& account = world_.transactions[0];
  EXPECT_EQ(account.backend, "b1");
  EXPECT_EQ(account.queue_id, "b1Q1");
  EXPECT_THAT(account.to, ElementsAre("b@y.example"));
  for (const Phase phase : {Phase::kConnect, Phase::kGreeting, Phase::kHello, Phase::kMail,
                            Phase::kRcpt, Phase::kData, Phase::kDataReply}) {
    EXPECT_GE(account.phases_ms[static_cast<size_t>(phase)], 0) << base::Name(phase);
    EXPECT_LT(account.phases_ms[static_cast<size_t>(phase)], 1000) << base::Name(phase);
  }
  EXPECT_EQ(world_.Metric("postern_smtp_transactions_total{listener=\"l\",reply=\"2xx\"}"), 1);
  EXPECT_EQ(world_.Metric("postern_smtp_recipients_total{listener=\"l\",result=\"accepted\"}"), 1);
  EXPECT_EQ(world_.Metric("postern_route_decisions_total{route=\"r\",rule=\"all\",pool=\"p\"}"), 1);
}

TEST_F(SmtpCommitSessionTest, AMessageWithoutABackendNamesNone) {
  world_.Hello();
  BeginText();
  (void)EndText();
  BeginText();
  world_.Send("bare\nnewline\r\n");
  EXPECT_THAT(EndText(), StartsWith("550 5.6.11"));
  ASSERT_EQ(world_.transactions.size(), 2U);
  EXPECT_EQ(world_.transactions[0].backend, "b1");
  EXPECT_EQ(world_.transactions[1].backend, "");
}

TEST_F(SmtpCommitSessionTest, ALongMessageWaitsOnDisk) {
  world_.Hello();
  BeginText();
  world_.Send(long_text_);
  world_.Settle();
  EXPECT_EQ(world_.server(1).num_connections, 0);
  EXPECT_EQ(world_.disk.held_bytes, long_text_.size() - (256 << 10));
  EXPECT_THAT(EndText(), StartsWith("250 "));
  EXPECT_EQ(world_.server(1).messages[0].text, long_text_ + "hello\r\n");
  EXPECT_EQ(world_.disk.num_open, 0);
  EXPECT_EQ(world_.replay_memory, 0U);
}

TEST_F(SmtpCommitSessionTest, WithoutMemoryAndDiskItGoesOnAsItComes) {
  world_.replay_memory_total = 64 << 10;
  world_.disk.options.total_bytes = 64 << 10;
  world_.Hello();
  BeginText();
  world_.Send(long_text_);
  world_.Settle();
  EXPECT_EQ(world_.server(1).num_open(), 1);
  EXPECT_EQ(Active("b1"), 1U);
  EXPECT_THAT(EndText(), StartsWith("250 "));
  EXPECT_EQ(world_.server(1).messages[0].text, long_text_ + "hello\r\n");
  EXPECT_EQ(CopiesLost("full") + CopiesLost("too_long"), 1);
}

TEST_F(SmtpCommitSessionTest, WhatTheDiskLosesIsNobodys) {
  world_.disk.options.disk_bytes = 20'000;
  world_.Hello();
  BeginText();
  world_.Send(long_text_);
  world_.Settle();
  EXPECT_THAT(EndText(), StartsWith("451 4.3.1"));
  EXPECT_EQ(world_.server(1).num_connections, 0);
  EXPECT_EQ(CopiesLost("disk"), 1);
  EXPECT_EQ(world_.transactions[0].backend, "");
}

TEST_F(SmtpCommitSessionTest, ASlowDiskSlowsTheClientOnly) {
  world_.disk.options.latency = seconds(1);
  world_.disk.options.window_bytes = 16 << 10;
  world_.Hello();
  BeginText();
  world_.Send(long_text_ + long_text_ + ".\r\n");
  world_.Wait(std::chrono::minutes(5));
  EXPECT_THAT(world_.Read(), StartsWith("250 "));
  EXPECT_EQ(world_.server(1).messages[0].text, long_text_ + long_text_);
}

TEST_F(SmtpCommitSessionTest, RefusalsAreRememberedBySenderAndRecipient) {
  world_.server(1).answers["RCPT TO:<c@"] = "550 5.1.1 nobody";
  world_.Hello();
  world_.Send(
      "MAIL FROM:<a@x.example>\r\nRCPT TO:<b@y.example>\r\nRCPT TO:<c@y.example>\r\nDATA\r\n");
  EXPECT_EQ(world_.Codes(), "250 250 250 354");
  EXPECT_THAT(EndText(), StartsWith("451 4.1.0"));
  EXPECT_THAT(world_.refusals, ElementsAre(Pair("l\n\na@x.example\nc@y.example",
                                                "192.0.2.7\n550 5.1.1 nobody\r\n")));
  EXPECT_EQ(world_.Metric("postern_smtp_transactions_total{listener=\"l\",reply=\"4xx\"}"), 1);
  // Another sender is another matter.
  world_.Send("MAIL FROM:<d@x.example>\r\nRCPT TO:<c@y.example>\r\nRSET\r\n");
  EXPECT_EQ(world_.Codes(), "250 250 250");
  world_.Send(
      "MAIL FROM:<a@x.example>\r\nRCPT TO:<b@y.example>\r\nRCPT TO:<c@y.example>\r\nDATA\r\n");
  EXPECT_EQ(world_.Codes(), "250 250 550 354");
  EXPECT_THAT(EndText(), StartsWith("250 "));
  EXPECT_THAT(world_.server(1).messages[0].to, ElementsAre("b@y.example"));
  EXPECT_EQ(world_.Metric("postern_smtp_recipients_total{listener=\"l\",result=\"rejected\"}"), 1);
}

// A backend refuses clients, too: their word is not the next client's, whose sender may be the true
// one. Sent by itself, the recipient is asked about anew.
TEST_F(SmtpCommitSessionTest, ARefusalIsNotSaidToAnotherClient) {
  world_.server(1).answers["RCPT TO:<c@"] = "554 5.7.1 192.0.2.7 is listed";
  world_.Hello();
  world_.Send(
      "MAIL FROM:<a@x.example>\r\nRCPT TO:<b@y.example>\r\nRCPT TO:<c@y.example>\r\nDATA\r\n");
  EXPECT_EQ(world_.Codes(), "250 250 250 354");
  EXPECT_THAT(EndText(), StartsWith("451 4.1.0"));
  EXPECT_THAT(world_.Ask("QUIT"), StartsWith("221"));
  world_.server(1).answers.clear();
  world_.client_address = "192.0.2.8:4711";
  world_.BeginNext();
  world_.Line("EHLO other.example");
  EXPECT_EQ(world_.Codes(), "220 250");
  world_.Send("MAIL FROM:<a@x.example>\r\nRCPT TO:<c@y.example>\r\nRSET\r\n");
  EXPECT_EQ(world_.Codes(), "250 452 250");
  BeginText("c@y.example");
  EXPECT_THAT(EndText(), StartsWith("250 "));
}

TEST_F(SmtpCommitSessionTest, LmtpAloneTakesOneRecipient) {
  world_.SpeakLmtp(1);
  world_.SpeakLmtp(2);
  world_.Hello();
  world_.Send(
      "MAIL FROM:<a@x.example>\r\nRCPT TO:<b@y.example>\r\nRCPT TO:<c@y.example>\r\nDATA\r\n");
  EXPECT_EQ(world_.Codes(), "250 250 452 354");
  EXPECT_THAT(EndText(), StartsWith("250 "));
}

TEST_F(SmtpCommitSessionTest, OneSmtpEndpointTakesSeveral) {
  world_.SpeakLmtp(1);
  world_.Hello();
  world_.Send(
      "MAIL FROM:<a@x.example>\r\nRCPT TO:<b@y.example>\r\nRCPT TO:<c@y.example>\r\nDATA\r\n");
  EXPECT_EQ(world_.Codes(), "250 250 250 354");
  EXPECT_THAT(EndText(), StartsWith("250 "));
  EXPECT_EQ(world_.server(2).messages.size(), 1U);
}

TEST_F(SmtpCommitSessionTest, TheBackendIsChosenByWhatIsUpAtTheEnd) {
  world_.Hello();
  BeginText();
  world_.state("b1").health = balance::Health::kDown;
  EXPECT_THAT(EndText(), StartsWith("250 "));
  EXPECT_EQ(world_.server(2).messages.size(), 1U);
  EXPECT_EQ(world_.server(1).num_connections, 0);
}

TEST_F(SmtpCommitSessionTest, AnIdleLegToABackendThatGoesDownIsLeft) {
  world_.Hello();
  BeginText();
  EXPECT_THAT(EndText(), StartsWith("250 "));
  BeginText();
  EXPECT_EQ(world_.server(1).num_open(), 1);
  world_.state("b1").health = balance::Health::kDown;
  world_.session->LeaveEndpoint(world_.state("b1"));
  world_.Settle();
  EXPECT_EQ(world_.server(1).num_open(), 0);
  EXPECT_THAT(EndText(), StartsWith("250 "));
  EXPECT_EQ(world_.server(2).messages.size(), 1U);
}

TEST_F(SmtpCommitSessionTest, NobodyThereAndNoRoomIsSaidAtOnce) {
  world_.config.smtp.replay_memory = 0;
  world_.config.smtp.spool_total = 0;
  world_.Hello();
  BeginText();
  world_.state("b1").health = world_.state("b2").health = balance::Health::kDown;
  EXPECT_THAT(EndText(), StartsWith("451 4.4.1"));
}

// The homes of a transaction that was given up go with its snapshot; its idle leg is older.
TEST_F(SmtpCommitSessionTest, AnIdleLegOutlivesTheHomesOfAnEnvelope) {
  world_.Hello();
  BeginText();
  EXPECT_THAT(EndText(), StartsWith("250 "));
  world_.Reload();
  world_.Send("MAIL FROM:<a@x.example>\r\nRCPT TO:<b@y.example>\r\nRSET\r\n");
  EXPECT_EQ(world_.Codes(), "250 250 250");
  EXPECT_EQ(world_.server(1).num_open(), 1);
  world_.Reload();
  world_.state("b1").health = balance::Health::kDown;
  world_.session->LeaveEndpoint(world_.state("b1"));
  world_.Settle();
  EXPECT_EQ(world_.server(1).num_open(), 0);
}

TEST_F(SmtpCommitSessionTest, AReloadWithinTheTextChangesNothing) {
  world_.Hello();
  BeginText();
  world_.Send("more\r\n");
  world_.Settle();
  world_.Reload();
  EXPECT_THAT(EndText(), StartsWith("250 "));
  EXPECT_EQ(world_.server(1).messages[0].text, "more\r\nhello\r\n");
}

TEST_F(SmtpCommitSessionTest, AMoveIsNoticedByTheLogAlone) {
  world_.server(1).answers["RCPT"] = "reset";
  world_.Hello();
  BeginText();
  EXPECT_THAT(EndText(), StartsWith("250 "));
  EXPECT_EQ(world_.transactions[0].backend, "b2");
  EXPECT_EQ(world_.Metric("postern_smtp_replays_total{reason=\"lost\"}"), 1);
}

}  // namespace
}  // namespace postern::test
