// check_world: one server in memory with a script, a resolver, and a monitor that watches it, in
// virtual time.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "health/monitor.h"
#include "lb/base/rng.h"
#include "metrics/recorder.h"
#include "test/support/sim_loop.h"
#include "test/support/sim_net.h"

namespace postern::health {

using std::chrono::milliseconds;
using std::chrono::seconds;

class FakeResolver final : public io::Resolver {
 public:
  explicit FakeResolver(io::Loop& loop) : loop_(loop) {}
  void Resolve(const std::string& host,
               std::function<void(const io::ResolvedName&)> done) override {
    asked.push_back(host);
    const auto it = own.find(host);
    loop_.Post(
        [done = std::move(done), answer = it == own.end() ? answer : it->second] { done(answer); });
  }
  void FindPeerName(const base::IpAddress&, std::function<void(const io::PeerName&)>) override {}

  io::ResolvedName answer;                      // for every host
  std::map<std::string, io::ResolvedName> own;  // but these
  std::vector<std::string> asked;

 private:
  io::Loop& loop_;
};

class Tls final : public io::TlsSettings {
 public:
  [[nodiscard]] std::optional<base::WallTime> peer_not_after() const override { return not_after; }
  std::optional<base::WallTime> not_after;
};

// A server that answers each line by its script: whoever begins with the word gets the text.
class ScriptedServer {
 public:
  struct Line {
    std::string word, answer;
    bool starts_tls = false;
    bool closes = false;
  };
  void Accept(std::unique_ptr<test::SimStream> stream) {
    connections_.push_back(std::make_unique<Connection>(*this, std::move(stream)));
    ++num_connections;
    max_open = std::max(max_open, num_connections - num_ends);
  }

  std::string greeting;
  std::vector<Line> script;
  bool is_implicit = false;
  base::Duration greets_after{};
  std::vector<std::string> lines;  // of all connections
  int num_connections = 0;
  int num_ends = 0;
  int max_open = 0;
  int num_resets = 0;  // connections that ended otherwise than by FIN
  io::Loop* loop = nullptr;
  std::function<void(base::Duration, std::function<void()>)> schedule;

 private:
  class Connection final : public io::Stream::Observer {
   public:
    Connection(ScriptedServer& owner, std::unique_ptr<test::SimStream> stream)
        : owner_(owner), stream_(std::move(stream)) {
      stream_->SetObserver(this);
      if (owner.is_implicit) {
        stream_->StartTls({});
      } else {
        Greet();
      }
    }
    void OnStream(io::Stream& stream, io::Stream::Event event) override {
      if (event == io::Stream::Event::kTlsUp && owner_.is_implicit) Greet();
      if (event == io::Stream::Event::kEnd) {
        ++owner_.num_ends;
        is_over_ = true;
        if (stream.end() != io::StreamEnd::kEof) ++owner_.num_resets;
        stream.ShutdownWrite();
      }
      if (event != io::Stream::Event::kReadable) return;
      while (true) {
        const size_t end = stream.Input().find("\r\n");
        if (end == base::ByteView::npos) return;
        const std::string line(stream.Input().substr(0, end));
        stream.Consume(end + 2);
        owner_.lines.push_back(line);
        for (const Line& known : owner_.script) {
          if (line.find(known.word) == std::string::npos) continue;
          // A tag of the client's stands for %.
          std::string answer = known.answer;
          for (size_t mark = answer.find('%'); mark != std::string::npos; mark = answer.find('%'))
            answer.replace(mark, 1, line.substr(0, line.find(' ')));
          stream.Write(answer);
          if (known.starts_tls) {
            stream.StartTls({});
            return;
          }
          if (known.closes) stream.ShutdownWrite();
          break;
        }
      }
    }

