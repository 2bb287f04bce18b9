// lmtp_fan_test: one transaction shared out among homes.
// SPDX-License-Identifier: Apache-2.0
#include "lb/proto/lmtp_fan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

namespace postern::proto {
namespace {

using testing::ElementsAre;
using testing::StartsWith;

// The first letter of a recipient is its home; capitals are for one recipient each.
class LmtpFanTest : public testing::Test, public LmtpFan::Driver {
 protected:
  LmtpFanTest() {
    limits_.legs = 3;
    limits_.kept_legs = 2;
    fan_ = std::make_unique<LmtpFan>(limits_, "mx.example", *this);
    Hear("LHLO client.example\r\n");
    (void)Said();
  }

  void Hear(const std::string& bytes) { EXPECT_EQ(fan_->OnFront(bytes), bytes.size()); }
  std::string Said() {
    std::string said(fan_->front_output());
    fan_->ClearFrontOutput();
    return said;
  }
  std::string Codes() {
    std::string codes;
    const std::string said = Said();
    for (size_t at = 0; at < said.size(); at = said.find("\r\n", at) + 2)
      codes += (codes.empty() ? "" : " ") + said.substr(at, 3);
    return codes;
  }
  void Envelope(const std::string& recipients) {
    std::string group = "MAIL FROM:<a@x>\r\n";
    for (const char recipient : recipients)
      group += std::string("RCPT TO:<") + recipient + "@y>\r\n";
    Hear(group + "DATA\r\n");
  }
  void LegSays(LmtpFan::LegId leg, const std::string& bytes) {
    EXPECT_EQ(fan_->OnLeg(leg, bytes), bytes.size());
  }
  // Greeting, LHLO and MAIL.
  void Greets(LmtpFan::LegId leg) { LegSays(leg, "220 hi\r\n250-a\r\n250 b\r\n250 ok\r\n"); }
  std::string Got(LmtpFan::LegId leg) { return std::exchange(got_[leg], ""); }

  LmtpFan::Home HomeOf(base::ByteView recipient) override {
    return {homes_ + recipient[0], recipient[0] < 'a'};
  }
  void OpenLeg(LmtpFan::LegId leg) override { open_.push_back(leg); }
  void ToLeg(LmtpFan::LegId leg, base::ByteView bytes) override { got_[leg] += bytes; }
  void CloseLeg(LmtpFan::LegId leg) override { std::erase(open_, leg); }

