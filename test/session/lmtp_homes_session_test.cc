// lmtp_homes_session_test: sessions of an lmtp listener whose recipients live at several homes.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "test/session/lmtp_case.h"

namespace postern::test {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;
using testing::StartsWith;

class LmtpHomesTest : public LmtpCase {
 protected:
  // "b1 2xx" and the like: backend and reply of every line, sorted.
  std::vector<std::string> Lines() {
    std::vector<std::string> lines;
    for (const metrics::TransactionAccount& each : world_.transactions)
      lines.push_back(each.backend + " " + each.reply.substr(0, 3));
    std::sort(lines.begin(), lines.end());
    return lines;
  }
  // More than all buffers on its way hold.
  static std::string LongText() {
    std::string text;
    while (text.size() < (8U << 20)) text += std::string(76, 'x') + "\r\n";
    return text;
  }
  double Transactions(const std::string& reply) {
    return world_.Metric("postern_smtp_transactions_total{listener=\"l\",reply=\"" + reply + "\"}");
  }
  double Recipients(const std::string& result) {
    return world_.Metric("postern_smtp_recipients_total{listener=\"l\",result=\"" + result + "\"}");
  }
};

TEST_F(LmtpHomesTest, EachGoesHome) {
  Hello();
  EXPECT_EQ(Envelope("bwc"), "250 250 250 250 354");
  EXPECT_EQ(Text("..dot\r\n"), "250 250 250");
  EXPECT_THAT(Messages(1).at(0).to, ElementsAre("b@y.example", "c@y.example"));
  EXPECT_THAT(Messages(3).at(0).to, ElementsAre("w@away.example"));
  EXPECT_EQ(Messages(1).at(0).text, "..dot\r\n");
  EXPECT_EQ(Messages(3).at(0).text, "..dot\r\n");
  EXPECT_THAT(Lines(), ElementsAre("b1 250", "b3 250"));
  EXPECT_EQ(world_.transactions.at(0).transaction, 1U);
  EXPECT_EQ(world_.transactions.at(1).transaction, 1U);
  EXPECT_EQ(Transactions("2xx"), 2);
  EXPECT_EQ(Recipients("accepted"), 3);
  EXPECT_EQ(world_.Metric("postern_command_duration_seconds_count{protocol=\"lmtp\",command=\"rcpt"
                          "\"}"),
            3);
}

TEST_F(LmtpHomesTest, TheSessionIsOne) {
  Hello();
  EXPECT_EQ(Envelope("bw"), "250 250 250 354");
  EXPECT_EQ(world_.Metric("postern_sessions_active{listener=\"l\",protocol=\"lmtp\"}"), 1);
  EXPECT_EQ(Text(), "250 250");
  EXPECT_THAT(world_.Ask("QUIT"), StartsWith("221 "));
  ASSERT_THAT(world_.accounts, SizeIs(1));
  EXPECT_EQ(world_.accounts[0].transactions, 1U);
  EXPECT_NE(world_.accounts[0].backend, "");
  EXPECT_EQ(world_.num_retired, 1);
}

TEST_F(LmtpHomesTest, LegsServeTheNextTransaction) {
  Hello();
  for (const char* recipients : {"bw", "wb", "b", "w"}) {
    (void)Envelope(recipients);
    EXPECT_THAT(Text(), StartsWith("250"));
  }
  EXPECT_EQ(world_.server(1).num_connections, 1);
  EXPECT_EQ(world_.server(3).num_connections, 1);
  EXPECT_EQ(Messages(1).size(), 3U);
  EXPECT_EQ(Messages(3).size(), 3U);
}

TEST_F(LmtpHomesTest, EachHearsItsOwnVerdict) {
  world_.server(1).answers[".b@"] = "452 4.2.2 full";
  world_.server(3).answers["."] = "552 5.2.2 full";
  Hello();
  EXPECT_EQ(Envelope("bwc"), "250 250 250 250 354");
  EXPECT_EQ(Text(), "452 552 250");
  EXPECT_THAT(Lines(), ElementsAre("b1 452", "b3 552"));
}

TEST_F(LmtpHomesTest, ARefusalAtRcptIsOnesOwn) {
  world_.server(3).answers["RCPT"] = "550 5.1.1 nobody";
  Hello();
  EXPECT_EQ(Envelope("bwc"), "250 250 550 250 354");
  EXPECT_EQ(Text(), "250 250");
  EXPECT_THAT(Messages(3), IsEmpty());
  EXPECT_EQ(Recipients("rejected"), 1);
}

TEST_F(LmtpHomesTest, ARefusalOfDataIsOnesOwn) {
  world_.server(3).answers["DATA"] = "451 4.3.0 not now";
  Hello();
  EXPECT_EQ(Envelope("bwc"), "250 250 250 250 354");
  EXPECT_EQ(Text(), "250 451 250");
}

TEST_F(LmtpHomesTest, WhereAllRefuseDataThereIsNoText) {
  world_.server(1).answers["DATA"] = "554 5.7.1 never";
  world_.server(3).answers["DATA"] = "451 4.3.0 not now";
  Hello();
  EXPECT_EQ(Envelope("bw"), "250 250 250 451");
  world_.server(3).answers.clear();
  EXPECT_EQ(Envelope("w"), "250 250 354");
  EXPECT_EQ(Text(), "250");
}

TEST_F(LmtpHomesTest, AHomeThatIsDownTouchesItsOwnOnly) {
  world_.state("b3").health = balance::Health::kDown;
  Hello();
  EXPECT_EQ(Envelope("w"), "250 451 503");
  EXPECT_EQ(Envelope("bwc"), "250 250 451 250 354");
  EXPECT_EQ(Text(), "250 250");
}

TEST_F(LmtpHomesTest, OneThatDiesBeforeTheDotTouchesItsOwnOnly) {
  Hello();
  EXPECT_EQ(Envelope("bwc"), "250 250 250 250 354");
  world_.server(3).stream()->Reset();
  EXPECT_EQ(Text(), "250 451 250");
  EXPECT_EQ(Messages(1).size(), 1U);
  EXPECT_THAT(Messages(3), IsEmpty());
}

TEST_F(LmtpHomesTest, OneThatDiesBehindTheDotTouchesItsOwnOnly) {
  world_.server(3).answers["."] = "reset";
  Hello();
  EXPECT_EQ(Envelope("bwc"), "250 250 250 250 354");
  EXPECT_EQ(Text(), "250 451 250");
  EXPECT_EQ(world_.Metric("postern_smtp_transactions_total{listener=\"l\",reply=\"4xx\"}"), 1);
}

TEST_F(LmtpHomesTest, OneThatHangsEndsByItsOwnDeadline) {
  world_.server(3).answers["."] = "hang";
  Hello();
  EXPECT_EQ(Envelope("bwc"), "250 250 250 250 354");
  EXPECT_EQ(Text(), "250");
  world_.Wait(world_.listener().timeouts.data_done);
  EXPECT_EQ(world_.Codes(), "451 250");
}

TEST_F(LmtpHomesTest, TheMessageMovesWithinItsHome) {
  Hello();
  EXPECT_EQ(Envelope("bwc"), "250 250 250 250 354");
  world_.Send("first\r\n");
  world_.Settle();
  world_.server(1).stream()->Reset();
  EXPECT_EQ(Text(), "250 250 250");
  EXPECT_EQ(Messages(2).at(0).text, "first\r\nhello\r\n");
  EXPECT_EQ(Messages(3).at(0).text, "first\r\nhello\r\n");
}

TEST_F(LmtpHomesTest, WhatIsLongMovesFromAFile) {
  world_.config.smtp.replay_memory = 1000;
  Hello();
  EXPECT_EQ(Envelope("bw"), "250 250 250 354");
  std::string text;
  while (text.size() < (200U << 10)) text += std::string(76, 'x') + "\r\n";
  world_.Send(text);
  world_.Wait(std::chrono::seconds(10));
  world_.server(1).stream()->Reset();
  world_.Wait(std::chrono::seconds(10));
  EXPECT_EQ(Text(), "250 250");
  EXPECT_EQ(Messages(2).at(0).text, text + "hello\r\n");
  EXPECT_EQ(Messages(3).at(0).text, text + "hello\r\n");
}

TEST_F(LmtpHomesTest, AClientThatIsLostBehindTheDotHasALineForEachHome) {
  world_.server(3).answers["."] = "hang";
  Hello();
  EXPECT_EQ(Envelope("bw"), "250 250 250 354");
  EXPECT_EQ(Text(), "250");
  world_.client().Reset();
  world_.Settle();
  EXPECT_THAT(Lines(), ElementsAre("b1 250", "b3 "));
  EXPECT_EQ(Messages(3).size(), 1U);
}

TEST_F(LmtpHomesTest, ASlowHomeSlowsTheClient) {
  world_.server(3).reads_nothing = true;
  Hello();
  EXPECT_EQ(Envelope("bw"), "250 250 250 354");
  const std::string text = LongText();
  world_.Send(text);
  world_.Settle();
  EXPECT_GT(world_.client().Unsent(), 1U << 20);
  EXPECT_EQ(world_.Codes(), "");
  world_.server(3).ReadAgain();
  world_.Wait(std::chrono::seconds(10));
  EXPECT_EQ(Text(), "250 250");
  EXPECT_EQ(Messages(1).at(0).text, text + "hello\r\n");
  EXPECT_EQ(Messages(3).at(0).text, text + "hello\r\n");
}

TEST_F(LmtpHomesTest, AHomeThatReadsNothingIsLeftBehind) {
  world_.server(3).reads_nothing = true;
  Hello();
  EXPECT_EQ(Envelope("bw"), "250 250 250 354");
  const std::string text = LongText();
  world_.Send(text);
  world_.Wait(world_.listener().timeouts.data_block);
  world_.Wait(std::chrono::seconds(10));
  EXPECT_EQ(Text(), "250 451");
  world_.server(3).ReadAgain();
}

TEST_F(LmtpHomesTest, NothingIsCompletedForAClientThatIsLost) {
  Hello();
  EXPECT_EQ(Envelope("bw"), "250 250 250 354");
  world_.Send("hel");
  world_.Settle();
  world_.client().Reset();
  world_.Settle();
  EXPECT_THAT(Messages(1), IsEmpty());
  EXPECT_THAT(Messages(3), IsEmpty());
  ASSERT_THAT(world_.transactions, SizeIs(1));
  EXPECT_THAT(world_.transactions[0].to, ElementsAre("b@y.example", "w@away.example"));
  EXPECT_EQ(Transactions("lost"), 1);
}

TEST_F(LmtpHomesTest, WhatPosternRefusesIsRefusedForEach) {
  Hello();
  EXPECT_EQ(Envelope("bwc"), "250 250 250 250 354");
  EXPECT_EQ(Text("bare\nnewline\r\n"), "550 550 550");
  EXPECT_THAT(Lines(), ElementsAre(" 550"));
  EXPECT_EQ(world_.Metric("postern_smtp_bare_newlines_total{listener=\"l\"}"), 1);
  EXPECT_EQ(Envelope("bw"), "250 250 250 354");
  EXPECT_EQ(Text(), "250 250");
}

TEST_F(LmtpHomesTest, WhatNoHomeHasSeenIsWrittenDownToo) {
  Hello();
  EXPECT_EQ(Envelope("n"), "250 550 503");
  EXPECT_THAT(Lines(), ElementsAre(" 503"));
  EXPECT_EQ(Envelope("bnw"), "250 250 550 250 354");
  EXPECT_EQ(Text(), "250 250");
}

TEST_F(LmtpHomesTest, ATransactionThatIsGivenUpIsOneLine) {
  Hello();
  world_.Send(
      "MAIL FROM:<a@x.example>\r\nRCPT TO:<b@y.example>\r\nRCPT TO:<w@away.example>\r\nRSET"
      "\r\n");
  EXPECT_EQ(world_.Codes(), "250 250 250 250");
  EXPECT_THAT(world_.transactions, SizeIs(1));
  EXPECT_EQ(Envelope("bw"), "250 250 250 354");
  EXPECT_EQ(Text(), "250 250");
  EXPECT_EQ(world_.server(1).num_connections, 1);
  EXPECT_THAT(world_.transactions, SizeIs(3));
}

TEST_F(LmtpHomesTest, EachUserOfAnExclusivePoolGoesWhereItIs) {
  world_.config.pools[0].storage = conf::Storage::kExclusive;
  const auto other = world_.held_users.Take("p", "c@y.example", "b2");
  Hello();
  EXPECT_EQ(Envelope("bcdw"), "250 250 250 250 250 354");
  EXPECT_EQ(Text(), "250 250 250 250");
  EXPECT_EQ(Messages(1).size(), 2U);
  EXPECT_THAT(Messages(2).at(0).to, ElementsAre("c@y.example"));
}

TEST_F(LmtpHomesTest, AStoreThatTakesNoMoreIsAskedInAnotherTransaction) {
  world_.server(1).answers["RCPT TO:<c@"] = "452 4.5.3 too many";
  Hello();
  EXPECT_EQ(Envelope("bc"), "250 250 452 354");
  EXPECT_EQ(world_.server(1).num_connections, 2);
  EXPECT_EQ(Text(), "250");
}

TEST_F(LmtpHomesTest, ChunksGoHomeAsText) {
  Hello();
  world_.Send(
      "MAIL FROM:<a@x.example>\r\nRCPT TO:<b@y.example>\r\nRCPT TO:<w@away.example>\r\n"
      "BDAT 6\r\n.dot\r\nBDAT 0 LAST\r\n");
  EXPECT_EQ(world_.Codes(), "250 250 250 250 250 250");
  EXPECT_EQ(Messages(1).at(0).text, "..dot\r\n");
  EXPECT_EQ(Messages(3).at(0).text, "..dot\r\n");
}

TEST_F(LmtpHomesTest, LinesTellTheClientsTls) {
  world_.listener().tls = conf::TlsMode::kImplicit;
  world_.listener().require_tls = true;
  world_.is_in_tls = true;
  Hello();
  EXPECT_EQ(Envelope("bw"), "250 250 250 354");
  EXPECT_EQ(Text(), "250 250");
  for (const metrics::TransactionAccount& each : world_.transactions)
    EXPECT_NE(each.tls_version, "") << each.backend;
}

TEST_F(LmtpHomesTest, AnEndpointThatGoesDownIsLeft) {
  Hello();
  EXPECT_EQ(Envelope("bw"), "250 250 250 354");
  world_.state("b1").health = balance::Health::kDown;
  world_.session->LeaveEndpoint(world_.state("b1"));
  EXPECT_EQ(Text(), "250 250");
  EXPECT_EQ(Messages(2).size(), 1U);
}

TEST_F(LmtpHomesTest, AReloadBetweenTransactionsHolds) {
  Hello();
  EXPECT_EQ(Envelope("bw"), "250 250 250 354");
  EXPECT_EQ(Text(), "250 250");
  world_.Reload();
  EXPECT_EQ(Envelope("bw"), "250 250 250 354");
  EXPECT_EQ(Text(), "250 250");
  EXPECT_EQ(world_.server(1).num_connections, 2);
}

TEST_F(LmtpHomesTest, EndsFromOutsideInTheMiddle) {
  Hello();
  EXPECT_EQ(Envelope("bw"), "250 250 250 354");
  world_.session->Kill(base::SessionResult::kShutdown);
  EXPECT_EQ(world_.Codes(), "421");
  EXPECT_EQ(world_.server(1).num_open(), 0);
  EXPECT_EQ(world_.server(3).num_open(), 0);
}

TEST_F(LmtpHomesTest, ATransactionOfNobodyBehindOneThatWasDeliveredIsALineToo) {
  Hello();
  EXPECT_EQ(Envelope("bw"), "250 250 250 354");
  EXPECT_EQ(Text(), "250 250");
  EXPECT_EQ(Envelope("n"), "250 550 503");
  EXPECT_THAT(Lines(), ElementsAre(" 503", "b1 250", "b3 250"));
  EXPECT_EQ(Transactions("5xx"), 1);
}

TEST_F(LmtpHomesTest, WhoComesBehindARefusalGoesWhereItIsHeldToo) {
  world_.config.pools[0].storage = conf::Storage::kExclusive;
  world_.server(1).answers["RCPT TO:<b@"] = "550 5.1.1 nobody";
  const auto other = world_.held_users.Take("p", "c@y.example", "b2");
  Hello();
  EXPECT_THAT(world_.Ask("MAIL FROM:<a@x.example>"), StartsWith("250"));
  EXPECT_THAT(world_.Ask("RCPT TO:<b@y.example>"), StartsWith("550"));
  EXPECT_THAT(world_.Ask("RCPT TO:<c@y.example>"), StartsWith("250"));
  EXPECT_THAT(world_.Ask("DATA"), StartsWith("354"));
  EXPECT_EQ(Text(), "250");
  EXPECT_THAT(Messages(1), IsEmpty());
  EXPECT_THAT(Messages(2), SizeIs(1));
}

TEST_F(LmtpHomesTest, WhatIsGivenUpHoldsNobody) {
  world_.config.pools[0].storage = conf::Storage::kExclusive;
  Hello();
  world_.Send("MAIL FROM:<a@x.example>\r\nRCPT TO:<b@y.example>\r\n");
  EXPECT_EQ(world_.Codes(), "250 250");
  EXPECT_EQ(world_.held_users.HolderOf("p", "b@y.example"), "b1");
  EXPECT_THAT(world_.Ask("RSET"), StartsWith("250"));
  EXPECT_EQ(world_.held_users.HolderOf("p", "b@y.example"), "");
}

TEST_F(LmtpHomesTest, AReloadBehindWhatWasGivenUpHolds) {
  world_.config.pools[0].storage = conf::Storage::kExclusive;
  Hello();
  std::string group = "MAIL FROM:<a@x.example>\r\n";
  for (const char user : {'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j', 'k'})
    group += std::string("RCPT TO:<") + user + "@y.example>\r\n";
  world_.Send(group + "RSET\r\n");
  EXPECT_EQ(world_.Codes(), "250 250 250 250 250 250 250 250 250 250 250 250");
  world_.Reload();
  EXPECT_EQ(Envelope("b"), "250 250 354");  // one of these ten legs serves it
  EXPECT_EQ(Text(), "250");
}

TEST_F(LmtpHomesTest, NoLineHasWhatWasGivenUpBefore) {
  Hello();
  world_.Send("MAIL FROM:<a@x.example>\r\nRCPT TO:<b@y.example>\r\nRSET\r\n");
  EXPECT_EQ(world_.Codes(), "250 250 250");
  EXPECT_EQ(Envelope("b"), "250 250 354");
  EXPECT_EQ(Text(), "250");
  EXPECT_EQ(world_.transactions.back().commands, 4U);  // MAIL, RCPT, DATA, the text
}

TEST_F(LmtpHomesTest, AReplyThatIsTooLongIsOnesOwnLoss) {
  world_.listener().limits.line = 512;
  world_.server(3).answers["."] = "250 2.0.0 " + std::string(700, 'x');
  Hello();
  EXPECT_EQ(Envelope("wb"), "250 250 250 354");
  EXPECT_EQ(Text(), "451 250");
  EXPECT_THAT(Lines(), ElementsAre("b1 250", "b3 451"));
}

TEST_F(LmtpHomesTest, TheDotsOfChunksMakeNoMessageTooLarge) {
  world_.listener().limits.message = 1000;
  Hello();
  std::string text;
  while (text.size() < 900) text += ".\r\n";
  world_.Send("MAIL FROM:<a@x.example>\r\nRCPT TO:<b@y.example>\r\nBDAT 900 LAST\r\n" + text);
  EXPECT_EQ(world_.Codes(), "250 250 250");
  EXPECT_THAT(Messages(1), SizeIs(1));
}

}  // namespace
}  // namespace postern::test
