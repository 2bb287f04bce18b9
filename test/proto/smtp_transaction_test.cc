// smtp_transaction_test: envelopes: homes, verdicts, what goes to the backend in which packet.
// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "test/support/smtp_fixture.h"

namespace postern::proto {
namespace {

class SmtpTransactionTest : public test::SmtpFixture {};
POSTERN_IN_ALL_CUTS(SmtpTransactionTest);

TEST_P(SmtpTransactionTest, AnswersMailBeforeABackendIsKnown) {
  Begin();
  EXPECT_EQ(Ask("MAIL FROM:<a@x.example>"), "250");
  EXPECT_EQ(b1().num_connections, 0);
}

TEST_P(SmtpTransactionTest, GivesTheRulesOwnWords) {
  bench_.homes["x@y.example"] = "reject 550 5.7.1 Relaying denied";
  bench_.homes["t@y.example"] = "tempfail 451 4.3.5 Later";
  bench_.homes["r@y.example"] = "reject";
  bench_.homes["q@y.example"] = "tempfail";
  bench_.homes["u@y.example"] = "unknown";
  Begin();
  Ask("MAIL FROM:<a@x.example>");
  EXPECT_EQ(Say("RCPT TO:<x@y.example>"), "550 5.7.1 Relaying denied\r\n");
  EXPECT_EQ(Say("RCPT TO:<t@y.example>"), "451 4.3.5 Later\r\n");
  EXPECT_EQ(Say("RCPT TO:<r@y.example>").substr(0, 9), "550 5.7.1");
  EXPECT_EQ(Say("RCPT TO:<q@y.example>").substr(0, 9), "451 4.3.0");
  EXPECT_EQ(Say("RCPT TO:<u@y.example>").substr(0, 9), "550 5.1.1");
  EXPECT_EQ(b1().num_connections, 0);
  EXPECT_EQ(Ask("DATA"), "554");
  EXPECT_EQ(CountEvents("rejected"), 5);
}

TEST_P(SmtpTransactionTest, GoesOnAfterADataThatHadNoRecipients) {
  bench_.homes["u@y.example"] = "unknown";
  Begin();
  bench_.Send("MAIL FROM:<a@x.example>\r\nRCPT TO:<u@y.example>\r\nDATA\r\n");
  EXPECT_EQ(bench_.Codes(), "250 550 554");
  EXPECT_EQ(Deliver(), "250 250 354 250");
}

TEST_P(SmtpTransactionTest, SaysNoServerWhereNobodyIsThere) {
  bench_.homes["b@y.example"] = "B1";
  b1().door = test::FakeBackend::Door::kRefuses;
  Begin();
  Ask("MAIL FROM:<a@x.example>");
  EXPECT_EQ(Say("RCPT TO:<b@y.example>").substr(0, 9), "451 4.4.1");
  EXPECT_FALSE(bench_.is_over());
  b1().door = test::FakeBackend::Door::kOpen;
  Ask("RSET");
  EXPECT_EQ(Deliver(), "250 250 354 250");
}

TEST_P(SmtpTransactionTest, RelaysAVerdictVerbatim) {
  b1().answers["RCPT b@y.example"] = {"450-4.2.0 greylisted\n450 4.2.0 come again"};
  Begin();
  Ask("MAIL FROM:<a@x.example>");
  EXPECT_EQ(Say("RCPT TO:<b@y.example>"), "450-4.2.0 greylisted\r\n450 4.2.0 come again\r\n");
  EXPECT_EQ(b2().num_connections, 0);
}

TEST_P(SmtpTransactionTest, SendsMailAndRecipientsInOnePacketToWhoPipelines) {
  b1().answers["MAIL"] = {"hang"};
  Begin();
  bench_.Send(
      "MAIL FROM:<a@x.example>\r\nRCPT TO:<b@y.example>\r\nRCPT TO:<c@y.example>\r\nDATA\r\n");
  const std::vector<std::string> lines = {"EHLO client.example", "MAIL FROM:<a@x.example>",
                                          "RCPT TO:<b@y.example>", "RCPT TO:<c@y.example>", "DATA"};
  EXPECT_EQ(b1().lines, lines);
}

TEST_P(SmtpTransactionTest, SendsOneCommandAReplyToWhoDoesNotPipeline) {
  b1().keywords = {"8BITMIME"};
  b1().answers["MAIL"] = {"hang"};
  Begin();
  bench_.Send(
      "MAIL FROM:<a@x.example>\r\nRCPT TO:<b@y.example>\r\nRCPT TO:<c@y.example>\r\nDATA\r\n");
  EXPECT_EQ(b1().lines.back(), "MAIL FROM:<a@x.example>");
  bench_.BackSays("B1", "250 ok\r\n");
  Text();
  EXPECT_EQ(bench_.Codes(), "250 250 250 354 250");
}

TEST_P(SmtpTransactionTest, HoldsRepliesOfAGroupUntilTheyCanGoTogether) {
  b1().answers["RCPT b@y.example"] = {"hang"};
  Begin();
  bench_.Send("MAIL FROM:<a@x.example>\r\n");
  EXPECT_EQ(bench_.Codes(), "250");
  bench_.Send("RCPT TO:<b@y.example>\r\nNOOP\r\n");
  EXPECT_EQ(bench_.Codes(), "");
  bench_.BackSays("B1", "250 2.1.5 fine\r\n");
  EXPECT_EQ(bench_.Codes(), "250 250");
}

TEST_P(SmtpTransactionTest, AnswersEachRecipientWithTheRefusalOfMail) {
  b1().answers["MAIL"] = {"550 5.7.1 not from you"};
  b1().answers["RCPT"] = {"503 5.5.1 need MAIL"};
  b1().answers["DATA"] = {"503 5.5.1 need RCPT"};
  b1().answers["GREETING"] = {"hang"};
  Begin();
  bench_.Send(
      "MAIL FROM:<a@x.example>\r\nRCPT TO:<b@y.example>\r\nRCPT TO:<c@y.example>\r\nDATA\r\n");
  bench_.BackSays("B1", "220 B1\r\n");
  EXPECT_EQ(bench_.Replies(),
            "250 2.1.0 Sender noted\r\n550 5.7.1 not from you\r\n550 5.7.1 not from you\r\n"
            "554 5.5.1 No valid recipients\r\n");
  EXPECT_EQ(b2().num_connections, 0);
}

TEST_P(SmtpTransactionTest, AnswersLaterRecipientsWithTheRefusalOfMail) {
  b1().answers["MAIL"] = {"550 5.7.1 not from you"};
  b1().answers["RCPT"] = {"503 5.5.1 need MAIL"};
  Begin();
  Ask("MAIL FROM:<a@x.example>");
  EXPECT_EQ(Ask("RCPT TO:<b@y.example>"), "550");
  EXPECT_EQ(Say("RCPT TO:<c@y.example>"), "550 5.7.1 not from you\r\n");
  EXPECT_EQ(CountLines(b1(), "RCPT"), 1);
}

TEST_P(SmtpTransactionTest, ServesTheNextTransactionAfterARefusalOfMail) {
  b1().answers["MAIL"] = {"550 5.7.1 not from you", "250 ok"};
  b1().answers["RCPT"] = {"503 5.5.1 need MAIL", "250 ok"};
  Begin();
  Envelope();
  EXPECT_EQ(bench_.Codes(), "250 550 554");
  EXPECT_EQ(Deliver(), "250 250 354 250");
  EXPECT_EQ(b1().num_connections, 1);
  EXPECT_EQ(CountLines(b1(), "RSET"), 1);
}

TEST_P(SmtpTransactionTest, SendsNoTextWhereAllRecipientsWereRefused) {
  b1().answers["RCPT"] = {"550 5.1.1 nobody"};
  b1().answers["DATA"] = {"354 go on all the same"};
  b1().answers["GREETING"] = {"hang"};
  Begin();
  Envelope();
  bench_.BackSays("B1", "220 B1\r\n");  // now all of it goes out in one packet
  EXPECT_EQ(bench_.Codes(), "250 550 554");
  EXPECT_EQ(b1().messages.size(), 0U);
  EXPECT_EQ(bench_.leg_backend(), "");
}

TEST_P(SmtpTransactionTest, RelaysARefusalOfData) {
  b1().answers["DATA"] = {"452 4.3.1 disk full"};
  Begin();
  Envelope();
  EXPECT_EQ(bench_.Replies(), "250 2.1.0 Sender noted\r\n250 2.1.5 Ok\r\n452 4.3.1 disk full\r\n");
  ASSERT_EQ(bench_.outcomes.size(), 1U);
  EXPECT_EQ(bench_.outcomes[0].code, 452);
}

// --- homes ------------------------------------------------------------------------------------

TEST_P(SmtpTransactionTest, TakesWhoLivesElsewhereToo) {
  bench_.homes["both@y.example"] = "B3 B1";
  Begin();
  bench_.Send(
      "MAIL FROM:<a@x.example>\r\nRCPT TO:<b@y.example>\r\nRCPT TO:<both@y.example>\r\nDATA\r\n");
  Text();
  EXPECT_EQ(bench_.Codes(), "250 250 250 354 250");
  EXPECT_EQ(b1().messages[0].to.size(), 2U);
}

TEST_P(SmtpTransactionTest, MovesOnlyToWhoIsAtHomeForAll) {
  bench_.homes["both@y.example"] = "B3 B1";
  Begin();
  bench_.Send("MAIL FROM:<a@x.example>\r\nRCPT TO:<b@y.example>\r\nRCPT TO:<both@y.example>\r\n");
  EXPECT_EQ(bench_.Codes(), "250 250 250");
  bench_.LoseBack("B1");
  EXPECT_EQ(Ask("DATA"), "451");
  EXPECT_EQ(b2().num_connections, 0);
  EXPECT_EQ(bench_.backend("B3").num_connections, 0);
}

TEST_P(SmtpTransactionTest, GoesToAnotherHomeWhenTheFirstAcceptedNobody) {
  bench_.homes["away@y.example"] = "B3";
  b1().answers["RCPT"] = {"550 5.1.1 nobody"};
  Begin();
  Ask("MAIL FROM:<a@x.example>");
  EXPECT_EQ(Ask("RCPT TO:<b@y.example>"), "550");
  EXPECT_EQ(Ask("RCPT TO:<away@y.example>"), "250");
  EXPECT_EQ(Ask("RCPT TO:<b@y.example>"), "452");
  EXPECT_EQ(Ask("DATA"), "354");
  Text();
  EXPECT_EQ(bench_.Codes(), "250");
  EXPECT_EQ(bench_.backend("B3").messages.size(), 1U);
  EXPECT_TRUE(b1().was_quit);
}

TEST_P(SmtpTransactionTest, TakesTheDeferredRecipientNextTime) {
  bench_.homes["away@y.example"] = "B3";
  Begin();
  bench_.Send(
      "MAIL FROM:<a@x.example>\r\nRCPT TO:<b@y.example>\r\nRCPT TO:<away@y.example>\r\nDATA\r\n");
  Text();
  EXPECT_EQ(bench_.Codes(), "250 250 452 354 250");
  EXPECT_EQ(Deliver("away@y.example"), "250 250 354 250");
  EXPECT_EQ(bench_.backend("B3").messages.size(), 1U);
}

TEST_P(SmtpTransactionTest, TakesNoMoreRecipientsThanItsLimit) {
  bench_.settings.limits.recipients = 2;
  Begin();
  Ask("MAIL FROM:<a@x.example>");
  EXPECT_EQ(Ask("RCPT TO:<b@y.example>"), "250");
  EXPECT_EQ(Ask("RCPT TO:<c@y.example>"), "250");
  EXPECT_EQ(Say("RCPT TO:<d@y.example>").substr(0, 9), "452 4.5.3");
}

TEST_P(SmtpTransactionTest, TakesMoreRecipientsThanItQueuesReplies) {
  Begin();
  std::string group = "MAIL FROM:<a@x.example>\r\n";
  std::string codes = "250";
  for (int i = 0; i < 600; ++i) {
    group += "RCPT TO:<r" + std::to_string(i) + "@y.example>\r\n";
    codes += " 250";
  }
  bench_.Send(group + "DATA\r\n");
  Text();
  EXPECT_EQ(bench_.Codes(), codes + " 354 250");
  ASSERT_EQ(b1().messages.size(), 1U);
  EXPECT_EQ(b1().messages[0].to.size(), 600U);
}

// --- legs between transactions -----------------------------------------------------------------

TEST_P(SmtpTransactionTest, KeepsTheLegForTheNextTransaction) {
  Begin();
  EXPECT_EQ(Deliver(), "250 250 354 250");
  EXPECT_EQ(Deliver(), "250 250 354 250");
  EXPECT_EQ(b1().num_connections, 1);
  EXPECT_EQ(CountLines(b1(), "RSET"), 0);
  EXPECT_EQ(b1().messages.size(), 2U);
  EXPECT_EQ(CountEvents("idle"), 2);
}

TEST_P(SmtpTransactionTest, ResetsALegWhoseTransactionWasGivenUp) {
  Begin();
  Ask("MAIL FROM:<a@x.example>");
  Ask("RCPT TO:<old@y.example>");
  EXPECT_EQ(Ask("RSET"), "250");
  EXPECT_EQ(Deliver("new@y.example"), "250 250 354 250");
  EXPECT_EQ(b1().num_connections, 1);
  EXPECT_EQ(CountLines(b1(), "RSET"), 1);
  EXPECT_EQ(b1().messages[0].to, std::vector<std::string>{"new@y.example"});
}

TEST_P(SmtpTransactionTest, ReplacesAnIdleLegThatHasDied) {
  bench_.settings.retries = 0;
  Begin();
  Deliver();
  bench_.LoseBack("B1");
  EXPECT_EQ(Deliver(), "250 250 354 250");
  EXPECT_EQ(b1().num_connections, 2);
  EXPECT_TRUE(bench_.faults.empty());
}

TEST_P(SmtpTransactionTest, ReplacesALegThatDiesBeforeItAnswers) {
  bench_.settings.retries = 0;
  b1().answers["MAIL"] = {"250 ok", "die", "250 ok"};
  Begin();
  EXPECT_EQ(Deliver(), "250 250 354 250");
  EXPECT_EQ(Deliver(), "250 250 354 250");
  EXPECT_EQ(b1().messages.size(), 2U);
  EXPECT_EQ(b2().num_connections, 0);
  EXPECT_TRUE(bench_.faults.empty());
  EXPECT_EQ(CountEvents("replay"), 0);
}

TEST_P(SmtpTransactionTest, TakesTheGoodbyeOfAnIdleLeg) {
  Begin();
  Deliver();
  bench_.BackSays("B1", "421 4.4.2 idle too long\r\n");
  EXPECT_EQ(bench_.Replies(), "");
  EXPECT_EQ(bench_.leg_backend(), "");
  EXPECT_EQ(Deliver(), "250 250 354 250");
}

TEST_P(SmtpTransactionTest, ClosesALegThatWasIdleForTooLong) {
  Begin();
  Deliver();
  bench_.After(std::chrono::seconds(10));
  EXPECT_EQ(bench_.leg_backend(), "");
  EXPECT_TRUE(b1().was_quit);
  EXPECT_EQ(Deliver(), "250 250 354 250");
}

TEST_P(SmtpTransactionTest, ClosesALegAfterItsNumberOfTransactions) {
  bench_.settings.leg_transactions = 2;
  Begin();
  for (int i = 0; i < 4; ++i) EXPECT_EQ(Deliver(), "250 250 354 250");
  EXPECT_EQ(b1().num_connections, 2);
}

TEST_P(SmtpTransactionTest, LeavesTheLegForAnotherHome) {
  bench_.homes["away@y.example"] = "B3";
  Begin();
  Deliver();
  EXPECT_EQ(Deliver("away@y.example"), "250 250 354 250");
  EXPECT_TRUE(b1().was_quit);
  EXPECT_EQ(bench_.backend("B3").messages.size(), 1U);
}

TEST_P(SmtpTransactionTest, OpensAnotherLegUnderAnotherName) {
  Begin();
  Deliver();
  EXPECT_EQ(Ask("EHLO other.example"), "250");
  EXPECT_EQ(Deliver(), "250 250 354 250");
  EXPECT_EQ(CountLines(b1(), "EHLO other.example"), 1);
}

TEST_P(SmtpTransactionTest, DropsRepliesToATransactionThatIsOver) {
  b1().answers["MAIL"] = {"550 5.7.1 no", "usual"};
  b1().answers["RCPT"] = {"hang", "usual"};
  b1().answers["RSET"] = {"503 5.5.1 the late answer to RCPT\n250 2.0.0 reset"};
  Begin();
  Ask("MAIL FROM:<a@x.example>");
  EXPECT_EQ(Ask("RCPT TO:<b@y.example>"), "550");
  EXPECT_EQ(Ask("RSET"), "250");
  EXPECT_EQ(Deliver("c@y.example"), "250 250 354 250");
  EXPECT_EQ(b1().num_connections, 1);
}

// --- what the backend must have ----------------------------------------------------------------

TEST_P(SmtpTransactionTest, PassesOverABackendThatLacksWhatTheMessageUses) {
  b1().keywords = {"PIPELINING"};
  Begin();
  bench_.Send("MAIL FROM:<a@x.example> BODY=8BITMIME\r\nRCPT TO:<b@y.example>\r\nDATA\r\n");
  Text();
  EXPECT_EQ(bench_.Codes(), "250 250 354 250");
  EXPECT_EQ(b1().messages.size(), 0U);
  EXPECT_EQ(b2().messages.size(), 1U);
}

TEST_P(SmtpTransactionTest, LeavesOutParametersThatMeanNothingThere) {
  b1().keywords = {"PIPELINING"};
  Begin();
  bench_.Send("MAIL FROM:<a@x.example> SIZE=12 BODY=7BIT\r\nRCPT TO:<b@y.example>\r\n");
  EXPECT_EQ(CountLines(b1(), "MAIL FROM:<a@x.example>"), 1);
  EXPECT_EQ(b1().lines[1], "MAIL FROM:<a@x.example>");
}

}  // namespace
}  // namespace postern::proto
