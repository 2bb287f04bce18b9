// mail_world: everything around a MailSession in memory: configuration, parts of a snapshot, two
// scripted backends, a client, and books of what was said, counted and written down.
//
// Owner:    the test.   Thread: the SimLoop's.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lb/base/rng.h"
#include "lb/session/session_env.h"
#include "metrics/account.h"
#include "test/support/meters.h"
#include "test/support/scripted_backend.h"
#include "test/support/sim_loop.h"
#include "test/support/sim_net.h"

namespace postern::test {

class MailWorld : public session::SessionHost, public metrics::AccountSink, public io::Resolver {
 public:
  // meters: shared with other worlds of the protocol, none of which checks_metrics; null: its own.
  explicit MailWorld(conf::Protocol protocol, uint64_t seed = 1,
                     std::shared_ptr<Meters> meters = nullptr);
  ~MailWorld();

  // --- before Begin: what is to be different ---
  bool is_short_of_buffers = false;  // all sessions together hold too much
  bool checks_metrics = true;        // when it goes; they are slow to ask for
  std::vector<std::shared_ptr<io::Directory>> directories;  // as config.directories
  conf::Config config;  // listener "l", backends "b1", "b2", pool "p", route "r"
  [[nodiscard]] conf::Listener& listener() { return config.listeners[0]; }
  [[nodiscard]] conf::Endpoint& endpoint(int backend) {
    return config.backends[static_cast<size_t>(backend)].endpoints[0];
  }
  bool is_in_tls = true;  // the client's leg, from the start
  std::string early;      // what the client says before it has heard anything
  std::string client_address = "192.0.2.7:4711";

  // Builds the parts, for tests of what sessions are made of.
  void Build();
  // Builds them and lets a client connect; the greeting is there on return.
  void Begin();

  // --- the client ---
  void Send(std::string_view bytes);
  void Line(std::string_view line) { Send(std::string(line) + "\r\n"); }
  // What it has got since the last call, once nothing more happens at this time.
  std::string Read();
  // Sends a line, gives what comes back.
  std::string Ask(std::string_view line);
  void StartClientTls();
  SimStream& client() { return *client_; }
  [[nodiscard]] bool client_sees_end() const { return client_end_ != io::StreamEnd::kNone; }
  [[nodiscard]] io::StreamEnd client_end() const { return client_end_; }
  void CloseClient() { client_->CloseGently(); }
  void ShutClientWrite() { client_->ShutdownWrite(); }
  void ResetClient() { client_->Reset(); }

  // Lets happen what is due at once (a few round trips), or within a time.
  void Settle() { loop.RunFor(std::chrono::milliseconds(50)); }
  void Wait(base::Duration duration) { loop.RunFor(duration); }
  // "* OK ..." to "OK", for the tests that only want to know.
  std::string LogIn(const std::string& user = "alice", const std::string& password = "secret");

  [[nodiscard]] double Metric(const std::string& series) const {
    return meters_->registry.Value(series);
  }
  [[nodiscard]] const balance::EndpointState& state(int backend);
  // Once they are built; other sessions of the same worker use them too (Bystander).
  [[nodiscard]] session::SessionEnv& env() { return *env_; }
  [[nodiscard]] const session::ListenerSettings& settings() const { return *settings_; }

  // --- books ---
  std::vector<metrics::SessionAccount> accounts;
  balance::Pins held_users;
  std::vector<std::string> auth_failed, auth_succeeded;
  std::vector<std::pair<std::string, std::vector<std::string>>> learned;  // backend, capabilities
  bool is_auth_blocked = false;
  int num_retired = 0;

  SimLoop loop;
  base::SeededRng rng;
  SimNet net;
  std::unique_ptr<ScriptedBackend> b1, b2;
  std::unique_ptr<session::Session> session;  // null once it has retired and was deleted

 private:
  class ClientEar;
  void Retire(session::Session& ended) override;
  balance::Pins& pins() override { return held_users; }
  bool AuthBlocked(const base::IpAddress& client, const std::string& user) override;
  void AuthFailed(const base::IpAddress& client, const std::string& user) override;
  void AuthSucceeded(const base::IpAddress& client, const std::string& user) override;
  size_t HighWater(size_t wanted_bytes) const override {
    return is_short_of_buffers ? 0 : wanted_bytes;
  }
  bool TakeReplayMemory(size_t num_bytes) override;
  void RememberRefusal(const std::string&, std::string_view) override {}
  std::string RecallRefusal(const std::string&) override { return ""; }
  void ReturnReplayMemory(size_t num_bytes) override;
  void LearnedCapabilities(const balance::Endpoint& endpoint,
                           std::vector<std::string> capabilities) override;
  void OnSession(const metrics::SessionAccount& account) override;
  void OnTransaction(const metrics::TransactionAccount& account) override;
  void Resolve(const std::string& host, std::function<void(const io::ResolvedName&)> done) override;
  void FindPeerName(const base::IpAddress& address,
                    std::function<void(const io::PeerName&)> done) override;

  std::shared_ptr<Meters> meters_;
  balance::Picker picker_;
  balance::EndpointBook book_;
  std::optional<session::SessionEnv> env_;
  std::shared_ptr<const session::ListenerSettings> settings_;
  std::unique_ptr<ClientEar> ear_;
  std::unique_ptr<SimStream> client_;
  std::string received_;
  io::StreamEnd client_end_ = io::StreamEnd::kNone;
  int num_tags_ = 0;
};

}  // namespace postern::test
