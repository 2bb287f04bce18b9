// splice_test: what one stream receives, forwarded to another in the kernel, over real loopback
// sockets: the same bytes, counts, ends and pauses as if they were copied.
// SPDX-License-Identifier: Apache-2.0
#include "lb/net/splice_pipe.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "lb/net/stream_shared.h"
#include "test/net/loop_fixture.h"

namespace postern::net {
namespace {

using Event = Stream::Event;

// A connection on loopback: a far end that the test has, and a near one for who relays.
struct Leg {
  std::unique_ptr<Stream> far;
  Recorder far_seen;
  std::unique_ptr<SocketStream> near;
};

class SpliceTest : public LoopTest, public Stream::Observer {
 protected:
  void SetUp() override {
    Open(source_);
    Open(sink_);
    ASSERT_TRUE(source_.near->ForwardTo(*sink_.near));
    ASSERT_TRUE(sink_.near->ForwardTo(*source_.near));
  }
  void Open(Leg& leg) {
    auto sockets = BindAll(Loopback(), 1);
    ASSERT_TRUE(sockets.ok()) << sockets.error();
    TcpListener listener(
        loop_, std::move(sockets.value()[0]), [&](OwnedFd fd, const base::SocketAddress& peer) {
          leg.near = std::make_unique<SocketStream>(loop_, std::move(fd), peer, this);
        });
    leg.far = TcpDialer(loop_).Connect({.address = listener.address(), .source = {}}, leg.far_seen);
    Until([&] { return leg.near != nullptr && leg.far_seen.Has(Event::kConnected); });
  }
  // As the sessions' pipe does.
  void OnStream(Stream& stream, Event event) override {
    if (is_over_) return;
    Stream& other = &stream == source_.near.get() ? *sink_.near : *source_.near;
    if (event == Event::kDrained) return other.ResumeReads();
    const size_t forwarded = stream.TakeForwarded();
    num_forwarded_ += forwarded;
    num_copied_ += stream.Input().size();
    if (!stream.Input().empty()) other.Write(stream.Input());
    stream.Consume(stream.Input().size());
    if (other.Unsent() > 0) stream.PauseReads();
    most_unsent_ = std::max(most_unsent_, other.Unsent());
    most_lent_ = std::max(most_lent_, pipes().num_lent());
    if (event != Event::kEnd) return;
    ends_.push_back(stream.end());
    if (stream.end() == StreamEnd::kEof) other.ShutdownWrite();
  }
  SplicePipes& pipes() { return loop_.stream_shared().pipes; }

