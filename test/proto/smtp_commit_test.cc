// smtp_commit_test: a backend that is chosen behind the text (commit after_data), and what it says
// of recipients who were told 250 already.
// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "test/proto/smtp_commit_case.h"

namespace postern::proto {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::Pair;

POSTERN_IN_ALL_CUTS(SmtpCommitTest);

TEST_P(SmtpCommitTest, HoldsNoBackendBeforeTheEnd) {
  Begin();
  Envelope();
  bench_.Send("hello\r\n..\r\n");
  EXPECT_EQ(bench_.Replies(),
            "250 2.1.0 Sender noted\r\n250 2.1.5 Ok\r\n354 Go ahead, end with a lone dot\r\n");
  EXPECT_EQ(num_connections(), 0);
  bench_.Send(".\r\n");
  EXPECT_EQ(bench_.Replies(), "250 2.0.0 Ok: queued as B1Q1\r\n");
  EXPECT_EQ(b1().messages[0].text, "hello\r\n..\r\n");
  EXPECT_THAT(b1().messages[0].to, ElementsAre("b@y.example"));
  EXPECT_THAT(bench_.outcomes[0].to, ElementsAre("b@y.example"));
  EXPECT_EQ(bench_.outcomes[0].queue_id, "B1Q1");
  EXPECT_EQ(CountEvents("accepted"), 1);
  EXPECT_EQ(bench_.budget_taken, 0U);
}

TEST_P(SmtpCommitTest, AnEmptyMessageIsOne) {
  Begin();
  EXPECT_EQ(Group("b"), "250 250");
  EXPECT_EQ(DataReply(""), "250 2.0.0 Ok: queued as B1Q1\r\n");
  EXPECT_EQ(b1().messages[0].text, "");
}

TEST_P(SmtpCommitTest, ABackendWithoutPipeliningIsAskedOneByOne) {
  b1().keywords = {"8BITMIME"};
  Begin();
  EXPECT_EQ(Group("bcd"), "250 250 250 250");
  EXPECT_EQ(DataReply(), "250 2.0.0 Ok: queued as B1Q1\r\n");
  EXPECT_EQ(b1().messages[0].to.size(), 3U);
}

TEST_P(SmtpCommitTest, TakesRecipientsByTheirRouteAlone) {
  bench_.homes["c@y.example"] = "reject 550 5.7.1 no";
  bench_.homes["d@y.example"] = "tempfail";
  bench_.homes["e@y.example"] = "unknown";
  Begin();
  EXPECT_EQ(Group("cdbe"), "250 550 451 250 550");
  EXPECT_EQ(DataReply(), "250 2.0.0 Ok: queued as B1Q1\r\n");
  EXPECT_THAT(b1().messages[0].to, ElementsAre("b@y.example"));
}

TEST_P(SmtpCommitTest, NoRecipientNoText) {
  bench_.homes[""] = "unknown";
  Begin();
  EXPECT_EQ(Group("b"), "250 550");
  EXPECT_EQ(Ask("DATA"), "554");
  EXPECT_EQ(Ask("MAIL FROM:<a@x.example>"), "250");
}

// --- homes -------------------------------------------------------------------------------------

TEST_P(SmtpCommitTest, LmtpAloneTakesOneRecipient) {
  b1().is_lmtp = b2().is_lmtp = true;
  Begin();
  EXPECT_EQ(Group("bcd"), "250 250 452 452");
  EXPECT_EQ(CountEvents("deferred"), 2);
  EXPECT_EQ(DataReply(), "250 2.0.0 Ok: queued as B1Q1\r\n");
}

TEST_P(SmtpCommitTest, SeveralGoWhereSmtpIsSpoken) {
  b1().is_lmtp = true;
  Begin();
  EXPECT_EQ(Group("bc"), "250 250 250");
  EXPECT_EQ(DataReply(), "250 2.0.0 Ok: queued as B2Q1\r\n");
}

TEST_P(SmtpCommitTest, AnotherHomeIsForAnotherTransaction) {
  bench_.homes["c@y.example"] = "B3";
  Begin();
  EXPECT_EQ(Group("bc"), "250 250 452");
  EXPECT_EQ(DataReply(), "250 2.0.0 Ok: queued as B1Q1\r\n");
}

TEST_P(SmtpCommitTest, SeveralHomesMeetWhereAllAre) {
  bench_.homes["c@y.example"] = "B3 B2";
  Begin();
  EXPECT_EQ(Group("bc"), "250 250 250");
  EXPECT_EQ(DataReply(), "250 2.0.0 Ok: queued as B2Q1\r\n");
  EXPECT_EQ(b1().num_connections, 0);
}

TEST_P(SmtpCommitTest, SeveralHomesMayBeRelayed) {
  bench_.homes["c@y.example"] = "B3";
  bench_.relays[""] = "B4";
  Begin();
  EXPECT_EQ(Group("bcbd"), "250 250 250 250 250");
  EXPECT_EQ(DataReply(), "250 2.0.0 Ok: queued as B4Q1\r\n");
  EXPECT_EQ(bench_.backend("B4").messages[0].to.size(), 4U);
}

// --- verdicts ----------------------------------------------------------------------------------

TEST_P(SmtpCommitTest, TheBackendsRefusalIsTheReplyToTheText) {
  b1().answers["RCPT b@y.example"] = {"550-5.1.1 nobody\n550 5.1.1 here"};
  Begin();
  EXPECT_EQ(Group("b"), "250 250");
  EXPECT_EQ(DataReply(), "550-5.1.1 nobody\r\n550 5.1.1 here\r\n");
  EXPECT_EQ(bench_.outcomes[0].code, 550);
  EXPECT_THAT(bench_.refusals, IsEmpty());
  EXPECT_THAT(b1().messages, IsEmpty());
  EXPECT_EQ(CountLines(b1(), "DATA"), 0);
}

// A 5yz would keep the sender from trying again for those who may yet get it.
TEST_P(SmtpCommitTest, OfSeveralRefusalsATemporaryOneIsSaid) {
  b1().answers["RCPT b@y.example"] = {"450 4.2.0 grey"};
  b1().answers["RCPT c@y.example"] = {"550 5.1.1 nobody"};
  Begin();
  EXPECT_EQ(Group("bc"), "250 250 250");
  EXPECT_EQ(DataReply(), "450 4.2.0 grey\r\n");
  EXPECT_THAT(bench_.refusals,
              ElementsAre(Pair("a@x.example c@y.example", "550 5.1.1 nobody\r\n")));
  // c hears of it, b is asked about anew.
  b1().answers["RCPT b@y.example"] = {"250 2.1.5 Ok"};
  EXPECT_EQ(Group("bc"), "250 250 550");
  EXPECT_EQ(DataReply(), "250 2.0.0 Ok: queued as B1Q1\r\n");
}

TEST_P(SmtpCommitTest, WhoIsRefusedAmongOthersHearsItAtTheNextRcpt) {
  b1().answers["RCPT c@y.example"] = {"550 5.1.1 nobody"};
  b1().answers["RCPT d@y.example"] = {"452 4.2.2 full"};
  Begin();
  EXPECT_EQ(Group("bcd"), "250 250 250 250");
  EXPECT_EQ(DataReply(), "451 4.1.0 Some recipients were refused, try again to hear which\r\n");
  EXPECT_THAT(b1().messages, IsEmpty());
  EXPECT_EQ(CountLines(b1(), "DATA"), 0);
  EXPECT_EQ(bench_.refusals.size(), 2U);

  EXPECT_EQ(Group("bcd"), "250 250 550 452");
  EXPECT_EQ(DataReply(), "250 2.0.0 Ok: queued as B1Q1\r\n");
  EXPECT_THAT(b1().messages[0].to, ElementsAre("b@y.example"));
  EXPECT_EQ(CountLines(b1(), "RSET"), 1);
  EXPECT_THAT(bench_.refusals, IsEmpty());

  // Once: whoever comes again is asked about again.
  b1().answers["RCPT d@y.example"] = {"250 2.1.5 Ok"};
  EXPECT_EQ(Group("d"), "250 250");
  EXPECT_EQ(DataReply(), "250 2.0.0 Ok: queued as B1Q2\r\n");
}

TEST_P(SmtpCommitTest, WithoutPipeliningAllAreAskedAboutAsWell) {
  b1().keywords = {"8BITMIME"};
  b1().answers["RCPT b@y.example"] = {"550 5.1.1 nobody"};
  Begin();
  EXPECT_EQ(Group("bcd"), "250 250 250 250");
  EXPECT_EQ(DataReply().substr(0, 9), "451 4.1.0");
  EXPECT_EQ(CountLines(b1(), "RCPT"), 3);
  EXPECT_EQ(bench_.refusals.size(), 1U);
}

TEST_P(SmtpCommitTest, ALongRefusalIsRememberedByItsBeginning) {
  std::string words = "550-5.1.1 first";
  for (int i = 0; i < 100; ++i) words += "\n550-5.1.1 many words more";
  b1().answers["RCPT c@y.example"] = {words + "\n550 5.1.1 last"};
  Begin();
  EXPECT_EQ(Group("bc"), "250 250 250");
  EXPECT_EQ(DataReply().substr(0, 9), "451 4.1.0");
  EXPECT_EQ(bench_.refusals["a@x.example c@y.example"], "550 5.1.1 first\r\n");
}

TEST_P(SmtpCommitTest, ARefusalOfMailIsTheReplyToTheText) {
  b1().answers["MAIL"] = {"550 5.7.1 not you"};
  Begin();
  EXPECT_EQ(Group("bc"), "250 250 250");
  EXPECT_EQ(DataReply(), "550 5.7.1 not you\r\n");
  EXPECT_EQ(b2().num_connections, 0);
  // The leg is still good.
  b1().answers.clear();
  EXPECT_EQ(Group("b"), "250 250");
  EXPECT_EQ(DataReply(), "250 2.0.0 Ok: queued as B1Q1\r\n");
  EXPECT_EQ(b1().num_connections, 1);
}

TEST_P(SmtpCommitTest, ARefusalOfDataIsTheReplyToTheText) {
  b1().answers["DATA"] = {"452 4.3.1 full", "354 go on"};
  Begin();
  EXPECT_EQ(Group("b"), "250 250");
  EXPECT_EQ(DataReply(), "452 4.3.1 full\r\n");
  EXPECT_EQ(Group("b"), "250 250");
  EXPECT_EQ(DataReply(), "250 2.0.0 Ok: queued as B1Q1\r\n");
  EXPECT_EQ(b1().num_connections, 1);
}

TEST_P(SmtpCommitTest, NobodyThereIsSaidAtTheEnd) {
  b1().door = b2().door = test::FakeBackend::Door::kRefuses;
  Begin();
  EXPECT_EQ(Group("b"), "250 250");
  EXPECT_EQ(DataReply(), "451 4.4.1 No server can take this now\r\n");
  EXPECT_FALSE(bench_.is_over());
}

// --- moves -------------------------------------------------------------------------------------

TEST_P(SmtpCommitTest, MovesAsOthersDo) {
  for (const char* place : {"GREETING", "EHLO", "MAIL", "RCPT", "DATA", "TEXT"}) {
    test::SmtpBench bench;
    bench.settings.commit = conf::Commit::kAfterData;
    bench.cut = GetParam();
    bench.backend("B1").answers[place] = {"die"};
    bench.Start();
    bench.Line("EHLO client.example");
    bench.Send("MAIL FROM:<a@x.example>\r\nRCPT TO:<b@y.example>\r\nDATA\r\nhello\r\n.\r\n");
    EXPECT_EQ(bench.Codes(), "220 250 250 250 354 250") << place;
    ASSERT_EQ(bench.backend("B2").messages.size(), 1U) << place;
    EXPECT_EQ(bench.backend("B2").messages[0].text, "hello\r\n") << place;
  }
}

TEST_P(SmtpCommitTest, BehindTheDotNothingMoves) {
  b1().answers["."] = {"die"};
  Begin();
  EXPECT_EQ(Group("b"), "250 250");
  EXPECT_EQ(DataReply(), "451 4.4.2 Lost the mail server, try again\r\n");
  EXPECT_EQ(b2().num_connections, 0);
}

// Nothing was told of the first one's verdicts.
TEST_P(SmtpCommitTest, TheNextBackendsVerdictsCount) {
  b1().keywords = {"8BITMIME"};  // asked one by one, so that it dies behind its verdicts
  b1().answers["RCPT b@y.example"] = {"550 5.1.1 nobody"};
  b1().answers["RCPT d@y.example"] = {"die"};
  b2().answers["RCPT c@y.example"] = {"450 4.2.0 grey"};
  Begin();
  EXPECT_EQ(Group("bcd"), "250 250 250 250");
  EXPECT_EQ(DataReply().substr(0, 9), "451 4.1.0");
  EXPECT_THAT(bench_.refusals, ElementsAre(Pair("a@x.example c@y.example", "450 4.2.0 grey\r\n")));
  EXPECT_EQ(CountLines(b2(), "RCPT"), 3);
}

// --- text --------------------------------------------------------------------------------------

TEST_P(SmtpCommitTest, ABadTextNeedsNoBackend) {
  Begin();
  EXPECT_EQ(Group("b"), "250 250");
  EXPECT_EQ(DataReply("bare\nnewline\r\n").substr(0, 10), "550 5.6.11");
  EXPECT_EQ(num_connections(), 0);
  EXPECT_EQ(CountEvents("bare_newline"), 1);
}

TEST_P(SmtpCommitTest, ATextBeyondItsLimitNeedsNoBackend) {
  bench_.settings.limits.message = 100;
  Begin();
  EXPECT_EQ(Group("b"), "250 250");
  EXPECT_EQ(DataReply(Lines(50)).substr(0, 9), "552 5.3.4");
  EXPECT_EQ(num_connections(), 0);
  EXPECT_EQ(bench_.budget_taken, 0U);
}

TEST_P(SmtpCommitTest, NormalizedNewlinesAreKeptAsTheyGoOn) {
  bench_.settings.bare_newline = conf::BareNewline::kNormalize;
  Begin();
  EXPECT_EQ(Group("b"), "250 250");
  EXPECT_EQ(DataReply("a\n.\nb\r\n"), "250 2.0.0 Ok: queued as B1Q1\r\n");
  EXPECT_EQ(b1().messages[0].text, "a\r\n..\r\nb\r\n");
}

TEST_P(SmtpCommitTest, WhoLeavesWithinTheTextHasTakenNoBackend) {
  Begin();
  Envelope();
  bench_.Send("half a mess");
  bench_.LoseClient();
  EXPECT_TRUE(bench_.is_over());
  EXPECT_EQ(num_connections(), 0);
  EXPECT_EQ(bench_.budget_taken, 0U);
  EXPECT_TRUE(bench_.outcomes[0].is_lost);
}

TEST_P(SmtpCommitTest, ChunksWaitForTheLastOne) {
  bench_.capabilities = {"PIPELINING", "CHUNKING"};
  b1().keywords = {"PIPELINING", "CHUNKING"};
  Begin();
  EXPECT_EQ(Group("b"), "250 250");
  bench_.Send("BDAT 3\r\none");
  EXPECT_EQ(bench_.Codes(), "250");
  bench_.Send("BDAT 0\r\n");
  EXPECT_EQ(bench_.Codes(), "250");
  EXPECT_EQ(num_connections(), 0);
  bench_.Send("BDAT 5 LAST\r\n\r\n.\r\n");
  EXPECT_EQ(bench_.Replies(), "250 2.0.0 Ok: queued as B1Q1\r\n");
  EXPECT_TRUE(b1().messages[0].is_chunked);
  EXPECT_EQ(b1().messages[0].text, "one\r\n.\r\n");
}

TEST_P(SmtpCommitTest, ChunksGoByDataWhereNoneAreTaken) {
  bench_.capabilities = {"PIPELINING", "CHUNKING"};
  Begin();
  EXPECT_EQ(Group("b"), "250 250");
  bench_.Send("BDAT 7 LAST\r\n.one\r\n.");
  EXPECT_EQ(bench_.Replies(), "250 2.0.0 Ok: queued as B1Q1\r\n");
  EXPECT_EQ(b1().messages[0].text, "..one\r\n..\r\n");
}

// The terminator is next only when the text is out: commands of the envelope are no parts of it.
TEST_P(SmtpCommitTest, CommandsBehindTheTextGoOutAtOnce) {
  b1().answers["MAIL"] = {"hang"};
  Begin();
  Envelope();
  Text();
  EXPECT_EQ(bench_.Codes(), "250 250 354");
  EXPECT_FALSE(bench_.relay->is_terminator_next());
  bench_.BackSays("B1", "250 2.1.0 Ok\r\n");
}

// --- the leg that waits ------------------------------------------------------------------------

TEST_P(SmtpCommitTest, AnIdleLegServesTheNextMessage) {
  Begin();
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(Group("b"), "250 250");
    EXPECT_EQ(CountEvents("busy"), static_cast<int>(i) - (i > 0 ? 1 : 0));
    EXPECT_EQ(DataReply("the same each time\r\n").substr(0, 3), "250");
    ASSERT_EQ(b1().messages.size(), i + 1);
    EXPECT_EQ(b1().messages[i].text, "the same each time\r\n");
  }
  EXPECT_EQ(b1().num_connections, 1);
  EXPECT_EQ(CountEvents("idle"), 3);
}

