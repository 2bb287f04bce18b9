// smtp_sim_process: what one worker of Postern is to its SMTP sessions, in memory: the real intake,
// sessions, router, picker and (where the seed says so) health monitor, with parts that reloads
// replace, budgets that end, and an operator's hand.
// Owner:    one SmtpRun.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "health/monitor.h"
#include "lb/session/idle_legs.h"
#include "lb/session/intake.h"
#include "lb/session/session_env.h"
#include "test/sim/dice.h"
#include "test/sim/smtp_books.h"
#include "test/sim/smtp_choices.h"
#include "test/support/meters.h"
#include "test/support/sim_loop.h"
#include "test/support/sim_net.h"
#include "test/support/sim_spool.h"

namespace postern::test {

class SmtpSimProcess final : public session::SessionHost,
                             public session::IntakeHost,
                             public metrics::AccountSink,
                             public io::Resolver {
 public:
  SmtpSimProcess(SmtpChoices& choices, SimLoop& loop, SimNet& net, SimSpool& disk, Dice& dice,
                 SmtpBooks& books, std::shared_ptr<Meters> meters);
  ~SmtpSimProcess();

  // Takes over a client's connection.
  void Accept(const base::SocketAddress& client, std::unique_ptr<SimStream> stream);
  // Of the configuration as the choices have it now.
  void Load();
  [[nodiscard]] const session::ListenerSettings& settings() const { return *settings_; }

  // --- an operator, and what befalls machines ---
  void Drain();  // every session
  void KillOne();
  void SetSomeHealth();  // of an endpoint, and told to sessions where it goes down
  void SetSomeAdmin();
  void MakeAllReady();
  // No more checks, and no leg waits for a client.
  void Stop() {
    monitor_.reset();
    idle_legs_.Stop();
  }
  bool is_short_of_buffers = false;

  [[nodiscard]] size_t num_sessions() const { return sessions_.size() + intakes_.size(); }
  // That nothing is held any more.
  void CheckFree() const;

 private:
  struct Directory;
  balance::EndpointState& SomeState();
  [[nodiscard]] std::vector<session::Session*> Sessions() const;
  void LeaveEndpoint(const balance::EndpointState& endpoint);
  void StartMonitor(const metrics::Registry::Slots& slots);

  // SessionHost, IntakeHost
  void Retire(session::Session& session) override;
  void IntakeReady(session::Intake& intake) override;
  void IntakeFailed(session::Intake& intake) override;
  bool AuthBlocked(const base::IpAddress& client, const std::string& user) override;
  void AuthFailed(const base::IpAddress&, const std::string&) override {}
  void AuthSucceeded(const base::IpAddress&, const std::string&) override {}
  bool TakeReplayMemory(size_t num_bytes) override;
  void ReturnReplayMemory(size_t num_bytes) override;
  io::Spool* spool() override { return choices_.has_disk ? &disk_ : nullptr; }
  size_t HighWater(size_t wanted_bytes) const override {
    return is_short_of_buffers ? 0 : wanted_bytes;
  }
  balance::Pins& pins() override { return pins_; }
  void RememberRefusal(const std::string& key, std::string_view reply) override {
    refusals_[key] = reply;
  }
  std::string RecallRefusal(const std::string& key) override;
  session::IdleLegs* idle_legs() override { return choices_.shares_legs ? &idle_legs_ : nullptr; }
  void LearnedCapabilities(const balance::Endpoint&, std::vector<std::string>) override {}
  // AccountSink
  void OnSession(const metrics::SessionAccount& account) override { books_.OnSession(account); }
  void OnTransaction(const metrics::TransactionAccount& account) override {
    books_.OnLogged(account);
  }
  // Resolver
  void Resolve(const std::string& host, std::function<void(const io::ResolvedName&)> done) override;
  void FindPeerName(const base::IpAddress& address,
                    std::function<void(const io::PeerName&)> done) override;

  SmtpChoices& choices_;
  SimLoop& loop_;
  SimNet& net_;
  SimSpool& disk_;
  Dice& dice_;
  SmtpBooks& books_;
  std::shared_ptr<Meters> meters_;
  balance::Picker picker_;
  balance::EndpointBook book_{1};
  balance::Pins pins_;
  session::SessionEnv env_;
  std::shared_ptr<const session::ListenerSettings> settings_;
  std::optional<health::Monitor> monitor_;
  session::IdleLegs idle_legs_;
  std::map<std::string, std::string> refusals_;
  // In their order, which a run depends on.
  std::vector<std::unique_ptr<session::Session>> sessions_;
  std::vector<std::unique_ptr<session::Intake>> intakes_;
  uint64_t last_session_ = 0;
  uint64_t replay_memory_ = 0;
};

}  // namespace postern::test