   private:
    void Greet() {
      if (owner_.greets_after == base::Duration::zero()) {
        stream_->Write(owner_.greeting);
        return;
      }
      owner_.schedule(owner_.greets_after, [this] {
        if (!is_over_) stream_->Write(owner_.greeting);
      });
    }
    ScriptedServer& owner_;
    std::unique_ptr<test::SimStream> stream_;
    bool is_over_ = false;
  };
  std::vector<std::unique_ptr<Connection>> connections_;
};

class CheckWorld : public testing::Test {
 protected:
  CheckWorld() {
    server_.schedule = [this](base::Duration after, std::function<void()> what) {
      loop_.Schedule(after, std::move(what));
    };
    resolver_.answer.addresses = {address_.ip};
    resolver_.answer.ttl = std::chrono::minutes(10);
    config_->hostname = "lb.example.com";
    config_->health.relay_check = false;
    config_->backends.resize(1);
    config_->backends[0].name = "mail1";
    config_->backends[0].host = "mail1.example.com";
    net_.Listen(address_, [this](auto stream) { server_.Accept(std::move(stream)); });
  }
  void Watch(conf::Protocol protocol, conf::TlsMode tls = conf::TlsMode::kNone) {
    config_->backends[0].endpoints = {{.protocol = protocol, .port = address_.port, .tls = tls}};
    WatchAgain();
  }
  // As after a reload: another configuration object, another table, the same book.
  void WatchAgain() {
    auto config = std::make_shared<conf::Config>(*config_);
    table_ = std::make_shared<balance::EndpointTable>(*config, book_);
    auto slots = registry_.Configure(*config);
    MonitorInputs inputs{config, table_, {table_->endpoints().size(), tls_}, {}, slots.checks};
    inputs.own_listeners = own_listeners_;
    inputs.is_own_address = [this](const base::IpAddress& ip) { return own_.contains(ip); };
    monitor_->Watch(std::move(inputs));
  }
  balance::EndpointState& state(size_t id = 0) { return *table_->endpoints()[id].state; }
  std::shared_ptr<const balance::EndpointFacts> facts() {
    auto facts = state().facts();
    return facts != nullptr ? facts : std::make_shared<const balance::EndpointFacts>();
  }
  health::EndpointReport report(size_t backend = 0) {
    return monitor_->Report()->backends[backend].endpoints[0];
  }
  void ServeSmtp(bool offers_starttls = false) {
    server_.greeting = "220 mail1 ESMTP\r\n";
    server_.script = {
        {"EHLO", std::string("250-mail1\r\n") + (offers_starttls ? "250-STARTTLS\r\n" : "") +
                     "250-SIZE 1000\r\n250 8BITMIME\r\n"},
        {"STARTTLS", "220 go\r\n", true},
        {"MAIL", "250 ok\r\n"},
        {"RCPT", "250 ok\r\n"},
        {"RSET", "250 ok\r\n"},
        {"QUIT", "221 bye\r\n", false, true}};
  }
  void ServeImap() {
    server_.greeting = "* OK ready\r\n";
    server_.script = {{"CAPABILITY", "* CAPABILITY IMAP4rev1 IDLE\r\n% OK done\r\n"},
                      {"LOGIN", "% OK in\r\n"},
                      {"SELECT", "* 3 EXISTS\r\n% OK selected\r\n"},
                      {"LOGOUT", "* BYE bye\r\n% OK done\r\n", false, true}};
  }
  void ServePop3() {
    server_.greeting = "+OK ready\r\n";
    server_.script = {{"CAPA", "+OK\r\nUIDL\r\nUSER\r\n.\r\n"},
                      {"USER", "+OK\r\n"},
                      {"PASS", "+OK\r\n"},
                      {"STAT", "+OK 0 0\r\n"},
                      {"QUIT", "+OK\r\n", false, true}};
  }
  double Metric(const std::string& series) { return registry_.Value(series); }

  test::SimLoop loop_;
  base::SeededRng rng_{1};
  test::SimNet net_{loop_, rng_};
  const base::SocketAddress address_ = *base::SocketAddress::Parse("10.0.0.1:143");
  ScriptedServer server_;
  FakeResolver resolver_{loop_};
  std::vector<conf::OwnListener> own_listeners_;
  std::set<base::IpAddress> own_;  // of this machine's interfaces
  std::shared_ptr<Tls> tls_ = std::make_shared<Tls>();
  std::shared_ptr<conf::Config> config_ = std::make_shared<conf::Config>();
  metrics::Registry registry_;
  int num_news_ = 0;
  std::vector<std::string> downs_;
  std::vector<std::string> events_;  // "kind object: text"
  std::unique_ptr<Monitor> monitor_ = std::make_unique<Monitor>(
      loop_, net_, resolver_, rng_, registry_,
      MonitorHooks{[this] { ++num_news_; },
                   [this](balance::EndpointState& state) { downs_.push_back(state.backend); },
                   [this](const Event& event) {
                     events_.push_back(event.kind + " " + event.object + ": " + event.text);
                   }});
  balance::EndpointBook book_{
      1, [this](balance::EndpointState& endpoint) { monitor_->LookNow(endpoint); }};
  std::shared_ptr<balance::EndpointTable> table_;
};

}  // namespace postern::health
