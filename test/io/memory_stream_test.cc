// memory_stream_test: two ends in one process.
// SPDX-License-Identifier: Apache-2.0
#include "lb/io/memory_stream.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

#include "test/support/sim_loop.h"

namespace postern::io {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using Event = Stream::Event;

class Ear final : public Stream::Observer {
 public:
  void OnStream(Stream& stream, Event event) override {
    events.push_back(event);
    if (on_event) on_event(stream);
  }
  std::vector<Event> events;
  std::function<void(Stream&)> on_event;
};

class MemoryStreamTest : public testing::Test {
 protected:
  MemoryStreamTest() {
    std::tie(one_, other_) = MemoryStream::Pair(loop_, nullptr);
    one_->SetObserver(&one_ear_);
    other_->SetObserver(&other_ear_);
  }
  test::SimLoop loop_;
  std::unique_ptr<MemoryStream> one_, other_;
  Ear one_ear_, other_ear_;
};

TEST_F(MemoryStreamTest, TellsFromTheLoopOnly) {
  one_->Write("ab");
  one_->Write("cd");
  EXPECT_THAT(other_ear_.events, IsEmpty());
  loop_.RunReady();
  EXPECT_THAT(other_ear_.events, ElementsAre(Event::kReadable));
  EXPECT_EQ(other_->Input(), "abcd");
}

TEST_F(MemoryStreamTest, WhatIsNotConsumedIsUnsent) {
  one_->SetLowWater(2);
  one_->Write("abcde");
  loop_.RunReady();
  EXPECT_EQ(one_->Unsent(), 5U);
  other_->Consume(2);
  loop_.RunReady();
  EXPECT_THAT(one_ear_.events, IsEmpty());
  other_->Consume(1);
  other_->Consume(1);
  loop_.RunReady();
  EXPECT_THAT(one_ear_.events, ElementsAre(Event::kDrained));
  EXPECT_EQ(one_->Unsent(), 1U);
}

TEST_F(MemoryStreamTest, APausedEndHearsNothing) {
  other_->PauseReads();
  one_->Write("ab");
  one_->ShutdownWrite();
  loop_.RunReady();
  EXPECT_THAT(other_ear_.events, IsEmpty());
  other_->ResumeReads();
  loop_.RunReady();
  EXPECT_THAT(other_ear_.events, ElementsAre(Event::kReadable, Event::kEnd));
  EXPECT_EQ(other_->end(), StreamEnd::kEof);
  other_->Write("still");
  loop_.RunReady();
  EXPECT_EQ(one_->Input(), "still");
}

TEST_F(MemoryStreamTest, ResumingTellsAgainOfWhatIsThere) {
  one_->Write("ab");
  loop_.RunReady();
  other_->PauseReads();
  other_->ResumeReads();
  loop_.RunReady();
  EXPECT_THAT(other_ear_.events, ElementsAre(Event::kReadable, Event::kReadable));
}

TEST_F(MemoryStreamTest, AGentleEndIsBehindItsBytes) {
  one_->Write("bye");
  one_->CloseGently();
  one_.reset();
  loop_.RunReady();
  EXPECT_THAT(other_ear_.events, ElementsAre(Event::kReadable, Event::kEnd));
  EXPECT_EQ(other_->end(), StreamEnd::kEof);
  EXPECT_EQ(other_->Input(), "bye");
  other_->Consume(3);
  other_->Write("nobody");
  EXPECT_EQ(other_->Unsent(), 0U);
}

TEST_F(MemoryStreamTest, AnyOtherEndIsAReset) {
  one_->Close();
  EXPECT_EQ(other_->end(), StreamEnd::kNone);
  loop_.RunReady();
  EXPECT_THAT(other_ear_.events, ElementsAre(Event::kEnd));
  EXPECT_EQ(other_->end(), StreamEnd::kReset);
}

TEST_F(MemoryStreamTest, OneThatIsGoneIsAReset) {
  one_.reset();
  loop_.RunReady();
  EXPECT_EQ(other_->end(), StreamEnd::kReset);
}

TEST_F(MemoryStreamTest, AfterCloseNothingIsTold) {
  one_->Write("ab");
  other_->Close();
  loop_.RunReady();
  EXPECT_THAT(other_ear_.events, IsEmpty());
}

TEST_F(MemoryStreamTest, AnObserverMayCloseItsEnd) {
  other_ear_.on_event = [](Stream& stream) { stream.Close(); };
  one_->Write("ab");
  one_->ShutdownWrite();
  loop_.RunReady();
  EXPECT_THAT(other_ear_.events, ElementsAre(Event::kReadable));
  EXPECT_EQ(one_->end(), StreamEnd::kReset);
}

}  // namespace
}  // namespace postern::io
