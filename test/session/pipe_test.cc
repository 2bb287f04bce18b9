// pipe_test: two streams joined, in memory: bytes both ways, back-pressure, half-close, silence.
// SPDX-License-Identifier: Apache-2.0
#include "lb/session/pipe.h"

#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <string>
#include <utility>

#include "test/support/mail_world.h"

namespace postern::test {
namespace {

using base::Side;
using io::Stream;
using session::Pipe;
using std::chrono::seconds;

constexpr size_t kBufferBytes = 100'000;

// A peer: keeps what it gets.
class Peer final : public Stream::Observer {
 public:
  explicit Peer(std::unique_ptr<SimStream> stream) : stream_(std::move(stream)) {
    stream_->SetObserver(this);
  }
  void OnStream(Stream& stream, Stream::Event event) override {
    got += stream.Input();
    stream.Consume(stream.Input().size());
    has_end |= event == Stream::Event::kEnd;
  }
  SimStream& stream() { return *stream_; }
  std::string got;
  bool has_end = false;

 private:
  std::unique_ptr<SimStream> stream_;
};

class PipeTest : public testing::Test, public Stream::Observer {
 protected:
  PipeTest() {
    world_.Build();
    auto [client, front] = world_.net.Pair(At("192.0.2.7:4711"), At("198.51.100.1:993"));
    auto [back, server] = world_.net.Pair(At("10.0.0.250:50000"), At("10.0.0.1:143"));
    client_ = std::make_unique<Peer>(std::move(client));
    server_ = std::make_unique<Peer>(std::move(server));
    front->SetObserver(this);
    back->SetObserver(this);
    pipe_ = std::make_unique<Pipe>(std::move(front));
    pipe_->Join(std::move(back), kBufferBytes, world_.loop.Now());
  }
  static base::SocketAddress At(const char* address) {
    return *base::SocketAddress::Parse(address);
  }
  // As sessions do.
  void OnStream(Stream& stream, Stream::Event event) override {
    const Side side = pipe_->SideOf(stream);
    if (event == Stream::Event::kDrained) return pipe_->OnDrained(side);
    (side == Side::kFront ? from_front_ : from_back_) +=
        pipe_->Move(side, world_.env(), kBufferBytes);
    if (event == Stream::Event::kEnd && pipe_->is_closed(Side::kNone)) pipe_->PassOnEof(side);
  }

  MailWorld world_{conf::Protocol::kTcp};
  std::unique_ptr<Peer> client_, server_;
  std::unique_ptr<Pipe> pipe_;
  size_t from_front_ = 0, from_back_ = 0;
};

TEST_F(PipeTest, MovesBothWaysAndTellsHowMuch) {
  client_->stream().Write("question");
  server_->stream().Write("an answer");
  world_.Settle();
  EXPECT_EQ(server_->got, "question");
  EXPECT_EQ(client_->got, "an answer");
  EXPECT_EQ(from_front_, 8U);
  EXPECT_EQ(from_back_, 9U);
  EXPECT_EQ(pipe_->Move(Side::kFront, world_.env(), kBufferBytes), 0U);
}

TEST_F(PipeTest, WhoDoesNotTakePausesTheOtherAndNobodyElse) {
  const std::string much(1'000'000, 'm');
  client_->stream().PauseReads();
  server_->stream().Write(much);
  world_.Wait(seconds(5));
  const auto& back = static_cast<const SimStream&>(pipe_->back());
  EXPECT_TRUE(back.is_paused());
  EXPECT_FALSE(static_cast<const SimStream&>(pipe_->front()).is_paused());
  // The buffer, and what came with the piece that filled it.
  EXPECT_LT(pipe_->front().Unsent(), kBufferBytes + world_.net.options.window_bytes + 1);
  client_->stream().Write("still here");
  world_.Settle();
  EXPECT_EQ(server_->got, "still here");
  client_->stream().ResumeReads();
  world_.Wait(seconds(5));
  EXPECT_EQ(client_->got, much);
  EXPECT_FALSE(back.is_paused());
}

TEST_F(PipeTest, HalfACloseIsPassedOnBehindTheBytes) {
  client_->stream().Write("question");
  client_->stream().ShutdownWrite();
  world_.Settle();
  EXPECT_EQ(server_->got, "question");
  EXPECT_TRUE(server_->has_end);
  EXPECT_FALSE(client_->has_end);
  EXPECT_TRUE(pipe_->is_closed(Side::kFront));
  server_->stream().Write("answer");
  world_.Settle();
  EXPECT_EQ(client_->got, "answer");
}

TEST_F(PipeTest, SilenceCountsFromTheLastByteAndLessOnceHalfIsClosed) {
  const base::MonoTime begun = world_.loop.Now();
  EXPECT_EQ(pipe_->Deadline(seconds(600)), begun + seconds(600));
  world_.Wait(seconds(100));
  server_->stream().Write("x");
  world_.Settle();
  EXPECT_GE(pipe_->Deadline(seconds(600)), begun + seconds(700));
  const base::MonoTime last = pipe_->Deadline(seconds(0));
  server_->stream().ShutdownWrite();
  world_.Settle();
  EXPECT_EQ(pipe_->Deadline(seconds(600)), last + Pipe::kHalfClosedIdle);
  EXPECT_EQ(pipe_->Deadline(seconds(10)), last + seconds(10));
}

TEST_F(PipeTest, WhatWasPausedBeforeGoesOn) {
  pipe_->front().PauseReads();
  client_->stream().Write("early");
  world_.Settle();
  EXPECT_EQ(server_->got, "");
  pipe_->GoOn(Side::kFront);
  world_.Settle();
  EXPECT_EQ(server_->got, "early");
}

TEST_F(PipeTest, AGentleCloseDeliversWhatIsQueued) {
  const std::string much(150'000, 'm');
  client_->stream().PauseReads();
  server_->stream().Write(much);
  world_.Wait(seconds(1));
  ASSERT_GT(pipe_->front().Unsent(), 0U);
  pipe_->CloseGently();
  client_->stream().ResumeReads();
  world_.Wait(seconds(1));
  EXPECT_EQ(client_->got.size(), from_back_);
  EXPECT_TRUE(client_->has_end);
  EXPECT_TRUE(server_->has_end);
}

}  // namespace
}  // namespace postern::test
