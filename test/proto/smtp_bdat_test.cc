// smtp_bdat_test: messages in chunks: to backends that take chunks and to those that do not.
// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "test/support/smtp_fixture.h"

namespace postern::proto {
namespace {

constexpr const char* kEnvelope = "MAIL FROM:<a@x.example>\r\nRCPT TO:<b@y.example>\r\n";

std::string Chunk(std::string_view octets, bool is_last = false) {
  return "BDAT " + std::to_string(octets.size()) + (is_last ? " LAST\r\n" : "\r\n") +
         std::string(octets);
}
std::string Last(std::string_view octets) {
  return Chunk(octets, true);
}

class SmtpBdatTest : public test::SmtpFixture {
 protected:
  SmtpBdatTest() {
    bench_.capabilities.emplace_back("CHUNKING");
    for (const char* name : {"B1", "B2"}) TakesChunks(name);
  }
  void TakesChunks(const std::string& name) {
    bench_.backend(name).keywords.emplace_back("CHUNKING");
  }
  void TakesNoChunks(const std::string& name) { bench_.backend(name).keywords.pop_back(); }
  void BeginEnvelope() {
    Begin();
    bench_.Send(kEnvelope);
    ASSERT_EQ(bench_.Codes(), "250 250");
  }
  std::string Send(const std::string& bytes) {
    bench_.Send(bytes);
    return bench_.Codes();
  }
};
POSTERN_IN_ALL_CUTS(SmtpBdatTest);

// --- a message ---------------------------------------------------------------------------------

TEST_P(SmtpBdatTest, GoesInChunksWhereTheyAreTaken) {
  BeginEnvelope();
  EXPECT_EQ(Send(Chunk("one\r\n")), "250");
  EXPECT_EQ(Send(Chunk("two\r\n")), "250");
  EXPECT_EQ(Send(Last(".\r\nthree")), "250");
  ASSERT_EQ(b1().messages.size(), 1U);
  EXPECT_TRUE(b1().messages[0].is_chunked);
  EXPECT_EQ(b1().messages[0].text, "one\r\ntwo\r\n.\r\nthree");
  EXPECT_EQ(b1().lines.back(), "BDAT 0 LAST");
  ASSERT_EQ(bench_.outcomes.size(), 1U);
  EXPECT_EQ(bench_.outcomes[0].code, 250);
  EXPECT_EQ(bench_.outcomes[0].size, 18U);
  EXPECT_EQ(bench_.outcomes[0].queue_id, "B1Q1");
}

TEST_P(SmtpBdatTest, GoesByDataWhereTheyAreNot) {
  TakesNoChunks("B1");
  BeginEnvelope();
  EXPECT_EQ(Send(Chunk("one\r\n.")), "250");
  EXPECT_EQ(Send(Last("\r\n.two\r\n..\r\n")), "250");
  ASSERT_EQ(b1().messages.size(), 1U);
  EXPECT_FALSE(b1().messages[0].is_chunked);
  EXPECT_EQ(b1().messages[0].text, "one\r\n..\r\n..two\r\n...\r\n");
}

// Chunks one at a time, each waiting for its answer, are no gain.
TEST_P(SmtpBdatTest, GoesByDataWhereNothingIsPipelined) {
  b1().keywords = {"CHUNKING"};
  BeginEnvelope();
  EXPECT_EQ(Send(Last("one\r\n")), "250");
  EXPECT_EQ(CountLines(b1(), "BDAT"), 0);
  EXPECT_EQ(b1().messages[0].Octets(), "one\r\n");
}

TEST_P(SmtpBdatTest, EndsTheLastLineWhereDataWantsIt) {
  TakesNoChunks("B1");
  for (const char* text : {"no end", "half\r", "\r\n."}) {
    bench_.settings.bare_newline = conf::BareNewline::kPass;
    if (bench_.relay == nullptr) Begin();
    EXPECT_EQ(Send(kEnvelope + Last(text)), "250 250 250") << text;
    EXPECT_EQ(b1().messages.back().Octets(), std::string(text) + "\r\n");
  }
}

TEST_P(SmtpBdatTest, ByDataGoesByData) {
  Begin();
  EXPECT_EQ(Deliver(), "250 250 354 250");
  EXPECT_FALSE(b1().messages[0].is_chunked);
}

TEST_P(SmtpBdatTest, TakesAGroupInOnePacket) {
  Begin();
  EXPECT_EQ(Send(kEnvelope + Chunk("one\r\n") + Chunk("") + Last("two\r\n") + kEnvelope +
                 Last("three\r\n") + "NOOP\r\n"),
            "250 250 250 250 250 250 250 250 250");
  ASSERT_EQ(b1().messages.size(), 2U);
  EXPECT_EQ(b1().messages[0].text, "one\r\ntwo\r\n");
  EXPECT_EQ(b1().messages[1].text, "three\r\n");
  EXPECT_EQ(b1().num_connections, 1);
}

TEST_P(SmtpBdatTest, TakesALastChunkOfNothing) {
  for (const bool takes_chunks : {true, false}) {
    test::SmtpBench bench;
    bench.cut = GetParam();
    bench.capabilities.emplace_back("CHUNKING");
    if (takes_chunks) bench.backend("B1").keywords.emplace_back("CHUNKING");
    bench.Start();
    bench.Send("EHLO c.example\r\n" + (kEnvelope + Chunk("x\r\n")) + "BDAT 0 LAST\r\n");
    EXPECT_EQ(bench.Codes(), "220 250 250 250 250 250");
    bench.Send(std::string(kEnvelope) + "BDAT 0 LAST\r\n");
    EXPECT_EQ(bench.Codes(), "250 250 250");
    ASSERT_EQ(bench.backend("B1").messages.size(), 2U);
    EXPECT_EQ(bench.backend("B1").messages[0].Octets(), "x\r\n");
    EXPECT_EQ(bench.backend("B1").messages[1].Octets(), "");
  }
}

// Nothing in a chunk is a command or an end.
TEST_P(SmtpBdatTest, CountsOctetsAndSearchesNothing) {
  std::string text;
  for (int c = 0; c < 256; ++c)
    if (c != '\r' && c != '\n') text += static_cast<char>(c);
  text += "\r\n.\r\nQUIT\r\nBDAT 5 LAST\r\n.\r\n" + std::string(3, '\0');
  for (const bool takes_chunks : {true, false}) {
    if (!takes_chunks) TakesNoChunks("B1");
    if (bench_.relay == nullptr) Begin();
    EXPECT_EQ(Send(kEnvelope + Chunk(text) + Last("\r\n")), "250 250 250 250");
    EXPECT_EQ(b1().messages.back().Octets(), text + "\r\n");
    bench_.After(std::chrono::seconds(11));  // the leg goes
  }
}

// --- sizes that lie ------------------------------------------------------------------------------

TEST_P(SmtpBdatTest, EndsTheSessionWhereASizeCannotBeRead) {
  for (const std::string line :
       {"BDAT", "BDAT x", "BDAT -1", "BDAT +5", "BDAT 0x10", "BDAT 5 LAS", "BDAT 5 LAST x",
        "BDAT 18446744073709551616", "BDAT 18446744073709551626 LAST", "BDAT 5\001", "BDAT 5\rLAST",
        "bdat 5\n"}) {
    test::SmtpBench bench;
    bench.cut = GetParam();
    bench.capabilities.emplace_back("CHUNKING");
    bench.Start();
    bench.Send("EHLO c.example\r\n" + std::string(kEnvelope));
    EXPECT_EQ(bench.Codes(), "220 250 250 250");
    bench.Send(line + "\r\nMAIL FROM:<evil@x.example>\r\n");
    EXPECT_EQ(bench.Codes(), "501") << line;
    EXPECT_TRUE(bench.is_over()) << line;
    for (const std::string& got : bench.backend("B1").lines)
      EXPECT_EQ(got.find("evil"), std::string::npos);
  }
}

TEST_P(SmtpBdatTest, EndsTheSessionWhereTheLineHasNoEnd) {
  Begin();
  bench_.Send("BDAT 5 " + std::string(10000, 'x'));
  EXPECT_EQ(bench_.Codes(), "501");
  EXPECT_TRUE(bench_.is_over());
}

TEST_P(SmtpBdatTest, RunsNoOctetsOfAChunkThatIsRefused) {
  const std::string evil = "MAIL FROM:<evil@x.example>\r\nRCPT TO:<v@y.example>\r\nQUIT\r\n";
  Begin();
  EXPECT_EQ(Send(Last(evil)), "503");  // no MAIL
  EXPECT_EQ(Send("MAIL FROM:<a@x.example>\r\n" + Last(evil)), "250 503");
  EXPECT_EQ(Send("RSET\r\n"), "250");
  bench_.homes["no@y.example"] = "unknown";
  EXPECT_EQ(Send("MAIL FROM:<a@x.example>\r\nRCPT TO:<no@y.example>\r\n" + Last(evil)),
            "250 550 554");
  EXPECT_EQ(bench_.backend("B1").num_connections, 0);
  EXPECT_EQ(Send(kEnvelope + Last("x\r\n")), "250 250 250");
}

TEST_P(SmtpBdatTest, IsNotThereWhereItIsNotAnnounced) {
  bench_.capabilities.pop_back();
  Begin();
  EXPECT_EQ(Send(kEnvelope + Last("QUIT\r\n")), "250 250 502");
  EXPECT_EQ(Send("DATA\r\n"), "354");
  Text();
  EXPECT_EQ(bench_.Codes(), "250");
}

// What is left of a message must not be taken for a whole one.
TEST_P(SmtpBdatTest, RefusesAllThatFollowsARefusedChunk) {
  Begin();
  EXPECT_EQ(Send("MAIL FROM:<a@x.example>\r\n" + Chunk("one\r\n") + "RCPT TO:<b@y.example>\r\n" +
                 Chunk("two\r\n") + Chunk("three\r\n") + Last("four\r\n")),
            "250 503 503 503 503 503");
  EXPECT_EQ(Send(kEnvelope + Last("x\r\n")), "250 250 250");
  EXPECT_EQ(b1().messages.size(), 1U);
}

TEST_P(SmtpBdatTest, DoesNotCountTheRestOfARefusedMessageAsErrors) {
  bench_.settings.limits.bad_commands = 3;
  bench_.settings.limits.message = 10;
  BeginEnvelope();
  std::string rest;
  for (int i = 0; i < 10; ++i) rest += Chunk("more\r\n");
  EXPECT_EQ(Send(Chunk("01234567890") + rest + Last("")),
            "552 552 552 552 552 552 552 552 552 552 552 552");
  EXPECT_EQ(Send(Last("")), "503");
  EXPECT_FALSE(bench_.is_over());
}

TEST_P(SmtpBdatTest, RefusesWhatIsTooLarge) {
  bench_.settings.limits.message = 100;
  BeginEnvelope();
  bench_.Send("BDAT 101\r\n");
  EXPECT_EQ(bench_.Replies(), "");  // the octets come first
  bench_.Send(std::string(101, 'x'));
  EXPECT_EQ(bench_.Replies(), "552 5.3.4 Message too large\r\n");
  EXPECT_EQ(Send("RSET\r\n" + (kEnvelope + Chunk(std::string(60, 'x'))) +
                 Chunk(std::string(41, 'x')) + Last("y")),
            "250 250 250 250 552 552");
  EXPECT_EQ(b1().messages.size(), 0U);
  EXPECT_EQ(Send(kEnvelope + Chunk(std::string(60, 'x')) + Last(std::string(40, 'x'))),
            "250 250 250 250");
}

TEST_P(SmtpBdatTest, TakesNoMoreThanItAnnounces) {
  bench_.capabilities[1] = "SIZE 100";
  BeginEnvelope();
  EXPECT_EQ(Send(Last(std::string(101, 'x'))), "552");
  EXPECT_EQ(Send("MAIL FROM:<a@x.example> SIZE=101\r\n"), "552");
  Envelope();
  Text(std::string(101, 'x') + "\r\n");
  EXPECT_EQ(bench_.Codes(), "250 250 354 552");
}

// --- order -------------------------------------------------------------------------------------

TEST_P(SmtpBdatTest, MixesWithNoOtherForm) {
  BeginEnvelope();
  EXPECT_EQ(Send(Chunk("one\r\n")), "250");
  EXPECT_EQ(Send("DATA\r\n"), "503");
  EXPECT_EQ(Send("MAIL FROM:<c@x.example>\r\n"), "503");
  EXPECT_EQ(Send("RCPT TO:<c@y.example>\r\n"), "503");
  EXPECT_EQ(Send("NOOP\r\n"), "250");
  EXPECT_EQ(Send(Last("two\r\n")), "250");
  EXPECT_EQ(b1().messages[0].text, "one\r\ntwo\r\n");
  EXPECT_EQ(Deliver(), "250 250 354 250");
  EXPECT_EQ(Send(Last("QUIT\r\n")), "503");
}

TEST_P(SmtpBdatTest, ForgetsChunksAtRset) {
  for (const bool takes_chunks : {true, false}) {
    if (!takes_chunks) TakesNoChunks("B1");
    if (bench_.relay == nullptr) Begin();
    EXPECT_EQ(Send(kEnvelope + Chunk("one\r\n") + "RSET\r\n"), "250 250 250 250");
    EXPECT_EQ(Send(Last("x\r\n")), "503");
    EXPECT_EQ(Send(kEnvelope + Last("two\r\n")), "250 250 250");
    EXPECT_EQ(b1().messages.back().Octets(), "two\r\n");
    bench_.After(std::chrono::seconds(11));
  }
  EXPECT_EQ(b1().messages.size(), 2U);
}

TEST_P(SmtpBdatTest, InventsNoEndForAClientThatVanishes) {
  for (const char* sent : {"BDAT 10 LAST\r\nhalf", "BDAT 4\r\nhalf", "BDAT 4\r\nhalfBDAT 0 LA"}) {
    for (const bool takes_chunks : {true, false}) {
      test::SmtpBench bench;
      bench.cut = GetParam();
      bench.capabilities.emplace_back("CHUNKING");
      if (takes_chunks) bench.backend("B1").keywords.emplace_back("CHUNKING");
      bench.Start();
      bench.Send("EHLO c.example\r\n" + std::string(kEnvelope) + sent);
      bench.Eof();
      ASSERT_TRUE(bench.is_over());
      EXPECT_TRUE(bench.backend("B1").messages.empty());
      EXPECT_EQ(bench.backend("B1").octets.find("LAST"), std::string::npos);
      EXPECT_FALSE(bench.backend("B1").was_quit);
      ASSERT_EQ(bench.outcomes.size(), 1U);
      EXPECT_TRUE(bench.outcomes[0].is_lost);
    }
  }
}

TEST_P(SmtpBdatTest, EndsWithAClientThatStopsSending) {
  BeginEnvelope();
  bench_.Send("BDAT 10000\r\n" + std::string(5000, 'x'));
  bench_.After(std::chrono::seconds(299));
  EXPECT_FALSE(bench_.is_over());
  bench_.After(std::chrono::seconds(1));
  EXPECT_EQ(bench_.Codes(), "421");
  EXPECT_TRUE(b1().messages.empty());
}

TEST_P(SmtpBdatTest, WaitsForVerdictsBeforeOctetsGoAnywhere) {
  b1().answers["RCPT b@y.example"] = {"hang"};
  Begin();
  bench_.Send(kEnvelope + Last("QUIT\r\n"));
  EXPECT_EQ(b1().octets.find("BDAT"), std::string::npos);
  bench_.BackSays("B1", "550 5.1.1 nobody\r\n");
  EXPECT_EQ(bench_.Codes(), "250 550 554");
  EXPECT_EQ(b1().octets.find("BDAT"), std::string::npos);
}

// --- newlines that stand alone -------------------------------------------------------------------

TEST_P(SmtpBdatTest, RefusesBareNewlinesAtTheEndOfTheirChunk) {
  for (const char* octets : {"one\ntwo", "one\rtwo", "\n.\n", "\r.\r\n"}) {
    test::SmtpBench bench;
    bench.cut = GetParam();
    bench.capabilities.emplace_back("CHUNKING");
    bench.Start();
    bench.Send("EHLO c.example\r\n" + (kEnvelope + Chunk("fine\r\n")) + Chunk(octets) +
               Last("more\r\n"));
    EXPECT_EQ(bench.Codes(), "220 250 250 250 250 550 550") << octets;
    EXPECT_TRUE(bench.backend("B1").messages.empty());
    EXPECT_EQ(bench.leg_backend(), "");
    bench.Send(kEnvelope + Last("more\r\n"));
    EXPECT_EQ(bench.Codes(), "250 250 250");
  }
}

TEST_P(SmtpBdatTest, SeesNewlinesAcrossChunks) {
  BeginEnvelope();
  EXPECT_EQ(Send(Chunk("one\r") + Chunk("") + Last("\ntwo\r\n")), "250 250 250");
  EXPECT_EQ(b1().messages[0].text, "one\r\ntwo\r\n");
  EXPECT_EQ(Send(kEnvelope + Chunk("one\r") + Last("two\r\n")), "250 250 250 550");
  EXPECT_EQ(Send(kEnvelope + Chunk("one\r\n") + Last("\ntwo\r\n")), "250 250 250 550");
  EXPECT_EQ(Send(kEnvelope + Chunk("one\r") + Last("")), "250 250 250 550");
  EXPECT_EQ(Send(kEnvelope + Last("one\r")), "250 250 550");
  EXPECT_EQ(CountEvents("bare_newline"), 4);
}

TEST_P(SmtpBdatTest, NormalizesBareNewlines) {
  bench_.settings.bare_newline = conf::BareNewline::kNormalize;
  for (const bool takes_chunks : {true, false}) {
    if (!takes_chunks) TakesNoChunks("B1");
    if (bench_.relay == nullptr) Begin();
    EXPECT_EQ(Send(kEnvelope + Chunk("one\n.\ntwo\r") + Chunk("\r.\r") + Last("\n.\r")),
              "250 250 250 250 250");
    EXPECT_EQ(b1().messages.back().Octets(), "one\r\n.\r\ntwo\r\n\r\n.\r\n.\r\n");
    bench_.After(std::chrono::seconds(11));
  }
}

TEST_P(SmtpBdatTest, PassesBareNewlinesWhereAskedTo) {
  bench_.settings.bare_newline = conf::BareNewline::kPass;
  const std::string text = "one\n.\ntwo\r.\r\r\n.\n";
  for (const bool takes_chunks : {true, false}) {
    if (!takes_chunks) TakesNoChunks("B1");
    if (bench_.relay == nullptr) Begin();
    EXPECT_EQ(Send(kEnvelope + Chunk(text) + Last("\r\n")), "250 250 250 250");
    EXPECT_EQ(b1().messages.back().Octets(), text + "\r\n");
    bench_.After(std::chrono::seconds(11));
  }
}

// --- hand-over and moves -------------------------------------------------------------------------

TEST_P(SmtpBdatTest, HandsOverBehindTheAnswersToAllChunks) {
  b1().answers["BDAT"] = {"hang"};
  BeginEnvelope();
  EXPECT_EQ(Send(Last("one\r\n")), "");
  EXPECT_EQ(b1().octets.find("LAST"), std::string::npos);
  bench_.LoseBack("B1");  // it may go elsewhere
  EXPECT_EQ(bench_.Codes(), "250");
  EXPECT_TRUE(b1().messages.empty());
  EXPECT_EQ(b2().messages[0].text, "one\r\n");
}

TEST_P(SmtpBdatTest, TakesTheAnswersToManyChunksInOnePacket) {
  b1().answers["BDAT"] = {"hang"};
  BeginEnvelope();
  EXPECT_EQ(Send(Chunk("one\r\n") + Chunk("two\r\n") + Last("three\r\n")), "250 250");
  std::string answers;
  for (int left = CountLines(b1(), "BDAT"); left > 0; --left) answers += "250 2.0.0 Ok\r\n";
  bench_.BackSays("B1", answers);
  EXPECT_EQ(bench_.Codes(), "250");
  EXPECT_EQ(b1().messages[0].text, "one\r\ntwo\r\nthree\r\n");
  EXPECT_TRUE(bench_.faults.empty());
}

TEST_P(SmtpBdatTest, HandsOverWhenTheSocketTakesTheRest) {
  BeginEnvelope();
  b1().takes_bytes = false;
  EXPECT_EQ(Send(Last("one\r\n")), "");
  EXPECT_FALSE(bench_.relay->is_terminator_next());  // its write must not be held back for one
  bench_.TakeBytes("B1");
  EXPECT_EQ(bench_.Codes(), "250");
  EXPECT_EQ(b1().messages[0].text, "one\r\n");
}

TEST_P(SmtpBdatTest, NeverReplaysWhatWasHandedOver) {
  for (const char* how : {"die", "hang", "nonsense", "354 what"}) {
    test::SmtpBench bench;
    bench.cut = GetParam();
    bench.capabilities.emplace_back("CHUNKING");
    bench.backend("B1").keywords.emplace_back("CHUNKING");
    bench.backend("B1").answers["."] = {how};
    bench.Start();
    bench.Send("EHLO c.example\r\n" + (kEnvelope + Last("x\r\n")));
    bench.After(std::chrono::minutes(10));
    EXPECT_EQ(bench.Codes().substr(0, 19), "220 250 250 250 451") << how;
    EXPECT_EQ(bench.backend("B2").num_connections, 0) << how;
  }
}

// From each form to each, at each place, with what is in the journal and what comes after.
TEST_P(SmtpBdatTest, MovesBetweenBackendsOfBothKinds) {
  const std::string text = "one\r\n.\r\n..two\r\nthree\r\n.four\r\n";
  for (const bool first : {true, false})
    for (const bool second : {true, false})
      for (size_t at = 0; at <= text.size(); ++at) {
        test::SmtpBench bench;
        bench.cut = GetParam();
        bench.capabilities.emplace_back("CHUNKING");
        if (first) bench.backend("B1").keywords.emplace_back("CHUNKING");
        if (second) bench.backend("B2").keywords.emplace_back("CHUNKING");
        bench.Start();
        bench.Send("EHLO c.example\r\n" + std::string(kEnvelope) + "BDAT " +
                   std::to_string(text.size()) + "\r\n" + text.substr(0, at));
        bench.LoseBack("B1");
        bench.Send(text.substr(at) + Last(text));
        EXPECT_EQ(bench.Codes(), "220 250 250 250 250 250") << at;
        EXPECT_TRUE(bench.backend("B1").messages.empty());
        ASSERT_EQ(bench.backend("B2").messages.size(), 1U);
        EXPECT_EQ(bench.backend("B2").messages[0].Octets(), text + text);
        EXPECT_EQ(bench.backend("B2").messages[0].is_chunked, second);
        EXPECT_EQ(bench.budget_taken, 0U);
      }
}

TEST_P(SmtpBdatTest, MovesALongTextOfDots) {
  std::string text;
  for (int i = 0; i < 10000; ++i) text += ".\r\n..\r\n";
  TakesNoChunks("B2");
  BeginEnvelope();
  EXPECT_EQ(Send(Chunk(text)), "250");
  bench_.LoseBack("B1");
  EXPECT_EQ(Send(Last(text)), "250");
  EXPECT_EQ(b2().messages[0].Octets(), text + text);
}

TEST_P(SmtpBdatTest, MovesOnFaultsInTheText) {
  for (const char* how : {"die", "hang", "421 4.3.2 busy", "354 what", "xx"}) {
    test::SmtpBench bench;
    bench.cut = GetParam();
    bench.capabilities.emplace_back("CHUNKING");
    bench.backend("B1").keywords.emplace_back("CHUNKING");
    bench.backend("B1").answers["TEXT"] = {how};
    bench.Start();
    bench.Send("EHLO c.example\r\n" + (kEnvelope + Last("x\r\n")));
    bench.After(std::chrono::minutes(4));
    EXPECT_EQ(bench.Codes(), "220 250 250 250 250") << how;
    EXPECT_EQ(bench.backend("B2").messages.size(), 1U) << how;
    EXPECT_EQ(bench.faults.size(), 1U) << how;
  }
}

// A client that trickles does not renew the time a server has for its answers.
TEST_P(SmtpBdatTest, GivesChunksTheirTimeHoweverManyFollow) {
  b1().answers["BDAT"] = {"hang"};
  BeginEnvelope();
  bench_.Send("BDAT 100\r\n");
  for (int i = 0; i < 20; ++i) {
    bench_.Send("x");
    bench_.After(std::chrono::seconds(10));
  }
  EXPECT_EQ(bench_.leg_backend(), "B2");
}

TEST_P(SmtpBdatTest, SaysAVerdictOnAChunkAsTheOneOnTheMessage) {
  b1().answers["BDAT"] = {"552 5.2.2 no room"};
  BeginEnvelope();
  bench_.Send(Chunk("one\r\n"));  // told at once where it was known in time
  bench_.Replies();
  bench_.Send(Chunk("two\r\n") + Last("three\r\n"));
  EXPECT_EQ(bench_.Replies(), "552 5.2.2 no room\r\n552 5.2.2 no room\r\n");
  EXPECT_EQ(b2().num_connections, 0);
  ASSERT_EQ(bench_.outcomes.size(), 1U);
  EXPECT_EQ(bench_.outcomes[0].code, 552);
  EXPECT_EQ(Send(Last("x")), "503");
}

TEST_P(SmtpBdatTest, SaysAVerdictOnAChunkThatWasTheLast) {
  b1().answers["BDAT"] = {"552 5.2.2 no room"};
  BeginEnvelope();
  bench_.Send(Last("one\r\n"));
  EXPECT_EQ(bench_.Replies(), "552 5.2.2 no room\r\n");
  EXPECT_EQ(b1().octets.find("LAST"), std::string::npos);
}

TEST_P(SmtpBdatTest, RelaysTheVerdictOnTheLastChunk) {
  b1().answers["."] = {"554 5.7.1 spam"};
  BeginEnvelope();
  bench_.Send(Last("one\r\n"));
  EXPECT_EQ(bench_.Replies(), "554 5.7.1 spam\r\n");
}

TEST_P(SmtpBdatTest, RelaysARefusalOfData) {
  TakesNoChunks("B1");
  b1().answers["DATA"] = {"451 4.7.1 not now"};
  BeginEnvelope();
  bench_.Send(Chunk("one\r\n"));
  EXPECT_EQ(bench_.Replies(), "451 4.7.1 not now\r\n");
  EXPECT_EQ(Send(Last("two\r\n")), "451");
  b1().answers.clear();
  EXPECT_EQ(Send(kEnvelope + Last("x\r\n")), "250 250 250");
}

TEST_P(SmtpBdatTest, CannotMoveWhatItDoesNotRemember) {
  bench_.settings.replay_memory = 1000;
  BeginEnvelope();
  bench_.Send("BDAT 2000\r\n" + std::string(1500, 'x'));
  bench_.LoseBack("B1");
  EXPECT_EQ(Send(std::string(500, 'x') + Last("")), "451 451");
  EXPECT_EQ(Send(kEnvelope + Last("x\r\n")), "250 250 250");
}

// What was to be replayed is gone by the time it would be written.
TEST_P(SmtpBdatTest, RefusedInTheSamePacketThatOpensTheReplay) {
  for (const bool is_chunked : {true, false}) {
    test::SmtpBench bench;
    bench.cut = GetParam();
    bench.capabilities.emplace_back("CHUNKING");
    bench.backend("B2").answers["DATA"] = {"354 go\n552 5.2.2 no room"};
    bench.Start();
    bench.Send("EHLO c.example\r\n" + std::string(kEnvelope) +
               (is_chunked ? "BDAT 1000\r\n" : "DATA\r\n") + std::string(500, 'x'));
    bench.LoseBack("B1");
    bench.Send(is_chunked ? std::string(500, 'x') : "\r\n.\r\n");
    EXPECT_EQ(bench.Codes(), is_chunked ? "220 250 250 250 552" : "220 250 250 250 354 552");
    if (GetParam() != test::SmtpBench::Cut::kWhole) continue;
    EXPECT_TRUE(bench.backend("B2").octets.ends_with("\r\nDATA\r\n"));
  }
}

// --- what a backend lacks ------------------------------------------------------------------------

TEST_P(SmtpBdatTest, OffersBinaryTextWhereItCanBePassed) {
  bench_.capabilities.emplace_back("BINARYMIME");
  Begin();
  EXPECT_EQ(Send("MAIL FROM:<a@x.example> BODY=BINARYMIME\r\n"), "555");
  EXPECT_EQ(Say("EHLO c.example").find("BINARYMIME"), std::string::npos);

  test::SmtpBench bench;
  bench.cut = GetParam();
  bench.capabilities = {"PIPELINING", "8BITMIME", "CHUNKING", "BINARYMIME"};
  bench.settings.bare_newline = conf::BareNewline::kPass;
  bench.backend("B1").keywords = {"PIPELINING", "CHUNKING", "BINARYMIME"};
  bench.Start();
  bench.Line("EHLO c.example");
  EXPECT_NE(bench.Replies().find("BINARYMIME"), std::string::npos);
  const std::string text("\0\r\n.\r\n\n\r\xff.", 10);
  bench.Send("MAIL FROM:<a@x.example> BODY=BINARYMIME\r\nRCPT TO:<b@y.example>\r\nDATA\r\n");
  EXPECT_EQ(bench.Codes(), "250 250 503");  // RFC 3030 3
  bench.Send(Last(text));
  EXPECT_EQ(bench.Codes(), "250");
  EXPECT_EQ(bench.backend("B1").lines[1], "MAIL FROM:<a@x.example> BODY=BINARYMIME");
  EXPECT_EQ(bench.backend("B1").messages[0].text, text);
}

TEST_P(SmtpBdatTest, RefusesForGoodWhatNoServerTakesAsItIs) {
  for (const auto& [parameter, reply] :
       std::initializer_list<std::pair<const char*, const char*>>{{"BODY=BINARYMIME", "554 5.6.3"},
                                                                  {"BODY=8BITMIME", "554 5.6.3"},
                                                                  {"SMTPUTF8", "554 5.6.7"}}) {
    test::SmtpBench bench;
    bench.cut = GetParam();
    bench.capabilities = {"PIPELINING", "8BITMIME", "CHUNKING", "BINARYMIME", "SMTPUTF8"};
    bench.settings.bare_newline = conf::BareNewline::kPass;
    for (const char* name : {"B1", "B2"}) bench.backend(name).keywords = {"PIPELINING", "CHUNKING"};
    bench.Start();
    bench.Line("EHLO c.example");
    bench.Replies();
    bench.Line(std::string("MAIL FROM:<a@x.example> ") + parameter);
    EXPECT_EQ(bench.Codes(), "250") << parameter;
    bench.Line("RCPT TO:<b@y.example>");
    EXPECT_EQ(bench.Replies().substr(0, 9), reply);
    bench.Send(Last("x\r\n"));
    EXPECT_EQ(bench.Codes(), "554");
    EXPECT_EQ(bench.backend("B2").octets.find("MAIL"), std::string::npos);
  }
}

// Another server may be back soon.
TEST_P(SmtpBdatTest, RefusesForNowWhereAServerMightTakeIt) {
  bench_.capabilities.emplace_back("SMTPUTF8");
  b2().door = test::FakeBackend::Door::kRefuses;
  Begin();
  EXPECT_EQ(Send("MAIL FROM:<a@x.example> SMTPUTF8\r\nRCPT TO:<b@y.example>\r\n"), "250 451");
  bench_.has_untried = true;
  for (const char* name : {"B1", "B2"}) bench_.backend(name).door = test::FakeBackend::Door::kOpen;
  EXPECT_EQ(Send("RSET\r\nMAIL FROM:<a@x.example> SMTPUTF8\r\nRCPT TO:<b@y.example>\r\n"),
            "250 250 451");
}

// --- any message -----------------------------------------------------------------------------

std::string RandomText(base::Rng& rng) {
  static constexpr std::string_view kUnits[] = {
      "\r\n", "\r\n.\r\n", ".",    "\r", "\n", "..", "\n.\n", "words", std::string_view("\0", 1),
      "\xff", "\r\n.",     "\r.\r"};
  std::string text;
  if (rng.Below(100) == 0) text.assign(1 << 20, 'x');
  for (uint64_t left = rng.Below(60); left > 0; --left) text += kUnits[rng.Below(12)];
  return text;
}

TEST(SmtpBdatPropertyTest, AnyMessageArrivesByteForByteThroughBothForms) {
  base::SeededRng rng(3030);
  test::SmtpBench bench;
  bench.capabilities = {"PIPELINING", "CHUNKING"};
  bench.settings.bare_newline = conf::BareNewline::kPass;
  bench.settings.leg_transactions = 1;
  bench.backend("B1").keywords = {"PIPELINING"};
  bench.Start();
  bench.Send("EHLO c.example\r\n");
  bench.Codes();
  for (int i = 0; i < 1000; ++i) {
    const std::string text = RandomText(rng);
    test::FakeBackend& backend = bench.backend("B1");
    backend.keywords = {"PIPELINING", rng.Below(2) == 0 ? "CHUNKING" : "X"};
    const bool takes_chunks = backend.keywords[1] == "CHUNKING";
    backend.octets.clear();
    bench.cut = text.size() < 1000 && rng.Below(2) == 0 ? test::SmtpBench::Cut::kRandom
                                                        : test::SmtpBench::Cut::kWhole;
    std::string sent = kEnvelope, wanted = "250 250";
    for (std::string_view rest = text; !rest.empty();) {
      const size_t size = rng.Below(rest.size() + 1);
      sent += Chunk(rest.substr(0, size));
      wanted += " 250";
      rest.remove_prefix(size);
    }
    bench.Send(sent + Last(""));
    ASSERT_EQ(bench.Codes(), wanted + " 250");
    ASSERT_EQ(backend.messages.size(), 1U);
    const bool has_end = text.empty() || text.ends_with("\r\n");
    ASSERT_EQ(backend.messages[0].Octets(), takes_chunks || has_end ? text : text + "\r\n");
    backend.messages.clear();

    // By DATA, with its dots doubled.
    SmtpDotStuffer stuffer;
    std::string made;
    const std::string dotted(stuffer.Take(text, made));
    bench.Send(kEnvelope + std::string("DATA\r\n"));
    ASSERT_EQ(bench.Codes(), "250 250 354");
    bench.Send(dotted + (stuffer.is_at_line_start() ? ".\r\n" : "\r\n.\r\n"));
    ASSERT_EQ(bench.Codes(), "250");
    ASSERT_EQ(backend.messages[0].Octets(), has_end ? text : text + "\r\n");
    backend.messages.clear();
  }
}

}  // namespace
}  // namespace postern::proto
