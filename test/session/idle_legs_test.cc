// idle_legs_test: legs that pass from one client to the next, and those that must not.
// SPDX-License-Identifier: Apache-2.0
#include "lb/session/idle_legs.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "test/support/smtp_world.h"

namespace postern::test {
namespace {

using conf::Protocol;
using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::ElementsAre;
using testing::EndsWith;
using testing::IsEmpty;
using testing::StartsWith;

constexpr const char* kDone = "250 250 354 250";

class IdleLegsTest : public testing::Test {
 protected:
  IdleLegsTest() { world_.shares_legs = true; }

  // The first of a world, or the next one.
  void Arrive(const std::string& name = "client.example") {
    if (world_.num_begun == 0) {
      world_.Begin();
    } else {
      world_.BeginNext();
    }
    world_.Line("EHLO " + name);
    ASSERT_EQ(world_.Codes(), "220 250");
  }
  void Leave() {
    EXPECT_THAT(world_.Ask("QUIT"), StartsWith("221 "));
    world_.Settle();
  }
  void Visit(const std::string& name = "client.example") {
    Arrive(name);
    EXPECT_EQ(world_.Deliver(), kDone);
    Leave();
  }
  // What b1 was asked since the last call.
  std::vector<std::string> Lines() {
    std::vector<std::string> lines(
        world_.server(1).lines.begin() + static_cast<std::ptrdiff_t>(num_seen_),
        world_.server(1).lines.end());
    num_seen_ = world_.server(1).lines.size();
    return lines;
  }
  [[nodiscard]] int NumConnections() { return world_.server(1).num_connections; }

