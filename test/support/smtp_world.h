// smtp_world: everything around a SmtpSession in memory: configuration, parts of a snapshot, SMTP
// servers that answer politely until told otherwise, a client, and books of what was said, counted
// and written down.
//
// When it is destroyed it checks that the session ended once, was accounted once, and holds
// nothing.
// Owner:    the test.   Thread: the SimLoop's.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lb/base/rng.h"
#include "lb/session/idle_legs.h"
#include "lb/session/session_env.h"
#include "metrics/account.h"
#include "test/support/flood.h"
#include "test/support/meters.h"
#include "test/support/sim_loop.h"
#include "test/support/sim_net.h"
#include "test/support/sim_spool.h"

namespace postern::test {

class SmtpServer {
 public:
  SmtpServer(SimNet& net, const base::SocketAddress& address, std::string name);
  ~SmtpServer();

  // --- how it behaves ---
  std::vector<std::string> keywords = {"PIPELINING", "SIZE 10240000", "8BITMIME",
                                       "ENHANCEDSTATUSCODES"};
  // Command (by its beginning; "GREETING", "."; LHLO is "EHLO", ".b@y.example" LMTP's answer for
  // one) to what it says; "hang", "reset",
  // "close"; "half" of the usual and no more; an "endless" line; the usual "twice" in one packet;
  // the "flood".
  std::map<std::string, std::string> answers;
  Flood flood;
  bool is_implicit = false;
  bool is_lmtp = false;
  bool expects_proxy = false;
  bool reads_nothing = false;  // of a message's text

  // --- what it saw ---
  struct Message {
    std::string from, text;  // by DATA with its dots doubled, as it came
    std::vector<std::string> to;
    std::string hello;  // of whom it came from
    bool is_chunked = false;
  };
  std::vector<Message> messages;
  std::vector<std::string> lines;
  int num_connections = 0;
  [[nodiscard]] int num_open() const;
  // The newest connection; null: none is left.
  [[nodiscard]] SimStream* stream();
  void ReadAgain();
  // The newest open connection, as answers say it: "reset" or "close"; none: no matter.
  void End(const std::string& how);

 private:
  class Connection;
  friend class Connection;
  std::string name_;
  std::vector<std::unique_ptr<Connection>> connections_;
};

class SmtpWorld : public session::SessionHost, public metrics::AccountSink, public io::Resolver {
 public:
  // meters: shared with other worlds of the protocol, none of which checks_metrics; null: its own.
  explicit SmtpWorld(conf::Protocol protocol = conf::Protocol::kSmtp, uint64_t seed = 1,
                     std::shared_ptr<Meters> meters = nullptr);
  ~SmtpWorld();

  // --- before Begin: what is to be different ---
  // listener "l", backends "b1" to "b3", pools "p" (b1, b2) and "q" (b3), route "r"; recipients
  // at away.example live in q, those at nowhere.example nowhere.
  std::vector<std::shared_ptr<io::Directory>> directories;  // as config.directories
  conf::Config config;
  [[nodiscard]] conf::Listener& listener() { return config.listeners[0]; }
  [[nodiscard]] conf::Endpoint& endpoint(int backend) {
    return config.backends[static_cast<size_t>(backend - 1)].endpoints[0];
  }
  // Its endpoint, and its server.
  void SpeakLmtp(int backend);
  // What the listener says.
  std::vector<std::string> capabilities = {"PIPELINING", "SIZE 10240000", "8BITMIME",
                                           "ENHANCEDSTATUSCODES", "CHUNKING"};
  bool is_in_tls = false;  // the client's leg, from the start
  std::string early;       // what the client says before it has heard anything
  std::string client_address = "192.0.2.7:4711";
  bool wants_peer_name = false;
  bool shares_legs = false;    // with the clients that come later
  bool checks_metrics = true;  // when it goes; a scrape costs more than a session
  std::map<std::string, std::vector<base::IpAddress>> addresses;  // of a backend, if more than one

  void Begin();
  // Another client, once the one before is gone.
  void BeginNext();
  // A new snapshot of the same configuration, as after a reload.
  void Reload();

