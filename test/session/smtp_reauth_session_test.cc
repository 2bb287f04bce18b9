// smtp_reauth_session_test: reauth in whole submission sessions: endpoints are chosen by it.
// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "test/support/smtp_world.h"

namespace postern::test {
namespace {

using conf::Reauth;
using std::chrono::seconds;
using testing::Contains;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

class SmtpReauthSessionTest : public testing::Test {
 protected:
  void Login(Reauth at_b1, Reauth at_b2) {
    for (const int backend : {1, 2}) {
      world_.server(backend).keywords.push_back("AUTH PLAIN LOGIN");
      world_.server(backend).keywords.push_back("XCLIENT NAME ADDR LOGIN");
      world_.endpoint(backend).client_address = conf::ClientAddress::kXclient;
      world_.endpoint(backend).reauth = backend == 1 ? at_b1 : at_b2;
    }
    world_.Hello();
    world_.Line("AUTH PLAIN AGFsaWNlAHNlY3JldA==");  // alice, secret
    world_.Wait(seconds(2));                         // her client's name is not known in time
    ASSERT_EQ(world_.Codes(), "235");
  }
  // The backend dies within the text.
  std::string DeliverOverALoss() {
    world_.Send("MAIL FROM:<a@x.example>\r\nRCPT TO:<b@y.example>\r\nDATA\r\none\r\n");
    std::string codes = world_.Codes();
    world_.server(1).stream()->Reset();
    world_.Wait(seconds(2));
    world_.Send("two\r\n.\r\n");
    return codes + " " + world_.Codes();
  }
  SmtpWorld world_{conf::Protocol::kSubmission};
};

TEST_F(SmtpReauthSessionTest, ReplaysTheLogin) {
  Login(Reauth::kReplay, Reauth::kReplay);
  EXPECT_EQ(DeliverOverALoss(), "250 250 354 250");
  EXPECT_THAT(world_.server(2).lines, Contains(StartsWith("AUTH ")));
}

TEST_F(SmtpReauthSessionTest, VouchesForTheUser) {
  Login(Reauth::kXclientLogin, Reauth::kXclientLogin);
  EXPECT_EQ(DeliverOverALoss(), "250 250 354 250");
  EXPECT_THAT(world_.server(2).lines, Contains(HasSubstr(" LOGIN=alice ADDR=192.0.2.7")));
  EXPECT_THAT(world_.server(2).lines, Not(Contains(StartsWith("AUTH "))));
}

TEST_F(SmtpReauthSessionTest, MovesToNobodyWhoAllowsNoSecondLogin) {
  Login(Reauth::kReplay, Reauth::kNever);
  EXPECT_EQ(DeliverOverALoss(), "250 250 354 451");
  EXPECT_EQ(world_.server(2).num_connections, 0);
}

// A reload closes no connection that cannot be made again; nor does a check that fails.
TEST_F(SmtpReauthSessionTest, StaysThroughReloadsAndWhateverChecksSay) {
  Login(Reauth::kNever, Reauth::kReplay);
  EXPECT_EQ(world_.Deliver(), "250 250 354 250");
  world_.Reload();
  EXPECT_EQ(world_.Deliver(), "250 250 354 250");
  world_.state("b1").health = balance::Health::kDown;
  world_.session->LeaveEndpoint(world_.state("b1"));
  world_.Wait(seconds(100));
  EXPECT_EQ(world_.Deliver(), "250 250 354 250");
  EXPECT_EQ(world_.server(1).num_connections, 1);
  EXPECT_EQ(world_.server(1).messages.size(), 3U);
}

TEST_F(SmtpReauthSessionTest, MovesNowhereFromWhereItStays) {
  Login(Reauth::kNever, Reauth::kReplay);
  EXPECT_EQ(DeliverOverALoss(), "250 250 354 451");
  EXPECT_EQ(world_.server(2).num_connections, 0);
  EXPECT_THAT(world_.Ask("MAIL FROM:<a@x.example>"), StartsWith("250"));
  EXPECT_THAT(world_.Ask("RCPT TO:<b@y.example>"), StartsWith("451 4.4.1"));
}

}  // namespace
}  // namespace postern::test
