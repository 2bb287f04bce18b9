// lmtp_session_test: sessions of an lmtp listener.
// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "test/support/smtp_world.h"

namespace postern::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;

class LmtpSessionTest : public testing::Test {
 protected:
  void Hello() {
    world_.Begin();
    EXPECT_THAT(world_.Read(), StartsWith("220 mx.example LMTP"));
    EXPECT_THAT(world_.Ask("LHLO client.example"), HasSubstr("250-PIPELINING"));
  }
  // All of a transaction in one packet but the text.
  std::string Envelope(const std::string& recipients) {
    std::string group = "MAIL FROM:<a@x.example>\r\n";
    for (const char recipient : recipients)
      group += std::string("RCPT TO:<") + recipient +
               (recipient == 'w' ? "@away.example>\r\n" : "@y.example>\r\n");
    world_.Send(group + "DATA\r\n");
    return world_.Codes();
  }
  std::string Text() {
    world_.Send("hello\r\n.\r\n");
    return world_.Codes();
  }

  SmtpWorld world_{conf::Protocol::kLmtp};
};

TEST_F(LmtpSessionTest, AnswersForEachRecipient) {
  Hello();
  EXPECT_EQ(Envelope("bcd"), "250 250 250 250 354");
  EXPECT_EQ(Text(), "250 250 250");
  EXPECT_EQ(world_.server(1).messages.at(0).to.size(), 3U);
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

TEST_F(LmtpSessionTest, WhoLivesElsewhereComesInAnotherTransaction) {
  Hello();
  EXPECT_EQ(Envelope("bw"), "250 250 452 354");
  EXPECT_EQ(Text(), "250");
  EXPECT_EQ(Envelope("w"), "250 250 354");
  EXPECT_EQ(Text(), "250");
  EXPECT_EQ(world_.server(3).messages.size(), 1U);
}

TEST_F(LmtpSessionTest, TheNextUserOfAnExclusivePoolMayBeElsewhere) {
  world_.config.pools[0].storage = conf::Storage::kExclusive;
  const auto other = world_.held_users.Take("p", "c@y.example", "b2");
  Hello();
  EXPECT_EQ(Envelope("bcw"), "250 250 452 452 354");
  EXPECT_EQ(Text(), "250");
  EXPECT_EQ(Envelope("c"), "250 250 354");
  EXPECT_EQ(Text(), "250");
  EXPECT_EQ(world_.server(1).messages.size(), 1U);
  EXPECT_EQ(world_.server(2).messages.size(), 1U);
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

TEST_F(LmtpSessionTest, NoPoolOfSmtpTakesMixedTransactions) {
  for (conf::Rule& rule : world_.config.routes[0].rules) rule.mixed_relay_pool = "q";
  Hello();
  EXPECT_EQ(Envelope("bw"), "250 250 452 354");
  EXPECT_EQ(Text(), "250");
}

TEST_F(LmtpSessionTest, ADeadStoreTouchesItsOwnRecipientsOnly) {
  world_.state("b3").health = balance::Health::kDown;
  Hello();
  EXPECT_EQ(Envelope("w"), "250 451 503");
  EXPECT_EQ(Envelope("b"), "250 250 354");
  EXPECT_EQ(Text(), "250");
}

TEST_F(LmtpSessionTest, AStoreThatDiesBehindTheDotLeavesAllInDoubt) {
  world_.server(1).answers["."] = "reset";
  Hello();
  EXPECT_EQ(Envelope("bc"), "250 250 250 354");
  EXPECT_EQ(Text(), "451 451");
  EXPECT_TRUE(world_.server(2).messages.empty());
  EXPECT_THAT(world_.transactions.at(0).reply, StartsWith("451 4.4.2"));
}

TEST_F(LmtpSessionTest, AStoreThatDiesBeforeTheDotIsReplaced) {
  Hello();
  EXPECT_EQ(Envelope("bc"), "250 250 250 354");
  world_.server(1).stream()->Reset();
  EXPECT_EQ(Text(), "250 250");
  EXPECT_EQ(world_.server(2).messages.at(0).to.size(), 2U);
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
