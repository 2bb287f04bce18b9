// directory_world: servers of directories on a simulated network, played by scripts, and somebody
// who asks.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "conf/config.h"
#include "lb/base/rng.h"
#include "lb/io/lookup.h"
#include "test/support/sim_loop.h"
#include "test/support/sim_net.h"
#include "test/support/told_resolver.h"

namespace postern::directory {

using Kind = io::LookupAnswer::Kind;
using namespace std::chrono_literals;  // NOLINT: literals only

class ScriptedServer final : public io::Stream::Observer {
 public:
  // received: what has come and was not taken yet.
  using Script = std::function<void(test::SimStream& stream, std::string& received)>;

  ScriptedServer(test::SimNet& net, const std::string& address)
      : net_(net), address_(*base::SocketAddress::Parse(address)) {
    net_.Listen(address_, [this](std::unique_ptr<test::SimStream> stream) {
      ++num_connections;
      streams.push_back(std::move(stream));
      streams.back()->SetObserver(this);
      if (has_tls) return streams.back()->StartTls({});
      if (on_accept) on_accept(*streams.back());
    });
  }
  void OnStream(io::Stream& stream, io::Stream::Event event) override {
    if (event == io::Stream::Event::kEnd) ++num_ends;
    if (event != io::Stream::Event::kReadable) return;
    std::string& received = pending_[&stream];
    received.append(stream.Input());
    all_received.append(stream.Input());
    stream.Consume(stream.Input().size());
    if (script) script(static_cast<test::SimStream&>(stream), received);
  }
  void SetDoor(test::SimNet::Door door) { net_.SetDoor(address_, door); }
  void SetBadCertificate() { net_.SetBadCertificate(address_, true); }

  Script script;
  std::function<void(test::SimStream& stream)> on_accept;
  bool has_tls = false;
  int num_connections = 0;
  int num_ends = 0;
  std::string all_received;
  std::vector<std::unique_ptr<test::SimStream>> streams;

 private:
  test::SimNet& net_;
  const base::SocketAddress address_;
  std::map<io::Stream*, std::string> pending_;
};

// A question and, once there is one, its answer.
struct Asked {
  std::unique_ptr<io::Lookup> pending;
  std::optional<io::LookupAnswer> answer;
  int num_answers = 0;
  base::MonoTime at{};
  std::function<void()> then;

  [[nodiscard]] std::string Text() const {
    if (!answer) return "pending";
    switch (answer->kind) {
      case Kind::kFound:
        return answer->value;
      case Kind::kUnknown:
        return "unknown";
      case Kind::kRefused:
        return "refused: " + answer->refusal_text;
      case Kind::kFailed:
        break;
    }
    return "failed: " + answer->why;
  }
};

class DirectoryTest : public testing::Test {
 protected:
  // Connections go when the loop is free, and before the network does.
  void TearDown() override {
    directory_.reset();
    loop_.RunReady();
  }
  std::unique_ptr<Asked> Ask(const io::LookupQuery& query) {
    auto asked = std::make_unique<Asked>();
    Asked* const it = asked.get();
    const auto done = [this, it](const io::LookupAnswer& answer) {
      it->answer = answer;
      ++it->num_answers;
      it->at = loop_.Now();
      if (it->then) it->then();
    };
    asked->answer = directory_->Ask(query, done, asked->pending);
    EXPECT_NE(asked->answer.has_value(), asked->pending != nullptr);
    return asked;
  }
  std::unique_ptr<Asked> Ask(std::string_view key) { return Ask(io::LookupQuery{key, nullptr}); }
  // Waits for it, ten servers' timeouts at most.
  std::string Answer(std::string_view key = "alice@example.com") {
    const base::MonoTime started = loop_.Now();
    const auto asked = Ask(key);
    loop_.RunUntil([&] { return asked->answer.has_value() || loop_.Now() > started + 20s; });
    took_ = loop_.Now() - started;
    return asked->Text();
  }

  test::SimLoop loop_;
  base::SeededRng rng_{1};
  test::SimNet net_{loop_, rng_};
  test::ToldResolver resolver_{loop_};
  conf::Directory conf_;
  std::unique_ptr<io::Directory> directory_;
  base::Duration took_{};
};

}  // namespace postern::directory