  Leg source_, sink_;
  size_t num_forwarded_ = 0, num_copied_ = 0, most_unsent_ = 0, most_lent_ = 0;
  std::vector<StreamEnd> ends_;
  bool is_over_ = false;
};

TEST_F(SpliceTest, MuchIsForwardedAndLittleIsCopied) {
  source_.far->Write("little");
  Until([&] { return sink_.far_seen.received == "little"; });
  EXPECT_EQ(num_forwarded_, 0U);
  EXPECT_EQ(num_copied_, 6U);
  sink_.far_seen.received.clear();
  const std::string much = Pattern(8'000'000, 1);
  source_.far->Write(much);
  Until([&] { return sink_.far_seen.received.size() == much.size(); });
  EXPECT_TRUE(sink_.far_seen.received == much);
  EXPECT_EQ(num_forwarded_ + num_copied_, much.size() + 6);
  EXPECT_GT(num_forwarded_, much.size() / 2);
  EXPECT_EQ(pipes().num_lent(), 0U);
  EXPECT_EQ(loop_.unsent_bytes(), 0U);
}

TEST_F(SpliceTest, BothWaysAtOnceByteForByte) {
  const std::string there = Pattern(6'000'000, 1), back = Pattern(5'000'000, 2);
  source_.far->Write(there);
  sink_.far->Write(back);
  Until([&] {
    return sink_.far_seen.received.size() == there.size() &&
           source_.far_seen.received.size() == back.size();
  });
  EXPECT_TRUE(sink_.far_seen.received == there);
  EXPECT_TRUE(source_.far_seen.received == back);
  EXPECT_GT(num_forwarded_, 0U);
}

TEST_F(SpliceTest, ASinkThatDoesNotReadHoldsOnePipeAndAllArrives) {
  sink_.far->PauseReads();
  const std::string much = Pattern(30'000'000, 3);
  source_.far->Write(much);
  Until([&] { return sink_.near->Unsent() > 0; });
  Settle();
  EXPECT_LE(pipes().num_lent(), 1U);
  EXPECT_EQ(loop_.unsent_bytes(), source_.far->Unsent() + sink_.near->Unsent());
  sink_.far->ResumeReads();
  Until([&] { return sink_.far_seen.received.size() == much.size(); });
  EXPECT_TRUE(sink_.far_seen.received == much);
  EXPECT_EQ(most_lent_, 1U);
  EXPECT_LE(most_unsent_, static_cast<size_t>(SplicePipe::kCapacityBytes));
  EXPECT_EQ(pipes().num_lent(), 0U);
}

TEST_F(SpliceTest, WhatIsWrittenMeanwhileComesBehind) {
  sink_.far->PauseReads();
  const std::string much = Pattern(30'000'000, 4);
  source_.far->Write(much);
  Until([&] { return pipes().num_lent() == 1; });
  const size_t before = num_forwarded_ + num_copied_;
  is_over_ = true;
  sink_.near->Write("goodbye");
  EXPECT_EQ(pipes().num_lent(), 0U);
  sink_.near->ShutdownWrite();
  sink_.far->ResumeReads();
  Until([&] { return sink_.far_seen.Has(Event::kEnd); });
  EXPECT_TRUE(sink_.far_seen.received == much.substr(0, before) + "goodbye");
}

TEST_F(SpliceTest, AnEndComesBehindAllBytes) {
  sink_.far->PauseReads();
  const std::string much = Pattern(12'000'000, 5);
  source_.far->Write(much);
  source_.far->ShutdownWrite();
  Until([&] { return sink_.near->Unsent() > 0; });
  sink_.far->ResumeReads();
  Until([&] { return sink_.far_seen.Has(Event::kEnd); });
  EXPECT_TRUE(sink_.far_seen.received == much);
  EXPECT_EQ(ends_, std::vector{StreamEnd::kEof});
}

TEST_F(SpliceTest, AGentleCloseDeliversWhatThePipeHolds) {
  sink_.far->PauseReads();
  const std::string much = Pattern(30'000'000, 6);
  source_.far->Write(much);
  Until([&] { return pipes().num_lent() == 1; });
  const size_t before = num_forwarded_ + num_copied_;
  source_.near->CloseGently();
  sink_.near->CloseGently();
  sink_.far->ResumeReads();
  Until([&] { return sink_.far_seen.Has(Event::kEnd); });
  EXPECT_TRUE(sink_.far_seen.received == much.substr(0, before));
  EXPECT_EQ(pipes().num_lent(), 0U);
}

TEST_F(SpliceTest, AtACloseAtOnceThePipeGoesToo) {
  sink_.far->PauseReads();
  source_.far->Write(Pattern(30'000'000, 7));
  Until([&] { return pipes().num_lent() == 1; });
  source_.near->Close();
  sink_.near->Close();
  EXPECT_EQ(pipes().num_lent(), 0U);
  EXPECT_EQ(loop_.unsent_bytes(), source_.far->Unsent());
}

// The reset of who is written to is heard from it, as of any stream.
TEST_F(SpliceTest, ASinkThatResetsIsReported) {
  source_.far->Write(Pattern(30'000'000, 8));
  Until([&] { return num_forwarded_ > 1'000'000; });
  sink_.far->Close();  // with bytes unread
  Until([&] { return !ends_.empty(); });
  EXPECT_EQ(ends_[0], StreamEnd::kReset);
  EXPECT_EQ(sink_.near->end(), StreamEnd::kReset);
}

TEST_F(SpliceTest, ASourceThatResetsIsReported) {
  sink_.far->Write(Pattern(30'000'000, 9));  // never read by the source: its close resets
  source_.far->PauseReads();
  source_.far->Write(Pattern(3'000'000, 10));
  Until([&] { return num_forwarded_ > 1'000'000; });
  source_.far->Close();
  Until([&] { return !ends_.empty(); });
  EXPECT_EQ(source_.near->end(), StreamEnd::kReset);
}

TEST_F(SpliceTest, WithoutAPipeItIsCopied) {
  pipes().Disable();
  const std::string much = Pattern(4'000'000, 11);
  source_.far->Write(much);
  Until([&] { return sink_.far_seen.received.size() == much.size(); });
  EXPECT_TRUE(sink_.far_seen.received == much);
  EXPECT_EQ(num_forwarded_, 0U);
}

// --- the pool ---------------------------------------------------------------------------------

TEST(SplicePipesTest, LendsNoMoreThanItMay) {
  SplicePipes pipes;
  std::vector<SplicePipes::Lent> lent;
  for (size_t i = 0; i < SplicePipes::kMaxLent; ++i) {
    lent.push_back(pipes.Lend());
    ASSERT_NE(lent.back(), nullptr);
  }
  EXPECT_EQ(pipes.Lend(), nullptr);
  lent.clear();
  EXPECT_EQ(pipes.num_lent(), 0U);
  EXPECT_NE(pipes.Lend(), nullptr);
}

TEST(SplicePipesTest, WithoutDescriptorsThereIsNoneForNow) {
  SplicePipes pipes;
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  rlimit none = before;
  none.rlim_cur = 3;
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
  const bool has_pipe = pipes.Lend() != nullptr;
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
  EXPECT_FALSE(has_pipe);
  EXPECT_EQ(pipes.num_lent(), 0U);
  EXPECT_NE(pipes.Lend(), nullptr);
}

TEST(SplicePipesTest, APipeWithBytesInItIsNotLentAgain) {
  int ends[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
  const OwnedFd near(ends[0]), far(ends[1]);
  ASSERT_EQ(::send(far.get(), "x", 1, 0), 1);
  SplicePipes pipes;
  auto lent = pipes.Lend();
  ASSERT_EQ(lent->Fill(near.get(), 100), 1);
  EXPECT_EQ(lent->size(), 1U);
  lent.reset();
  EXPECT_EQ(pipes.Lend()->size(), 0U);
}

TEST(SplicePipesTest, WhatCannotBeSplicedIsKnownByItsError) {
  const OwnedFd folder(::open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  SplicePipes pipes;
  EXPECT_LT(pipes.Lend()->Fill(folder.get(), 100), 0);
  EXPECT_TRUE(IsSpliceUnknown(errno)) << errno;
}

}  // namespace
}  // namespace postern::net
