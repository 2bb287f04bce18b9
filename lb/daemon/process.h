// process: the running postern: control thread, workers, the health thread, the snapshot in force.
//
// Run() is the control thread: signals (HUP reload, TERM drain, INT stop, USR1 reopen logs), admin
// HTTP, reloads.
// Owner:    main.   Thread: control, except where a method says otherwise.
// Tests:    test/integration/
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "conf/load.h"
#include "health/monitor.h"
#include "lb/balance/endpoint.h"
#include "lb/base/rng.h"
#include "lb/daemon/admin.h"
#include "lb/daemon/aside.h"
#include "lb/daemon/bindings.h"
#include "lb/daemon/explain.h"
#include "lb/daemon/ldap_helper.h"
#include "lb/daemon/map_watch.h"
#include "lb/daemon/snapshot.h"
#include "lb/daemon/worker.h"
#include "lb/net/dns_resolver.h"
#include "lb/net/event_loop.h"
#include "lb/net/http_server.h"
#include "lb/net/signal_watcher.h"
#include "lb/net/tcp_dialer.h"
#include "lb/tls/ticket_keys.h"
#include "metrics/recorder.h"
#include "metrics/session_log.h"

namespace postern::daemon {

class Process final : public AdminBackend {
 public:
  explicit Process(std::string config_path);
  ~Process();
  // Loads the configuration, binds, starts the threads, serves until a signal ends it. The exit
  // code.
  [[nodiscard]] int Run();

  // AdminBackend
  [[nodiscard]] StatusReport Status() const override;
  [[nodiscard]] ConfigReport Configuration() const override;
  [[nodiscard]] std::string MetricsText() override;
  [[nodiscard]] std::vector<std::string> NotReadyReasons() const override;
  // The files are read aside; who asks meanwhile waits, and all who wait are served by one.
  void Reload(DryRun dry_run, ReloadDone done) override;
  [[nodiscard]] std::shared_ptr<const health::HealthReport> Health() const override;
  [[nodiscard]] const EventList& Events() const override { return events_; }
  [[nodiscard]] bool SetAdmin(const std::string& backend, std::optional<conf::Protocol> protocol,
                              balance::AdminState state) override;
  [[nodiscard]] bool SetWeight(const std::string& backend, uint32_t weight) override;
  void Explain(const RouteQuestion& question, Explainer::Done done) override;
  [[nodiscard]] std::string token() const override { return token_; }

 private:
  struct WantedReload {
    DryRun dry_run = DryRun::kNo;
    std::vector<ReloadDone> done{};  // who has asked for it
  };
  void StartReload();
  void EndReload(conf::LoadResult loaded, MapLoader& maps);
  [[nodiscard]] ReloadReport FinishReload(DryRun dry_run, conf::LoadResult loaded, MapLoader& maps);
  void Publish(std::shared_ptr<Snapshot> snapshot, Bindings bindings);
  [[nodiscard]] std::vector<health::DeliveryDoor> DeliveryDoors() const;
  // Empty without a file.
  [[nodiscard]] static base::Result<std::string> ReadToken(const std::string& path);
  [[nodiscard]] std::string OpenAdmin(const conf::Config& config);
  void WarnOfDroppedLines();
  void AddEvent(std::string kind, std::string object, std::string text);
  void OnSignal(int signal);
  void OnHousekeeping();
  void OnDrainTick();
  void BeginDrain();
  void AnnounceAgain();
  void OnMapRead(size_t directory, const directory::FileMap::Loaded& loaded);
  void StartThreads();
  void StopThreads();

  const std::string config_path_;
  net::EventLoop loop_;
  std::unique_ptr<net::SignalWatcher> signals_;
  metrics::Registry registry_;
  metrics::SessionLog session_log_;
  metrics::Recorder recorder_;  // the control thread's own
  Shared shared_;
  LdapHelper ldap_helper_;
  // The control thread's own too.
  LdapDialer ldap_dialer_;
  net::TcpDialer dialer_;
  net::DnsResolver resolver_;
  base::SeededRng rng_;
  Explainer explainer_;
  OwnDirectories directories_;  // of the snapshot
  std::unique_ptr<balance::EndpointBook> endpoint_book_;
  std::shared_ptr<tls::TicketKeys> ticket_keys_;
  std::vector<std::unique_ptr<Worker>> workers_;
  std::unique_ptr<health::Monitor> monitor_;
  base::SeededRng health_rng_;
  std::unique_ptr<net::EventLoop> health_loop_;
  std::unique_ptr<net::TcpDialer> health_dialer_;
  std::unique_ptr<net::DnsResolver> health_resolver_;
  std::thread health_thread_;

  std::shared_ptr<Snapshot> snapshot_;
  Bindings bindings_;
  EventList events_;
  std::unique_ptr<Admin> admin_;
  std::unique_ptr<net::HttpServer> http_;
  std::vector<base::SocketAddress> admin_addresses_;  // as configured
  std::string admin_socket_;
  std::string token_;
  base::WallTime started_{};
  uint64_t generation_ = 0;
  base::MonoTime drain_deadline_{};
  bool is_draining_ = false;
  int drain_round_ = 0;  // ticks in a row without a session
  Aside aside_;
  std::deque<WantedReload> wanted_reloads_;  // one of each kind at most
  WantedReload begun_reload_;
  MapWatch map_watch_;
  io::Timer drain_timer_;
  io::Timer housekeeping_timer_;
  base::MonoTime last_rotation_{};
  uint64_t num_dropped_told_ = 0;  // lines of the session log
};

// The commit that this binary was built from; "unknown" outside a checkout.
[[nodiscard]] std::string Revision();

}  // namespace postern::daemon
