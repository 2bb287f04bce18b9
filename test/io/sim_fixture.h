// sim_fixture: two ends of a simulated connection, each with an observer that remembers.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "lb/base/rng.h"
#include "test/support/sim_loop.h"
#include "test/support/sim_net.h"

namespace postern::test {

using io::Stream;
using io::StreamEnd;
using Event = Stream::Event;
using namespace std::chrono_literals;  // NOLINT: literals only

inline base::SocketAddress Server() {
  return *base::SocketAddress::Parse("192.0.2.1:143");
}
inline base::SocketAddress Client() {
  return *base::SocketAddress::Parse("198.51.100.7:50000");
}

// Remembers what it hears and takes what comes; a hook may do something else.
struct Hearer final : Stream::Observer {
  void OnStream(Stream& stream, Event event) override {
    events.push_back(event);
    is_inside = true;
    if (!hook || !hook(stream, event)) TakeAll(stream, event);
    is_inside = false;
  }
  void TakeAll(Stream& stream, Event event) {
    if (event != Event::kReadable) return;
    pieces.emplace_back(stream.Input());
    received += stream.Input();
    stream.Consume(stream.Input().size());
  }
  [[nodiscard]] long Count(Event event) const {
    return std::count(events.begin(), events.end(), event);
  }
  [[nodiscard]] bool Has(Event event) const { return Count(event) > 0; }

  std::vector<Event> events;
  std::vector<std::string> pieces;
  std::string received;
  bool is_inside = false;
  std::function<bool(Stream&, Event)> hook;  // true: the event is dealt with
};

class SimNetTest : public ::testing::Test {
 protected:
  // A connection that exists, seen from both ends.
  void Open() {
    std::tie(client_, server_) = net_.Pair(Client(), Server());
    client_->SetObserver(&at_client_);
    server_->SetObserver(&at_server_);
    loop_.RunReady();
  }
  void OpenTls(std::string server_name = "mx.example") {
    Open();
    ServerStartsTls();
    ClientStartsTls(std::move(server_name));
    Run();
    ASSERT_TRUE(client_->in_tls() && server_->in_tls());
  }
  void ServerStartsTls() { server_->StartTls({.role = io::TlsRole::kServer}); }
  void ClientStartsTls(std::string server_name = "mx.example") {
    client_->StartTls({.role = io::TlsRole::kClient, .server_name = std::move(server_name)});
  }
  // Long enough for some round trips, too short for a linger or a timeout.
  void Run() { loop_.RunFor(100ms); }

  SimLoop loop_;
  base::SeededRng rng_{1};
  SimNet net_{loop_, rng_};
  Hearer at_client_, at_server_;
  std::unique_ptr<SimStream> client_, server_;
};

}  // namespace postern::test
