// smtp_session_test: whole SMTP sessions in memory, on virtual time: streams, endpoints, load,
// metrics and accounts.
// SPDX-License-Identifier: Apache-2.0
#include "lb/session/smtp_session.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <string>
#include <vector>

#include "test/support/smtp_world.h"

namespace postern::test {
namespace {

using base::Phase;
using base::SessionResult;
using conf::Protocol;
using conf::TlsMode;
using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;

class SmtpSessionTest : public testing::Test {
 protected:
  double Failures(const std::string& backend, const std::string& phase, const std::string& kind) {
    return world_.Metric("postern_backend_failures_total{backend=\"" + backend +
                         "\",protocol=\"smtp\",phase=\"" + phase + "\",kind=\"" + kind + "\"}");
  }
  uint32_t Active(const std::string& backend) {
    return world_.state(backend).load[0].active.load();
  }

  SmtpWorld world_;
};

TEST_F(SmtpSessionTest, DeliversAndWritesItDown) {
  world_.Hello();
  EXPECT_EQ(world_.Deliver(), "250 250 354 250");
  ASSERT_EQ(world_.server(1).messages.size(), 1U);
  EXPECT_EQ(world_.server(1).messages[0].text, "hello\r\n");
  EXPECT_THAT(world_.Ask("QUIT"), StartsWith("221 "));
  EXPECT_TRUE(world_.client_sees_end());

  ASSERT_EQ(world_.transactions.size(), 1U);
  const metrics::TransactionAccount& transaction = world_.transactions[0];
  EXPECT_EQ(transaction.session, 0x1234U);
  EXPECT_EQ(transaction.transaction, 1U);
  EXPECT_EQ(transaction.backend, "b1");
  EXPECT_EQ(transaction.from, "a@x.example");
  EXPECT_THAT(transaction.to, ElementsAre("b@y.example"));
  EXPECT_EQ(transaction.size, 7U);
  EXPECT_EQ(transaction.queue_id, "b1Q1");
  EXPECT_EQ(transaction.commands, 5U);  // EHLO, MAIL, RCPT, DATA, the text
  EXPECT_EQ(transaction.bytes_in, 21U + 25U + 23U + 6U + 10U);
  EXPECT_EQ(transaction.tls_version, "");
  EXPECT_GT(transaction.phases_ms[static_cast<size_t>(Phase::kConnect)], 0);
  EXPECT_GT(transaction.phases_ms[static_cast<size_t>(Phase::kDataReply)], 0);

  ASSERT_EQ(world_.accounts.size(), 1U);
  const metrics::SessionAccount& account = world_.accounts[0];
  EXPECT_EQ(account.cause.result, SessionResult::kClientQuit);
  EXPECT_EQ(account.backend, "b1");
  EXPECT_EQ(account.commands, 6U);  // EHLO, MAIL, RCPT, DATA, the text, QUIT
  EXPECT_EQ(account.transactions, 1U);
  EXPECT_LT(transaction.bytes_out, account.bytes_out);
  EXPECT_GT(transaction.bytes_out, 100U);
  EXPECT_EQ(account.bytes_in, 21U + 25U + 23U + 6U + 10U + 6U);
  EXPECT_EQ(world_.Metric("postern_smtp_transactions_total{listener=\"l\",reply=\"2xx\"}"), 1);
  EXPECT_EQ(world_.Metric("postern_smtp_recipients_total{listener=\"l\",result=\"accepted\"}"), 1);
  EXPECT_EQ(world_.Metric("postern_plaintext_sessions_total{side=\"front\",protocol=\"smtp\"}"), 1);
  EXPECT_EQ(world_.Metric("postern_plaintext_sessions_total{side=\"back\",protocol=\"smtp\"}"), 1);
  EXPECT_EQ(world_.Metric(
                "postern_sessions_total{listener=\"l\",protocol=\"smtp\",result=\"client_quit\"}"),
            1);
  EXPECT_EQ(world_.Metric("postern_backend_sessions_total{backend=\"b1\",protocol=\"smtp\",result="
                          "\"client_quit\"}"),
            1);
  EXPECT_EQ(world_.Metric("postern_bytes_total{listener=\"l\",side=\"front\",direction=\"in\"}"),
            static_cast<double>(account.bytes_in));
}

TEST_F(SmtpSessionTest, ChargesEachTransactionWithItsOwn) {
  world_.Hello();
  EXPECT_EQ(world_.Deliver(), "250 250 354 250");
  EXPECT_EQ(world_.Deliver("b@y.example", "a longer text\r\n"), "250 250 354 250");
  ASSERT_EQ(world_.transactions.size(), 2U);
  EXPECT_EQ(world_.transactions[1].commands, 4U);
  EXPECT_EQ(world_.transactions[1].bytes_in, 25U + 23U + 6U + 18U);
}

TEST_F(SmtpSessionTest, PassesChunksOn) {
  world_.server(1).keywords.emplace_back("CHUNKING");
  world_.Hello();
  world_.Send("MAIL FROM:<a@x.example>\r\nRCPT TO:<b@y.example>\r\n");
  world_.Send("BDAT 7\r\nfirst\r\nBDAT 6 LAST\r\n.\r\n.\r\n");
  EXPECT_EQ(world_.Codes(), "250 250 250 250");
  ASSERT_EQ(world_.server(1).messages.size(), 1U);
  EXPECT_EQ(world_.server(1).messages[0].text, "first\r\n.\r\n.\r\n");
  EXPECT_TRUE(world_.server(1).messages[0].is_chunked);
  ASSERT_EQ(world_.transactions.size(), 1U);
  EXPECT_EQ(world_.transactions[0].size, 13U);
  EXPECT_EQ(world_.transactions[0].queue_id, "b1Q1");
  EXPECT_EQ(world_.transactions[0].commands, 5U);  // EHLO, MAIL, RCPT, BDAT twice
}

// For good only where every server of the pool has been asked.
TEST_F(SmtpSessionTest, RefusesForNowWhatAServerThatIsAwayMightTake) {
  for (int i = 1; i <= 2; ++i) world_.server(i).keywords = {"PIPELINING"};
  world_.Hello();
  world_.state("b2").admin = balance::AdminState::kDrain;
  world_.Send("MAIL FROM:<a@x.example> BODY=8BITMIME\r\nRCPT TO:<b@y.example>\r\nRSET\r\n");
  EXPECT_EQ(world_.Codes(), "250 451 250");
  world_.state("b2").admin = balance::AdminState::kReady;
  world_.Send("MAIL FROM:<a@x.example> BODY=8BITMIME\r\nRCPT TO:<b@y.example>\r\n");
  EXPECT_EQ(world_.Codes(), "250 554");
}

TEST_F(SmtpSessionTest, PassesALargeMessageInChunksThroughSmallWindows) {
  world_.net.options.window_bytes = 3000;
  world_.net.options.cut = SimCut::kRandom;
  std::string text;
  for (int i = 0; i < 20000; ++i) text += "line " + std::to_string(i) + "\r\n.\r\n";
  world_.server(1).keywords.emplace_back("CHUNKING");
  world_.Hello();
  world_.Send("MAIL FROM:<a@x.example>\r\nRCPT TO:<b@y.example>\r\n");
  world_.Send("BDAT " + std::to_string(text.size()) + "\r\n" + text + "BDAT 0 LAST\r\n");
  world_.Wait(seconds(60));
  EXPECT_EQ(world_.Codes(), "250 250 250 250");
  ASSERT_EQ(world_.server(1).messages.size(), 1U);
  EXPECT_EQ(world_.server(1).messages[0].text, text);
}

TEST_F(SmtpSessionTest, ByteByByteIsTheSame) {
  world_.net.options.cut = SimCut::kByByte;
  world_.Hello();
  EXPECT_EQ(world_.Deliver("b@y.example", "..a\r\nb\r\n"), "250 250 354 250");
  EXPECT_EQ(world_.server(1).messages[0].text, "..a\r\nb\r\n");
}

TEST_F(SmtpSessionTest, StartsTlsOnBothLegs) {
  world_.listener().tls = TlsMode::kStartTls;
  world_.listener().require_tls = true;
  world_.endpoint(1).tls = TlsMode::kStartTls;
  world_.server(1).keywords.push_back("STARTTLS");
  world_.Hello();
  EXPECT_EQ(world_.Deliver(), "530 503 503");
  EXPECT_THAT(world_.Ask("STARTTLS"), StartsWith("220 "));
  world_.StartClientTls();
  world_.Line("EHLO client.example");
  EXPECT_EQ(world_.Codes(), "250");
  EXPECT_EQ(world_.Deliver(), "250 250 354 250");
  EXPECT_TRUE(world_.server(1).stream()->in_tls());
  (void)world_.Ask("QUIT");
  EXPECT_EQ(world_.accounts[0].tls_version, "TLSv1.3");
  EXPECT_EQ(world_.transactions.back().tls_version, "TLSv1.3");
  EXPECT_EQ(world_.transactions.back().tls_cipher, world_.accounts[0].tls_cipher);
  EXPECT_EQ(world_.Metric("postern_plaintext_sessions_total{side=\"back\",protocol=\"smtp\"}"), 0);
}

TEST_F(SmtpSessionTest, ServesAClientInTlsAndABackendWithImplicitTls) {
  world_.is_in_tls = true;
  world_.endpoint(1).tls = TlsMode::kImplicit;
  world_.server(1).is_implicit = true;
  world_.Hello();
  EXPECT_EQ(world_.Deliver(), "250 250 354 250");
}

TEST_F(SmtpSessionTest, LeavesABackendWithAWrongCertificate) {
  world_.endpoint(1).tls = TlsMode::kImplicit;
  world_.server(1).is_implicit = true;
  world_.net.SetBadCertificate(*base::SocketAddress::Parse("10.0.0.1:25"), true);
  world_.Hello();
  EXPECT_EQ(world_.Deliver(), "250 250 354 250");
  EXPECT_EQ(world_.server(2).messages.size(), 1U);
  EXPECT_THAT(world_.server(1).lines, IsEmpty());
  EXPECT_EQ(Failures("b1", "tls", "tls_verify"), 1);
  EXPECT_EQ(world_.Metric("postern_tls_handshakes_total{side=\"back\",version=\"\",group=\"\","
                          "resumed=\"false\",result=\"failed\"}"),
            1);
  EXPECT_TRUE(world_.state("b1").InCooldown(world_.loop.Now()));
}

TEST_F(SmtpSessionTest, SaysNothingWithinAHandshakeThatOutlastsTheLogin) {
  world_.listener().tls = TlsMode::kStartTls;
  world_.listener().timeouts.login = seconds(5);
  world_.Hello();
  EXPECT_THAT(world_.Ask("STARTTLS"), StartsWith("220 "));
  world_.Wait(seconds(6));
  EXPECT_EQ(world_.Read(), "");
  EXPECT_TRUE(world_.client_sees_end());
  ASSERT_EQ(world_.accounts.size(), 1U);
  EXPECT_EQ(world_.accounts[0].cause.why, "took too long to begin");
}

TEST_F(SmtpSessionTest, EndsOnBytesBehindStartTls) {
  world_.listener().tls = TlsMode::kStartTls;
  world_.Hello();
  world_.Send("STARTTLS\r\nMAIL FROM:<evil@x.example>\r\n");
  EXPECT_THAT(world_.Read(), StartsWith("501 5.5.2"));
  EXPECT_TRUE(world_.client_sees_end());
}

TEST_F(SmtpSessionTest, EndsAHandshakeThatHangs) {
  world_.listener().tls = TlsMode::kStartTls;
  world_.Hello();
  EXPECT_THAT(world_.Ask("STARTTLS"), StartsWith("220 "));
  world_.Wait(seconds(11));
  EXPECT_TRUE(world_.client_sees_end());
  EXPECT_EQ(world_.accounts[0].cause.phase, Phase::kTls);
}

// --- endpoints --------------------------------------------------------------------------------

TEST_F(SmtpSessionTest, PassesOverWhoRefusesAndLetsItCool) {
  world_.net.SetDoor(*base::SocketAddress::Parse("10.0.0.1:25"), SimNet::Door::kRefuses);
  world_.Hello();
  EXPECT_EQ(world_.Deliver(), "250 250 354 250");
  EXPECT_EQ(world_.server(2).messages.size(), 1U);
  EXPECT_EQ(Failures("b1", "connect", "refused"), 1);
  EXPECT_EQ(world_.Metric("postern_retries_total{protocol=\"smtp\",reason=\"refused\"}"), 1);
  EXPECT_TRUE(world_.state("b1").InCooldown(world_.loop.Now()));
}

TEST_F(SmtpSessionTest, TriesTheOtherAddressOfABackend) {
  world_.addresses["b1"] = {*base::IpAddress::Parse("10.0.9.9"),
                            *base::IpAddress::Parse("10.0.0.1")};
  world_.Hello();
  EXPECT_EQ(world_.Deliver(), "250 250 354 250");
  EXPECT_EQ(world_.server(1).messages.size(), 1U);
  EXPECT_EQ(Failures("b1", "connect", "refused"), 0);
}

TEST_F(SmtpSessionTest, BlamesNoBackendForAShortageOfOurOwn) {
  world_.net.SetDoor(*base::SocketAddress::Parse("10.0.0.1:25"), SimNet::Door::kShort);
  world_.Hello();
  EXPECT_EQ(world_.Deliver(), "250 250 354 250");
  EXPECT_EQ(world_.server(2).messages.size(), 1U);
  EXPECT_FALSE(world_.state("b1").InCooldown(world_.loop.Now()));
  EXPECT_EQ(world_.state("b1").ActiveSum(), 0U);
  for (const char* kind : {"refused", "timeout", "tls_verify", "tempfail", "protocol", "lost"}) {
    EXPECT_EQ(Failures("b1", "connect", kind), 0) << kind;
    EXPECT_EQ(world_.Metric("postern_retries_total{protocol=\"smtp\",reason=\"" +
                            std::string(kind) + "\"}"),
              0)
        << kind;
  }
}

TEST_F(SmtpSessionTest, LetsNoClientTakeABackendAway) {
  world_.server(1).answers["MAIL"] = "421 4.3.2 not for you";
  world_.Hello();
  EXPECT_EQ(world_.Deliver(), "250 250 354 250");
  EXPECT_EQ(Failures("b1", "mail", "tempfail"), 1);
  EXPECT_FALSE(world_.state("b1").InCooldown(world_.loop.Now()));
  EXPECT_EQ(world_.Metric("postern_smtp_replays_total{reason=\"tempfail\"}"), 1);
}

TEST_F(SmtpSessionTest, SaysNoServerWhereAllAreDown) {
  world_.Hello();
  world_.state("b1").health = balance::Health::kDown;
  world_.state("b2").health = balance::Health::kDown;
  EXPECT_EQ(world_.Deliver(), "250 451 554");
  world_.state("b2").health = balance::Health::kUp;
  EXPECT_EQ(world_.Deliver(), "250 250 354 250");
}

TEST_F(SmtpSessionTest, RoutesRecipients) {
  world_.Hello();
  world_.Send(
      "MAIL FROM:<a@x.example>\r\nRCPT TO:<c@away.example>\r\nRCPT TO:<b@y.example>\r\n"
      "RCPT TO:<d@nowhere.example>\r\n");
  EXPECT_EQ(world_.Codes(), "250 250 452 550");
  EXPECT_EQ(Active("b3"), 1U);
  EXPECT_EQ(
      world_.Metric("postern_smtp_recipients_total{listener=\"l\",result=\"deferred_other_home\"}"),
      1);
  EXPECT_EQ(world_.Metric("postern_route_decisions_total{route=\"r\",rule=\"away\",pool=\"q\"}"),
            1);
}

// --- legs -------------------------------------------------------------------------------------

TEST_F(SmtpSessionTest, HoldsNoLoadWhileItIsIdle) {
  world_.Hello();
  EXPECT_EQ(Active("b1"), 0U);
  world_.Send("MAIL FROM:<a@x.example>\r\nRCPT TO:<b@y.example>\r\n");
  EXPECT_EQ(world_.Codes(), "250 250");
  EXPECT_EQ(Active("b1"), 1U);
  EXPECT_THAT(world_.Ask("RSET"), StartsWith("250 "));
  EXPECT_EQ(Active("b1"), 0U);
  EXPECT_EQ(world_.server(1).num_open(), 1);
  EXPECT_EQ(world_.Deliver(), "250 250 354 250");
  EXPECT_EQ(world_.server(1).num_connections, 1);
}

TEST_F(SmtpSessionTest, LeavesAnIdleLegWhoseBackendIsDraining) {
  world_.Hello();
  EXPECT_EQ(world_.Deliver(), "250 250 354 250");
  world_.state("b1").admin = balance::AdminState::kDrain;
  EXPECT_EQ(world_.Deliver(), "250 250 354 250");
  EXPECT_EQ(world_.server(2).messages.size(), 1U);
  EXPECT_EQ(world_.server(1).num_open(), 0);
}

TEST_F(SmtpSessionTest, LeavesAnIdleLegWhoseQueueIsOverItsLimit) {
  world_.Hello();
  EXPECT_EQ(world_.Deliver(), "250 250 354 250");
  world_.state("b1").is_above_hard = true;
  EXPECT_EQ(world_.Deliver(), "250 250 354 250");
  EXPECT_EQ(world_.server(1).messages.size(), 1U);
  EXPECT_EQ(world_.server(2).messages.size(), 1U);
  EXPECT_EQ(world_.server(1).num_open(), 0);
}

TEST_F(SmtpSessionTest, KeepsAnIdleLegOverItsLimitWhereNobodyBelowCanTakeWork) {
  world_.Hello();
  EXPECT_EQ(world_.Deliver(), "250 250 354 250");
  world_.state("b1").is_above_hard = true;
  world_.state("b2").is_above_hard = true;
  EXPECT_EQ(world_.Deliver(), "250 250 354 250");
  world_.state("b2").is_above_hard = false;
  world_.state("b2").admin = balance::AdminState::kDrain;
  EXPECT_EQ(world_.Deliver(), "250 250 354 250");
  world_.state("b2").admin = balance::AdminState::kReady;
  world_.state("b2").health = balance::Health::kDown;
  EXPECT_EQ(world_.Deliver(), "250 250 354 250");
  EXPECT_EQ(world_.server(1).messages.size(), 4U);
  EXPECT_EQ(world_.server(1).num_connections, 1);
}

// As the picker would have it: what is hashed has one place.
TEST_F(SmtpSessionTest, KeepsAnIdleLegOverItsLimitWhereThePoolHashes) {
  world_.config.pools[0].balance = conf::Balance::kHash;
  world_.Hello();
  EXPECT_EQ(world_.Deliver(), "250 250 354 250");
  const int first = world_.server(1).messages.empty() ? 2 : 1;
  world_.state("b" + std::to_string(first)).is_above_hard = true;
  EXPECT_EQ(world_.Deliver(), "250 250 354 250");
  EXPECT_EQ(world_.server(first).messages.size(), 2U);
  EXPECT_EQ(world_.server(first).num_connections, 1);
}

TEST_F(SmtpSessionTest, OpensANewLegAfterAReload) {
  world_.Hello();
  EXPECT_EQ(world_.Deliver(), "250 250 354 250");
  world_.Reload();
  EXPECT_EQ(world_.Deliver(), "250 250 354 250");
  EXPECT_EQ(world_.server(1).num_connections, 2);
}

TEST_F(SmtpSessionTest, EndsAMessageOverAReload) {
  world_.Hello();
  world_.Send("MAIL FROM:<a@x.example>\r\nRCPT TO:<b@y.example>\r\n");
  EXPECT_EQ(world_.Codes(), "250 250");
  world_.config.pools[0].backends = {"b2"};
  world_.Reload();
  world_.Send("RCPT TO:<c@y.example>\r\nDATA\r\n");
  EXPECT_EQ(world_.Codes(), "250 354");
  world_.Send("x\r\n.\r\n");
  EXPECT_EQ(world_.Codes(), "250");
  EXPECT_EQ(world_.server(1).messages.size(), 1U);
  EXPECT_EQ(world_.Deliver(), "250 250 354 250");
  EXPECT_EQ(world_.server(2).messages.size(), 1U);
}

TEST_F(SmtpSessionTest, LearnsWhatALegSays) {
  world_.Hello();
  EXPECT_EQ(world_.Deliver(), "250 250 354 250");
  ASSERT_EQ(world_.learned.size(), 1U);
  EXPECT_EQ(world_.learned[0].first, "b1");
  EXPECT_THAT(world_.learned[0].second,
              ElementsAre("PIPELINING", "SIZE 10240000", "8BITMIME", "ENHANCEDSTATUSCODES"));
}

TEST_F(SmtpSessionTest, LearnsNothingThatIsKnown) {
  world_.Hello();
  auto facts = std::make_shared<balance::EndpointFacts>(*world_.state("b1").facts());
  facts->capabilities = world_.server(1).keywords;
  facts->has_capabilities = true;
  world_.state("b1").set_facts(facts);
  EXPECT_EQ(world_.Deliver(), "250 250 354 250");
  EXPECT_THAT(world_.learned, IsEmpty());
}

// --- bytes ------------------------------------------------------------------------------------

TEST_F(SmtpSessionTest, PassesALargeMessageThroughSmallWindows) {
  world_.net.options.window_bytes = 3000;
  world_.net.options.cut = SimCut::kRandom;
  std::string text;
  for (int i = 0; i < 20000; ++i) text += "line " + std::to_string(i) + "\r\n";
  world_.Hello();
  world_.Send("MAIL FROM:<a@x.example>\r\nRCPT TO:<b@y.example>\r\nDATA\r\n");
  EXPECT_EQ(world_.Codes(), "250 250 354");
  world_.Send(text + ".\r\n");
  world_.Wait(seconds(30));
  EXPECT_EQ(world_.Codes(), "250");
  ASSERT_EQ(world_.server(1).messages.size(), 1U);
  EXPECT_EQ(world_.server(1).messages[0].text, text);
}

TEST_F(SmtpSessionTest, StopsReadingWhileTheBackendTakesNothing) {
  world_.listener().limits.buffer = 10000;
  world_.net.options.window_bytes = 4000;
  world_.server(1).reads_nothing = true;
  world_.Hello();
  world_.Send("MAIL FROM:<a@x.example>\r\nRCPT TO:<b@y.example>\r\nDATA\r\n");
  EXPECT_EQ(world_.Codes(), "250 250 354");
  const std::string text = std::string(200000, 'x') + "\r\n";
  world_.Send(text + ".\r\n");
  world_.Wait(seconds(60));
  EXPECT_GT(world_.client().Unsent(), 100000U);  // it stays with the client
  world_.server(1).ReadAgain();
  world_.Wait(seconds(30));
  EXPECT_EQ(world_.Codes(), "250");
  EXPECT_EQ(world_.server(1).messages[0].text, text);
}

TEST_F(SmtpSessionTest, HoldsOneReadAndNoMoreWhileAllBuffersAreTaken) {
  world_.net.options.window_bytes = 4000;
  world_.is_short_of_buffers = true;
  world_.server(1).reads_nothing = true;
  world_.Hello();
  world_.Send("MAIL FROM:<a@x.example>\r\nRCPT TO:<b@y.example>\r\nDATA\r\n");
  EXPECT_EQ(world_.Codes(), "250 250 354");
  const std::string text = std::string(100000, 'x') + "\r\n";  // less than limits.buffer
  world_.Send(text + ".\r\n");
  world_.Wait(seconds(60));
  EXPECT_GT(world_.client().Unsent(), 60000U);
  world_.server(1).ReadAgain();
  world_.Wait(seconds(30));
  EXPECT_EQ(world_.Codes(), "250");
  EXPECT_EQ(world_.server(1).messages[0].text, text);
}

TEST_F(SmtpSessionTest, MovesAMessageFromAHungSocket) {
  world_.listener().limits.buffer = 10000;
  world_.net.options.window_bytes = 4000;
  world_.server(1).reads_nothing = true;
  world_.Hello();
  world_.Send("MAIL FROM:<a@x.example>\r\nRCPT TO:<b@y.example>\r\nDATA\r\n");
  EXPECT_EQ(world_.Codes(), "250 250 354");
  const std::string text = std::string(50000, 'x') + "\r\n";
  world_.Send(text + ".\r\n");
  world_.Wait(minutes(4));
  EXPECT_EQ(world_.Codes(), "250");
  ASSERT_EQ(world_.server(2).messages.size(), 1U);
  EXPECT_EQ(world_.server(2).messages[0].text, text);
  EXPECT_EQ(Failures("b1", "data", "timeout"), 1);
  world_.server(1).ReadAgain();  // its socket is found to be dead
}

TEST_F(SmtpSessionTest, StopsReadingCommandsOfAClientThatTakesNoReplies) {
  world_.listener().limits.buffer = 2000;
  world_.net.options.window_bytes = 1000;
  world_.Hello();
  world_.client().PauseReads();
  std::string many;
  for (int i = 0; i < 5000; ++i) many += "NOOP\r\n";
  world_.Send(many);
  world_.Wait(seconds(5));
  EXPECT_GT(world_.client().Unsent(), 10000U);
  world_.client().ResumeReads();
  world_.Wait(seconds(30));
  std::string replies = world_.Read();
  EXPECT_EQ(std::count(replies.begin(), replies.end(), '\n'), 5000);
}

// --- ends -------------------------------------------------------------------------------------

TEST_F(SmtpSessionTest, AnswersAClientThatHasClosedItsDirection) {
  world_.Hello();
  world_.Send("MAIL FROM:<a@x.example>\r\nRCPT TO:<b@y.example>\r\nDATA\r\n");
  EXPECT_EQ(world_.Codes(), "250 250 354");
  world_.Send("x\r\n.\r\nQUIT\r\n");
  world_.client().ShutdownWrite();
  EXPECT_EQ(world_.Codes(), "250 221");
  EXPECT_EQ(world_.accounts[0].cause.result, SessionResult::kClientQuit);
}

TEST_F(SmtpSessionTest, LeavesNothingBehindAClientThatResets) {
  world_.Hello();
  world_.Send("MAIL FROM:<a@x.example>\r\nRCPT TO:<b@y.example>\r\nDATA\r\nhalf");
  EXPECT_EQ(world_.Codes(), "250 250 354");
  world_.client().Reset();
  world_.Settle();
  EXPECT_EQ(world_.session, nullptr);
  EXPECT_EQ(world_.server(1).num_open(), 0);
  EXPECT_THAT(world_.server(1).messages, IsEmpty());
  EXPECT_EQ(world_.accounts[0].cause.result, SessionResult::kClientLost);
  EXPECT_EQ(world_.Metric("postern_smtp_transactions_total{listener=\"l\",reply=\"lost\"}"), 1);
}

TEST_F(SmtpSessionTest, MovesAMessageWhoseBackendResets) {
  world_.Hello();
  world_.Send("MAIL FROM:<a@x.example>\r\nRCPT TO:<b@y.example>\r\nDATA\r\none\r\n");
  EXPECT_EQ(world_.Codes(), "250 250 354");
  world_.server(1).stream()->Reset();
  world_.Send("two\r\n.\r\n");
  EXPECT_EQ(world_.Codes(), "250");
  EXPECT_EQ(world_.server(2).messages[0].text, "one\r\ntwo\r\n");
  EXPECT_EQ(world_.transactions[0].backend, "b2");
  EXPECT_EQ(world_.Metric("postern_smtp_replays_total{reason=\"lost\"}"), 1);
}

TEST_F(SmtpSessionTest, SaysUnknownOutcomeForABackendThatResetsAfterTheDot) {
  world_.server(1).answers["."] = "reset";
  world_.Hello();
  EXPECT_EQ(world_.Deliver(), "250 250 354 451");
  EXPECT_THAT(world_.server(2).messages, IsEmpty());
  EXPECT_EQ(Failures("b1", "data_reply", "lost"), 1);
  EXPECT_EQ(world_.Metric("postern_smtp_transactions_total{listener=\"l\",reply=\"4xx\"}"), 1);
}

TEST_F(SmtpSessionTest, DrainsBetweenTransactions) {
  world_.Hello();
  world_.Send("MAIL FROM:<a@x.example>\r\nRCPT TO:<b@y.example>\r\nDATA\r\n");
  EXPECT_EQ(world_.Codes(), "250 250 354");
  world_.session->BeginDrain();
  EXPECT_FALSE(world_.client_sees_end());
  world_.Send("x\r\n.\r\n");
  EXPECT_EQ(world_.Codes(), "250 421");
  EXPECT_EQ(world_.accounts[0].cause.result, SessionResult::kDrained);
}

TEST_F(SmtpSessionTest, SaysGoodbyeWhenItIsKilled) {
  world_.Hello();
  world_.session->Kill(SessionResult::kKicked);
  EXPECT_THAT(world_.Read(), StartsWith("421 4.3.2"));
  EXPECT_EQ(world_.accounts[0].cause.result, SessionResult::kKicked);
}

TEST_F(SmtpSessionTest, RefusesEarlyTalkersAndCountsThem) {
  world_.listener().greet_delay = seconds(3);
  world_.Begin();
  world_.Line("EHLO early.example");
  EXPECT_EQ(world_.Codes(), "554");
  EXPECT_TRUE(world_.client_sees_end());
  EXPECT_EQ(
      world_.Metric("postern_connections_rejected_total{listener=\"l\",reason=\"early_talker\"}"),
      1);
}

TEST_F(SmtpSessionTest, CountsBareNewlines) {
  world_.Hello();
  EXPECT_EQ(world_.Deliver("b@y.example", "a\nb\r\n"), "250 250 354 550");
  EXPECT_EQ(world_.Metric("postern_smtp_bare_newlines_total{listener=\"l\"}"), 1);
}

// --- who the client is ------------------------------------------------------------------------

TEST_F(SmtpSessionTest, LooksUpTheNameAtAccept) {
  world_.wants_peer_name = true;
  world_.endpoint(1).client_address = conf::ClientAddress::kXclient;
  world_.server(1).keywords.push_back("XCLIENT NAME ADDR");
  world_.Begin();
  ASSERT_EQ(world_.name_lookups.size(), 1U);
  world_.name_lookups[0]({base::PeerName::Kind::kName, "c.example"});
  world_.Line("EHLO client.example");
  EXPECT_EQ(world_.Codes(), "220 250");
  EXPECT_EQ(world_.Deliver(), "250 250 354 250");
  EXPECT_THAT(world_.server(1).lines, testing::Contains("XCLIENT NAME=c.example ADDR=192.0.2.7"));
  EXPECT_EQ(world_.name_lookups.size(), 1U);
}

TEST_F(SmtpSessionTest, BearsAnAnswerThatComesAfterTheEnd) {
  world_.wants_peer_name = true;
  world_.Begin();
  (void)world_.Ask("QUIT");
  EXPECT_EQ(world_.session, nullptr);
  world_.name_lookups[0]({base::PeerName::Kind::kName, "c.example"});
}

TEST_F(SmtpSessionTest, PutsAProxyHeaderBeforeTls) {
  world_.endpoint(1).client_address = conf::ClientAddress::kProxyV2;
  world_.endpoint(1).tls = TlsMode::kImplicit;
  world_.server(1).expects_proxy = true;
  world_.server(1).is_implicit = true;
  world_.Hello();
  EXPECT_EQ(world_.Deliver(), "250 250 354 250");
  EXPECT_EQ(world_.server(1).lines[0], "PROXY 192.0.2.7:4711");
}

// --- submission -------------------------------------------------------------------------------

class SubmissionSessionTest : public testing::Test {
 protected:
  SubmissionSessionTest() {
    for (int i = 1; i <= 3; ++i) world_.server(i).keywords.push_back("AUTH PLAIN");
  }
  static constexpr const char* kAuth = "AUTH PLAIN AGFsaWNlAHNlY3JldA==";
  SmtpWorld world_{Protocol::kSubmission};
};

TEST_F(SubmissionSessionTest, TheRecordSaysWhichBackendALoginHasFailedAt) {
  for (int backend = 1; backend <= 2; ++backend) world_.server(backend).answers["EHLO"] = "close";
  world_.Hello();
  EXPECT_THAT(world_.Ask(kAuth), StartsWith("454 "));
  (void)world_.Ask("QUIT");
  ASSERT_EQ(world_.accounts.size(), 1U);
  EXPECT_THAT(world_.accounts[0].cause.why, testing::HasSubstr("b2 hello lost"));
}

TEST_F(SubmissionSessionTest, LogsInAndDelivers) {
  world_.Hello();
  EXPECT_THAT(world_.Ask(kAuth), StartsWith("235 "));
  EXPECT_THAT(world_.auth_succeeded, ElementsAre("alice"));
  EXPECT_EQ(world_.session->user(), "alice");
  EXPECT_EQ(world_.Deliver("anybody@nowhere.example"), "250 250 354 250");
  (void)world_.Ask("QUIT");
  EXPECT_EQ(world_.accounts[0].user, "alice");
  EXPECT_EQ(world_.transactions[0].user, "alice");
  EXPECT_EQ(world_.Metric("postern_auth_attempts_total{protocol=\"submission\",mechanism=\"plain\","
                          "result=\"ok\"}"),
            1);
}

TEST_F(SubmissionSessionTest, WhereTlsIsRequiredNobodyLogsInWithoutIt) {
  world_.listener().tls = TlsMode::kStartTls;
  world_.listener().require_tls = true;
  world_.Hello();
  EXPECT_THAT(world_.Ask(kAuth), StartsWith("538 "));
  EXPECT_TRUE(world_.auth_succeeded.empty());
}

TEST_F(SubmissionSessionTest, CountsRefusalsAndHoldsNoLegMeanwhile) {
  world_.server(1).answers["AUTH"] = "535 5.7.8 no";
  world_.Hello();
  EXPECT_EQ(world_.Ask(kAuth), "");
  EXPECT_EQ(world_.server(1).num_open(), 0);
  EXPECT_THAT(world_.auth_failed, ElementsAre("alice"));
  world_.Wait(seconds(2));
  EXPECT_EQ(world_.Read(), "535 5.7.8 Authentication failed\r\n");
  EXPECT_EQ(world_.Metric("postern_backend_failures_total{backend=\"b1\",protocol=\"submission\","
                          "phase=\"login\",kind=\"tempfail\"}"),
            0);
}

TEST_F(SubmissionSessionTest, LetsABlockedUserReachNoBackend) {
  world_.is_auth_blocked = true;
  world_.Hello();
  EXPECT_EQ(world_.Ask(kAuth), "");
  world_.Wait(seconds(2));
  EXPECT_EQ(world_.Read(), "535 5.7.8 Authentication failed\r\n");
  EXPECT_EQ(world_.server(1).num_connections, 0);
  EXPECT_THAT(world_.auth_failed, IsEmpty());
}

TEST_F(SubmissionSessionTest, ChecksTheBlockAgainAtEachAttempt) {
  world_.server(1).answers["AUTH"] = "535 5.7.8 no";
  world_.Hello();
  (void)world_.Ask(kAuth);
  world_.Wait(seconds(3));
  EXPECT_EQ(world_.Codes(), "535");
  world_.is_auth_blocked = true;
  const int connections = world_.server(1).num_connections;
  (void)world_.Ask(kAuth);
  world_.Wait(seconds(3));
  EXPECT_EQ(world_.server(1).num_connections, connections);
}

TEST_F(SubmissionSessionTest, LogsInAgainOnTheNextBackend) {
  world_.Hello();
  EXPECT_THAT(world_.Ask(kAuth), StartsWith("235 "));
  world_.Send("MAIL FROM:<a@x.example>\r\nRCPT TO:<b@y.example>\r\nDATA\r\none\r\n");
  EXPECT_EQ(world_.Codes(), "250 250 354");
  world_.server(1).stream()->Reset();
  world_.Send("two\r\n.\r\n");
  EXPECT_EQ(world_.Codes(), "250");
  EXPECT_THAT(world_.server(2).lines, testing::Contains(kAuth));
  EXPECT_EQ(world_.server(2).messages.size(), 1U);
}

// --- pools that hash --------------------------------------------------------------------------

// Where a client's message for this recipient goes, in a pool that hashes.
int HashedTo(conf::HashOn hash_on, const std::string& client_address,
             const std::string& recipient) {
  SmtpWorld world;
  world.checks_metrics = false;
  world.config.pools[0].balance = conf::Balance::kHash;
  world.config.pools[0].hash_on = hash_on;
  world.client_address = client_address;
  world.Hello();
  EXPECT_EQ(world.Deliver(recipient), "250 250 354 250");
  return world.server(1).messages.empty() ? 2 : 1;
}

TEST(SmtpHashTest, TakesTheClientsAddressWhereThePoolSaysSo) {
  std::set<int> by_client, by_recipient;
  for (int i = 1; i <= 12; ++i) {
    const std::string number = std::to_string(i);
    const std::string client = "192.0.2." + number;
    const int place = HashedTo(conf::HashOn::kClient, client + ":1000", "b@y.example");
    EXPECT_EQ(HashedTo(conf::HashOn::kClient, client + ":2000", "c" + number + "@y.example"), place)
        << client;
    by_client.insert(place);
    by_recipient.insert(
        HashedTo(conf::HashOn::kUser, "192.0.2.1:1000", "c" + number + "@y.example"));
  }
  EXPECT_EQ(by_client.size(), 2U) << "clients are shared";
  EXPECT_EQ(by_recipient.size(), 2U) << "of one client too, where recipients are hashed";
}

}  // namespace
}  // namespace postern::test