TEST_P(SmtpCommitTest, AnIdleLegIsNotHeldByASlowClient) {
  Begin();
  EXPECT_EQ(Deliver(), "250 250 354 250");
  bench_.After(std::chrono::seconds(9));
  EXPECT_EQ(Group("b"), "250 250");
  EXPECT_EQ(Ask("RSET"), "250");
  EXPECT_EQ(Group("b"), "250 250");
  EXPECT_EQ(Ask("DATA"), "354");
  EXPECT_FALSE(b1().was_quit);
  bench_.After(std::chrono::seconds(2));
  EXPECT_TRUE(b1().was_quit);
  Text();
  EXPECT_EQ(bench_.Codes(), "250");
  EXPECT_EQ(b1().num_connections, 2);
}

TEST_P(SmtpCommitTest, AnIdleLegElsewhereServesNot) {
  bench_.homes["c@y.example"] = "B3 B2";
  Begin();
  EXPECT_EQ(Deliver(), "250 250 354 250");
  EXPECT_EQ(Group("bc"), "250 250 250");
  EXPECT_FALSE(b1().was_quit);
  EXPECT_EQ(DataReply(), "250 2.0.0 Ok: queued as B2Q1\r\n");
  EXPECT_TRUE(b1().was_quit);
}

TEST_P(SmtpCommitTest, AnIdleLegThatDiesWithinTheTextIsNoFault) {
  Begin();
  EXPECT_EQ(Deliver(), "250 250 354 250");
  EXPECT_EQ(Group("b"), "250 250");
  EXPECT_EQ(Ask("DATA"), "354");
  bench_.LoseBack("B1");
  EXPECT_EQ(num_connections(), 1);
  Text();
  EXPECT_EQ(bench_.Replies(), "250 2.0.0 Ok: queued as B1Q2\r\n");
  EXPECT_THAT(bench_.faults, IsEmpty());
}

