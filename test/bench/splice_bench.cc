// splice_bench: what a relay of two sockets costs, copied and spliced, by how much comes at a time.
//
// One thread relays as a session's pipe does; two others say so much, wait until it has arrived,
// and say it again. Prints the relay's CPU per MiB. Not part of the tests: `ninja splice_bench`,
// optimised.
// SPDX-License-Identifier: Apache-2.0
#include <sys/socket.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "lb/net/event_loop.h"
#include "lb/net/socket_stream.h"
#include "lb/net/stream_shared.h"
#include "lb/net/tcp_listener.h"

namespace {

using namespace postern;
using io::Stream;

constexpr size_t kLeastBytes = 4 << 20;

net::OwnedFd ConnectTo(const base::SocketAddress& address) {
  net::OwnedFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_storage storage{};
  const unsigned size = address.ToSockaddr(&storage);
  if (::connect(fd.get(), reinterpret_cast<sockaddr*>(&storage), size) != 0) std::abort();
  return fd;
}

struct Relay final : Stream::Observer {
  void OnStream(Stream& stream, Stream::Event event) override {
    Stream& other = &stream == a.get() ? *b : *a;
    if (event == Stream::Event::kDrained) return other.ResumeReads();
    const size_t forwarded = stream.TakeForwarded();
    if (!stream.Input().empty()) other.Write(stream.Input());
    stream.Consume(stream.Input().size());
    if (other.Unsent() > (forwarded > 0 ? 0 : 256U << 10)) stream.PauseReads();
    if (event == Stream::Event::kEnd) is_over = true;
  }
  std::unique_ptr<net::SocketStream> a, b;
  bool is_over = false;
};

double CpuMicroseconds() {
  timespec now{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) * 1e6 + static_cast<double>(now.tv_nsec) / 1e3;
}

// CPU of the relay, in microseconds a MiB.
double Measure(size_t at_a_time, bool is_spliced) {
  const size_t num_rounds = std::max<size_t>(kLeastBytes / at_a_time, 1);
  net::EventLoop loop;
  Relay relay;
  auto sockets = net::BindAll({base::IpAddress::V4({127, 0, 0, 1}), 0}, 1);
  net::TcpListener listener(
      loop, std::move(sockets.value()[0]), [&](net::OwnedFd fd, const base::SocketAddress& peer) {
        auto& place = relay.a == nullptr ? relay.a : relay.b;
        place = std::make_unique<net::SocketStream>(loop, std::move(fd), peer, nullptr);
      });
  const net::OwnedFd source = ConnectTo(listener.address()), sink = ConnectTo(listener.address());
  while (relay.b == nullptr) loop.RunOnce();
  if (is_spliced && !relay.a->ForwardTo(*relay.b)) std::abort();
  relay.a->SetObserver(&relay);
  relay.b->SetObserver(&relay);
  std::thread peers([&] {
    const std::string said(at_a_time, 'x');
    std::vector<char> heard(1 << 20);
    for (size_t round = 0; round < num_rounds; ++round) {
      std::thread speaker;
      const auto say = [&] {
        for (size_t sent = 0; sent < said.size();)
          sent += static_cast<size_t>(::send(source.get(), &said[sent], said.size() - sent, 0));
      };
      if (at_a_time > (1 << 20)) {
        speaker = std::thread(say);
      } else {
        say();  // the sockets hold it
      }
      for (size_t got = 0; got < at_a_time;)
        got += static_cast<size_t>(::recv(sink.get(), heard.data(), heard.size(), 0));
      if (speaker.joinable()) speaker.join();
    }
    ::shutdown(source.get(), SHUT_WR);
  });
  const double before = CpuMicroseconds();
  while (!relay.is_over) loop.RunOnce();
  const double took = CpuMicroseconds() - before;
  peers.join();
  return took / (static_cast<double>(num_rounds * at_a_time) / (1 << 20));
}

}  // namespace

int main() {
  std::printf("%12s %12s %12s\n", "at a time", "copied", "spliced   us of CPU a MiB, median of 7");
  for (const size_t kib : {1, 16, 24, 32, 64, 128, 512, 65536}) {
    std::vector<double> copied, spliced;
    for (int i = 0; i < 7; ++i) {
      copied.push_back(Measure(kib << 10, false));
      spliced.push_back(Measure(kib << 10, true));
    }
    std::sort(copied.begin(), copied.end());
    std::sort(spliced.begin(), spliced.end());
    std::printf("%8zu KiB %12.0f %12.0f\n", kib, copied[3], spliced[3]);
  }
}
