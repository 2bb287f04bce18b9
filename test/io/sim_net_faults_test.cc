// sim_net_faults_test: dials and their doors, and connections that hang, stall or break.
// SPDX-License-Identifier: Apache-2.0
#include "test/io/sim_fixture.h"
#include "test/support/sim_net.h"

namespace postern::test {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

// --- dials ----------------------------------------------------------------------------------

class SimDialTest : public SimNetTest {
 protected:
  void SetUp() override {
    net_.Listen(Server(), [this](std::unique_ptr<SimStream> stream) {
      accepted_.push_back(std::move(stream));
      accepted_.back()->SetObserver(&at_server_);
    });
  }
  void Dial() { dialled_ = net_.Connect({.address = Server()}, at_client_); }

  std::vector<std::unique_ptr<SimStream>> accepted_;
  std::unique_ptr<Stream> dialled_;
};

TEST_F(SimDialTest, ConnectsAfterARoundTrip) {
  Dial();
  EXPECT_THAT(at_client_.events, IsEmpty());
  loop_.RunFor(2 * net_.options.latency - 1ns);
  EXPECT_THAT(at_client_.events, IsEmpty());
  EXPECT_THAT(accepted_, SizeIs(1));
  loop_.RunFor(1ns);
  EXPECT_THAT(at_client_.events, ElementsAre(Event::kConnected));
  EXPECT_EQ(net_.num_dials(), 1u);
}

TEST_F(SimDialTest, KnowsItsAddresses) {
  const auto source = *base::IpAddress::Parse("2001:db8::5");
  dialled_ = net_.Connect({.address = Server(), .source = source}, at_client_);
  Run();
  EXPECT_EQ(dialled_->peer_address(), Server());
  EXPECT_EQ(dialled_->local_address().ip, source);
  EXPECT_EQ(accepted_[0]->peer_address(), dialled_->local_address());
  EXPECT_EQ(accepted_[0]->local_address(), Server());
}

TEST_F(SimDialTest, AGreetingComesAfterConnected) {
  net_.Listen(Server(), [this](std::unique_ptr<SimStream> stream) {
    accepted_.push_back(std::move(stream));
    accepted_.back()->Write("* OK\r\n");
  });
  Dial();
  Run();
  EXPECT_THAT(at_client_.events, ElementsAre(Event::kConnected, Event::kReadable));
  EXPECT_EQ(at_client_.received, "* OK\r\n");
}

TEST_F(SimDialTest, WhatIsWrittenBeforeConnectedIsSentThen) {
  Dial();
  dialled_->Write("early");
  EXPECT_EQ(dialled_->Unsent(), 5u);
  Run();
  EXPECT_EQ(at_server_.received, "early");
  EXPECT_THAT(at_client_.events, ElementsAre(Event::kConnected, Event::kDrained));
}

TEST_F(SimDialTest, NobodyThereRefuses) {
  dialled_ = net_.Connect({.address = Client()}, at_client_);
  Run();
  EXPECT_THAT(at_client_.events, ElementsAre(Event::kEnd));
  EXPECT_EQ(dialled_->end(), StreamEnd::kRefused);
}

TEST_F(SimDialTest, DoorsDecide) {
  struct {
    SimNet::Door door;
    StreamEnd end;
  } const kRows[] = {
      {SimNet::Door::kRefuses, StreamEnd::kRefused},
      {SimNet::Door::kShort, StreamEnd::kLocal},
      {SimNet::Door::kHangs, StreamEnd::kNone},
      {SimNet::Door::kOpen, StreamEnd::kNone},
  };
  for (const auto& row : kRows) {
    net_.SetDoor(Server(), row.door);
    Dial();
    loop_.RunFor(1h);
    EXPECT_EQ(dialled_->end(), row.end) << static_cast<int>(row.door);
  }
  EXPECT_THAT(accepted_, SizeIs(1));
}

TEST_F(SimDialTest, LocalSocketsHavePlacesOfTheirOwn) {
  std::unique_ptr<SimStream> accepted;
  net_.Listen("/run/service", [&](auto stream) { accepted = std::move(stream); });
  Hearer known, unknown, shut;
  const auto good = net_.Connect({.unix_path = "/run/service"}, known);
  const auto bad = net_.Connect({.unix_path = "/run/nothing"}, unknown);
  Run();
  EXPECT_TRUE(known.Has(Event::kConnected));
  EXPECT_NE(accepted, nullptr);
  EXPECT_EQ(bad->end(), StreamEnd::kRefused);
  net_.SetDoor("/run/service", SimNet::Door::kRefuses);
  const auto late = net_.Connect({.unix_path = "/run/service"}, shut);
  Run();
  EXPECT_EQ(late->end(), StreamEnd::kRefused);
}

TEST_F(SimDialTest, AHangingDialIsLeftToItsCaller) {
  net_.SetDoor(Server(), SimNet::Door::kHangs);
  Dial();
  loop_.RunFor(1h);
  EXPECT_THAT(at_client_.events, IsEmpty());
  dialled_->Close();
  EXPECT_TRUE(loop_.RunUntilIdle());
  EXPECT_THAT(at_client_.events, IsEmpty());
}

TEST_F(SimDialTest, ADialGivenUpInTimeIsNeverAccepted) {
  Dial();
  dialled_.reset();
  Run();
  EXPECT_THAT(accepted_, IsEmpty());
}

TEST_F(SimDialTest, ADialGivenUpTooLateIsReset) {
  Dial();
  loop_.RunFor(net_.options.latency);
  ASSERT_THAT(accepted_, SizeIs(1));
  dialled_.reset();
  Run();
  EXPECT_EQ(accepted_[0]->end(), StreamEnd::kReset);
}

TEST_F(SimDialTest, AListenerMayReplaceItselfFromWithin) {
  std::string order;
  net_.Listen(Server(), [&](std::unique_ptr<SimStream>) {
    order += "1";
    net_.Listen(Server(), [&order](std::unique_ptr<SimStream>) { order += "2"; });
  });
  Dial();
  Run();
  Dial();
  Run();
  EXPECT_EQ(order, "12");
}

TEST_F(SimDialTest, AcceptedAndDroppedIsAnEof) {
  net_.Listen(Server(), [](std::unique_ptr<SimStream>) {});
  Dial();
  Run();
  EXPECT_THAT(at_client_.events, ElementsAre(Event::kConnected, Event::kEnd));
  EXPECT_EQ(dialled_->end(), StreamEnd::kEof);
}

// --- faults ---------------------------------------------------------------------------------

TEST_F(SimNetTest, HangSwallowsEverythingEvenTheEnd) {
  Open();
  client_->Write("on its way");
  client_->Hang();
  server_->Write("also");
  client_->ShutdownWrite();
  Run();
  client_.reset();
  loop_.RunFor(1h);
  EXPECT_THAT(at_server_.events, IsEmpty());
  EXPECT_THAT(at_client_.events, IsEmpty());
}

TEST_F(SimNetTest, HangFillsTheWindow) {
  net_.options.window_bytes = 100;
  Open();
  client_->Hang();
  client_->Write(std::string(250, 'x'));
  Run();
  EXPECT_EQ(client_->Unsent(), 150u);
}

TEST_F(SimNetTest, BreaksAtEveryByte) {
  const std::string text = "* OK ready\r\n";
  for (const auto how :
       {SimSocket::Break::kReset, SimSocket::Break::kHang, SimSocket::Break::kFin}) {
    for (size_t at = 0; at <= text.size(); ++at) {
      at_client_ = {};
      at_server_ = {};
      Open();
      server_->socket().BreakAfter(at, how);
      EXPECT_THAT(at_client_.events, IsEmpty());
      server_->Write(text);
      client_->Write("from the client");
      Run();
      EXPECT_EQ(at_client_.received, text.substr(0, at));
      const StreamEnd expected = how == SimSocket::Break::kReset  ? StreamEnd::kReset
                                 : how == SimSocket::Break::kHang ? StreamEnd::kNone
                                                                  : StreamEnd::kEof;
      EXPECT_EQ(client_->end(), expected) << at;
    }
  }
}

TEST_F(SimNetTest, BrokenByFinStillReads) {
  Open();
  server_->socket().BreakAfter(2, SimSocket::Break::kFin);
  server_->Write("abcdef");
  Run();
  server_->Write("lost");
  client_->Write("heard");
  Run();
  EXPECT_EQ(at_client_.received, "ab");
  EXPECT_EQ(at_server_.received, "heard");
}

TEST_F(SimNetTest, DelayHoldsUpOneDirectionAndKeepsOrder) {
  Open();
  client_->Write("a");
  client_->socket().Delay(10s);
  client_->Write("b");
  server_->Write("c");
  loop_.RunFor(9s);
  EXPECT_EQ(at_server_.received, "a");
  EXPECT_EQ(at_client_.received, "c");
  loop_.RunFor(2s);
  EXPECT_EQ(at_server_.received, "ab");
}

TEST_F(SimNetTest, ASmallerLatencyDoesNotOvertake) {
  net_.options.latency = 10ms;
  Open();
  client_->Write("first ");
  net_.options.latency = 1ms;
  client_->Write("second");
  Run();
  EXPECT_EQ(at_server_.received, "first second");
}

}  // namespace
}  // namespace postern::test
