// smtp_mixed_test: recipients of several homes in one transaction: taken by an endpoint of all,
// relayed as a whole, or deferred.
// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "test/support/smtp_fixture.h"

namespace postern::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

// Everybody lives at B1 or B2, away@y.example at B3, both@y.example at B2 or B3.
class SmtpMixedTest : public SmtpFixture {
 protected:
  SmtpMixedTest() {
    bench_.homes["away@y.example"] = "B3";
    bench_.homes["both@y.example"] = "B3 B2";
  }
  FakeBackend& b3() { return bench_.backend("B3"); }
  FakeBackend& relay() { return bench_.backend("R1"); }
  void RelayTo(const std::string& backends) { bench_.relays[""] = backends; }
  static std::string Rcpt(const std::string& name) {
    return "RCPT TO:<" + name + "@y.example>\r\n";
  }
  void Group(const std::string& recipients) {
    bench_.Send("MAIL FROM:<a@x.example>\r\n" + recipients + "DATA\r\n");
  }
};

// --- an endpoint of all -------------------------------------------------------------------------

TEST_P(SmtpMixedTest, PrefersAnEndpointOfBothHomes) {
  Begin();
  Group(Rcpt("b") + Rcpt("both"));
  Text();
  EXPECT_EQ(bench_.Codes(), "250 250 250 354 250");
  ASSERT_EQ(b2().messages.size(), 1U);
  EXPECT_THAT(b2().messages[0].to, ElementsAre("b@y.example", "both@y.example"));
  EXPECT_EQ(b1().messages.size(), 0U);
  EXPECT_TRUE(b1().was_quit);
  EXPECT_EQ(CountEvents("replay") + CountEvents("retry"), 0);  // nobody has failed
}

TEST_P(SmtpMixedTest, PrefersItToTheRelay) {
  RelayTo("R1");
  Begin();
  Group(Rcpt("b") + Rcpt("both"));
  Text();
  EXPECT_EQ(bench_.Codes(), "250 250 250 354 250");
  EXPECT_EQ(b2().messages.size(), 1U);
  EXPECT_EQ(relay().num_connections, 0);
}

TEST_P(SmtpMixedTest, DefersWhereTheEndpointOfBothHasFailed) {
  b1().door = FakeBackend::Door::kRefuses;
  b2().door = FakeBackend::Door::kRefuses;
  bench_.homes["b@y.example"] = "B2 B1";
  Begin();
  Ask("MAIL FROM:<a@x.example>");
  b1().door = FakeBackend::Door::kOpen;
  EXPECT_EQ(Ask("RCPT TO:<b@y.example>"), "250");  // by B1
  EXPECT_EQ(Ask("RCPT TO:<both@y.example>"), "452");
  EXPECT_EQ(Ask("DATA"), "354");
}

// --- the relay ----------------------------------------------------------------------------------

TEST_P(SmtpMixedTest, DefersWithoutARelay) {
  Begin();
  Group(Rcpt("b") + Rcpt("away"));
  Text();
  EXPECT_EQ(bench_.Codes(), "250 250 452 354 250");
  EXPECT_EQ(b1().messages.size(), 1U);
  EXPECT_EQ(CountEvents("deferred"), 1);
}

TEST_P(SmtpMixedTest, RelaysTheWholeTransaction) {
  RelayTo("R1");
  Begin();
  Group(Rcpt("b") + Rcpt("away") + Rcpt("c"));
  Text();
  EXPECT_EQ(bench_.Codes(), "250 250 250 250 354 250");
  ASSERT_EQ(relay().messages.size(), 1U);
  EXPECT_EQ(relay().messages[0].from, "a@x.example");
  EXPECT_EQ(relay().messages[0].text, "hello\r\n");
  EXPECT_THAT(relay().messages[0].to, ElementsAre("b@y.example", "away@y.example", "c@y.example"));
  EXPECT_EQ(b1().messages.size() + b3().messages.size(), 0U);
  EXPECT_EQ(b3().num_connections, 0);
  EXPECT_EQ(relay().num_connections, 1);
  EXPECT_EQ(CountEvents("deferred") + CountEvents("replay") + CountEvents("retry"), 0);
  EXPECT_EQ(CountEvents("accepted"), 3);
}

TEST_P(SmtpMixedTest, RelaysBeforeTheFirstHomeHasAnswered) {
  RelayTo("R1");
  b1().answers["GREETING"] = {"hang"};
  Begin();
  Group(Rcpt("b") + Rcpt("away"));
  Text();
  EXPECT_EQ(bench_.Codes(), "250 250 250 354 250");
  EXPECT_EQ(relay().messages.size(), 1U);
  EXPECT_EQ(CountLines(b1(), "EHLO"), 0);
}

TEST_P(SmtpMixedTest, TakesTheRelaysVerdictOnWhoHasNoneYet) {
  RelayTo("R1");
  b1().answers["RCPT"] = {"hang"};
  relay().answers["RCPT b@y.example"] = {"550 5.1.1 nobody here"};
  Begin();
  Group(Rcpt("b") + Rcpt("away"));
  Text();
  EXPECT_EQ(bench_.Codes(), "250 550 250 354 250");
  // The fake notes whom it was asked about, too.
  EXPECT_THAT(bench_.outcomes.back().to, ElementsAre("away@y.example"));
}