// What it says out of turn costs its connection, and not the message that is read meanwhile.
TEST_P(SmtpCommitTest, AnIdleLegThatTalksNonsenseIsLeft) {
  b1().answers["RCPT c@y.example"] = {"hang"};
  Begin();
  EXPECT_EQ(Deliver(), "250 250 354 250");
  EXPECT_EQ(Group("b"), "250 250");
  EXPECT_EQ(Ask("DATA"), "354");
  bench_.BackSays("B1", "what?\r\n");
  EXPECT_EQ(bench_.leg_backend(), "");
  EXPECT_EQ(num_connections(), 1);
  Text();
  EXPECT_EQ(bench_.Replies(), "250 2.0.0 Ok: queued as B1Q2\r\n");
}

// --- submission --------------------------------------------------------------------------------

class SmtpCommitLoginTest : public SmtpCommitTest {
 protected:
  SmtpCommitLoginTest() {
    bench_.settings.is_submission = true;
    bench_.settings.auth_requires_tls = false;
    for (const char* name : {"B1", "B2"}) bench_.backend(name).keywords.push_back("AUTH PLAIN");
  }
  void Login() {
    Begin();
    ASSERT_EQ(Ask("AUTH PLAIN AGFsaWNlAHNlY3JldA=="), "235");
  }
};
POSTERN_IN_ALL_CUTS(SmtpCommitLoginTest);

