// socket_stream_test: streams in clear over real loopback sockets.
// SPDX-License-Identifier: Apache-2.0
#include "lb/net/socket_stream.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "test/net/loop_fixture.h"

namespace postern::net {
namespace {

using Event = Stream::Event;
using ::testing::ElementsAre;

TEST_F(PairTest, CarriesBytesBothWays) {
  client_->Write("EHLO a\r\n");
  Until([&] { return server_seen_.received == "EHLO a\r\n"; });
  server_->Write("250 b\r\n");
  Until([&] { return client_seen_.received == "250 b\r\n"; });
  EXPECT_EQ(client_->Unsent(), 0u);
}

TEST_F(PairTest, KnowsItsAddresses) {
  EXPECT_EQ(client_->peer_address(), listener_->address());
  EXPECT_EQ(server_->local_address(), listener_->address());
  EXPECT_EQ(server_->peer_address(), client_->local_address());
  EXPECT_NE(server_->peer_address().port, 0);
}

TEST_F(PairTest, NeverCallsBackFromWithinAMethod) {
  bool is_in_method = false;
  bool was_called = false;
  client_seen_.hook = [&](Stream&, Event) {
    was_called = was_called || is_in_method;
    return false;
  };
  is_in_method = true;
  client_->Write("x");
  client_->PauseReads();
  client_->ResumeReads();
  client_->ShutdownWrite();
  client_->CloseGently();
  is_in_method = false;
  EXPECT_FALSE(was_called);
}

TEST_F(PairTest, KeepsWhatIsNotConsumedInFrontOfWhatComes) {
  std::vector<std::string> views;
  server_seen_.hook = [&](Stream& stream, Event event) {
    if (event != Event::kReadable) return false;
    views.emplace_back(stream.Input());
    stream.Consume(views.size() == 1 ? 1 : stream.Input().size());
    return true;
  };
  client_->Write("abc");
  Until([&] { return views.size() == 1; });
  EXPECT_EQ(server_->Input(), "bc");
  client_->Write("def");
  Until([&] { return views.size() == 2; });
  EXPECT_THAT(views, ElementsAre("abc", "bcdef"));
  EXPECT_EQ(server_->Input(), "");
}

TEST_F(PairTest, ATailCanBeConsumedOutsideOfEvents) {
  server_seen_.hook = [](Stream&, Event event) { return event == Event::kReadable; };
  client_->Write("abc");
  Until([&] { return server_->Input() == "abc"; });
  server_->Consume(2);
  EXPECT_EQ(server_->Input(), "c");
  server_->Consume(1);
  EXPECT_EQ(server_->Input(), "");
}

TEST_F(PairTest, ResumeReportsATailAgain) {
  int num_seen = 0;
  server_seen_.hook = [&](Stream& stream, Event event) {
    if (event != Event::kReadable) return false;
    if (++num_seen == 2) stream.Consume(stream.Input().size());
    return true;
  };
  client_->Write("abc");
  Until([&] { return num_seen == 1; });
  server_->ResumeReads();
  EXPECT_EQ(num_seen, 1);
  Until([&] { return num_seen == 2; });
}

TEST_F(PairTest, APausedStreamIsSilentEvenAboutTheEnd) {
  server_->PauseReads();
  client_->Write("abc");
  client_->ShutdownWrite();
  Settle();
  EXPECT_TRUE(server_seen_.events.empty());
  server_->ResumeReads();
  Until([&] { return server_seen_.Has(Event::kEnd); });
  EXPECT_EQ(server_seen_.received, "abc");
  EXPECT_THAT(server_seen_.events, ElementsAre(Event::kReadable, Event::kEnd));
}

TEST_F(PairTest, APauseInTheMiddleOfAnEventKeepsTheRest) {
  server_seen_.hook = [&](Stream& stream, Event event) {
    if (event != Event::kReadable) return false;
    server_seen_.received.append(stream.Input().substr(0, 1));
    stream.Consume(1);
    stream.PauseReads();
    return true;
  };
  client_->Write("abc");
  Until([&] { return server_seen_.received == "a"; });
  Settle();
  EXPECT_EQ(server_seen_.received, "a");
  server_->ResumeReads();
  Until([&] { return server_seen_.received == "ab"; });
}

TEST_F(PairTest, ReadsLittleFromAPeerWhoseOwnerDoesNotConsume) {
  server_seen_.hook = [](Stream&, Event event) { return event == Event::kReadable; };
  const std::string text = Pattern(4 << 20, 1);
  Feeder feeder(*client_, text);
  feeder.Feed();
  Until([&] { return server_->Input().size() >= 16 << 10; });
  // The first read is small; later ones come, but never more than a bound.
  EXPECT_EQ(server_->Input().size(), 16u << 10);
  for (int i = 0; i < 100; ++i) Settle();
  EXPECT_LE(server_->Input().size(), (256u << 10) + (16u << 10));
}

TEST_F(PairTest, HalfCloseLeavesTheOtherDirectionOpen) {
  client_->Write("QUIT\r\n");
  client_->ShutdownWrite();
  Until([&] { return server_seen_.Has(Event::kEnd); });
  EXPECT_EQ(server_->end(), StreamEnd::kEof);
  EXPECT_EQ(server_seen_.received, "QUIT\r\n");
  EXPECT_FALSE(server_->truncated());
  server_->Write("221 bye\r\n");
  Until([&] { return client_seen_.received == "221 bye\r\n"; });
  server_->ShutdownWrite();
  Until([&] { return client_seen_.Has(Event::kEnd); });
  EXPECT_EQ(client_->end(), StreamEnd::kEof);
  EXPECT_EQ(server_seen_.Count(Event::kEnd), 1u);
}

TEST_F(PairTest, WhatIsUnsentIsCountedUntilItIsGone) {
  server_->PauseReads();
  client_->Write(std::string(8 << 20, 'x'));
  EXPECT_GT(client_->Unsent(), 0u);
  EXPECT_EQ(loop_.unsent_bytes(), client_->Unsent());
  server_->Write(std::string(8 << 20, 'y'));
  EXPECT_EQ(loop_.unsent_bytes(), client_->Unsent() + server_->Unsent());
  server_->ResumeReads();
  Until([&] { return client_->Unsent() == 0 && server_->Unsent() == 0; });
  EXPECT_EQ(loop_.unsent_bytes(), 0u);

  server_->PauseReads();
  client_->Write(std::string(8 << 20, 'x'));
  EXPECT_GT(loop_.unsent_bytes(), 0u);
  client_->Close();
  EXPECT_EQ(loop_.unsent_bytes(), 0u);
}

TEST_F(PairTest, ShutdownWaitsForWhatIsUnsent) {
  const std::string text = Pattern(8 << 20, 2);
  server_->PauseReads();
  client_->Write(text);
  EXPECT_GT(client_->Unsent(), 0u);
  client_->ShutdownWrite();
  server_->ResumeReads();
  Until([&] { return server_seen_.Has(Event::kEnd); });
  EXPECT_EQ(server_seen_.received, text);
  EXPECT_EQ(server_->end(), StreamEnd::kEof);
}

class RawPeerTest : public LoopTest {
 protected:
  // A stream whose peer is a plain blocking socket of the test.
  void SetUp() override {
    auto sockets = BindAll(Loopback(), 1);
    ASSERT_TRUE(sockets.ok());
    listener_ = std::make_unique<TcpListener>(
        loop_, std::move(sockets.value()[0]), [this](OwnedFd fd, const base::SocketAddress& peer) {
          stream_ = std::make_unique<SocketStream>(loop_, std::move(fd), peer, &seen_);
        });
    peer_ = OwnedFd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_storage storage{};
    const unsigned size = listener_->address().ToSockaddr(&storage);
    ASSERT_EQ(::connect(peer_.get(), reinterpret_cast<sockaddr*>(&storage), size), 0);
    Until([&] { return stream_ != nullptr; });
  }
  void Say(std::string_view text) {
    ASSERT_EQ(::send(peer_.get(), text.data(), text.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(text.size()));
  }
  void ResetPeer() {
    const linger hard{1, 0};
    ::setsockopt(peer_.get(), SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    peer_.Reset();
  }
  std::string HearAll() {
    std::string all;
    char buffer[4096];
    for (;;) {
      const ssize_t n = ::recv(peer_.get(), buffer, sizeof buffer, MSG_DONTWAIT);
      if (n > 0) {
        all.append(buffer, static_cast<size_t>(n));
      } else if (n == 0) {
        heard_eof_ = true;
        return all;
      } else {
        heard_error_ = errno;
        return all;
      }
    }
  }

  std::unique_ptr<TcpListener> listener_;
  Recorder seen_;
  std::unique_ptr<SocketStream> stream_;
  OwnedFd peer_;
  bool heard_eof_ = false;
  int heard_error_ = 0;
};

TEST_F(RawPeerTest, AResetIsTheLastEvent) {
  ResetPeer();
  Until([&] { return seen_.Has(Event::kEnd); });
  EXPECT_EQ(stream_->end(), StreamEnd::kReset);
  stream_->Write("into the void");
  Settle();
  EXPECT_THAT(seen_.events, ElementsAre(Event::kEnd));
}

TEST_F(RawPeerTest, AResetAfterEofIsReportedWhenItIsNoticed) {
  ::shutdown(peer_.get(), SHUT_WR);
  Until([&] { return stream_->end() == StreamEnd::kEof; });
  ResetPeer();
  // The kernel tells of it at the second write at the latest.
  while (stream_->end() == StreamEnd::kEof) {
    stream_->Write("x");
    Settle();
  }
  EXPECT_EQ(stream_->end(), StreamEnd::kReset);
  EXPECT_EQ(seen_.Count(Event::kEnd), 2u);
}

TEST_F(RawPeerTest, WhatThePeerSaidBeforeItWentIsDelivered) {
  stream_->PauseReads();
  Say("421 going away\r\n");
  peer_.Reset();  // unread bytes of ours would make it a reset; there are none yet
  stream_->Write("MAIL FROM:<a>\r\n");
  Settle();
  stream_->Write("RCPT TO:<b>\r\n");  // the reset has come: this write fails
  Settle();
  EXPECT_TRUE(seen_.events.empty());
  stream_->ResumeReads();
  Until([&] { return seen_.Has(Event::kEnd); });
  EXPECT_EQ(seen_.received, "421 going away\r\n");
  EXPECT_EQ(stream_->end(), StreamEnd::kReset);
  EXPECT_THAT(seen_.events, ElementsAre(Event::kReadable, Event::kEnd));
}

TEST_F(RawPeerTest, CloseInsideAnEventIsAllowedAndFinal) {
  seen_.hook = [](Stream& stream, Event) {
    stream.Close();
    return true;
  };
  Say("hello");
  Until([&] { return seen_.events.size() == 1; });
  Say("more");
  Settle();
  EXPECT_THAT(seen_.events, ElementsAre(Event::kReadable));
}

TEST_F(RawPeerTest, CloseGentlyDeliversTheLastReplyDespiteUnreadBytes) {
  seen_.hook = [this](Stream& stream, Event) {
    stream.Write("500 too much\r\n");
    stream.CloseGently();
    loop_.Post([this] { stream_.reset(); });  // the owner forgets it at once
    return true;
  };
  Say("garbage");
  Until([&] { return stream_ == nullptr; });
  Say("more garbage");  // would draw a reset if the socket were closed already
  Settle();
  EXPECT_EQ(HearAll(), "500 too much\r\n");
  EXPECT_TRUE(heard_eof_);
  Say("still here");
  peer_.Reset();
  Settle();
}

TEST_F(RawPeerTest, CloseGentlySendsWhatIsQueuedThoughTheStreamIsGone) {
  const std::string text = Pattern(6 << 20, 3);
  stream_->Write(text);
  ASSERT_GT(stream_->Unsent(), 0u);
  stream_->CloseGently();
  stream_.reset();
  std::string heard;
  Until([&] {
    heard += HearAll();
    if (!heard_eof_) loop_.Post([] {});
    return heard_eof_;
  });
  EXPECT_EQ(heard, text);
}

TEST_F(RawPeerTest, AStreamThatDiesLeavesNoDescriptor) {
  const int fd = ::dup(0);
  ::close(fd);
  ASSERT_GE(fd, 0);
  seen_.hook = [](Stream&, Event) { return false; };
  ::shutdown(peer_.get(), SHUT_WR);
  Until([&] { return stream_->end() == StreamEnd::kEof; });
  const int before = ::dup(0);
  ::close(before);
  stream_->CloseGently();  // everything is said on both sides: closed at once
  const int after = ::dup(0);
  ::close(after);
  EXPECT_LT(after, before);
}

TEST_F(PairTest, DrainedComesAtTheLowWaterMarkAndAtZero) {
  const std::string text = Pattern(16 << 20, 4);
  std::vector<size_t> unsent_at;
  client_seen_.hook = [&](Stream& stream, Event event) {
    if (event == Event::kDrained) unsent_at.push_back(stream.Unsent());
    return false;
  };
  client_->SetLowWater(64 << 10);
  server_->PauseReads();
  client_->Write(text);
  ASSERT_GT(client_->Unsent(), 64u << 10);
  server_->ResumeReads();
  Until([&] { return server_seen_.received.size() == text.size(); });
  Until([&] { return client_->Unsent() == 0; });
  ASSERT_FALSE(unsent_at.empty());
  EXPECT_LE(unsent_at.front(), 64u << 10);
  EXPECT_EQ(unsent_at.back(), 0u);
  EXPECT_LE(unsent_at.size(), 2u);
}

TEST_F(PairTest, MovesMuchBothWaysAtOnceByteForByteWithBoundedQueues) {
  const std::string up = Pattern(64 << 20, 5);
  const std::string down = Pattern(64 << 20, 6);
  Feeder client_feeder(*client_, up);
  Feeder server_feeder(*server_, down);
  client_seen_.hook = [&](Stream&, Event event) {
    if (event == Event::kDrained) client_feeder.Feed();
    return false;
  };
  server_seen_.hook = [&](Stream&, Event event) {
    if (event == Event::kDrained) server_feeder.Feed();
    return false;
  };
  client_seen_.received.reserve(down.size());
  server_seen_.received.reserve(up.size());
  client_feeder.Feed();
  server_feeder.Feed();
  Until([&] {
    // All may go out without ever being queued: then no kDrained comes.
    client_feeder.Feed();
    server_feeder.Feed();
    return client_seen_.received.size() >= down.size() && server_seen_.received.size() >= up.size();
  });
  EXPECT_TRUE(server_seen_.received == up);
  EXPECT_TRUE(client_seen_.received == down);
  EXPECT_LE(client_feeder.most_unsent(), Feeder::kHighWater + (64u << 10));
  EXPECT_LE(server_feeder.most_unsent(), Feeder::kHighWater + (64u << 10));
}

TEST_F(LoopTest, ARefusedConnectIsReportedLater) {
  auto sockets = BindAll(Loopback(), 1);
  ASSERT_TRUE(sockets.ok());
  const base::SocketAddress nobody = LocalAddressOf(sockets.value()[0].get());  // never listens
  Recorder seen;
  const auto stream = TcpDialer(loop_).Connect({.address = nobody, .source = {}}, seen);
  EXPECT_TRUE(seen.events.empty());
  Until([&] { return seen.Has(Event::kEnd); });
  EXPECT_EQ(stream->end(), StreamEnd::kRefused);
  EXPECT_THAT(seen.events, ElementsAre(Event::kEnd));
}

TEST_F(LoopTest, AnAddressThatCannotBeReachedIsRefused) {
  Recorder seen;
  // The limited broadcast address: connect(2) fails at once.
  const auto stream = TcpDialer(loop_).Connect(
      {.address = {base::IpAddress::V4({255, 255, 255, 255}), 25}, .source = {}}, seen);
  Until([&] { return seen.Has(Event::kEnd); });
  EXPECT_EQ(stream->end(), StreamEnd::kRefused);
}

TEST_F(LoopTest, ASourceAddressThatIsNotOursIsOurOwnFault) {
  Recorder seen;
  const auto stream = TcpDialer(loop_).Connect(
      {.address = Loopback(1), .source = base::IpAddress::V4({192, 0, 2, 1})}, seen);
  Until([&] { return seen.Has(Event::kEnd); });
  EXPECT_EQ(stream->end(), StreamEnd::kLocal);
}

TEST_F(PairTest, DialsFromTheSourceAddressGiven) {
  Recorder seen;
  server_.reset();
  const auto stream = TcpDialer(loop_).Connect(
      {.address = listener_->address(), .source = base::IpAddress::V4({127, 0, 0, 9})}, seen);
  Until([&] { return server_ != nullptr; });
  EXPECT_EQ(server_->peer_address().ip.ToString(), "127.0.0.9");
}

TEST_F(PairTest, WhatIsWrittenBeforeTheConnectionStandsIsSentThen) {
  Recorder seen;
  server_.reset();
  const auto stream = Dial(seen);
  stream->Write("early");
  EXPECT_EQ(stream->Unsent(), 5u);
  stream->ShutdownWrite();
  Until([&] { return server_seen_.received == "early" && server_seen_.Has(Event::kEnd); });
}

TEST_F(LoopTest, OutOfDescriptorsADialFailsAsOurOwnFault) {
  TcpDialer dialer(loop_);
  const io::DialOptions request{.address = Loopback(1), .source = {}};
  // UBSan opens a pipe when it meets a class for the first time; not so the second time.
  Recorder warm_up;
  dialer.Connect(request, warm_up).reset();
  rlimit old{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &old), 0);
  const int next = ::dup(0);
  ::close(next);
  rlimit tight = old;
  tight.rlim_cur = static_cast<rlim_t>(next);
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &tight), 0);
  Recorder seen;
  const auto stream = dialer.Connect(request, seen);
  ::setrlimit(RLIMIT_NOFILE, &old);
  Until([&] { return seen.Has(Event::kEnd); });
  EXPECT_EQ(stream->end(), StreamEnd::kLocal);
}

TEST_F(PairTest, ADeadStreamIsSilentThoughAReportWasDue) {
  server_seen_.hook = [](Stream&, Event event) { return event == Event::kReadable; };
  client_->Write("abc");
  Until([&] { return !server_->Input().empty(); });
  const size_t before = server_seen_.events.size();
  server_->ResumeReads();
  server_.reset();
  Settle();
  EXPECT_EQ(server_seen_.events.size(), before);
}

}  // namespace
}  // namespace postern::net
