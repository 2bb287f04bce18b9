// smtp_commands_test: the client's verbs: what each is answered, and when it may come.
// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "test/support/smtp_fixture.h"

namespace postern::proto {
namespace {

class SmtpCommandsTest : public test::SmtpFixture {};
POSTERN_IN_ALL_CUTS(SmtpCommandsTest);

TEST_P(SmtpCommandsTest, AnnouncesWhatTheListenerSaysAndPosternCanParse) {
  bench_.capabilities = {"PIPELINING",   "SIZE 1000", "CHUNKING",
                         "XCLIENT ADDR", "DSN",       "BINARYMIME"};
  bench_.settings.tls = SmtpFrontTls::kOffered;
  bench_.Start();
  bench_.Replies();
  EXPECT_EQ(Say("EHLO c.example"),
            "250-mx.example\r\n250-PIPELINING\r\n250-SIZE 1000\r\n250-CHUNKING\r\n250-DSN\r\n"
            "250 STARTTLS\r\n");
}

TEST_P(SmtpCommandsTest, AnnouncesNoLargerSizeThanItTakes) {
  bench_.settings.limits.message = 500;
  bench_.Start();
  bench_.Replies();
  EXPECT_NE(Say("EHLO c.example").find("SIZE 500\r\n"), std::string::npos);
}

TEST_P(SmtpCommandsTest, NeverOffersAuthOnAnMxListener) {
  bench_.settings.tls = SmtpFrontTls::kActive;
  bench_.Start();
  bench_.Replies();
  EXPECT_EQ(Say("EHLO c.example").find("AUTH"), std::string::npos);
  EXPECT_EQ(Ask("AUTH PLAIN AGEAYg=="), "502");
}

TEST_P(SmtpCommandsTest, OffersAuthOnSubmissionInsideTlsOnly) {
  bench_.settings.is_submission = true;
  bench_.settings.tls = SmtpFrontTls::kOffered;
  bench_.settings.offers_xoauth2 = true;
  bench_.Start();
  bench_.Replies();
  EXPECT_EQ(Say("EHLO c.example").find("AUTH"), std::string::npos);
  EXPECT_EQ(Ask("STARTTLS"), "220");
  bench_.FrontTls();
  const std::string reply = Say("EHLO c.example");
  EXPECT_NE(reply.find("AUTH PLAIN LOGIN XOAUTH2\r\n"), std::string::npos);
  EXPECT_EQ(reply.find("STARTTLS"), std::string::npos);
}

struct Row {
  const char* line;
  const char* codes;
};

TEST_P(SmtpCommandsTest, AnswersEachVerb) {
  Begin();
  for (const Row& row : std::initializer_list<Row>{{"NOOP", "250"},
                                                   {"noop whatever", "250"},
                                                   {"RSET", "250"},
                                                   {"RSET x", "501"},
                                                   {"VRFY", "501"},
                                                   {"VRFY a@b.example", "252"},
                                                   {"HELP", "214"},
                                                   {"EXPN list", "502"},
                                                   {"ETRN x", "502"}}) {
    EXPECT_EQ(Ask(row.line), row.codes) << row.line;
  }
}

TEST_P(SmtpCommandsTest, RefusesXclientAndXforwardAlways) {
  bench_.Start();
  bench_.Codes();
  EXPECT_EQ(Ask("XCLIENT ADDR=192.0.2.99"), "550");
  EXPECT_EQ(Ask("EHLO c.example"), "250");
  EXPECT_EQ(Ask("XFORWARD ADDR=192.0.2.99"), "550");
  EXPECT_EQ(Ask("MAIL FROM:<a@x.example>"), "250");
  EXPECT_EQ(Ask("RCPT TO:<b@y.example>"), "250");
  EXPECT_EQ(Ask("XCLIENT ADDR=192.0.2.99 NAME=evil"), "550");
  EXPECT_EQ(CountLines(b1(), "XCLIENT"), 0);
}

TEST_P(SmtpCommandsTest, WantsCommandsInTheirOrder) {
  bench_.Start();
  bench_.Codes();
  EXPECT_EQ(Ask("MAIL FROM:<a@x.example>"), "503");
  EXPECT_EQ(Ask("HELO c.example"), "250");
  EXPECT_EQ(Ask("RCPT TO:<b@y.example>"), "503");
  EXPECT_EQ(Ask("DATA"), "503");
  EXPECT_EQ(Ask("MAIL FROM:<a@x.example>"), "250");
  EXPECT_EQ(Ask("MAIL FROM:<a@x.example>"), "503");
  EXPECT_EQ(Ask("DATA"), "503");
}

TEST_P(SmtpCommandsTest, TakesLooseButHarmlessForms) {
  Begin();
  for (const char* line :
       {"MAIL FROM: <a@x.example>", "mail from:a@x.example", "MAIL FROM :<a@x.example>",
        "MAIL FROM:<>  SIZE=10", "MAIL FROM:<@relay:a@x.example>"}) {
    EXPECT_EQ(Ask(line), "250") << line;
    EXPECT_EQ(Ask("RCPT TO:  <b@y.example> "), "250") << line;
    EXPECT_EQ(Ask("RSET"), "250");
  }
  EXPECT_EQ(CountLines(b1(), "MAIL FROM:<a@x.example>"), 4);
  EXPECT_EQ(CountLines(b1(), "MAIL FROM:<> SIZE=10"), 1);
  EXPECT_EQ(CountLines(b1(), "RCPT TO:<b@y.example>"), 5);
}

TEST_P(SmtpCommandsTest, RefusesParametersThatWereNotAnnounced) {
  bench_.capabilities = {"PIPELINING"};
  Begin();
  for (const char* line :
       {"MAIL FROM:<a@x.example> SIZE=1", "MAIL FROM:<a@x.example> BODY=8BITMIME",
        "MAIL FROM:<a@x.example> SMTPUTF8", "MAIL FROM:<a@x.example> RET=FULL",
        "MAIL FROM:<a@x.example> AUTH=<>", "MAIL FROM:<a@x.example> XYZ=1"})
    EXPECT_EQ(Ask(line), "555") << line;
}

TEST_P(SmtpCommandsTest, PassesParametersThatWereAnnounced) {
  bench_.capabilities = {"SIZE 1000000", "8BITMIME", "SMTPUTF8", "DSN"};
  b1().keywords = {"SIZE", "8BITMIME", "SMTPUTF8", "DSN"};
  Begin();
  EXPECT_EQ(Ask("MAIL FROM:<j\xc3\xb6rg@x.example> SIZE=99 BODY=8BITMIME SMTPUTF8 RET=HDRS "
                "ENVID=a+2Bb"),
            "250");
  EXPECT_EQ(Ask("RCPT TO:<b@y.example> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;b@y.example"), "250");
  EXPECT_EQ(CountLines(b1(),
                       "MAIL FROM:<j\xc3\xb6rg@x.example> SIZE=99 BODY=8BITMIME SMTPUTF8 "
                       "RET=HDRS ENVID=a+2Bb"),
            1);
  EXPECT_EQ(CountLines(b1(), "RCPT TO:<b@y.example> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;b@y.example"),
            1);
}

TEST_P(SmtpCommandsTest, RefusesAMessageThatSaysItIsTooLarge) {
  bench_.settings.limits.message = 1000;
  Begin();
  EXPECT_EQ(Ask("MAIL FROM:<a@x.example> SIZE=1001"), "552");
  EXPECT_EQ(Ask("MAIL FROM:<a@x.example> SIZE=99999999999999999999"), "552");
  EXPECT_EQ(Ask("MAIL FROM:<a@x.example> SIZE=1000"), "250");
}

TEST_P(SmtpCommandsTest, RefusesEightBitAddressesWithoutSmtpUtf8) {
  bench_.capabilities = {"SMTPUTF8"};
  b1().keywords = {"SMTPUTF8"};
  Begin();
  EXPECT_EQ(Ask("MAIL FROM:<\xc3\xb6@x.example>"), "553");
  EXPECT_EQ(Ask("MAIL FROM:<a@x.example>"), "250");
  EXPECT_EQ(Ask("RCPT TO:<\xc3\xb6@x.example>"), "553");
}

TEST_P(SmtpCommandsTest, LetsNoControlCharacterThrough) {
  Begin();
  using namespace std::string_literals;
  for (const std::string& line :
       {"MAIL FROM:<a\rQUIT@x.example>"s, "MAIL FROM:<a\0b@x.example>"s, "EHLO a\x01z"s,
        "RCPT TO:<a\x7f@x.example>"s, "MAIL FROM:<\"a\tb\"@x.example>"s}) {
    bench_.Line(line);
    const std::string codes = bench_.Codes();
    EXPECT_EQ(codes, "501") << line;
  }
  EXPECT_EQ(b1().num_connections, 0);
}

TEST_P(SmtpCommandsTest, WantsLinesToEndWithCrLf) {
  Begin();
  bench_.Send("NOOP\nNOOP\r\n");
  EXPECT_EQ(bench_.Codes(), "500 250");
}

TEST_P(SmtpCommandsTest, SkipsALineThatIsTooLongAndAnswersItOnce) {
  bench_.settings.limits.line = 100;
  Begin();
  bench_.Send("NOOP " + std::string(5000, 'x') + "\r\nNOOP\r\n");
  EXPECT_EQ(bench_.Codes(), "500 250");
}

TEST_P(SmtpCommandsTest, TakesALineAsLongAsTheLimit) {
  bench_.settings.limits.line = 100;
  Begin();
  EXPECT_EQ(Ask("NOOP " + std::string(95, 'x')), "250");
  EXPECT_EQ(Ask("NOOP " + std::string(96, 'x')), "500");
}

TEST_P(SmtpCommandsTest, EndsAfterTooManyBadCommands) {
  bench_.settings.limits.bad_commands = 3;
  Begin();
  EXPECT_EQ(Ask("FOO"), "500");
  EXPECT_EQ(Ask("FOO"), "500");
  EXPECT_EQ(Ask("FOO"), "421");
  ASSERT_TRUE(bench_.is_over());
  EXPECT_EQ(bench_.end->result, base::SessionResult::kLimit);
}

TEST_P(SmtpCommandsTest, EndsAtOnceForABrowser) {
  bench_.Start();
  bench_.Codes();
  bench_.Send("POST / HTTP/1.1\r\nHost: mx\r\n\r\nEHLO x\r\nMAIL FROM:<a@b.example>\r\n");
  EXPECT_EQ(bench_.Codes(), "554");
  EXPECT_TRUE(bench_.is_over());
}

TEST_P(SmtpCommandsTest, RefusesWhoSpeaksBeforeTheGreeting) {
  bench_.Start("EHLO early\r\n");
  EXPECT_EQ(bench_.Codes(), "554");
  EXPECT_TRUE(bench_.is_over());
  EXPECT_EQ(CountEvents("early_talker"), 1);
}

TEST_P(SmtpCommandsTest, WaitsBeforeTheGreeting) {
  bench_.settings.greet_delay = std::chrono::seconds(3);
  bench_.Start();
  bench_.After(std::chrono::milliseconds(2999));
  EXPECT_EQ(bench_.Replies(), "");
  bench_.After(std::chrono::milliseconds(1));
  EXPECT_EQ(bench_.Replies(), "220 mx.example ESMTP\r\n");
  EXPECT_EQ(Ask("EHLO c.example"), "250");
}

TEST_P(SmtpCommandsTest, RefusesWhoSpeaksWhileItWaits) {
  bench_.settings.greet_delay = std::chrono::seconds(3);
  bench_.Start();
  bench_.After(std::chrono::seconds(1));
  bench_.Send("EHLO early\r\n");
  EXPECT_EQ(bench_.Codes(), "554");
  EXPECT_TRUE(bench_.is_over());
}

// --- STARTTLS ---------------------------------------------------------------------------------

TEST_P(SmtpCommandsTest, ForgetsEverythingAfterStartTls) {
  bench_.settings.tls = SmtpFrontTls::kOffered;
  Begin();
  EXPECT_EQ(Ask("MAIL FROM:<a@x.example>"), "250");
  EXPECT_EQ(Ask("RCPT TO:<b@y.example>"), "250");
  EXPECT_EQ(Ask("STARTTLS"), "220");
  ASSERT_TRUE(bench_.wants_front_tls);
  bench_.FrontTls();
  EXPECT_EQ(Ask("DATA"), "503");
  EXPECT_EQ(Ask("MAIL FROM:<a@x.example>"), "503");
  EXPECT_EQ(Ask("EHLO c.example"), "250");
  EXPECT_EQ(Ask("STARTTLS"), "503");
  EXPECT_EQ(Deliver(), "250 250 354 250");
}

TEST_P(SmtpCommandsTest, OffersNoTlsWhereThereIsNone) {
  Begin();
  EXPECT_EQ(Ask("STARTTLS"), "502");
}

TEST_P(SmtpCommandsTest, TakesNoArgumentToStartTls) {
  bench_.settings.tls = SmtpFrontTls::kOffered;
  Begin();
  EXPECT_EQ(Ask("STARTTLS now"), "501");
  EXPECT_FALSE(bench_.wants_front_tls);
}

TEST_P(SmtpCommandsTest, GatesMailWhereTlsIsRequired) {
  bench_.settings.tls = SmtpFrontTls::kOffered;
  bench_.settings.require_tls = true;
  Begin();
  EXPECT_EQ(Say("MAIL FROM:<a@x.example>").substr(0, 9), "530 5.7.0");
  EXPECT_EQ(Ask("STARTTLS"), "220");
  bench_.FrontTls();
  EXPECT_EQ(Ask("EHLO c.example"), "250");
  EXPECT_EQ(Ask("MAIL FROM:<a@x.example>"), "250");
}

TEST(SmtpStartTlsTest, EndsTheSessionOnBytesBehindIt) {
  test::SmtpBench bench;
  bench.settings.tls = SmtpFrontTls::kOffered;
  bench.Start();
  bench.Send("EHLO c.example\r\n");
  bench.Codes();
  bench.Send("STARTTLS\r\nMAIL FROM:<evil@x.example>\r\n");
  EXPECT_EQ(bench.Replies(), "501 5.5.2 Nothing may follow STARTTLS\r\n");
  ASSERT_TRUE(bench.is_over());
  EXPECT_EQ(bench.end->phase, base::Phase::kTls);
  EXPECT_EQ(bench.end->side, base::Side::kFront);
  EXPECT_FALSE(bench.wants_front_tls);
}

// --- time and ends ----------------------------------------------------------------------------

TEST_P(SmtpCommandsTest, WaitsForACommandNoLongerThanItsTime) {
  Begin();
  EXPECT_EQ(Ask("MAIL FROM:<a@x.example>"), "250");
  bench_.After(std::chrono::seconds(299));
  EXPECT_FALSE(bench_.is_over());
  bench_.After(std::chrono::seconds(1));
  EXPECT_EQ(bench_.Replies().substr(0, 9), "421 4.4.2");
  EXPECT_EQ(bench_.end->result, base::SessionResult::kIdle);
}

TEST_P(SmtpCommandsTest, GivesASlowLineNoMoreTime) {
  Begin();
  Ask("MAIL FROM:<a@x.example>");
  for (int i = 0; i < 10 && !bench_.is_over(); ++i) {
    bench_.Send("N");
    bench_.After(std::chrono::seconds(40));
  }
  EXPECT_TRUE(bench_.is_over());
}

TEST_P(SmtpCommandsTest, WantsMailWithinTheLoginTime) {
  Begin();
  for (int i = 0; i < 10 && !bench_.is_over(); ++i) {
    bench_.After(std::chrono::seconds(60));
    Ask("NOOP");
  }
  EXPECT_TRUE(bench_.is_over());
  EXPECT_EQ(bench_.now - bench_.client.accepted, std::chrono::minutes(5));
}

TEST_P(SmtpCommandsTest, GivesTheHandshakeItsTime) {
  bench_.settings.tls = SmtpFrontTls::kOffered;
  Begin();
  Ask("STARTTLS");
  bench_.After(std::chrono::seconds(10));
  ASSERT_TRUE(bench_.is_over());
  EXPECT_EQ(bench_.Replies(), "");
}

TEST_P(SmtpCommandsTest, SaysGoodbyeToAnIdleClientWhenDraining) {
  Begin();
  bench_.Drain();
  EXPECT_EQ(bench_.Replies().substr(0, 9), "421 4.3.2");
  EXPECT_EQ(bench_.end->result, base::SessionResult::kDrained);
}

TEST_P(SmtpCommandsTest, LetsAMessageEndWhenDraining) {
  Begin();
  Envelope();
  bench_.Drain();
  EXPECT_FALSE(bench_.is_over());
  Text();
  EXPECT_EQ(bench_.Codes(), "250 250 354 250 421");
  EXPECT_EQ(b1().messages.size(), 1U);
  EXPECT_EQ(bench_.end->result, base::SessionResult::kDrained);
}

TEST_P(SmtpCommandsTest, NotesAClientThatLeavesWithoutQuit) {
  Begin();
  bench_.Eof();
  ASSERT_TRUE(bench_.is_over());
  EXPECT_EQ(bench_.end->result, base::SessionResult::kClientLost);
  EXPECT_EQ(bench_.Replies(), "");
}

TEST_P(SmtpCommandsTest, NotesAClientThatResets) {
  Begin();
  Envelope();
  bench_.LoseClient();
  ASSERT_TRUE(bench_.is_over());
  EXPECT_EQ(bench_.end->result, base::SessionResult::kClientLost);
  EXPECT_EQ(b1().messages.size(), 0U);
  ASSERT_EQ(bench_.outcomes.size(), 1U);
  EXPECT_TRUE(bench_.outcomes[0].is_lost);
}

// QUIT without waiting, and then FIN: the reply to the message still comes.
TEST_P(SmtpCommandsTest, DeliversToAClientThatHasClosedAfterQuit) {
  b1().answers["."] = {"hang"};
  Begin();
  Envelope();
  bench_.Send("hello\r\n.\r\nQUIT\r\n");
  bench_.Eof();
  EXPECT_EQ(bench_.Codes(), "250 250 354");
  bench_.BackSays("B1", "250 2.0.0 Ok: queued as Z9\r\n");
  EXPECT_EQ(bench_.Codes(), "250 221");
  EXPECT_EQ(bench_.end->result, base::SessionResult::kClientQuit);
}

}  // namespace
}  // namespace postern::proto
