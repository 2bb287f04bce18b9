// smtp_lmtp_test: backends that speak LMTP behind a client that speaks SMTP.
// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "test/support/smtp_bench.h"

namespace postern::test {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::Not;
using testing::StartsWith;

class SmtpLmtpTest : public testing::Test {
 protected:
  SmtpLmtpTest() { bench_.backend("B1").is_lmtp = true; }

  std::string Group(const std::string& recipients) {
    if (bench_.relay == nullptr) {
      bench_.Start();
      bench_.Line("EHLO client.example");
      (void)bench_.Replies();
    }
    std::string group = "MAIL FROM:<a@x.example>\r\n";
    for (const char recipient : recipients)
      group += std::string("RCPT TO:<") + recipient + "@y.example>\r\n";
    bench_.Send(group);
    return bench_.Codes();
  }
  std::string Text() {
    bench_.Send("DATA\r\nhello\r\n.\r\n");
    return bench_.Codes();
  }
  FakeBackend& backend(int number) { return bench_.backend("B" + std::to_string(number)); }

  SmtpBench bench_;
};

TEST_F(SmtpLmtpTest, SaysLhloAndNeverEhlo) {
  EXPECT_EQ(Group("b"), "250 250");
  EXPECT_EQ(Text(), "354 250");
  EXPECT_EQ(backend(1).lines.front(), "LHLO client.example");
  EXPECT_THAT(backend(1).lines, Not(Contains(StartsWith("EHLO"))));
}

TEST_F(SmtpLmtpTest, TakesOneRecipientATransaction) {
  bench_.homes[""] = "B1";
  EXPECT_EQ(Group("bcd"), "250 250 452 452");
  EXPECT_THAT(bench_.events, ElementsAre("accepted", "deferred", "deferred"));
  EXPECT_EQ(Text(), "354 250");
  EXPECT_EQ(Group("cd"), "250 250 452");
  EXPECT_EQ(Text(), "354 250");
  EXPECT_EQ(backend(1).num_connections, 1);
  EXPECT_EQ(backend(1).messages.size(), 2U);
}

TEST_F(SmtpLmtpTest, WhomItRefusesIsNotTheOne) {
  bench_.homes[""] = "B1";
  backend(1).answers["RCPT b"] = {"550 5.1.1 nobody"};
  EXPECT_EQ(Group("bcd"), "250 550 250 452");
  EXPECT_EQ(Text(), "354 250");
  EXPECT_THAT(backend(1).messages.at(0).to, Contains("c@y.example"));
}

TEST_F(SmtpLmtpTest, SeveralGoToAMemberThatSpeaksSmtp) {
  EXPECT_EQ(Group("bc"), "250 250 250");
  EXPECT_EQ(Text(), "354 250");
  EXPECT_TRUE(backend(1).messages.empty());
  EXPECT_THAT(backend(2).messages.at(0).to, ElementsAre("b@y.example", "c@y.example"));
}

TEST_F(SmtpLmtpTest, SeveralDoNotMoveToOneThatSpeaksLmtp) {
  bench_.homes[""] = "B2 B1";
  EXPECT_EQ(Group("bc"), "250 250 250");
  bench_.LoseBack("B2");
  EXPECT_EQ(Text(), "451 500 500");
  EXPECT_EQ(backend(1).num_connections, 0);
}

TEST_F(SmtpLmtpTest, OneMovesToOneThatSpeaksLmtp) {
  bench_.homes[""] = "B2 B1";
  EXPECT_EQ(Group("b"), "250 250");
  bench_.LoseBack("B2");
  EXPECT_EQ(Text(), "354 250");
  EXPECT_EQ(backend(1).messages.size(), 1U);
}

TEST_F(SmtpLmtpTest, RecipientsOfOneHomeAreNotRelayed) {
  bench_.homes[""] = "B1";
  bench_.homes["e@y.example"] = "B3";
  bench_.relays[""] = "B5";
  EXPECT_EQ(Group("bc"), "250 250 452");
  bench_.Line("RCPT TO:<e@y.example>");
  EXPECT_EQ(bench_.Codes(), "250");
  EXPECT_EQ(Text(), "354 250");
  EXPECT_THAT(backend(5).messages.at(0).to, ElementsAre("b@y.example", "e@y.example"));
}

TEST_F(SmtpLmtpTest, PassesOverOneThatSpeaksSmtpOnly) {
  backend(1).answers["LHLO"] = {"500 5.5.1 what?"};
  EXPECT_EQ(Group("b"), "250 250");
  EXPECT_EQ(Text(), "354 250");
  EXPECT_EQ(backend(2).messages.size(), 1U);
}

}  // namespace
}  // namespace postern::test