TEST_P(SmtpCommitLoginTest, TheLoginsLegIsLetGo) {
  Login();
  bench_.After(std::chrono::seconds(11));
  EXPECT_TRUE(b1().was_quit);
  EXPECT_EQ(Group("bc"), "250 250 250");
  EXPECT_EQ(Ask("DATA"), "354");
  EXPECT_EQ(b1().num_connections, 1);
  Text();
  EXPECT_EQ(bench_.Codes(), "250");
  EXPECT_EQ(b1().num_connections, 2);
}

TEST_P(SmtpCommitLoginTest, TheLoginsLegServesAQuickClient) {
  Login();
  EXPECT_EQ(Group("bc"), "250 250 250");
  EXPECT_EQ(CountLines(b1(), "MAIL"), 0);
  EXPECT_EQ(DataReply(), "250 2.0.0 Ok: queued as B1Q1\r\n");
  EXPECT_EQ(b1().num_connections, 1);
}

TEST_P(SmtpCommitLoginTest, ALegWithoutASecondStays) {
  b1().reauth = conf::Reauth::kNever;
  Login();
  bench_.After(std::chrono::seconds(60));
  EXPECT_EQ(Group("bc"), "250 250 250");
  EXPECT_EQ(CountLines(b1(), "MAIL"), 0);
  EXPECT_EQ(DataReply(), "250 2.0.0 Ok: queued as B1Q1\r\n");
  EXPECT_EQ(Group("b"), "250 250");
  EXPECT_EQ(Ask("DATA"), "354");
  bench_.LoseBack("B1");
  Text();
  EXPECT_EQ(bench_.Replies(), "451 4.4.1 No server can take this now\r\n");
  EXPECT_EQ(Group("b"), "250 451");
}

TEST_P(SmtpCommitLoginTest, ATextThatNobodyKeepsOrTakesIsReadToItsEnd) {
  b1().reauth = conf::Reauth::kNever;
  bench_.settings.replay_memory = bench_.settings.replay_limit = 0;
  Login();
  EXPECT_EQ(Group("b"), "250 250");
  EXPECT_EQ(Ask("DATA"), "354");
  bench_.LoseBack("B1");
  Text();
  EXPECT_EQ(bench_.Replies(), "451 4.4.1 No server can take this now\r\n");
}

}  // namespace
}  // namespace postern::proto
