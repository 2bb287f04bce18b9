// queue_world: queue sources on a simulated network, played by scripts.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "lb/base/rng.h"
#include "test/support/sim_loop.h"
#include "test/support/sim_net.h"
#include "test/support/told_resolver.h"

namespace postern::health {

using test::AnyTls;
using test::ToldResolver;

// Says `answer` to everybody, after the end of a request where it waits for one.
class SourceServer final : public io::Stream::Observer {
 public:
  enum class Then { kCloses, kStays, kResets, kRepeats };

  explicit SourceServer(test::SimLoop& loop) : loop_(loop) {}
  test::SimNet::OnAccept Door() {
    return [this](std::unique_ptr<test::SimStream> stream) {
      ++num_connections;
      streams_.push_back(std::move(stream));
      test::SimStream& accepted = *streams_.back();
      accepted.SetObserver(this);
      if (has_tls) return accepted.StartTls({});
      if (request_end.empty()) Answer(accepted);
    };
  }
  void OnStream(io::Stream& stream, io::Stream::Event event) override {
    if (event == io::Stream::Event::kTlsUp && request_end.empty()) Answer(stream);
    if (event == io::Stream::Event::kEnd) ++num_ends;
    if (event == io::Stream::Event::kDrained && then == Then::kRepeats) stream.Write(answer);
    if (event != io::Stream::Event::kReadable) return;
    request.append(stream.Input());
    stream.Consume(stream.Input().size());
    if (!request_end.empty() && request.ends_with(request_end)) Answer(stream);
  }

  std::string answer;
  std::string request_end;  // empty: speaks first
  Then then = Then::kCloses;
  bool has_tls = false;
  std::string request;
  int num_connections = 0;
  int num_ends = 0;

 private:
  void Answer(io::Stream& stream) {
    stream.Write(answer);
    if (then == Then::kCloses) stream.ShutdownWrite();
    if (then == Then::kResets) {
      loop_.Schedule(std::chrono::milliseconds(50),
                     [&stream] { static_cast<test::SimStream&>(stream).Reset(); });
    }
  }

  test::SimLoop& loop_;
  std::vector<std::unique_ptr<test::SimStream>> streams_;
};

}  // namespace postern::health
