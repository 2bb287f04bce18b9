// smtp_reauth_test: how a user who has logged in at one backend comes to the next: by that login,
// by Postern's word, or not at all; and for how long the password is known.
// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "lb/base/base64.h"
#include "test/support/smtp_fixture.h"

namespace postern::proto {
namespace {

using namespace std::string_literals;
using conf::Reauth;

class SmtpReauthTest : public test::SmtpFixture {
 protected:
  void SetUp() override {
    bench_.settings.is_submission = true;
    bench_.settings.tls = SmtpFrontTls::kActive;
    for (const char* name : {"B1", "B2"}) {
      test::FakeBackend& backend = bench_.backend(name);
      backend.keywords.push_back("AUTH PLAIN LOGIN");
      backend.keywords.push_back("XCLIENT NAME ADDR PROTO HELO LOGIN");
      backend.client_address = conf::ClientAddress::kXclient;
    }
  }
  void Login(Reauth at_b1, Reauth at_b2) {
    b1().reauth = at_b1;
    b2().reauth = at_b2;
    Begin();
    ASSERT_EQ(Ask("AUTH PLAIN " + base::Base64Encode("\0alice\0secret"s)), "235");
  }
  static bool WasVouchedFor(const test::FakeBackend& backend) {
    for (const std::string& line : backend.lines)
      if (line.find("XCLIENT") == 0 && line.find(" LOGIN=alice ") != std::string::npos) return true;
    return false;
  }
};
POSTERN_IN_ALL_CUTS(SmtpReauthTest);

TEST_P(SmtpReauthTest, ReplaysTheLogin) {
  b1().answers["TEXT"] = {"die"};
  Login(Reauth::kReplay, Reauth::kReplay);
  EXPECT_TRUE(bench_.relay->has_credentials());
  EXPECT_EQ(Deliver(), "250 250 354 250");
  EXPECT_EQ(CountLines(b2(), "AUTH PLAIN"), 1);
  EXPECT_FALSE(WasVouchedFor(b2()));
}

TEST_P(SmtpReauthTest, VouchesForTheUserWithoutAPassword) {
  b1().answers["TEXT"] = {"die"};
  Login(Reauth::kXclientLogin, Reauth::kXclientLogin);
  EXPECT_EQ(CountLines(b1(), "AUTH PLAIN"), 1);  // it is the backend that knows passwords
  EXPECT_FALSE(WasVouchedFor(b1()));
  EXPECT_FALSE(bench_.relay->has_credentials());
  EXPECT_EQ(Deliver(), "250 250 354 250");
  EXPECT_TRUE(WasVouchedFor(b2()));
  EXPECT_EQ(CountLines(b2(), "AUTH"), 0);
  EXPECT_EQ(b2().messages.size(), 1U);
}

TEST_P(SmtpReauthTest, VouchesWhereALegIsOpenedAgain) {
  Login(Reauth::kXclientLogin, Reauth::kXclientLogin);
  bench_.After(std::chrono::seconds(11));
  EXPECT_EQ(Deliver(), "250 250 354 250");
  EXPECT_EQ(b1().num_connections, 2);
  EXPECT_EQ(CountLines(b1(), "AUTH"), 1);
  EXPECT_TRUE(WasVouchedFor(b1()));
}

TEST_P(SmtpReauthTest, VouchesOnlyWhereThatIsHeard) {
  b1().answers["TEXT"] = {"die"};
  b2().keywords.back() = "XCLIENT NAME ADDR PROTO HELO";
  Login(Reauth::kXclientLogin, Reauth::kXclientLogin);
  EXPECT_EQ(Deliver(), "250 250 354 451");
  EXPECT_EQ(CountLines(b2(), "XCLIENT"), 0);
  EXPECT_EQ(CountLines(b2(), "MAIL"), 0);
}

TEST_P(SmtpReauthTest, KeepsThePasswordForAnotherMemberThatWantsIt) {
  b1().answers["TEXT"] = {"die"};
  Login(Reauth::kXclientLogin, Reauth::kReplay);
  EXPECT_TRUE(bench_.relay->has_credentials());
  EXPECT_EQ(Deliver(), "250 250 354 250");
  EXPECT_EQ(CountLines(b2(), "AUTH PLAIN"), 1);
}

TEST_P(SmtpReauthTest, StaysWhereNoSecondLoginIsAllowed) {
  bench_.settings.leg_transactions = 1;
  Login(Reauth::kNever, Reauth::kReplay);
  EXPECT_FALSE(bench_.relay->has_credentials());
  EXPECT_EQ(Deliver(), "250 250 354 250");
  bench_.After(std::chrono::minutes(4));
  EXPECT_EQ(Deliver(), "250 250 354 250");
  bench_.relay->LeaveLeg("down", bench_.now);
  EXPECT_EQ(Deliver(), "250 250 354 250");
  EXPECT_EQ(b1().messages.size(), 3U);
  EXPECT_EQ(b1().num_connections, 1);
}

TEST_P(SmtpReauthTest, TakesSeveralRecipientsWhereItStays) {
  Login(Reauth::kNever, Reauth::kNever);
  bench_.homes["alice"] = "unknown";  // nobody is asked again
  b1().answers["RCPT c@y.example"] = {"550 5.1.1 no"};
  bench_.Send(
      "MAIL FROM:<a@x.example>\r\nRCPT TO:<b@y.example>\r\nRCPT TO:<c@y.example>\r\n"
      "RCPT TO:<d@away.example>\r\nDATA\r\n");
  Text();
  EXPECT_EQ(bench_.Codes(), "250 250 550 250 354 250");
}

TEST_P(SmtpReauthTest, MovesNowhereFromWhereItStays) {
  b1().answers["TEXT"] = {"die"};
  Login(Reauth::kNever, Reauth::kReplay);
  EXPECT_EQ(Deliver(), "250 250 354 451");
  EXPECT_EQ(b2().num_connections, 0);
  EXPECT_EQ(CountEvents("replay"), 0);
  // Its only leg is gone.
  EXPECT_EQ(Deliver().substr(0, 7), "250 451");
  EXPECT_EQ(b1().num_connections, 1);
}

TEST_P(SmtpReauthTest, TellsRecipientsWhereItStaysWhatMailWasTold) {
  b1().answers["MAIL"] = {"550 5.7.1 not you"};
  Login(Reauth::kNever, Reauth::kNever);
  EXPECT_EQ(Ask("MAIL FROM:<a@x.example>"), "250");
  EXPECT_EQ(Say("RCPT TO:<b@y.example>"), "550 5.7.1 not you\r\n");
  EXPECT_EQ(Say("RCPT TO:<c@y.example>"), "550 5.7.1 not you\r\n");
}

TEST_P(SmtpReauthTest, MovesToNobodyWhoAllowsNoSecondLogin) {
  b1().answers["TEXT"] = {"die"};
  Login(Reauth::kReplay, Reauth::kNever);
  EXPECT_EQ(Deliver(), "250 250 354 451");
  EXPECT_EQ(b2().num_connections, 0);
}

TEST_P(SmtpReauthTest, StaysNowhereBeforeALogin) {
  b1().answers["AUTH"] = {"454 4.7.0 later"};
  Login(Reauth::kNever, Reauth::kNever);
  EXPECT_EQ(CountLines(b2(), "AUTH PLAIN"), 1);
  EXPECT_EQ(Deliver(), "250 250 354 250");
  EXPECT_EQ(b2().messages.size(), 1U);
}

}  // namespace
}  // namespace postern::proto