  SmtpWorld world_;
  size_t num_seen_ = 0;
};

TEST_F(IdleLegsTest, TheNextClientGetsTheLegOfTheOneBefore) {
  Visit();
  EXPECT_EQ(world_.left_legs.size(), 1U);
  EXPECT_EQ(world_.server(1).num_open(), 1);
  (void)Lines();
  Visit();
  EXPECT_EQ(NumConnections(), 1);
  EXPECT_EQ(world_.server(1).messages.size(), 2U);
  EXPECT_THAT(Lines(),
              ElementsAre("RSET", "MAIL FROM:<a@x.example>", "RCPT TO:<b@y.example>", "DATA"));
}

TEST_F(IdleLegsTest, AnotherNameIsSaidFirst) {
  Visit("one.example");
  (void)Lines();
  Visit("two.example");
  EXPECT_EQ(NumConnections(), 1);
  EXPECT_THAT(Lines(), ElementsAre("EHLO two.example", "RSET", "MAIL FROM:<a@x.example>",
                                   "RCPT TO:<b@y.example>", "DATA"));
}

TEST_F(IdleLegsTest, ALegThatWaitsIsNoLoad) {
  Visit();
  EXPECT_EQ(world_.state("b1").ActiveSum(), 0U);
  Arrive();
  world_.Send("MAIL FROM:<a@x.example>\r\nRCPT TO:<b@y.example>\r\n");
  EXPECT_EQ(world_.Codes(), "250 250");
  EXPECT_EQ(world_.state("b1").ActiveSum(), 1U);
  Leave();
  EXPECT_EQ(world_.left_legs.size(), 0U);
}

TEST_F(IdleLegsTest, NoLongerThanItsTime) {
  world_.config.smtp.legs_idle = seconds(2);
  Visit();
  world_.Wait(seconds(3));
  EXPECT_EQ(world_.left_legs.size(), 0U);
  EXPECT_EQ(world_.server(1).num_open(), 0);
  EXPECT_THAT(Lines().back(), "QUIT");
  Visit();
  EXPECT_EQ(NumConnections(), 2);
}

// Nobody who comes later could use it.
TEST_F(IdleLegsTest, WhoIsOfAFormerSnapshotLeavesNothing) {
  Arrive();
  EXPECT_EQ(world_.Deliver(), kDone);
  world_.Reload();
  Leave();
  EXPECT_EQ(world_.left_legs.size(), 0U);
  EXPECT_EQ(Lines().back(), "QUIT");
  EXPECT_EQ(world_.server(1).num_open(), 0);
}

TEST_F(IdleLegsTest, WhoLeavesADrainedEndpointLeavesNothing) {
  Arrive();
  EXPECT_EQ(world_.Deliver(), kDone);
  world_.state("b1").admin = balance::AdminState::kMaintenance;
  Leave();
  EXPECT_EQ(world_.left_legs.size(), 0U);
  EXPECT_EQ(Lines().back(), "QUIT");
}

// The sweep comes later than the time of a leg may end.
TEST_F(IdleLegsTest, WhoseTimeIsOverIsNotTakenEither) {
  world_.config.smtp.legs_idle = milliseconds(300);
  Visit();  // takes 150 ms from the message on
  Arrive();
  world_.Wait(milliseconds(200));
  EXPECT_EQ(world_.left_legs.size(), 1U);
  EXPECT_EQ(world_.Deliver(), kDone);
  EXPECT_EQ(NumConnections(), 2);
  Leave();
}

TEST_F(IdleLegsTest, NoMoreTransactionsThanItMayServe) {
  world_.config.smtp.legs_transactions = 2;
  for (int i = 0; i < 5; ++i) Visit();
  EXPECT_EQ(NumConnections(), 3);
}

TEST_F(IdleLegsTest, ManyClientsNeedFewConnections) {
  for (int i = 0; i < 300; ++i) Visit(i % 2 == 0 ? "one.example" : "two.example");
  EXPECT_EQ(world_.server(1).messages.size(), 300U);
  EXPECT_EQ(NumConnections(), 3);  // of smtp.legs.transactions messages each
}

TEST_F(IdleLegsTest, NoMoreLegsThanTheBound) {
  // Each is of another snapshot, and all snapshots are there, so that nobody takes one.
  std::vector<std::shared_ptr<const session::Parts>> snapshots;
  for (size_t i = 0; i < session::IdleLegs::kMaxPerEndpoint + 3; ++i) {
    Visit();
    snapshots.push_back(world_.env().parts);
    world_.Reload();
  }
  EXPECT_EQ(world_.left_legs.size(), session::IdleLegs::kMaxPerEndpoint);
  EXPECT_EQ(world_.server(1).num_open(), static_cast<int>(session::IdleLegs::kMaxPerEndpoint));
}

TEST_F(IdleLegsTest, NotAcrossSnapshots) {
  Visit();
  world_.endpoint(1).tls = conf::TlsMode::kStartTls;
  world_.server(1).keywords.push_back("STARTTLS");
  world_.Reload();
  Visit();
  EXPECT_EQ(NumConnections(), 2);
  EXPECT_TRUE(std::count(world_.server(1).lines.begin(), world_.server(1).lines.end(), "STARTTLS"));
}

TEST_F(IdleLegsTest, NotToWhomTheServerIsToldOfClients) {
  for (const auto how : {conf::ClientAddress::kXclient, conf::ClientAddress::kProxyV2}) {
    SmtpWorld world;
    world.shares_legs = true;
    world.endpoint(1).client_address = how;
    world.server(1).expects_proxy = how == conf::ClientAddress::kProxyV2;
    world.server(1).keywords.push_back("XCLIENT ADDR NAME PORT PROTO HELO");
    for (int i = 1; i <= 2; ++i) {
      if (i == 1) world.Begin();
      if (i == 2) world.BeginNext();
      for (auto& done : world.name_lookups) done({});
      world.name_lookups.clear();
      EXPECT_THAT(world.Ask("EHLO client.example"), StartsWith("220"));
      world.Send("MAIL FROM:<a@x.example>\r\nRCPT TO:<b@y.example>\r\nDATA\r\n");
      world.Wait(seconds(2));  // the name
      EXPECT_EQ(world.Codes(), "250 250 354");
      world.Send(".\r\n");
      EXPECT_EQ(world.Codes(), "250");
      // The same client's next transaction may have it.
      EXPECT_EQ(world.Deliver(), kDone);
      EXPECT_EQ(world.server(1).num_connections, i);
      EXPECT_THAT(world.Ask("QUIT"), StartsWith("221 "));
      world.Settle();
      EXPECT_EQ(world.left_legs.size(), 0U);
      EXPECT_EQ(world.server(1).num_open(), 0);
    }
  }
}

TEST_F(IdleLegsTest, NotAfterALogin) {
  SmtpWorld world(Protocol::kSubmission);
  world.shares_legs = true;
  world.server(1).keywords.push_back("AUTH PLAIN");
  for (int i = 1; i <= 2; ++i) {
    if (i == 1) world.Begin();
    if (i == 2) world.BeginNext();
    world.Line("EHLO client.example");
    EXPECT_THAT(world.Ask("AUTH PLAIN AGFsaWNlAHNlY3JldA=="),
                EndsWith("235 2.7.0 Authentication successful\r\n"));
    EXPECT_EQ(world.Deliver(), kDone);
    EXPECT_THAT(world.Ask("QUIT"), StartsWith("221 "));
    world.Settle();
    EXPECT_EQ(world.left_legs.size(), 0U);
    EXPECT_EQ(world.server(1).num_connections, i);
  }
}

// Servers count a client's errors, and slow down or hang up: another would pay for them.
TEST_F(IdleLegsTest, NotAfterARefusal) {
  world_.server(1).answers["RCPT TO:<bad"] = "550 5.1.1 unknown";
  Arrive();
  world_.Send("MAIL FROM:<a@x.example>\r\nRCPT TO:<bad@y.example>\r\nRSET\r\n");
  EXPECT_EQ(world_.Codes(), "250 550 250");
  EXPECT_EQ(world_.Deliver(), kDone);
  Leave();
  EXPECT_EQ(world_.left_legs.size(), 0U);
  EXPECT_EQ(world_.server(1).num_open(), 0);
}

TEST_F(IdleLegsTest, NotWhileAnAnswerIsDue) {
  world_.server(1).answers["RCPT TO:<slow"] = "hang";
  Arrive();
  world_.Send("MAIL FROM:<a@x.example>\r\nRCPT TO:<slow@y.example>\r\n");
  world_.Settle();
  EXPECT_EQ(Lines().back(), "RCPT TO:<slow@y.example>");
  world_.client().Close();
  world_.Settle();
  EXPECT_EQ(world_.left_legs.size(), 0U);
}

TEST_F(IdleLegsTest, AnEnvelopeLeftBehindIsCleared) {
  Arrive();
  world_.Send("MAIL FROM:<other@x.example>\r\nRCPT TO:<other@y.example>\r\n");
  EXPECT_EQ(world_.Codes(), "250 250");
  EXPECT_THAT(world_.Ask("RSET"), StartsWith("250 "));
  Leave();
  EXPECT_EQ(world_.left_legs.size(), 1U);
  (void)Lines();
  Visit();
  EXPECT_EQ(Lines().front(), "RSET");
  EXPECT_THAT(world_.server(1).messages.at(0).to, ElementsAre("b@y.example"));
}

// What the next one sends would be taken for the rest of it.
TEST_F(IdleLegsTest, NotWithinAMessage) {
  world_.server(1).keywords.push_back("CHUNKING");
  const std::string envelope = "MAIL FROM:<a@x.example>\r\nRCPT TO:<b@y.example>\r\n";
  for (const std::string behind : {"", "RSET\r\n", "BDAT 4\r\nha", "QUIT\r\n"}) {
    Arrive();
    world_.Send(envelope + "BDAT 4\r\nhalf");
    EXPECT_EQ(world_.Codes(), "250 250 250") << behind;
    world_.Send(behind);
    world_.Settle();
    world_.client().Close();
    world_.Settle();
    EXPECT_EQ(world_.left_legs.size(), 0U) << behind;
    EXPECT_EQ(world_.server(1).num_open(), 0) << behind;
  }
  Arrive();
  world_.Send(envelope + "DATA\r\nhalf\r\n");
  EXPECT_EQ(world_.Codes(), "250 250 354");
  world_.client().Close();
  world_.Settle();
  EXPECT_EQ(world_.left_legs.size(), 0U);
  EXPECT_THAT(world_.server(1).messages, IsEmpty());
}

TEST_F(IdleLegsTest, AMessageInChunksIsFollowedByTheNextClients) {
  world_.server(1).keywords.push_back("CHUNKING");
  const std::string envelope = "MAIL FROM:<a@x.example>\r\nRCPT TO:<b@y.example>\r\n";
  for (int i = 1; i <= 3; ++i) {
    Arrive();
    world_.Send(envelope + "BDAT 2\r\n..BDAT 3 LAST\r\nx\r\n");
    EXPECT_EQ(world_.Codes(), "250 250 250 250");
    Leave();
    EXPECT_EQ(world_.left_legs.size(), 1U);
    EXPECT_EQ(world_.server(1).messages.back().text, "..x\r\n");
  }
  Visit();
  EXPECT_EQ(NumConnections(), 1);
  EXPECT_EQ(world_.server(1).messages.size(), 4U);
}

// A text that moves goes over it as over any other.
TEST_F(IdleLegsTest, ATextMovesToTheLegOfAnother) {
  world_.config.smtp.replay_memory = 4 << 10;
  world_.state("b1").admin = balance::AdminState::kDrain;
  Visit();
  EXPECT_EQ(world_.server(2).num_connections, 1);
  world_.state("b1").admin = balance::AdminState::kReady;
  std::string text;
  for (int i = 0; text.size() < 64 << 10; ++i) text += "line " + std::to_string(i) + "\r\n";
  Arrive();
  world_.Send("MAIL FROM:<a@x.example>\r\nRCPT TO:<b@y.example>\r\nDATA\r\n");
  EXPECT_EQ(world_.Codes(), "250 250 354");
  world_.Send(text);
  world_.Settle();
  world_.server(1).End("reset");
  world_.Send(text + ".\r\n");
  EXPECT_EQ(world_.Codes(), "250");
  EXPECT_EQ(world_.server(2).num_connections, 1);
  ASSERT_EQ(world_.server(2).messages.size(), 2U);
  EXPECT_EQ(world_.server(2).messages[1].text, text + text);
  Leave();
  EXPECT_EQ(world_.left_legs.size(), 1U);
}

TEST_F(IdleLegsTest, AnLmtpServersToo) {
  world_.SpeakLmtp(1);
  world_.SpeakLmtp(2);
  world_.config.pools[0].storage = conf::Storage::kShared;
  Visit("one.example");
  (void)Lines();
  Visit("two.example");
  EXPECT_THAT(Lines(), ElementsAre("LHLO two.example", "RSET", "MAIL FROM:<a@x.example>",
                                   "RCPT TO:<b@y.example>", "DATA"));
  EXPECT_EQ(NumConnections(), 1);
  EXPECT_EQ(world_.server(1).messages.size(), 2U);
}

// The user is held for as long as the delivery takes, whoever's connection it is.
TEST_F(IdleLegsTest, InAnExclusivePoolToo) {
  world_.SpeakLmtp(1);
  world_.SpeakLmtp(2);
  world_.config.pools[0].storage = conf::Storage::kExclusive;
  const auto holder = [this] { return world_.held_users.HolderOf("p", "b@y.example"); };
  Visit();
  EXPECT_EQ(holder(), "");
  Arrive();
  world_.Send("MAIL FROM:<a@x.example>\r\nRCPT TO:<b@y.example>\r\n");
  EXPECT_EQ(world_.Codes(), "250 250");
  EXPECT_EQ(holder(), "b1");
  EXPECT_EQ(NumConnections(), 1);
  EXPECT_EQ(world_.left_legs.size(), 0U);
  Leave();
  EXPECT_EQ(holder(), "");
  const auto other = world_.held_users.Take("p", "b@y.example", "b2");
  Visit();
  EXPECT_EQ(world_.server(2).messages.size(), 1U);
}

TEST_F(IdleLegsTest, TheRelaysOfMixedTransactionsToo) {
  world_.config.pools[0].backends = {"b2"};
  conf::Pool& pool = world_.config.pools.emplace_back();
  pool.name = "relay";
  pool.backends = {"b1"};
  for (conf::Rule& rule : world_.config.routes[0].rules) rule.mixed_relay_pool = "relay";
  for (int i = 1; i <= 2; ++i) {
    Arrive();
    world_.Send("MAIL FROM:<a@x.example>\r\nRCPT TO:<b@y.example>\r\nRCPT TO:<c@away.example>\r\n");
    EXPECT_EQ(world_.Codes(), "250 250 250");
    EXPECT_THAT(world_.Ask("DATA"), StartsWith("354"));
    EXPECT_THAT(world_.Ask("."), StartsWith("250"));
    Leave();
  }
  EXPECT_EQ(NumConnections(), 1);
  EXPECT_THAT(world_.server(1).messages.at(1).to, ElementsAre("b@y.example", "c@away.example"));
}

TEST_F(IdleLegsTest, OneThatLacksWhatTheMessageUsesIsLeftThere) {
  world_.capabilities.push_back("SMTPUTF8");
  Visit();
  world_.server(1).keywords.push_back("SMTPUTF8");
  Arrive();
  world_.Send("MAIL FROM:<a@x.example> SMTPUTF8\r\nRCPT TO:<b@y.example>\r\n");
  EXPECT_EQ(world_.Codes(), "250 250");
  EXPECT_EQ(NumConnections(), 2);
  EXPECT_EQ(world_.left_legs.size(), 1U);
  Leave();
}

TEST_F(IdleLegsTest, ServersThatGoOrSpeakUnaskedAreForgotten) {
  Visit();
  world_.server(1).stream()->Write("421 4.4.2 too long\r\n");
  world_.Settle();
  EXPECT_EQ(world_.left_legs.size(), 0U);
  Visit();
  world_.server(1).End("reset");
  world_.Settle();
  EXPECT_EQ(world_.left_legs.size(), 0U);
  Visit();
  world_.server(1).End("close");
  world_.Settle();
  EXPECT_EQ(world_.left_legs.size(), 0U);
  Visit();
  EXPECT_EQ(NumConnections(), 4);
  EXPECT_EQ(world_.server(1).messages.size(), 4U);
}

// It is replaced, at the same endpoint, although nothing may be tried again.
TEST_F(IdleLegsTest, OneThatDiesWhenItIsUsedIsReplacedAndDoesNotCount) {
  world_.config.smtp.retries = 0;
  for (const std::string name : {"client.example", "other.example"}) {
    Visit();
    const int before = NumConnections();
    const size_t num_messages = world_.server(1).messages.size();
    world_.server(1).answers["RSET"] = "reset";
    world_.server(1).answers["EHLO other"] = "reset";
    Arrive(name);
    world_.Line("MAIL FROM:<a@x.example>");
    world_.Line("RCPT TO:<b@y.example>");
    for (int i = 0; i < 10000 && NumConnections() == before; ++i) world_.Wait(microseconds(1));
    world_.server(1).answers.erase("EHLO other");
    EXPECT_EQ(world_.Codes(), "250 250");
    world_.server(1).answers.clear();
    EXPECT_EQ(NumConnections(), before + 1);
    EXPECT_EQ(world_.server(2).num_connections, 0);
    EXPECT_THAT(world_.Ask("DATA"), StartsWith("354"));
    EXPECT_THAT(world_.Ask("."), StartsWith("250"));
    EXPECT_EQ(world_.server(1).messages.size(), num_messages + 1);
    Leave();
  }
  EXPECT_EQ(world_.state("b1").Sums().failures, 0U);
}

TEST_F(IdleLegsTest, AnEndpointThatTakesNoWorkIsLeft) {
  Visit();
  world_.left_legs.LeaveEndpoint(world_.state("b2"));
  EXPECT_EQ(world_.left_legs.size(), 1U);
  world_.left_legs.LeaveEndpoint(world_.state("b1"));
  EXPECT_EQ(world_.left_legs.size(), 0U);
  world_.Settle();
  EXPECT_EQ(Lines().back(), "QUIT");
  EXPECT_EQ(world_.server(1).num_open(), 0);
}

// Nobody picks it, so nobody takes its legs.
TEST_F(IdleLegsTest, DrainedDownOrOverItsLimitItIsNotAsked) {
  const auto expect_elsewhere = [this](size_t num_messages) {
    Visit();
    EXPECT_EQ(world_.server(2).messages.size(), num_messages);
  };
  Visit();
  world_.state("b1").admin = balance::AdminState::kDrain;
  expect_elsewhere(1);
  world_.state("b1").admin = balance::AdminState::kReady;
  world_.state("b1").health = balance::Health::kDown;
  expect_elsewhere(2);
  world_.state("b1").health = balance::Health::kUp;
  world_.state("b1").is_above_hard = true;
  expect_elsewhere(3);
  EXPECT_EQ(world_.server(1).messages.size(), 1U);
}

TEST_F(IdleLegsTest, DrainedDownOrOverItsLimitItsLegsAreClosed) {
  const auto expect_closed = [this] {
    world_.Wait(milliseconds(600));
    EXPECT_EQ(world_.left_legs.size(), 0U);
    EXPECT_EQ(Lines().back(), "QUIT");
  };
  Visit();
  world_.Wait(milliseconds(600));
  EXPECT_EQ(world_.left_legs.size(), 1U);
  world_.state("b1").admin = balance::AdminState::kDrain;
  expect_closed();
  world_.state("b1").admin = balance::AdminState::kReady;
  Visit();
  world_.state("b1").is_above_hard = true;
  expect_closed();
  world_.state("b1").is_above_hard = false;
  Visit();
  world_.state("b1").health = balance::Health::kDown;
  expect_closed();
}

TEST_F(IdleLegsTest, WhoStopsSaysQuitAndKeepsNothing) {
  Visit();
  Arrive();
  EXPECT_EQ(world_.Deliver(), kDone);
  world_.left_legs.Stop();
  Leave();
  EXPECT_EQ(world_.left_legs.size(), 0U);
  EXPECT_EQ(Lines().back(), "QUIT");
  EXPECT_EQ(world_.server(1).num_open(), 0);
}

}  // namespace
}  // namespace postern::test
