// sim_net_test: the network in memory keeps the rules of io::Stream and behaves like TCP.
// SPDX-License-Identifier: Apache-2.0
#include "test/support/sim_net.h"

#include "test/io/sim_fixture.h"

namespace postern::test {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

// --- bytes ----------------------------------------------------------------------------------

TEST_F(SimNetTest, BytesArriveAfterTheLatency) {
  net_.options.latency = 5ms;
  Open();
  client_->Write("a1 NOOP\r\n");
  loop_.RunFor(5ms - 1ns);
  EXPECT_EQ(at_server_.received, "");
  loop_.RunFor(1ns);
  EXPECT_EQ(at_server_.received, "a1 NOOP\r\n");
}

TEST_F(SimNetTest, NothingIsCalledFromWithinAMethod) {
  Open();
  server_->Write("x");
  Run();
  at_client_.hook = [](Stream& stream, Event) {
    stream.PauseReads();
    return true;
  };
  server_->Write("y");
  Run();
  at_client_.events.clear();
  client_->ResumeReads();
  client_->Write("z");
  client_->SetObserver(&at_client_);
  client_->ShutdownWrite();
  EXPECT_THAT(at_client_.events, IsEmpty());
}

TEST_F(SimNetTest, ObserverIsNeverEnteredTwice) {
  net_.options.cut = SimCut::kByByte;
  Open();
  at_client_.hook = [this](Stream& stream, Event event) {
    at_client_.TakeAll(stream, event);
    stream.Write("echo");
    stream.ResumeReads();
    return true;
  };
  at_server_.hook = [this](Stream&, Event) {
    EXPECT_FALSE(at_client_.is_inside);
    return false;
  };
  server_->Write("abc");
  Run();
  EXPECT_EQ(at_client_.received, "abc");
  EXPECT_EQ(at_server_.received, "echoechoecho");
}

TEST_F(SimNetTest, WhatIsWrittenAtOnceIsReadAtOnce) {
  Open();
  client_->Write("a");
  client_->Write("b");
  Run();
  EXPECT_THAT(at_server_.pieces, ElementsAre("ab"));
}

TEST_F(SimNetTest, ByByteShowsOneByteATime) {
  net_.options.cut = SimCut::kByByte;
  Open();
  client_->Write("abc");
  Run();
  EXPECT_THAT(at_server_.pieces, ElementsAre("a", "b", "c"));
}

TEST_F(SimNetTest, RandomCutsKeepTheBytesAndDependOnTheSeed) {
  const std::string text(5000, 'x');
  const auto cuts = [&text](uint64_t seed) {
    SimLoop loop;
    base::SeededRng rng(seed);
    SimNet net(loop, rng);
    net.options.cut = SimCut::kRandom;
    Hearer ear;
    auto [client, server] = net.Pair(Client(), Server());
    server->SetObserver(&ear);
    client->Write(text);
    EXPECT_TRUE(loop.RunUntilIdle());
    EXPECT_EQ(ear.received, text);
    return ear.pieces;
  };
  EXPECT_THAT(cuts(1), SizeIs(::testing::Gt(1u)));
  EXPECT_EQ(cuts(1), cuts(1));
  EXPECT_NE(cuts(1), cuts(2));
}

TEST_F(SimNetTest, UnconsumedBytesAreShownAgainInFrontOfNewOnes) {
  Open();
  at_server_.hook = [](Stream&, Event) { return true; };
  client_->Write("ab");
  Run();
  EXPECT_EQ(server_->Input(), "ab");
  server_->Consume(1);
  client_->Write("cd");
  Run();
  EXPECT_EQ(server_->Input(), "bcd");
  EXPECT_EQ(at_server_.Count(Event::kReadable), 2);
}

TEST_F(SimNetTest, NothingIsReadBeforeThereIsAnObserver) {
  std::tie(client_, server_) = net_.Pair(Client(), Server());
  client_->Write("early");
  Run();
  EXPECT_EQ(server_->Input(), "");
  server_->SetObserver(&at_server_);
  Run();
  EXPECT_EQ(at_server_.received, "early");
}

TEST_F(SimNetTest, ANewObserverHearsTheRest) {
  Open();
  Hearer other;
  client_->Write("one");
  Run();
  server_->SetObserver(&other);
  client_->Write("two");
  Run();
  EXPECT_EQ(at_server_.received, "one");
  EXPECT_EQ(other.received, "two");
}

// --- pauses ---------------------------------------------------------------------------------

TEST_F(SimNetTest, APausedStreamIsSilentAndItsInputStaysAsItIs) {
  Open();
  server_->PauseReads();
  client_->Write("abc");
  client_->ShutdownWrite();
  Run();
  EXPECT_THAT(at_server_.events, IsEmpty());
  EXPECT_EQ(server_->Input(), "");
  server_->ResumeReads();
  Run();
  EXPECT_THAT(at_server_.events, ElementsAre(Event::kReadable, Event::kEnd));
  EXPECT_EQ(at_server_.received, "abc");
}

TEST_F(SimNetTest, ResumeReportsWhatWasLeftAtOnce) {
  Open();
  at_server_.hook = [](Stream&, Event) { return true; };
  client_->Write("abc");
  Run();
  server_->PauseReads();
  at_server_.events.clear();
  server_->ResumeReads();
  loop_.RunReady();
  EXPECT_THAT(at_server_.events, ElementsAre(Event::kReadable));
  EXPECT_EQ(server_->Input(), "abc");
}

TEST_F(SimNetTest, APausedStreamDoesNotReadOn) {
  Open();
  at_server_.hook = [](Stream& stream, Event) {
    stream.PauseReads();
    return false;
  };
  client_->Write("a");
  Run();
  client_->Write("b");
  Run();
  EXPECT_EQ(at_server_.received, "a");
}

// --- buffers --------------------------------------------------------------------------------

TEST_F(SimNetTest, ASlowReaderLeavesBytesUnsent) {
  net_.options.window_bytes = 100;
  Open();
  server_->PauseReads();
  client_->Write(std::string(250, 'x'));
  EXPECT_EQ(client_->Unsent(), 150u);
  Run();
  EXPECT_EQ(client_->Unsent(), 150u);
  server_->ResumeReads();
  Run();
  EXPECT_EQ(client_->Unsent(), 0u);
  EXPECT_EQ(at_server_.received, std::string(250, 'x'));
  EXPECT_EQ(at_client_.Count(Event::kDrained), 1);
}

TEST_F(SimNetTest, NothingDrainsThatWasNeverHeldUp) {
  Open();
  client_->Write("short");
  Run();
  EXPECT_FALSE(at_client_.Has(Event::kDrained));
}

TEST_F(SimNetTest, LowWaterIsReportedOnTheWayDown) {
  net_.options.window_bytes = 100;
  Open();
  client_->SetLowWater(150);
  std::vector<size_t> seen;
  at_client_.hook = [&seen](Stream& stream, Event event) {
    if (event == Event::kDrained) seen.push_back(stream.Unsent());
    return true;
  };
  client_->Write(std::string(400, 'x'));
  EXPECT_EQ(client_->Unsent(), 300u);
  Run();
  // Once at the mark, once at zero.
  EXPECT_THAT(seen, ElementsAre(100u, 0u));
}

TEST_F(SimNetTest, WritingMoreWhileBytesWaitStillDrains) {
  net_.options.window_bytes = 100;
  Open();
  client_->Write(std::string(150, 'x'));
  // The window opens at the peer's read; its news arrives a latency later.
  loop_.RunFor(net_.options.latency);
  client_->Write("y");
  EXPECT_EQ(client_->Unsent(), 51u);
  Run();
  EXPECT_TRUE(at_client_.Has(Event::kDrained));
  EXPECT_EQ(at_server_.received, std::string(150, 'x') + "y");
}

TEST_F(SimNetTest, AnOwnerThatNeverConsumesIsBounded) {
  net_.options.window_bytes = 100;
  net_.options.max_input_bytes = 200;
  Open();
  at_server_.hook = [](Stream&, Event) { return true; };
  client_->Write(std::string(1000, 'x'));
  Run();
  EXPECT_EQ(server_->Input().size(), 200u);
  EXPECT_EQ(client_->Unsent(), 700u);
  server_->Consume(200);
  Run();
  EXPECT_EQ(server_->Input().size(), 200u);
}

// --- ends -----------------------------------------------------------------------------------

TEST_F(SimNetTest, HalfCloseEndsOneDirection) {
  Open();
  client_->Write("bye");
  client_->ShutdownWrite();
  Run();
  EXPECT_EQ(at_server_.received, "bye");
  EXPECT_THAT(at_server_.events, ElementsAre(Event::kReadable, Event::kEnd));
  EXPECT_EQ(server_->end(), StreamEnd::kEof);
  EXPECT_FALSE(server_->truncated());
  server_->Write("answer");
  server_->ShutdownWrite();
  Run();
  EXPECT_EQ(at_client_.received, "answer");
  EXPECT_EQ(client_->end(), StreamEnd::kEof);
}

TEST_F(SimNetTest, EofComesAfterUnsentBytes) {
  net_.options.window_bytes = 10;
  Open();
  client_->Write(std::string(35, 'x'));
  client_->ShutdownWrite();
  Run();
  EXPECT_EQ(at_server_.received.size(), 35u);
  EXPECT_EQ(server_->end(), StreamEnd::kEof);
}

TEST_F(SimNetTest, CloseIsAFinIfAllWasRead) {
  Open();
  client_->Write("last");
  client_->Close();
  Run();
  EXPECT_EQ(at_server_.received, "last");
  EXPECT_EQ(server_->end(), StreamEnd::kEof);
  EXPECT_THAT(at_client_.events, IsEmpty());
}

TEST_F(SimNetTest, CloseDropsWhatTheWindowHasNotTaken) {
  net_.options.window_bytes = 10;
  Open();
  client_->Write(std::string(35, 'x'));
  client_->Close();
  Run();
  EXPECT_EQ(at_server_.received.size(), 10u);
  EXPECT_EQ(server_->end(), StreamEnd::kEof);
}

TEST_F(SimNetTest, CloseWithUnreadBytesResets) {
  Open();
  client_->PauseReads();
  server_->Write("unread");
  Run();
  client_->Close();
  Run();
  EXPECT_EQ(server_->end(), StreamEnd::kReset);
}

TEST_F(SimNetTest, BytesForAClosedEndAreAnsweredByReset) {
  Open();
  client_->Close();
  Run();
  ASSERT_EQ(server_->end(), StreamEnd::kEof);
  server_->Write("is anybody there");
  Run();
  EXPECT_EQ(server_->end(), StreamEnd::kEof);  // nobody reads any more: noticed at the next write
  server_->Write("hello");
  EXPECT_EQ(server_->end(), StreamEnd::kEof);
  Run();
  EXPECT_EQ(server_->end(), StreamEnd::kReset);
  EXPECT_THAT(at_server_.events, ElementsAre(Event::kEnd, Event::kEnd));
}

TEST_F(SimNetTest, BytesForADestroyedEndAreAnsweredByReset) {
  Open();
  server_->PauseReads();  // does not see the FIN
  client_.reset();
  Run();
  server_->Write("x");
  Run();
  server_->ResumeReads();
  Run();
  EXPECT_THAT(server_->end(), StreamEnd::kEof);
  server_->Write("x");
  Run();
  EXPECT_THAT(server_->end(), StreamEnd::kReset);
}

TEST_F(SimNetTest, UnsentBytesLostInAResetAreNoticedWithoutAWrite) {
  net_.options.window_bytes = 10;
  Open();
  client_->PauseReads();
  server_->Write(std::string(100, 'x'));
  Run();
  client_->ShutdownWrite();
  Run();
  ASSERT_EQ(server_->end(), StreamEnd::kEof);
  client_->Close();  // with bytes unread
  Run();
  EXPECT_EQ(server_->end(), StreamEnd::kReset);
}

TEST_F(SimNetTest, ResetEndsBothAfterWhatHasArrived) {
  Open();
  server_->PauseReads();
  client_->Write("arrived");
  Run();
  client_->Write("lost");
  client_->Reset();
  server_->ResumeReads();
  Run();
  EXPECT_EQ(at_server_.received, "arrived");
  EXPECT_EQ(server_->end(), StreamEnd::kReset);
  EXPECT_EQ(client_->end(), StreamEnd::kReset);
  EXPECT_THAT(at_client_.events, ElementsAre(Event::kEnd));
  client_->Write("ignored");
  Run();
  EXPECT_THAT(at_client_.events, SizeIs(1));
}

TEST_F(SimNetTest, NoEventsAfterClose) {
  Open();
  server_->Write("a");
  server_->ShutdownWrite();
  Run();
  at_client_.events.clear();
  server_.reset();
  client_->Close();
  Run();
  EXPECT_THAT(at_client_.events, IsEmpty());
  EXPECT_TRUE(client_->is_closed());
}

TEST_F(SimNetTest, CloseFromWithinIsTheLastEvent) {
  net_.options.cut = SimCut::kByByte;
  Open();
  at_client_.hook = [](Stream& stream, Event) {
    stream.Close();
    return true;
  };
  server_->Write("abc");
  server_->ShutdownWrite();
  Run();
  EXPECT_THAT(at_client_.events, ElementsAre(Event::kReadable));
}

TEST_F(SimNetTest, DeletedStreamsAreNotCalled) {
  Open();
  server_->Write("x");
  client_->Write("y");
  loop_.RunFor(net_.options.latency - 1ns);
  client_.reset();
  Run();
  EXPECT_THAT(at_client_.events, IsEmpty());
  EXPECT_EQ(at_server_.received, "y");
}

TEST_F(SimNetTest, CloseGentlyDeliversEverythingWithoutItsStream) {
  net_.options.window_bytes = 10;
  Open();
  client_->Write(std::string(95, 'x'));
  client_->CloseGently();
  client_.reset();
  Run();
  EXPECT_EQ(at_server_.received.size(), 95u);
  EXPECT_EQ(server_->end(), StreamEnd::kEof);
}

TEST_F(SimNetTest, CloseGentlySwallowsWhatThePeerStillSays) {
  Open();
  client_->CloseGently();
  Run();
  server_->Write("one more word");
  Run();
  server_->Write("and another");
  Run();
  EXPECT_EQ(server_->end(), StreamEnd::kEof);
}

TEST_F(SimNetTest, CloseGentlyGivesUpTwoSecondsAfterTheLastByte) {
  Open();
  client_->CloseGently();
  loop_.RunFor(1900ms);
  server_->Write("still in time");
  loop_.RunFor(200ms);
  server_->Write("too late");
  Run();
  server_->Write("noticed");
  Run();
  EXPECT_EQ(server_->end(), StreamEnd::kReset);
}

TEST_F(SimNetTest, CloseGentlyGivesUpOnAPeerThatTakesNothing) {
  net_.options.window_bytes = 10;
  Open();
  server_->PauseReads();
  client_->Write(std::string(100, 'x'));
  client_->CloseGently();
  loop_.RunFor(11s);
  server_->ResumeReads();
  Run();
  EXPECT_EQ(at_server_.received.size(), 10u);
  EXPECT_EQ(server_->end(), StreamEnd::kReset);
}

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

using SimNetDeathTest = SimNetTest;

TEST_F(SimNetDeathTest, MisuseAborts) {
  GTEST_FLAG_SET(death_test_style, "fast");
  Open();
  EXPECT_DEATH(client_->Consume(1), "check failed");
  EXPECT_DEATH(client_->SetObserver(nullptr), "check failed");
  EXPECT_DEATH(
      {
        client_->ShutdownWrite();
        client_->Write("x");
      },
      "check failed");
  EXPECT_DEATH(
      {
        at_server_.hook = [this](Stream&, Event) {
          server_.reset();
          return true;
        };
        client_->Write("x");
        Run();
      },
      "check failed");
}

}  // namespace
}  // namespace postern::test
