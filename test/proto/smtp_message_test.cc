// smtp_message_test: message text between the client and the backend: its end, its limits, its
// hand-over.
// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "test/support/smtp_fixture.h"

namespace postern::proto {
namespace {

class SmtpMessageTest : public test::SmtpFixture {
 protected:
  void BeginText() {
    Begin();
    Envelope();
    ASSERT_EQ(bench_.Codes(), "250 250 354");
  }
};
POSTERN_IN_ALL_CUTS(SmtpMessageTest);

TEST_P(SmtpMessageTest, PassesEveryByteUnchanged) {
  std::string text;
  for (int c = 0; c < 256; ++c)
    if (c != '\r' && c != '\n') text += static_cast<char>(c);
  text += "\r\n..stuffed\r\n.x\r\n\r\n..\r\n";
  BeginText();
  Text(text);
  EXPECT_EQ(bench_.Codes(), "250");
  EXPECT_EQ(b1().messages[0].text, text);
}

TEST_P(SmtpMessageTest, TakesAnEmptyMessage) {
  BeginText();
  bench_.Send(".\r\n");
  EXPECT_EQ(bench_.Codes(), "250");
  EXPECT_EQ(b1().messages[0].text, "");
}

TEST_P(SmtpMessageTest, RefusesBareNewlinesAfterReadingToTheEnd) {
  BeginText();
  bench_.Send("one\ntwo\r\n.\r\n");
  EXPECT_EQ(bench_.Replies().substr(0, 10), "550 5.6.11");
  EXPECT_EQ(b1().messages.size(), 0U);
  EXPECT_EQ(bench_.leg_backend(), "");
  EXPECT_EQ(CountEvents("bare_newline"), 1);
  EXPECT_EQ(Deliver(), "250 250 354 250");
}

TEST_P(SmtpMessageTest, LetsNothingSmuggleASecondMessage) {
  for (const char* end : {"\n.\n", "\n.\r\n", "\r\n.\n", "\r.\r", "\r\n.\r", "\n.\r"}) {
    test::SmtpBench bench;
    bench.cut = GetParam();
    bench.Start();
    bench.Line("EHLO c.example");
    bench.Send("MAIL FROM:<a@x.example>\r\nRCPT TO:<b@y.example>\r\nDATA\r\n");
    bench.Send(std::string("one") + end +
               "MAIL FROM:<evil@x.example>\r\nRCPT TO:<v@y.example>\r\n"
               "DATA\r\nsmuggled\r\n.\r\n");
    EXPECT_EQ(bench.Codes(), "220 250 250 250 354 550") << end;
    EXPECT_EQ(bench.backend("B1").messages.size(), 0U);
  }
}

TEST_P(SmtpMessageTest, NormalizesBareNewlines) {
  bench_.settings.bare_newline = conf::BareNewline::kNormalize;
  BeginText();
  bench_.Send("one\ntwo\rthree\n.four\r\n.\nfive\r\n.\r\n");
  EXPECT_EQ(bench_.Codes(), "250");
  ASSERT_EQ(b1().messages.size(), 1U);
  EXPECT_EQ(b1().messages[0].text, "one\r\ntwo\r\nthree\r\n..four\r\n..\r\nfive\r\n");
  EXPECT_EQ(CountEvents("bare_newline"), 1);
}

TEST_P(SmtpMessageTest, PassesBareNewlinesWhereAskedTo) {
  bench_.settings.bare_newline = conf::BareNewline::kPass;
  BeginText();
  bench_.Send("one\ntwo\r.\n.\nfive\r\n.\r\n");
  EXPECT_EQ(bench_.Codes(), "250");
  ASSERT_EQ(b1().messages.size(), 1U);
  EXPECT_EQ(b1().messages[0].text, "one\ntwo\r.\n.\nfive\r\n");
  EXPECT_EQ(CountEvents("bare_newline"), 1);
}

TEST_P(SmtpMessageTest, RefusesATextThatIsTooLarge) {
  bench_.settings.limits.message = 100;
  BeginText();
  for (int i = 0; i < 20; ++i) bench_.Send("0123456789\r\n");
  bench_.Send(".\r\n");
  EXPECT_EQ(bench_.Replies().substr(0, 9), "552 5.3.4");
  EXPECT_EQ(b1().messages.size(), 0U);
}

TEST_P(SmtpMessageTest, TakesATextAsLargeAsTheLimit) {
  bench_.settings.limits.message = 100;
  BeginText();
  Text(std::string(98, 'x') + "\r\n");
  EXPECT_EQ(bench_.Codes(), "250");
  EXPECT_EQ(b1().messages.size(), 1U);
}

TEST_P(SmtpMessageTest, RelaysTheVerdictOnTheMessage) {
  b1().answers["."] = {"554-5.7.1 spam\n554 5.7.1 really"};
  BeginText();
  Text();
  EXPECT_EQ(bench_.Replies(), "554-5.7.1 spam\r\n554 5.7.1 really\r\n");
  ASSERT_EQ(bench_.outcomes.size(), 1U);
  EXPECT_EQ(bench_.outcomes[0].code, 554);
  EXPECT_EQ(Deliver().substr(0, 11), "250 250 354");
}

// A 421 to the final dot is a verdict: not accepted, not moved, and the client's session stays.
TEST_P(SmtpMessageTest, SaysAGoodbyeToTheFinalDotAs451) {
  b1().answers["."] = {"421 4.3.2 going down"};
  BeginText();
  Text();
  EXPECT_EQ(bench_.Replies(), "451 4.3.2 going down\r\n");
  EXPECT_EQ(b2().num_connections, 0);
  EXPECT_FALSE(bench_.is_over());
}

TEST_P(SmtpMessageTest, WritesTheTerminatorOnlyWhenAllElseIsGone) {
  Begin();
  Envelope();
  b1().takes_bytes = false;
  bench_.Send("hello\r\n.\r\n");
  bench_.LoseBack("B1");  // nothing of it had been offered: the message may go elsewhere
  EXPECT_EQ(bench_.Codes(), "250 250 354 250");
  EXPECT_EQ(b2().messages.size(), 1U);
}

TEST_P(SmtpMessageTest, HandsOverWhenTheSocketTakesTheRest) {
  Begin();
  Envelope();
  b1().takes_bytes = false;
  bench_.Send("hello\r\n.\r\n");
  EXPECT_EQ(b1().messages.size(), 0U);
  bench_.TakeBytes("B1");
  EXPECT_EQ(bench_.Codes(), "250 250 354 250");
  EXPECT_EQ(b1().messages[0].text, "hello\r\n");
}

// After hand-over the outcome is unknown: never 250, never another backend.
TEST_P(SmtpMessageTest, NeverReplaysWhatWasHandedOver) {
  for (const char* how : {"die", "hang", "nonsense", "350 what", "220 what"}) {
    test::SmtpBench bench;
    bench.cut = GetParam();
    bench.backend("B1").answers["."] = {how};
    bench.Start();
    bench.Line("EHLO c.example");
    bench.Send("MAIL FROM:<a@x.example>\r\nRCPT TO:<b@y.example>\r\nDATA\r\nx\r\n.\r\n");
    bench.After(std::chrono::minutes(10));
    EXPECT_EQ(bench.Codes().substr(0, 23), "220 250 250 250 354 451") << how;
    EXPECT_EQ(bench.backend("B2").num_connections, 0) << how;
    ASSERT_EQ(bench.outcomes.size(), 1U) << how;
    EXPECT_EQ(bench.outcomes[0].reply.substr(0, 9), "451 4.4.2") << how;
  }
}

TEST_P(SmtpMessageTest, WaitsTenMinutesForTheReplyToTheFinalDot) {
  b1().answers["."] = {"hang"};
  BeginText();
  Text();
  bench_.After(std::chrono::seconds(599));
  EXPECT_EQ(bench_.Replies(), "");
  bench_.BackSays("B1", "250 2.0.0 Ok: queued as LATE1\r\n");
  EXPECT_EQ(bench_.Codes(), "250");
}

TEST_P(SmtpMessageTest, InventsNoEndForAClientThatVanishes) {
  BeginText();
  bench_.Send("half a mess");
  bench_.Eof();
  ASSERT_TRUE(bench_.is_over());
  EXPECT_EQ(b1().messages.size(), 0U);
  EXPECT_FALSE(b1().was_quit);
  EXPECT_TRUE(bench_.outcomes[0].is_lost);
}

TEST_P(SmtpMessageTest, EndsWithAClientThatStopsSending) {
  BeginText();
  bench_.Send(std::string(5000, 'x'));
  bench_.After(std::chrono::seconds(299));
  EXPECT_FALSE(bench_.is_over());
  bench_.After(std::chrono::seconds(1));
  EXPECT_EQ(bench_.Replies().substr(0, 9), "421 4.4.2");
  EXPECT_EQ(b1().messages.size(), 0U);
}

TEST_P(SmtpMessageTest, GivesTimeByTheBlockNotByTheByte) {
  BeginText();
  for (int i = 0; i < 100 && !bench_.is_over(); ++i) {
    bench_.Send("x");
    bench_.After(std::chrono::seconds(10));
  }
  EXPECT_TRUE(bench_.is_over());
}

// A verdict in the middle of the text is the verdict on the message.
TEST_P(SmtpMessageTest, SaysAnEarlyVerdictAtTheEnd) {
  b1().answers["TEXT"] = {"552 5.3.4 too big"};
  BeginText();
  bench_.Send("x\r\n");
  EXPECT_EQ(bench_.Replies(), "");
  Text("y\r\n");
  EXPECT_EQ(bench_.Replies(), "552 5.3.4 too big\r\n");
  EXPECT_EQ(b1().messages.size(), 0U);
  EXPECT_EQ(b2().num_connections, 0);
}

TEST_P(SmtpMessageTest, BelievesNoAcceptanceBeforeTheEnd) {
  b1().answers["TEXT"] = {"250 2.0.0 queued as EARLY"};
  BeginText();
  bench_.Send("x\r\n");
  Text();
  EXPECT_EQ(bench_.Replies(), "250 2.0.0 Ok: queued as B2Q1\r\n");
  EXPECT_EQ(b1().messages.size(), 0U);
}

TEST_P(SmtpMessageTest, StartsTextAtNothingBut354) {
  b1().answers["DATA"] = {"250 2.0.0 go"};
  Begin();
  Envelope();
  Text();
  EXPECT_EQ(bench_.Codes(), "250 250 354 250");
  EXPECT_EQ(b2().messages.size(), 1U);
}

}  // namespace
}  // namespace postern::proto