TEST_P(SmtpMixedTest, KeepsARefusalOfTheFirstHome) {
  RelayTo("R1");
  b1().answers["RCPT no@y.example"] = {"550 5.1.1 nobody here"};
  Begin();
  Group(Rcpt("b") + Rcpt("no") + Rcpt("away"));
  Text();
  EXPECT_EQ(bench_.Codes(), "250 250 550 250 354 250");
  EXPECT_THAT(relay().messages[0].to, ElementsAre("b@y.example", "away@y.example"));
}

TEST_P(SmtpMixedTest, WhoWasAcceptedAndIsRefusedThereMakesDataFail) {
  RelayTo("R1");
  relay().answers["RCPT b@y.example"] = {"550 5.1.1 nobody here"};
  Begin();
  Ask("MAIL FROM:<a@x.example>");
  EXPECT_EQ(Ask("RCPT TO:<b@y.example>"), "250");
  EXPECT_EQ(Ask("RCPT TO:<away@y.example>"), "451");
  EXPECT_THAT(Say("DATA"), HasSubstr("451 4.4.2"));
  EXPECT_EQ(relay().messages.size(), 0U);
  EXPECT_EQ(CountLines(relay(), "DATA"), 0);
  EXPECT_EQ(Deliver(), "250 250 354 250");
}

TEST_P(SmtpMixedTest, NobodyAtTheRelayMakesDataFail) {
  RelayTo("R1");
  relay().door = FakeBackend::Door::kRefuses;
  Begin();
  Group(Rcpt("b") + Rcpt("away"));
  EXPECT_EQ(bench_.Codes(), "250 250 451 451");
  EXPECT_EQ(b1().messages.size() + b3().messages.size(), 0U);
}

TEST_P(SmtpMixedTest, CountsTheRelayAsNoMove) {
  RelayTo("R1 R2");
  bench_.settings.retries = 1;
  relay().answers["MAIL"] = {"die"};
  Begin();
  Group(Rcpt("b") + Rcpt("away"));
  Text();
  EXPECT_EQ(bench_.Codes(), "250 250 250 354 250");
  EXPECT_EQ(bench_.backend("R2").messages.size(), 1U);
  EXPECT_EQ(CountEvents("replay"), 1);
}

TEST_P(SmtpMixedTest, MovesAmongTheRelaysWithinTheText) {
  RelayTo("R1 R2");
  Begin();
  Group(Rcpt("b") + Rcpt("away"));
  EXPECT_EQ(bench_.Codes(), "250 250 250 354");
  bench_.Send("first\r\n");
  bench_.LoseBack("R1");
  Text("second\r\n");
  EXPECT_EQ(bench_.Codes(), "250");
  ASSERT_EQ(bench_.backend("R2").messages.size(), 1U);
  EXPECT_EQ(bench_.backend("R2").messages[0].text, "first\r\nsecond\r\n");
  EXPECT_EQ(bench_.backend("R2").messages[0].to.size(), 2U);
}

TEST_P(SmtpMixedTest, StaysWhereTheRelayIsTheEndpointItIsOn) {
  RelayTo("B1 R1");
  Begin();
  Group(Rcpt("b") + Rcpt("away") + Rcpt("c"));
  Text();
  EXPECT_EQ(bench_.Codes(), "250 250 250 250 354 250");
  EXPECT_EQ(b1().num_connections, 1);
  EXPECT_EQ(b1().messages[0].to.size(), 3U);
}

TEST_P(SmtpMixedTest, TheFirstRecipientsRuleDecides) {
  bench_.relays["away@y.example"] = "R1";
  Begin();
  Group(Rcpt("b") + Rcpt("away"));
  Text();
  EXPECT_EQ(bench_.Codes(), "250 250 452 354 250");
  Group(Rcpt("away") + Rcpt("b"));
  Text();
  EXPECT_EQ(bench_.Codes(), "250 250 250 354 250");
  EXPECT_THAT(relay().messages[0].to, ElementsAre("away@y.example", "b@y.example"));
}

TEST_P(SmtpMixedTest, NeedsNoRelayWhereTheFirstHomeTookNobody) {
  RelayTo("R1");
  b1().answers["RCPT"] = {"550 5.1.1 nobody here"};
  Begin();
  Ask("MAIL FROM:<a@x.example>");
  EXPECT_EQ(Ask("RCPT TO:<b@y.example>"), "550");
  EXPECT_EQ(Ask("RCPT TO:<away@y.example>"), "250");
  EXPECT_EQ(Ask("DATA"), "354");
  Text();
  EXPECT_EQ(bench_.Codes(), "250");
  EXPECT_EQ(b3().messages.size(), 1U);
  EXPECT_EQ(relay().num_connections, 0);
}

TEST_P(SmtpMixedTest, RejectsByRuleOnTheRelayToo) {
  RelayTo("R1");
  bench_.homes["no@y.example"] = "reject 550 5.7.1 not here";
  Begin();
  Group(Rcpt("b") + Rcpt("away") + Rcpt("no"));
  Text();
  EXPECT_EQ(bench_.Codes(), "250 250 250 550 354 250");
}

POSTERN_IN_ALL_CUTS(SmtpMixedTest);

}  // namespace
}  // namespace postern::test