  char homes_[256] = {};
  LmtpFan::Limits limits_;
  std::unique_ptr<LmtpFan> fan_;
  std::vector<LmtpFan::LegId> open_;
  std::map<LmtpFan::LegId, std::string> got_;
};

TEST_F(LmtpFanTest, AsksAllAtOnceAndAnswersInOrder) {
  Envelope("aba");
  EXPECT_EQ(Got(1), "LHLO client.example\r\nMAIL FROM:<a@x>\r\nRCPT TO:<a@y>\r\nRCPT TO:<a@y>\r\n");
  EXPECT_EQ(Got(2), "LHLO client.example\r\nMAIL FROM:<a@x>\r\nRCPT TO:<b@y>\r\n");
  EXPECT_EQ(Codes(), "250");
  Greets(2);
  LegSays(2, "250 b\r\n");
  EXPECT_EQ(Codes(), "");
  Greets(1);
  LegSays(1, "250 a1\r\n550 a2\r\n");
  EXPECT_EQ(Said(), "250 a1\r\n250 b\r\n550 a2\r\n");
  EXPECT_EQ(Got(1) + Got(2), "DATA\r\nDATA\r\n");
  LegSays(2, "354 b\r\n");
  EXPECT_EQ(Said(), "");
  LegSays(1, "354 a\r\n");
  EXPECT_EQ(Said(), "354 b\r\n");
  Hear("..x\r\n.\r\n");
  EXPECT_EQ(Got(1), "..x\r\n.\r\n");
  EXPECT_EQ(Got(2), "..x\r\n.\r\n");
  LegSays(2, "250 b got it\r\n");
  EXPECT_EQ(Said(), "");
  LegSays(1, "452 a is full\r\n");
  EXPECT_EQ(Said(), "452 a is full\r\n250 b got it\r\n");
}

TEST_F(LmtpFanTest, ALegThatIsLostAnswersForItsOwn) {
  Envelope("abc");
  for (const LmtpFan::LegId leg : {1U, 2U, 3U}) Greets(leg);
  fan_->OnLegEnd(1);
  LegSays(2, "250 b\r\n");
  LegSays(3, "250 c\r\n");
  EXPECT_EQ(Codes(), "250 451 250 250");
  fan_->OnLegEnd(2);
  LegSays(3, "354 go\r\n");
  EXPECT_EQ(Codes(), "354");
  Hear("x\r\n.\r\n");
  EXPECT_EQ(Codes(), "451");
  LegSays(3, "250 c\r\n");
  EXPECT_EQ(Codes(), "250");
}

TEST_F(LmtpFanTest, AGoodbyeIsTheLegsLast) {
  Envelope("ab");
  Greets(1);
  LegSays(1, "421 4.3.2 going\r\n");
  Greets(2);
  LegSays(2, "250 b\r\n");
  EXPECT_EQ(Said(), "250 2.1.0 Sender noted\r\n451 4.3.2 going\r\n250 b\r\n");
  EXPECT_THAT(open_, ElementsAre(2U));
}

TEST_F(LmtpFanTest, WhoTakesNoMoreIsNotAskedAgain) {
  Envelope("aaa");
  Greets(1);
  LegSays(1, "250 one\r\n452 4.5.3 no more\r\n452 4.5.3 no more\r\n");
  Greets(2);
  LegSays(2, "250 two\r\n452 4.5.3 no more\r\n");
  Greets(3);
  LegSays(3, "452 4.5.3 never\r\n");
  EXPECT_EQ(Said(), "250 2.1.0 Sender noted\r\n250 one\r\n250 two\r\n452 4.5.3 never\r\n");
}

TEST_F(LmtpFanTest, SomeHaveALegForEachRecipient) {
  Envelope("AAAA");
  for (const LmtpFan::LegId leg : {1U, 2U, 3U}) {
    Greets(leg);
    LegSays(leg, "250 ok\r\n");
  }
  EXPECT_EQ(Codes(), "250 250 250 250 452");
}

TEST_F(LmtpFanTest, KeepsSomeLegsAndGoesBackToThem) {
  Envelope("abc");
  for (const LmtpFan::LegId leg : {1U, 2U, 3U}) {
    Greets(leg);
    LegSays(leg, "550 no\r\n");
  }
  EXPECT_EQ(Codes(), "250 550 550 550 503");
  EXPECT_THAT(open_, ElementsAre(2U, 3U));
  (void)Got(2), (void)Got(3);
  Hear("MAIL FROM:<a@x>\r\nRCPT TO:<c@y>\r\n");
  EXPECT_EQ(Got(3), "MAIL FROM:<a@x>\r\nRCPT TO:<c@y>\r\n");
  EXPECT_EQ(Got(2), "");
}

TEST_F(LmtpFanTest, AnswersToWhatWasGivenUpSayNothing) {
  Hear("MAIL FROM:<a@x>\r\nRCPT TO:<a@y>\r\nRSET\r\nMAIL FROM:<b@x>\r\nRCPT TO:<a@y>\r\n");
  EXPECT_EQ(Codes(), "250 250 250");
  Greets(1);
  LegSays(1, "550 of the first\r\n250 reset\r\n250 mail\r\n");
  EXPECT_EQ(Codes(), "");
  LegSays(1, "250 of the second\r\n");
  EXPECT_EQ(Said(), "250 of the second\r\n");
}

TEST_F(LmtpFanTest, ARefusedMailAnswersItsRecipients) {
  Envelope("ab");
  LegSays(1, "220 hi\r\n250 b\r\n552 5.3.4 too large\r\n503 mail first\r\n");
  Greets(2);
  LegSays(2, "250 b\r\n");
  EXPECT_EQ(Said(), "250 2.1.0 Sender noted\r\n552 5.3.4 too large\r\n250 b\r\n");
}

TEST_F(LmtpFanTest, GarbageIsALossToo) {
  Envelope("ab");
  EXPECT_EQ(fan_->OnLeg(1, "HTTP/1.1 400\r\n"), 14U);
  LegSays(2, "220 hi\r\n250 b\r\n250 ok\r\n250 ok\r\n");
  EXPECT_EQ(Codes(), "250 451 250");
  EXPECT_EQ(fan_->OnLeg(2, "354 go\r\n250 unasked\r\n"), 21U);
  EXPECT_EQ(Codes(), "354");
  Hear("x\r\n.\r\n");
  EXPECT_EQ(Codes(), "451");
}

TEST_F(LmtpFanTest, WhereNobodyTakesTheTextTheMildestRefusalIsSaid) {
  Envelope("ab");
  for (const LmtpFan::LegId leg : {1U, 2U}) {
    Greets(leg);
    LegSays(leg, "250 ok\r\n");
  }
  LegSays(1, "554 never\r\n");
  EXPECT_FALSE(fan_->is_answered());
  LegSays(2, "451 later\r\n");
  EXPECT_EQ(Codes(), "250 250 250 451");
  EXPECT_TRUE(fan_->is_answered());
}

TEST_F(LmtpFanTest, WhoRefusesDataGetsNoText) {
  Envelope("ab");
  for (const LmtpFan::LegId leg : {1U, 2U}) {
    Greets(leg);
    LegSays(leg, "250 ok\r\n");
  }
  LegSays(1, "451 later\r\n");
  LegSays(2, "354 go\r\n");
  (void)Got(1);
  Hear("x\r\n.\r\n");
  EXPECT_EQ(Got(1), "");
  LegSays(2, "250 done\r\n");
  EXPECT_EQ(Codes(), "250 250 250 354 451 250");
}

TEST_F(LmtpFanTest, ATextMayComeInAnyPieces) {
  Envelope("a");
  Greets(1);
  LegSays(1, "250 ok\r\n354 go\r\n");
  (void)Got(1);
  for (const char c : std::string("x\r\n..\r\n.\r\n")) Hear(std::string(1, c));
  EXPECT_EQ(Got(1), "x\r\n..\r\n.\r\n");
  EXPECT_EQ(Codes(), "250 250 354");
  LegSays(1, "250 done\r\n");
  EXPECT_EQ(Codes(), "250");
}

}  // namespace
}  // namespace postern::proto
