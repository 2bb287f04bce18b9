// lmtp_session_test: sessions of an lmtp listener whose recipients have one home.
// SPDX-License-Identifier: Apache-2.0
#include "test/session/lmtp_case.h"

namespace postern::test {
namespace {

using testing::ElementsAre;
using testing::StartsWith;

class LmtpSessionTest : public LmtpCase {
 protected:
  LmtpSessionTest() { away().action = conf::Rule::ToPool{"p"}; }
  conf::Rule& away() { return world_.config.routes[0].rules.front(); }
};

TEST_F(LmtpSessionTest, AnswersForEachRecipient) {
  Hello();
  EXPECT_EQ(Envelope("bcd"), "250 250 250 250 354");
  EXPECT_EQ(Text(), "250 250 250");
  EXPECT_EQ(Messages(1).at(0).to.size(), 3U);
  EXPECT_EQ(world_.Metric("postern_smtp_transactions_total{listener=\"l\",reply=\"2xx\"}"), 1);
}

TEST_F(LmtpSessionTest, TheNextTransactionGoesOverTheSameLeg) {
  Hello();
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(Envelope("bc"), "250 250 250 354");
    EXPECT_EQ(Text(), "250 250");
  }
  EXPECT_EQ(world_.server(1).num_connections, 1);
}

TEST_F(LmtpSessionTest, WhoLivesElsewhereSinceAReloadComesInAnotherTransaction) {
  Hello();
  away().action = conf::Rule::ToPool{"q"};
  for (conf::Rule& rule : world_.config.routes[0].rules)
    rule.mixed_relay_pool = "q";  // which is for smtp
  world_.Reload();
  EXPECT_EQ(Envelope("bw"), "250 250 452 354");
  EXPECT_EQ(Text(), "250");
  EXPECT_EQ(Envelope("w"), "250 250 354");
  EXPECT_EQ(Text(), "250");
  EXPECT_EQ(Messages(3).size(), 1U);
}

TEST_F(LmtpSessionTest, WritesDownWhoWasRefused) {
  world_.server(1).answers[".c@"] = "452 4.2.2 <c@y.example> full";
  Hello();
  EXPECT_EQ(Envelope("bcd"), "250 250 250 250 354");
  EXPECT_EQ(Text(), "250 452 250");
  const metrics::TransactionAccount& account = world_.transactions.at(0);
  EXPECT_THAT(account.to, ElementsAre("b@y.example", "c@y.example", "d@y.example"));
  EXPECT_THAT(account.refused, ElementsAre("c@y.example"));
  EXPECT_EQ(account.reply, "452 4.2.2 <c@y.example> full");
}

TEST_F(LmtpSessionTest, AStoreThatDiesBehindTheDotLeavesAllInDoubt) {
  world_.server(1).answers["."] = "reset";
  Hello();
  EXPECT_EQ(Envelope("bc"), "250 250 250 354");
  EXPECT_EQ(Text(), "451 451");
  EXPECT_TRUE(Messages(2).empty());
  EXPECT_THAT(world_.transactions.at(0).reply, StartsWith("451 4.4.2"));
}

TEST_F(LmtpSessionTest, AStoreThatDiesBeforeTheDotIsReplaced) {
  Hello();
  EXPECT_EQ(Envelope("bc"), "250 250 250 354");
  world_.server(1).stream()->Reset();
  EXPECT_EQ(Text(), "250 250");
  EXPECT_EQ(Messages(2).at(0).to.size(), 2U);
}

TEST_F(LmtpSessionTest, AGoodbyeBehindTheDotIsOneVerdict) {
  world_.server(1).answers["."] = "421 4.3.2 going down";
  Hello();
  EXPECT_EQ(Envelope("bc"), "250 250 250 354");
  world_.Send("hello\r\n.\r\n");
  EXPECT_THAT(world_.Read(), StartsWith("451 4.3.2 going down\r\n451 4.4.2 "));
}

}  // namespace
}  // namespace postern::test
