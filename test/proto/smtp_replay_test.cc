// smtp_replay_test: messages longer than memory may hold: kept in a file, moved from it, and
// let go of when the disk does not do its part.
// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "test/support/smtp_fixture.h"

namespace postern::proto {
namespace {

class SmtpReplayTest : public test::SmtpFixture {
 protected:
  SmtpReplayTest() {
    bench_.settings.replay_memory = 1000;
    bench_.settings.replay_limit = 1 << 20;
    for (int i = 0; i < 3000; ++i) text_ += "line " + std::to_string(i) + "\r\n";
  }
  // Up to the middle of the message.
  void BeginText() {
    Begin();
    Envelope();
    bench_.Send(text_);
  }
  std::string text_;
};
POSTERN_IN_ALL_CUTS(SmtpReplayTest);

TEST_P(SmtpReplayTest, MovesWhatIsInMemoryAndFile) {
  BeginText();
  ASSERT_TRUE(bench_.spool_file);
  EXPECT_EQ(bench_.spool_file->size(), text_.size() - 1000);
  bench_.LoseBack("B1");
  Text(text_);
  EXPECT_EQ(bench_.Codes(), "250 250 354 250");
  EXPECT_EQ(b2().messages[0].text, text_ + text_);
  EXPECT_EQ(CountEvents("replay"), 1);
  EXPECT_FALSE(bench_.spool_file);
  EXPECT_EQ(bench_.budget_taken, 0U);
}

TEST_P(SmtpReplayTest, MovesAsOftenAsItMay) {
  bench_.homes[""] = "B1 B2 B3 B4";
  BeginText();
  bench_.LoseBack("B1");
  bench_.LoseBack("B2");
  bench_.Send(text_);
  EXPECT_EQ(bench_.leg_backend(), "B3");
  bench_.LoseBack("B3");
  EXPECT_FALSE(bench_.spool_file);
  Text();
  EXPECT_EQ(bench_.Codes(), "250 250 354 451");
  EXPECT_EQ(bench_.backend("B4").num_connections, 0);
}

TEST_P(SmtpReplayTest, ReadsOnWhereAReadWasShort) {
  bench_.spool_read_bytes = 777;
  BeginText();
  bench_.LoseBack("B1");
  Text();
  EXPECT_EQ(bench_.Codes(), "250 250 354 250");
  EXPECT_EQ(b2().messages[0].text, text_ + "hello\r\n");
}

// The client is told to wait by TCP alone; what it says comes behind what it has said.
TEST_P(SmtpReplayTest, TakesNoTextWhileItReplays) {
  bench_.is_spool_quick = false;
  BeginText();
  bench_.LoseBack("B1");
  EXPECT_FALSE(bench_.relay->wants_front());
  Text("behind\r\n");
  EXPECT_EQ(b2().messages.size(), 0U);
  bench_.AnswerSpool();
  EXPECT_EQ(bench_.Codes(), "250 250 354 250");
  EXPECT_EQ(b2().messages[0].text, text_ + "behind\r\n");
}

TEST_P(SmtpReplayTest, EndsTheMessageOnlyBehindAllOfIt) {
  bench_.is_spool_quick = false;
  b1().answers["."] = {"hang"};
  b1().takes_text = false;
  BeginText();
  Text();  // all is read; B1 has not taken it
  bench_.LoseBack("B1");
  EXPECT_FALSE(bench_.relay->is_terminator_next());
  EXPECT_EQ(b2().messages.size(), 0U);
  bench_.AnswerSpool();
  EXPECT_EQ(bench_.Codes(), "250 250 354 250");
  EXPECT_EQ(b2().messages[0].text, text_ + "hello\r\n");
}

// They would wait for it in the socket.
TEST_P(SmtpReplayTest, CommandsToTheNextBackendAreNoPartsOfAnEnd) {
  b1().answers["."] = {"hang"};
  b1().takes_text = false;
  b2().answers["MAIL"] = {"hang"};
  BeginText();
  Text();
  EXPECT_TRUE(bench_.relay->is_terminator_next());
  bench_.LoseBack("B1");
  EXPECT_EQ(CountLines(b2(), "MAIL"), 1);
  EXPECT_FALSE(bench_.relay->is_terminator_next());
}

TEST_P(SmtpReplayTest, GivesTheNextBackendNoMoreThanItTakes) {
  bench_.settings.replay_limit = 10 << 20;
  bench_.budget_bytes = 10 << 20;
  for (const uint64_t memory : {uint64_t{1000}, uint64_t{2} << 20}) {
    test::SmtpBench bench;
    bench.settings = bench_.settings;
    bench.settings.replay_memory = memory;
    bench.budget_bytes = 10 << 20;
    bench.backend("B2").takes_text = false;
    bench.Start();
    bench.Line("EHLO client.example");
    bench.Send("MAIL FROM:<a@x.example>\r\nRCPT TO:<b@y.example>\r\nDATA\r\n");
    std::string text;
    while (text.size() < 1 << 20) text += text_;
    bench.Send(text);
    bench.LoseBack("B1");
    EXPECT_GT(bench.unsent_bytes(), 0U);
    EXPECT_LT(bench.unsent_bytes(), 200U << 10);
    bench.TakeBytes("B2");
    bench.Send(".\r\n");
    EXPECT_EQ(bench.Codes(), "220 250 250 250 354 250");
    ASSERT_EQ(bench.backend("B2").messages.size(), 1U);
    EXPECT_EQ(bench.backend("B2").messages[0].text, text);
  }
}

// What was read for one backend is not given to the next.
TEST_P(SmtpReplayTest, ReadsAnewForEachBackend) {
  bench_.homes[""] = "B1 B2 B3";
  bench_.is_spool_quick = false;
  bench_.spool_read_bytes = 10000;
  BeginText();
  bench_.LoseBack("B1");
  bench_.AnswerSpool();
  bench_.LoseBack("B2");
  EXPECT_EQ(bench_.leg_backend(), "B3");
  bench_.is_spool_quick = true;
  bench_.AnswerSpool();
  Text();
  EXPECT_EQ(bench_.Codes(), "250 250 354 250");
  ASSERT_EQ(bench_.backend("B3").messages.size(), 1U);
  EXPECT_EQ(bench_.backend("B3").messages[0].text, text_ + "hello\r\n");
}

TEST_P(SmtpReplayTest, GoesOnWithoutAFileThatFails) {
  BeginText();
  bench_.FailSpool();
  EXPECT_FALSE(bench_.spool_file);
  EXPECT_EQ(bench_.budget_taken, 0U);
  Text(text_);
  EXPECT_EQ(bench_.Codes(), "250 250 354 250");
  EXPECT_EQ(b1().messages[0].text, text_ + text_);
  EXPECT_EQ(CountEvents("lost disk"), 1);
}

TEST_P(SmtpReplayTest, CannotMoveWithoutItsFile) {
  BeginText();
  bench_.FailSpool(JournalLoss::kFull);
  EXPECT_EQ(CountEvents("lost full"), 1);
  bench_.LoseBack("B1");
  EXPECT_FALSE(bench_.is_over());
  Text();
  EXPECT_EQ(bench_.Codes(), "250 250 354 451");
  EXPECT_EQ(b2().num_connections, 0);
  EXPECT_EQ(Deliver(), "250 250 354 250");
}

TEST_P(SmtpReplayTest, CannotMoveWithAFileThatCannotBeRead) {
  bench_.is_spool_quick = false;
  BeginText();
  bench_.AnswerSpool();
  bench_.LoseBack("B1");
  bench_.FailSpool();
  EXPECT_TRUE(bench_.relay->wants_front());  // the text is read to its end
  Text();
  EXPECT_EQ(bench_.Codes(), "250 250 354 451");
  EXPECT_EQ(b2().messages.size(), 0U);
  EXPECT_EQ(bench_.outcomes[0].reply.substr(0, 9), "451 4.4.2");
}

TEST_P(SmtpReplayTest, CannotMoveWhereTheFileIsLostOnTheWay) {
  b2().answers["GREETING"] = {"hang"};
  BeginText();
  Text();
  bench_.Replies();
  Envelope();
  bench_.Send(text_);
  bench_.LoseBack("B1");
  bench_.FailSpool();
  bench_.BackSays("B2", "220 B2\r\n");
  Text();
  EXPECT_EQ(bench_.Codes(), "250 250 354 451");
  EXPECT_EQ(b2().messages.size(), 0U);
}

TEST_P(SmtpReplayTest, WaitsForADiskNoLongerThanThat) {
  bench_.is_spool_quick = false;
  BeginText();
  EXPECT_GT(bench_.relay->journal_waiting_bytes(), 0U);
  bench_.After(std::chrono::seconds(9));
  EXPECT_EQ(CountEvents("lost disk"), 0);
  bench_.After(std::chrono::seconds(2));
  EXPECT_EQ(CountEvents("lost disk"), 1);
  EXPECT_EQ(bench_.relay->journal_waiting_bytes(), 0U);
  Text();
  EXPECT_EQ(bench_.Codes(), "250 250 354 250");
}

TEST_P(SmtpReplayTest, WaitsForAReadNoLongerThanThat) {
  bench_.is_spool_quick = false;
  BeginText();
  bench_.AnswerSpool();
  bench_.After(std::chrono::minutes(1));
  EXPECT_EQ(CountEvents("lost disk"), 0);
  bench_.LoseBack("B1");
  bench_.After(std::chrono::seconds(11));
  EXPECT_EQ(CountEvents("lost disk"), 1);
  Text();
  EXPECT_EQ(bench_.Codes(), "250 250 354 451");
}

// It is not the client that is slow.
TEST_P(SmtpReplayTest, GivesTheClientTimeWhileTheDiskIsSlow) {
  bench_.is_spool_quick = false;
  bench_.settings.timeouts.data = std::chrono::seconds(5);
  BeginText();
  bench_.After(std::chrono::seconds(8));
  EXPECT_FALSE(bench_.is_over());
  bench_.AnswerSpool();
  bench_.After(std::chrono::seconds(11));
  EXPECT_TRUE(bench_.is_over());
}

TEST_P(SmtpReplayTest, LetsGoOfWhatIsTooLong) {
  bench_.settings.replay_limit = 30000;
  BeginText();
  EXPECT_EQ(CountEvents("lost too_long"), 1);
  EXPECT_FALSE(bench_.spool_file);
  EXPECT_EQ(bench_.budget_taken, 0U);
  Text(text_);
  EXPECT_EQ(bench_.Codes(), "250 250 354 250");
  EXPECT_EQ(b1().messages[0].text, text_ + text_);
}

TEST_P(SmtpReplayTest, UsesTheFileWhereTheProcessHasNoMemoryLeft) {
  bench_.budget_bytes = 0;
  BeginText();
  EXPECT_EQ(bench_.spool_file, text_);
  bench_.LoseBack("B1");
  Text();
  EXPECT_EQ(bench_.Codes(), "250 250 354 250");
  EXPECT_EQ(b2().messages[0].text, text_ + "hello\r\n");
}

TEST_P(SmtpReplayTest, NeedsNoFileOnceItIsHandedOver) {
  b1().answers["."] = {"hang"};
  BeginText();
  Text();
  EXPECT_FALSE(bench_.spool_file);
  EXPECT_EQ(bench_.budget_taken, 0U);
  bench_.LoseBack("B1");
  EXPECT_EQ(bench_.Codes(), "250 250 354 451");
  EXPECT_EQ(b2().num_connections, 0);
}

TEST_P(SmtpReplayTest, NeedsNoFileForAMessageThatIsRefused) {
  BeginText();
  bench_.Send("bare\nnewline\r\n");
  EXPECT_FALSE(bench_.spool_file);
  EXPECT_EQ(bench_.budget_taken, 0U);
}

TEST_P(SmtpReplayTest, NeedsNoFileWithoutItsClient) {
  BeginText();
  bench_.LoseClient();
  EXPECT_FALSE(bench_.spool_file);
  EXPECT_EQ(bench_.budget_taken, 0U);
}

// What was to be given to it is not touched any more.
TEST_P(SmtpReplayTest, TakesARefusalBehindTheGoAhead) {
  bench_.settings.replay_memory = 100000;
  b2().answers["DATA"] = {"354 go on\n550 5.7.1 no"};
  BeginText();
  bench_.LoseBack("B1");
  Text();
  EXPECT_EQ(bench_.Codes(), "250 250 354 550");
  EXPECT_EQ(b2().messages.size(), 0U);
}

}  // namespace
}  // namespace postern::proto