  // --- the client ---
  void Send(std::string_view bytes) { client_->Write(bytes); }
  void Line(std::string_view line) { Send(std::string(line) + "\r\n"); }
  // What it has got since the last call, once nothing more happens at this time.
  std::string Read();
  std::string Ask(std::string_view line);
  // The codes of the replies to what was sent.
  std::string Codes();
  // Greeting and EHLO.
  void Hello();
  std::string Deliver(const std::string& recipient = "b@y.example",
                      const std::string& text = "hello\r\n");
  void StartClientTls();
  SimStream& client() { return *client_; }
  [[nodiscard]] bool client_sees_end() const { return client_end_ != io::StreamEnd::kNone; }

  void Settle() { loop.RunFor(std::chrono::milliseconds(50)); }
  void Wait(base::Duration duration) { loop.RunFor(duration); }

  [[nodiscard]] double Metric(const std::string& series) const {
    return meters_->registry.Value(series);
  }
  [[nodiscard]] balance::EndpointState& state(const std::string& backend);
  // From Begin on: for other sessions of the same worker (Bystander).
  [[nodiscard]] session::SessionEnv& env() { return *env_; }
  [[nodiscard]] const session::ListenerSettings& settings() const { return *settings_; }
  SmtpServer& server(int backend) { return *servers_[static_cast<size_t>(backend - 1)]; }

  // --- books ---
  std::vector<metrics::SessionAccount> accounts;
  balance::Pins held_users;
  std::vector<metrics::TransactionAccount> transactions;
  std::vector<std::string> auth_failed, auth_succeeded;
  std::vector<std::pair<std::string, std::vector<std::string>>> learned;
  bool is_auth_blocked = false;
  bool is_short_of_buffers = false;  // all sessions together hold too much
  uint64_t replay_memory = 0;
  int num_begun = 0;
  uint64_t replay_memory_total = UINT64_MAX;
  std::map<std::string, std::string> refusals;  // remembered
  int num_retired = 0;
  std::vector<std::function<void(const io::PeerName&)>> name_lookups;

  SimLoop loop;
  base::SeededRng rng;
  SimNet net;
  SimSpool disk;
  session::IdleLegs left_legs{loop};
  std::unique_ptr<session::Session> session;  // null once it has retired and was deleted

 private:
  class ClientEar;
  [[nodiscard]] std::shared_ptr<const session::Parts> BuildParts();
  void BeginSession();
  void Retire(session::Session& ended) override;
  session::IdleLegs* idle_legs() override { return shares_legs ? &left_legs : nullptr; }
  balance::Pins& pins() override { return held_users; }
  bool AuthBlocked(const base::IpAddress& client, const std::string& user) override;
  void AuthFailed(const base::IpAddress& client, const std::string& user) override;
  void AuthSucceeded(const base::IpAddress& client, const std::string& user) override;
  size_t HighWater(size_t wanted_bytes) const override {
    return is_short_of_buffers ? 0 : wanted_bytes;
  }
  bool TakeReplayMemory(size_t num_bytes) override;
  void ReturnReplayMemory(size_t num_bytes) override;
  void RememberRefusal(const std::string& key, std::string_view reply) override;
  std::string RecallRefusal(const std::string& key) override;
  io::Spool* spool() override { return &disk; }
  void LearnedCapabilities(const balance::Endpoint& endpoint,
                           std::vector<std::string> keywords) override;
  void OnSession(const metrics::SessionAccount& account) override;
  void OnTransaction(const metrics::TransactionAccount& account) override;
  void Resolve(const std::string& host, std::function<void(const io::ResolvedName&)> done) override;
  void FindPeerName(const base::IpAddress& address,
                    std::function<void(const io::PeerName&)> done) override;

  std::shared_ptr<Meters> meters_;
  metrics::Registry::Slots slots_;
  balance::Picker picker_;
  balance::EndpointBook book_;
  std::optional<session::SessionEnv> env_;
  std::shared_ptr<const session::ListenerSettings> settings_;
  std::vector<std::unique_ptr<SmtpServer>> servers_;
  std::unique_ptr<ClientEar> ear_;
  std::unique_ptr<SimStream> client_;
  std::string received_;
  io::StreamEnd client_end_ = io::StreamEnd::kNone;
};

}  // namespace postern::test
