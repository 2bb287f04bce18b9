// sim_net_test: the network in memory keeps the rules of io::Stream and behaves like TCP.
// SPDX-License-Identifier: Apache-2.0
#include "test/support/sim_net.h"

#include "test/io/sim_fixture.h"

namespace postern::test {
namespace {

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

TEST_F(SimNetTest, CloseBehindAHeldUpHalfCloseStillSaysFin) {
  net_.options.window_bytes = 10;
  Open();
  client_->Write(std::string(35, 'x'));
  client_->ShutdownWrite();
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

TEST_F(SimNetTest, CloseGentlyGoesOnReadingSoThatThePeerCanFinish) {
  net_.options.window_bytes = 10;
  Open();
  client_->CloseGently();
  server_->Write(std::string(100, 'x'));
  EXPECT_EQ(server_->Unsent(), 90u);
  Run();
  EXPECT_EQ(server_->Unsent(), 0u);
  EXPECT_TRUE(at_server_.Has(Event::kDrained));
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

// --- misuse -----------------------------------------------------------------------------------

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
