// loop_fixture: a real loop, real loopback sockets and an observer that remembers.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "lb/net/event_loop.h"
#include "lb/net/socket_stream.h"
#include "lb/net/tcp_dialer.h"
#include "lb/net/tcp_listener.h"

namespace postern::net {

using io::Stream;
using io::StreamEnd;

inline base::SocketAddress Loopback(uint16_t port = 0) {
  return {base::IpAddress::V4({127, 0, 0, 1}), port};
}

// Remembers what it hears and takes what comes; a hook may do something else.
struct Recorder final : Stream::Observer {
  void OnStream(Stream& stream, Stream::Event event) override {
    events.push_back(event);
    if (hook && hook(stream, event)) return;
    if (event == Stream::Event::kReadable) {
      received.append(stream.Input());
      stream.Consume(stream.Input().size());
    }
  }
  [[nodiscard]] size_t Count(Stream::Event event) const {
    return static_cast<size_t>(std::count(events.begin(), events.end(), event));
  }
  [[nodiscard]] bool Has(Stream::Event event) const { return Count(event) > 0; }

  std::vector<Stream::Event> events;
  std::string received;
  // True: the event is dealt with.
  std::function<bool(Stream&, Stream::Event)> hook;
};

class LoopTest : public ::testing::Test {
 protected:
  // Runs the loop until it is so. A guard against hanging, not a measurement.
  void Until(const std::function<bool()>& is_so) {
    bool is_over = false;
    struct Guard {
      bool* flag;
      void Fire() { *flag = true; }
    } guard{&is_over};
    io::Timer timer(loop_.timers(), &io::Timer::Invoke<&Guard::Fire, Guard>, &guard);
    timer.ArmAt(loop_.Now() + std::chrono::seconds(60));
    while (!is_so()) {
      loop_.RunOnce();
      if (is_over) {
        FAIL() << "the loop waits for something that does not happen";
      }
    }
  }
  // Lets everything happen that is ready now.
  void Settle() {
    bool is_done = false;
    // Two rounds: what the first wakes up happens in the second.
    loop_.Post([&] { loop_.Post([&] { loop_.Post([&] { is_done = true; }); }); });
    Until([&] { return is_done; });
  }

  EventLoop loop_;
};

// A dialled and an accepted stream that are connected to each other.
class PairTest : public LoopTest {
 protected:
  void SetUp() override {
    auto sockets = BindAll(Loopback(), 1);
    ASSERT_TRUE(sockets.ok()) << sockets.error();
    listener_ = std::make_unique<TcpListener>(
        loop_, std::move(sockets.value()[0]), [this](OwnedFd fd, const base::SocketAddress& peer) {
          server_ = std::make_unique<SocketStream>(loop_, std::move(fd), peer, &server_seen_);
        });
    client_ = Dial(client_seen_);
    Until([&] { return server_ != nullptr && client_seen_.Has(Stream::Event::kConnected); });
  }
  std::unique_ptr<Stream> Dial(Recorder& recorder) {
    return TcpDialer(loop_).Connect({.address = listener_->address(), .source = {}}, recorder);
  }

  std::unique_ptr<TcpListener> listener_;
  Recorder client_seen_;
  Recorder server_seen_;
  std::unique_ptr<Stream> client_;
  std::unique_ptr<SocketStream> server_;
};

// Bytes that differ everywhere, so that a lost or doubled one shows.
inline std::string Pattern(size_t size_bytes, uint32_t seed) {
  std::string bytes(size_bytes, '\0');
  uint32_t state = seed * 2654435761u + 1;
  for (char& byte : bytes) {
    state = state * 1664525u + 1013904223u;
    byte = static_cast<char>(state >> 24);
  }
  return bytes;
}

// Writes a long text at the pace of its stream, as a relay does.
class Feeder {
 public:
  Feeder(Stream& stream, const std::string& text) : stream_(stream), text_(text) {
    stream_.SetLowWater(kHighWater / 2);
  }
  void Feed() {
    while (sent_ < text_.size() && stream_.Unsent() < kHighWater) {
      const size_t n = std::min<size_t>(64 << 10, text_.size() - sent_);
      stream_.Write(std::string_view(text_).substr(sent_, n));
      sent_ += n;
      most_unsent_ = std::max(most_unsent_, stream_.Unsent());
    }
  }
  [[nodiscard]] bool IsDone() const { return sent_ == text_.size() && stream_.Unsent() == 0; }
  [[nodiscard]] size_t most_unsent() const { return most_unsent_; }

  static constexpr size_t kHighWater = 256 << 10;

 private:
  Stream& stream_;
  const std::string& text_;
  size_t sent_ = 0;
  size_t most_unsent_ = 0;
};

}  // namespace postern::net
