// pop3_session_test: whole sessions of POP3 in memory, on virtual time.
// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <utility>

#include "test/support/mail_world.h"

namespace postern::test {
namespace {

using base::SessionResult;
using conf::Protocol;
using std::chrono::seconds;
using testing::ElementsAre;
using testing::EndsWith;
using testing::IsEmpty;
using Fault = ScriptedBackend::Fault;

// --- POP3 ---------------------------------------------------------------------------------------

class Pop3SessionTest : public testing::Test {
 protected:
  void Begin() {
    world_.Begin();
    ASSERT_EQ(world_.Read(), "+OK mail.example ready\r\n");
  }
  void BeginLoggedIn() {
    Begin();
    ASSERT_EQ(world_.LogIn(), "+OK Logged in at b1\r\n");
  }
  MailWorld world_{Protocol::kPop3};
};

TEST_F(Pop3SessionTest, LogsInAndRelays) {
  BeginLoggedIn();
  world_.Line("STAT");
  world_.Settle();
  EXPECT_EQ(world_.b1->relayed, "STAT\r\n");
  world_.b1->Say("+OK 0 0\r\n");
  EXPECT_EQ(world_.Read(), "+OK 0 0\r\n");
  EXPECT_EQ(world_.Ask("QUIT"), "+OK bye\r\n");
  EXPECT_EQ(world_.accounts.at(0).cause.result, SessionResult::kClientQuit);
}

TEST_F(Pop3SessionTest, PipelinedUserAndPass) {
  Begin();
  world_.Send("USER alice\r\nPASS secret\r\nSTAT\r\n");
  EXPECT_EQ(world_.Read(), "+OK Send the password\r\n+OK Logged in at b1\r\n");
  EXPECT_EQ(world_.b1->relayed, "STAT\r\n");
}

TEST_F(Pop3SessionTest, XclientWhereItIsOffered) {
  world_.endpoint(0).client_address = conf::ClientAddress::kXclient;
  BeginLoggedIn();
  EXPECT_THAT(world_.b1->lines,
              ElementsAre("CAPA", "XCLIENT ADDR=192.0.2.7 PORT=4711", "USER alice", "PASS secret"));
}

TEST_F(Pop3SessionTest, AWrongPasswordIsFinalAndComesLate) {
  Begin();
  EXPECT_EQ(world_.LogIn("alice", "wrong"), "");
  world_.Wait(seconds(2));
  EXPECT_EQ(world_.Read(), "-ERR [AUTH] Authentication failed\r\n");
  EXPECT_EQ(world_.b2->num_connections(), 0);
}

TEST_F(Pop3SessionTest, ALockedMailboxKeepsItsCodeAndIsNoGuess) {
  world_.b1->refusal = "-ERR [IN-USE] locked";
  Begin();
  (void)world_.LogIn("alice", "wrong");
  world_.Wait(seconds(2));
  EXPECT_EQ(world_.Read(), "-ERR [IN-USE] Cannot log in now\r\n");
  EXPECT_THAT(world_.auth_failed, IsEmpty());
}

TEST_F(Pop3SessionTest, BusyAndTempFailLeadToTheNext) {
  for (const auto& [fault, at] : {std::pair{Fault::kBusy, 0}, std::pair{Fault::kTempFail, 3}}) {
    MailWorld world(Protocol::kPop3);
    world.b1->fault = fault;
    world.b1->fault_at = at;
    world.Begin();
    (void)world.Read();
    EXPECT_EQ(world.LogIn(), "+OK Logged in at b2\r\n");
  }
}

TEST_F(Pop3SessionTest, NobodyThereIsATemporaryError) {
  world_.b1->fault = world_.b2->fault = Fault::kClose;
  Begin();
  EXPECT_EQ(world_.LogIn(), "-ERR [SYS/TEMP] Temporarily unavailable, try again later\r\n");
}

TEST_F(Pop3SessionTest, ABackendThatDiesEndsTheSessionWithoutAWord) {
  BeginLoggedIn();
  world_.b1->stream()->Reset();
  EXPECT_EQ(world_.Read(), "");
  EXPECT_TRUE(world_.client_sees_end());
}

TEST_F(Pop3SessionTest, DrainBeforeADeletionIsAtOnce) {
  BeginLoggedIn();
  world_.session->BeginDrain();
  world_.Settle();
  EXPECT_TRUE(world_.client_sees_end());
  EXPECT_EQ(world_.accounts.at(0).cause.result, SessionResult::kDrained);
}

TEST_F(Pop3SessionTest, DrainNeverComesBetweenDeleAndQuit) {
  BeginLoggedIn();
  world_.Line("DELE 1");
  world_.Settle();
  world_.b1->Say("+OK\r\n");
  EXPECT_EQ(world_.Read(), "+OK\r\n");
  world_.session->BeginDrain();
  world_.Wait(seconds(30));
  EXPECT_FALSE(world_.client_sees_end());
  EXPECT_EQ(world_.Ask("QUIT"), "+OK bye\r\n");
  EXPECT_TRUE(world_.client_sees_end());
  EXPECT_EQ(world_.b1->relayed, "DELE 1\r\nQUIT\r\n");
}

TEST_F(Pop3SessionTest, QuitWithoutWaiting) {
  Begin();
  world_.Send("USER alice\r\nPASS secret\r\nDELE 1\r\nQUIT\r\n");
  world_.ShutClientWrite();
  EXPECT_THAT(world_.Read(), EndsWith("+OK Logged in at b1\r\n+OK bye\r\n"));
  EXPECT_EQ(world_.b1->relayed, "DELE 1\r\nQUIT\r\n");
}

}  // namespace
}  // namespace postern::test
