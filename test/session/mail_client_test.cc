// mail_client_test: clients of IMAP that leave, are slow, or say more than they should, before and
// behind their login.
// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "test/session/imap_case.h"

namespace postern::test {
namespace {

using base::FaultKind;
using base::Phase;
using base::SessionResult;
using std::chrono::seconds;
using testing::ElementsAre;
using testing::StartsWith;
using Fault = ScriptedBackend::Fault;

// --- clients that leave, or are slow ------------------------------------------------------------

TEST_F(ImapSessionTest, ACloseBeforeTheLoginEndsTheSession) {
  Begin();
  world_.CloseClient();
  world_.Settle();
  EXPECT_EQ(world_.session, nullptr);
  EXPECT_EQ(account().cause.result, SessionResult::kClientLost);
}

TEST_F(ImapSessionTest, ACloseWhileABackendHangsFreesAllAtOnce) {
  world_.b1->fault = Fault::kHang;
  Begin();
  world_.Line("a LOGIN alice secret");
  world_.Settle();
  world_.CloseClient();
  world_.Settle();
  EXPECT_EQ(world_.session, nullptr);
  EXPECT_EQ(world_.b1->num_open(), 0);
  EXPECT_EQ(account().cause.result, SessionResult::kClientLost);
  EXPECT_EQ(Failures("b1", Phase::kGreeting, FaultKind::kLost), 0);
}

TEST_F(ImapSessionTest, ACloseDuringTheDelayOfARefusalStillCounts) {
  Begin();
  (void)world_.LogIn("alice", "wrong");
  world_.CloseClient();
  world_.Settle();
  EXPECT_EQ(world_.session, nullptr);
  EXPECT_THAT(world_.auth_failed, ElementsAre("alice"));
}

TEST_F(ImapSessionTest, AHalfClosedClientGetsItsAnswers) {
  Begin();
  world_.Send("a LOGIN alice secret\r\nb LOGOUT\r\n");
  world_.ShutClientWrite();
  EXPECT_EQ(
      world_.Read(),
      "a OK [CAPABILITY IMAP4rev1 IDLE X-BACK] Logged in at b1\r\n* BYE bye\r\nb OK done\r\n");
  EXPECT_TRUE(world_.client_sees_end());
  EXPECT_EQ(account().cause.result, SessionResult::kClientQuit);
}

TEST_F(ImapSessionTest, AHalfCloseInTheRelayIsCarried) {
  BeginLoggedIn();
  world_.Send("b FETCH 1 X\r\n");
  world_.ShutClientWrite();
  world_.Settle();
  EXPECT_EQ(world_.b1->relayed, "b FETCH 1 X\r\n");
  EXPECT_TRUE(world_.b1->has_seen_eof);
}

TEST_F(ImapSessionTest, TheLoginDeadlineIsAbsolute) {
  Begin();
  const base::MonoTime start = world_.loop.Now();
  for (int i = 0; i < 70 && !world_.client_sees_end(); ++i) {
    world_.Send("a");
    world_.Wait(seconds(1));
  }
  EXPECT_LE(world_.loop.Now() - start, seconds(61));
  EXPECT_GE(world_.loop.Now() - start, seconds(59));
  EXPECT_EQ(world_.Read(), "* BYE Disconnected for inactivity\r\n");
  EXPECT_EQ(account().cause.result, SessionResult::kIdle);
}

TEST_F(ImapSessionTest, CommandsDoNotMoveTheLoginDeadline) {
  Begin();
  const base::MonoTime start = world_.loop.Now();
  while (!world_.client_sees_end() && world_.loop.Now() - start < seconds(90)) {
    world_.Line("a NOOP");
    world_.Wait(seconds(5));
  }
  EXPECT_LE(world_.loop.Now() - start, seconds(66));
}

TEST_F(ImapSessionTest, ALoginUnderWayIsEndedByTheDeadlineToo) {
  world_.config.listeners[0].timeouts.login = seconds(5);
  world_.b1->fault = world_.b2->fault = Fault::kHang;
  Begin();
  world_.Line("a LOGIN alice secret");
  world_.Wait(seconds(6));
  EXPECT_EQ(world_.Read(), "* BYE Disconnected for inactivity\r\n");
  EXPECT_EQ(world_.b1->num_open(), 0);
}

TEST_F(ImapSessionTest, OneCommandLineHasItsOwnDeadline) {
  world_.listener().timeouts.command = seconds(10);
  Begin();
  world_.Wait(seconds(6));
  EXPECT_THAT(world_.Ask("a NOOP"), StartsWith("a OK"));
  world_.Send("b NO");
  world_.Wait(seconds(9));
  EXPECT_FALSE(world_.client_sees_end());
  world_.Send("O");
  world_.Wait(seconds(2));
  EXPECT_TRUE(world_.client_sees_end());
}

TEST_F(ImapSessionTest, AClientThatDoesNotReadCostsBoundedMemory) {
  Begin();
  world_.client().PauseReads();
  std::string noops;
  for (int i = 0; i < 20000; ++i) noops += "a NOOP\r\n";
  for (int i = 0; i < 10; ++i) {
    world_.Send(noops);
    world_.Settle();
  }
  // Far from all of it was taken: what is not answered is not read.
  EXPECT_GT(world_.client().Unsent(), 800'000U);
  world_.client().Close();
}

TEST_F(ImapSessionTest, WhatIsSentBehindALoginIsNotReadWithoutEnd) {
  world_.b1->fault = world_.b2->fault = Fault::kHang;
  Begin();
  world_.Send("a LOGIN alice secret\r\n" + std::string(2'000'000, 'x'));
  world_.Settle();
  EXPECT_GT(world_.client().Unsent(), 1'000'000U);
}

}  // namespace
}  // namespace postern::test
