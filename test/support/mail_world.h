// mail_world: everything around a MailSession in memory: configuration, parts of a snapshot, two
// scripted backends, a client, and books of what was said, counted and written down.
//
// A backend is correct and small (IMAP or POP3, by the world's protocol) until a test gives it a
// fault: what it does instead of its n-th answer (0: the greeting). In a world of tcp it says
// nothing by itself, and all that it gets is `relayed`.
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
#include "test/support/sim_loop.h"
#include "test/support/sim_net.h"

namespace postern::test {

class ScriptedBackend {
 public:
  enum class Fault : uint8_t {
    kNone,
    kHang,      // says nothing any more
    kReset,     // RST
    kClose,     // FIN without a word
    kHalfLine,  // half of the answer, then FIN
    kGarbage,   // a line of no mail protocol
    kEndless,   // a line without an end
    kBusy,      // "* BYE", "-ERR [SYS/TEMP]", and a FIN
    kTempFail,  // the answer is a temporary refusal
    kInjects,   // the answer, and more in the same packet
  };

  ScriptedBackend(SimLoop& loop, SimNet& net, const base::SocketAddress& address,
                  conf::Protocol protocol, std::string name);
  ~ScriptedBackend();

  // --- how it behaves, from the next connection or line on ---
  Fault fault = Fault::kNone;
  int fault_at = 0;              // which answer: 0 the greeting, 1 that to the first line, ...
  bool has_starttls = false;     // announced, and done
  bool strips_starttls = false;  // not announced although it could
  bool is_implicit = false;      // TLS from the start
  bool expects_proxy = false;    // a PROXY header before all
  bool stays_open = false;       // when its client has closed its side
  std::string capabilities;      // in place of the usual ones
  std::string post_capabilities = "IMAP4rev1 IDLE X-BACK";
  std::string behind_ok;  // in the same packet as the OK of the login
  base::Duration greeting_delay{};
  base::Duration auth_delay{};  // before the answer to a login
  std::map<std::string, std::string> passwords = {{"alice", "secret"}, {"bob", "hunter2"}};
  std::string refusal;  // what a wrong password gets, in place of the usual
  // Every connection breaks when so many bytes of the backend's have reached Postern.
  std::optional<std::pair<uint64_t, SimSocket::Break>> breaks_after;
  std::string token_challenge;  // base64: what XOAUTH2 gets before its refusal

  // --- what it saw ---
  [[nodiscard]] int num_connections() const { return num_connections_; }
  [[nodiscard]] int num_open() const;
  std::vector<std::string> lines;   // before the login
  std::string relayed;              // after it
  std::string said;                 // from the answer to the login on
  std::string before_tls;           // bytes of a PROXY header
  std::vector<std::string> logins;  // "alice", in order
  bool has_seen_eof = false;

  // The stream of the newest connection; null: none is left.
  [[nodiscard]] SimStream* stream();
  void Say(std::string_view bytes);  // on it

 private:
  class Connection;
  friend class Connection;
  SimLoop& loop_;
  conf::Protocol protocol_;
  std::string name_;
  int num_connections_ = 0;
  std::vector<std::unique_ptr<Connection>> connections_;
};

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

  // Builds the parts and lets a client connect; the greeting is there on return.
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
  std::unique_ptr<ClientEar> ear_;
  std::unique_ptr<SimStream> client_;
  std::string received_;
  io::StreamEnd client_end_ = io::StreamEnd::kNone;
  int num_tags_ = 0;
};

}  // namespace postern::test
