// worker: one thread with its loop, its listeners' sockets and the sessions that it accepted.
//
// A session lives and dies on the worker that accepted it. What workers share is const (the
// snapshot), or one of the exceptions that design names: AddressTable, RefusalTable, the byte
// budgets of Shared, and the spool thread's queue.
// Owner:    the process.   Thread: public methods: control thread; the rest: its own.
// Tests:    test/integration/
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "lb/balance/picker.h"
#include "lb/base/rng.h"
#include "lb/daemon/address_table.h"
#include "lb/daemon/ldap_helper.h"
#include "lb/daemon/refusal_table.h"
#include "lb/daemon/snapshot.h"
#include "lb/daemon/spool_thread.h"
#include "lb/net/dns_resolver.h"
#include "lb/net/event_loop.h"
#include "lb/net/tcp_dialer.h"
#include "lb/net/tcp_listener.h"
#include "lb/session/idle_legs.h"
#include "lb/session/intake.h"
#include "lb/session/session_env.h"
#include "metrics/recorder.h"
#include "metrics/session_log.h"

namespace postern::daemon {

// Of the whole process, used by every worker.
struct Shared {
  AddressTable addresses;
  RefusalTable refusals;
  balance::Pins pins;
  uint64_t num_workers = 1;  // set before they start
  std::atomic<uint64_t> next_session{1};
  std::atomic<uint64_t> sessions{0};       // open now, over all workers; limits.sessions
  std::atomic<uint64_t> replay_memory{0};  // bytes held by message journals
  SpoolThread spool;                       // for what they hold beyond that
  // What a live back leg has learned, told on the control thread by whoever set it.
  std::function<void(std::shared_ptr<balance::EndpointState>, std::vector<std::string>)> learned;
};

// A listening socket for one worker: which listener it belongs to, by name and configured address.
struct ListenSocket {
  std::string key;
  uint32_t listener = 0;  // Config::listeners of the snapshot that comes with it
  net::OwnedFd fd;        // invalid: the worker has this key already
};

class Worker final : public session::SessionHost, public session::IntakeHost {
 public:
  Worker(int index, Shared& shared, LdapHelper& ldap_helper, metrics::Registry& registry,
         metrics::SessionLog& log);
  ~Worker();

  void Start();
  // Everything that a snapshot changes, in one step: parts, settings, sockets. Keys not named are
  // closed, after what the kernel has accepted for them already was taken over.
  void Apply(WorkerParts parts, std::vector<ListenSocket> sockets);
  // New settings of the same listeners (capabilities were learned).
  void Announce(ListenerList listeners);
  // Closes the listeners and asks every session to end at its next safe point, spread evenly over
  // `spread`.
  void BeginDrain(base::Duration spread);
  // Nobody shall wait there any more. From any thread.
  void LeaveEndpoint(const balance::EndpointState& endpoint);
  // The file of a directory of the parts in force has changed. From any thread.
  void ReplaceMap(size_t directory, LoadedMap loaded);
  // Ends every session now, then the thread. Join waits for it.
  void Stop();
  void Join();

  // Puts the loop's lag since the last call into the metrics.
  void ReportLag();

  [[nodiscard]] uint64_t num_sessions() const {
    return num_sessions_.load(std::memory_order_relaxed);
  }
  net::EventLoop& loop() { return loop_; }

  // session::SessionHost
  void Retire(session::Session& session) override;
  bool AuthBlocked(const base::IpAddress& client, const std::string& user) override;
  void AuthFailed(const base::IpAddress& client, const std::string& user) override;
  void AuthSucceeded(const base::IpAddress& client, const std::string& user) override;
  size_t HighWater(size_t wanted_bytes) const override;
  session::IdleLegs* idle_legs() override { return &idle_legs_; }
  balance::Pins& pins() override { return shared_.pins; }
  bool TakeReplayMemory(size_t num_bytes) override;
  void ReturnReplayMemory(size_t num_bytes) override;
  void RememberRefusal(const std::string& key, std::string_view reply) override;
  std::string RecallRefusal(const std::string& key) override;
  io::Spool* spool() override { return &spool_; }
  void LearnedCapabilities(const balance::Endpoint& endpoint,
                           std::vector<std::string> capabilities) override;
  // session::IntakeHost
  void IntakeReady(session::Intake& intake) override;
  void IntakeFailed(session::Intake& intake) override;

 private:
  struct Listening {
    std::unique_ptr<net::TcpListener> socket;
    std::shared_ptr<const session::ListenerSettings> settings;
  };

  void OnAccept(const std::string& key, net::OwnedFd fd, const base::SocketAddress& peer);
  void Begin(std::shared_ptr<const session::ListenerSettings> listener,
             const session::ClientFacts& client, std::unique_ptr<io::Stream> stream);
  void DrainTick();
  void FlushSoon();
  void FlushTick();
  void StopNow();
  void RemoveIntake(session::Intake& intake);
  void SessionCountChanged(int64_t by);
  [[nodiscard]] const conf::Limits& limits() const { return env_.parts->config->limits; }

  const int index_;
  Shared& shared_;
  metrics::Recorder recorder_;
  metrics::SessionLogWriter log_;
  net::EventLoop loop_;
  net::TcpDialer dialer_;
  LdapDialer ldap_dialer_;
  net::DnsResolver resolver_;
  WorkerSpool spool_;
  base::SeededRng rng_;
  balance::Picker picker_;
  session::SessionEnv env_;
  OwnDirectories directories_;
  session::IdleLegs idle_legs_;

  std::map<std::string, Listening> listening_;
  std::vector<std::unique_ptr<net::TcpListener>> closed_listeners_;
  session::Session* sessions_ = nullptr;  // intrusive list
  session::Intake* intakes_ = nullptr;    // likewise
  std::vector<std::unique_ptr<session::Session>> retired_;
  std::vector<std::unique_ptr<session::Intake>> retired_intakes_;
  bool is_sweep_posted_ = false;
  void PostSweep();

  io::Timer drain_timer_;
  io::Timer flush_timer_;
  bool is_draining_ = false;
  bool is_stopping_ = false;
  base::MonoTime drain_end_{};

  std::atomic<uint64_t> num_sessions_{0};
  std::thread thread_;
};

}  // namespace postern::daemon
