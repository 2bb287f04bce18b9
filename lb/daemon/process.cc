// process: start, reload, drain and stop of the running postern.
// SPDX-License-Identifier: Apache-2.0
#include "lb/daemon/process.h"

#include <sys/resource.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <utility>

#include "lb/base/log.h"
#include "lb/daemon/service_notify.h"
#include "lb/daemon/system_checks.h"
#include "lb/net/own_addresses.h"
#include "lb/tls/cert_info.h"
#include "lb/tls/certificate_store.h"
#include "lb/tls/tls_library.h"

namespace postern::daemon {
namespace {

constexpr base::Duration kHousekeeping = std::chrono::seconds(1);
constexpr base::Duration kDrainTick = std::chrono::milliseconds(100);
constexpr const char* kConfiguration = "configuration";  // as the object of an event

void RaiseDescriptorLimit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  (void)setrlimit(RLIMIT_NOFILE, &limit);
}

uint32_t NumWorkers(const conf::Config& config) {
  if (config.workers > 0) return config.workers;
  return std::max(1U, std::thread::hardware_concurrency());
}

void PrintProblems(const std::vector<conf::Problem>& problems, const char* kind) {
  for (const conf::Problem& problem : problems)
    std::fprintf(stderr, "%s: %s\n", kind, problem.ToString().c_str());
}

// What a start lets pass (SystemFileChecks) is said where errors are looked for.
void LogInvalidCertificates(const Snapshot& snapshot, base::WallTime now) {
  if (snapshot.certificates == nullptr) return;
  for (const tls::ServerCertificate& certificate : snapshot.certificates->certificates())
    if (now < certificate.not_before || now >= certificate.not_after)
      base::log::Error("certificate_invalid",
                       {{"certificate", certificate.path},
                        {"not_before", base::log::FormatTime(certificate.not_before)},
                        {"not_after", base::log::FormatTime(certificate.not_after)},
                        {"why", "clients will refuse it"}});
}

}  // namespace

Process::Process(std::string config_path)
    : config_path_(std::move(config_path)),
      recorder_(registry_),
      ldap_dialer_(loop_, ldap_helper_),
      dialer_(loop_),
      resolver_(loop_),
      rng_(base::SystemSeed()),
      explainer_(loop_, recorder_, rng_, shared_.pins, [this] { return Health(); }),
      directories_(loop_, dialer_, ldap_dialer_, resolver_),
      ticket_keys_(std::make_shared<tls::TicketKeys>()),
      health_rng_(base::SystemSeed()),
      aside_(loop_, [this] { StartReload(); }),
      map_watch_(aside_,
                 [this](size_t directory, const directory::FileMap::Loaded& loaded) {
                   OnMapRead(directory, loaded);
                 }),
      drain_timer_(loop_.timers(), io::Timer::Invoke<&Process::OnDrainTick, Process>, this),
      housekeeping_timer_(loop_.timers(), io::Timer::Invoke<&Process::OnHousekeeping, Process>,
                          this) {}

Process::~Process() = default;

int Process::Run() {
  net::SignalWatcher::Block({SIGHUP, SIGTERM, SIGINT, SIGUSR1});
  RaiseDescriptorLimit();
  MapLoader maps(base::SystemClock());
  conf::LoadResult loaded =
      conf::LoadFile(config_path_, SystemFileChecks(maps, conf::FileChecks::Invalid::kWarning));
  PrintProblems(loaded.warnings, "warning");
  PrintProblems(loaded.errors, "error");
  if (!loaded.config) return 1;
  auto config = std::make_shared<const conf::Config>(std::move(*loaded.config));
  base::log::Configure(config->log.level, config->log.format);
  const auto num_workers = static_cast<int>(NumWorkers(*config));
  // Called by sessions, which live no longer than the health loop.
  endpoint_book_ = std::make_unique<balance::EndpointBook>(
      num_workers, [this](balance::EndpointState& endpoint) {
        health_loop_->Post([this, &endpoint] {
          if (monitor_ != nullptr) monitor_->LookNow(endpoint);
        });
      });
  started_ = loop_.WallNow();

  auto built = BuildSnapshot(
      config, {num_workers, *endpoint_book_, ticket_keys_, base::SystemClock(), maps});
  if (!built) {
    std::fprintf(stderr, "error: %s\n", built.error().c_str());
    return 1;
  }
  shared_.num_workers = static_cast<uint64_t>(num_workers);
  for (int i = 0; i < num_workers; ++i)
    workers_.push_back(std::make_unique<Worker>(i, shared_, ldap_helper_, registry_, session_log_));
  auto bindings = Bind(*config, bindings_, workers_.size());
  if (!bindings) {
    std::fprintf(stderr, "error: %s\n", bindings.error().c_str());
    return 1;
  }
  if (const std::string error = OpenAdmin(*config); !error.empty()) {
    std::fprintf(stderr, "error: %s\n", error.c_str());
    return 1;
  }
  if (const std::string error = session_log_.Open(config->log.sessions, config->log.format);
      !error.empty()) {
    std::fprintf(stderr, "error: log.sessions: %s\n", error.c_str());
    return 1;
  }
  if (const auto listens = Listen(bindings.value()); !listens) {
    std::fprintf(stderr, "error: %s\n", listens.error().c_str());
    return 1;
  }
  registry_.SetBuildInfo(POSTERN_VERSION, Revision(), tls::LibraryName());
  StartThreads();
  for (const conf::Problem& warning : loaded.warnings)
    built.value()->problems.push_back(warning.ToString());
  built.value()->shown = std::move(loaded.shown);
  Publish(std::move(built).value(), std::move(bindings).value());
  LogInvalidCertificates(*snapshot_, started_);
  for (const auto& [key, binding] : bindings_)
    base::log::Info("listening",
                    {{"listener", binding.name}, {"address", binding.address.ToString()}});
  for (const base::SocketAddress& address : http_->addresses())
    base::log::Info("admin_listening", {{"address", address.ToString()}});
  base::log::Info("started", {{"version", POSTERN_VERSION},
                              {"workers", std::to_string(num_workers)},
                              {"tls_library", tls::LibraryName()}});
  signals_ = std::make_unique<net::SignalWatcher>(
      loop_, std::initializer_list<int>{SIGHUP, SIGTERM, SIGINT, SIGUSR1},
      [this](int signal) { OnSignal(signal); });
  last_rotation_ = loop_.Now();
  housekeeping_timer_.ArmAt(loop_.Now() + kHousekeeping);
  NotifyServiceManager("READY=1");
  loop_.Run();
  aside_.Stop();
  StopThreads();
  ldap_helper_.Stop();
  http_.reset();
  base::log::Info("stopped", {});
  return 0;
}

void Process::Publish(std::shared_ptr<Snapshot> snapshot, Bindings bindings) {
  snapshot->generation = ++generation_;
  const conf::Config& config = *snapshot->config;
  FillSlots(*snapshot, registry_.Configure(config, tls::GroupsInUse(config.tls.groups),
                                           NamesAnsweredBy(config, snapshot->maps)));
  for (WorkerParts& worker : snapshot->workers)
    worker.listeners = Announce(*snapshot, worker.listeners);
  if (!config.tls.ticket_keys.empty()) {
    if (auto keys = tls::TicketKeys::ReadFile(config.tls.ticket_keys); keys.ok())
      ticket_keys_->Use(std::move(keys).value());
  }
  if (snapshot->certificates != nullptr)
    for (const tls::ServerCertificate& certificate : snapshot->certificates->certificates())
      registry_.SetCertificate(certificate.path, certificate.not_after);
  ldap_helper_.Want(UsesLdap(config), loop_.Now());
  for (size_t i = 0; i < workers_.size(); ++i) {
    std::vector<ListenSocket> sockets;
    for (auto& [key, binding] : bindings) {
      ListenSocket socket;
      socket.key = key;
      socket.listener = binding.listener;
      if (binding.is_new) socket.fd = std::move(binding.sockets[i]);
      sockets.push_back(std::move(socket));
    }
    workers_[i]->Apply(snapshot->workers[i], std::move(sockets));
  }
  for (auto& [key, binding] : bindings) {
    binding.sockets.clear();
    binding.is_new = false;
  }
  bindings_ = std::move(bindings);
  snapshot_ = std::move(snapshot);
  directories_.Use(snapshot_->config, snapshot_->control.maps, snapshot_->control.directory_tls);
  auto parts = std::make_shared<session::Parts>(*snapshot_->control.parts);
  parts->directories = directories_.all();
  explainer_.Use(std::move(parts));
  map_watch_.Watch(snapshot_->config, snapshot_->user_key, snapshot_->maps);
  base::log::Configure(config.log.level, config.log.format);
  registry_.SetConfigGeneration(generation_, snapshot_->loaded);
  std::vector<conf::OwnListener> own_listeners;
  for (const auto& [key, binding] : bindings_)
    own_listeners.push_back({binding.name, binding.address});
  health_loop_->Post([this, snapshot = snapshot_, doors = DeliveryDoors(),
                      own = std::move(own_listeners)] {
    // Interfaces come and go: they are looked at each time that it matters.
    const auto is_own = [](const base::IpAddress& ip) { return net::OwnAddresses().contains(ip); };
    monitor_->Watch({snapshot->config, snapshot->endpoints, snapshot->health_tls,
                     snapshot->queue_tls, snapshot->check_slots, doors, own, is_own});
  });
}

// Where the delivery probes of the configuration in force go in.
std::vector<health::DeliveryDoor> Process::DeliveryDoors() const {
  std::vector<health::DeliveryDoor> doors;
  const conf::Config& config = *snapshot_->config;
  for (const conf::Probe& probe : config.probes) {
    health::DeliveryDoor& door = doors.emplace_back();
    for (const conf::Listener& listener : config.listeners)
      if (listener.name == probe.send_listener && !listener.addresses.empty())
        if (const auto it = bindings_.find(BindingKey(listener.name, 0, listener.addresses[0]));
            it != bindings_.end())
          door.listener = it->second.address;
    door.listener_tls = snapshot_->delivery_tls;
    door.recipient_key = snapshot_->user_key->Key(probe.to);
    door.user_key = snapshot_->user_key->Key(probe.find.user);
  }
  return doors;
}

void Process::Reload(DryRun dry_run, ReloadDone done) {
  // One that has not begun yet will see all that there is.
  for (WantedReload& waiting : wanted_reloads_)
    if (waiting.dry_run == dry_run) return waiting.done.push_back(std::move(done));
  wanted_reloads_.push_back({dry_run, {std::move(done)}});
  StartReload();
}

void Process::StartReload() {
  while (!wanted_reloads_.empty() && !aside_.is_busy()) {
    begun_reload_ = std::move(wanted_reloads_.front());
    wanted_reloads_.pop_front();
    const auto read = [this, known = snapshot_->config, known_maps = snapshot_->maps](
                          const std::atomic<bool>& stop) -> Aside::Finish {
      const auto maps = std::make_shared<MapLoader>(base::SystemClock(), known, known_maps, &stop);
      const auto loaded =
          std::make_shared<conf::LoadResult>(conf::LoadFile(config_path_, SystemFileChecks(*maps)));
      return [this, maps, loaded] { EndReload(std::move(*loaded), *maps); };
    };
    if (aside_.Start(read)) return;
    conf::LoadResult nothing;
    nothing.errors.push_back({config_path_, 0, 0, "", "there is no thread to read it", ""});
    MapLoader no_maps(base::SystemClock());
    EndReload(std::move(nothing), no_maps);
  }
}

void Process::EndReload(conf::LoadResult loaded, MapLoader& maps) {
  const WantedReload begun = std::exchange(begun_reload_, {});
  const ReloadReport report = FinishReload(begun.dry_run, std::move(loaded), maps);
  for (const ReloadDone& done : begun.done) done(report);
}

ReloadReport Process::FinishReload(DryRun dry_run, conf::LoadResult loaded, MapLoader& maps) {
  ReloadReport report;
  report.generation = generation_;
  report.warnings = loaded.warnings;
  report.errors = loaded.errors;
  const auto reject = [&](const std::string& why) {
    conf::Problem problem;
    problem.file = config_path_;
    problem.message = why;
    report.errors.push_back(std::move(problem));
  };
  std::shared_ptr<Snapshot> snapshot;
  base::Result<Bindings> bindings = Bindings();
  base::Result<std::string> token = std::string();
  if (is_draining_) {
    reject("the process is ending");
  } else if (loaded.config) {
    auto config = std::make_shared<const conf::Config>(std::move(*loaded.config));
    auto built = BuildSnapshot(config, {static_cast<int>(workers_.size()), *endpoint_book_,
                                        ticket_keys_, base::SystemClock(), maps});
    if (!built) {
      reject(built.error());
    } else {
      snapshot = std::move(built).value();
      bindings = Bind(*snapshot->config, bindings_, workers_.size());
      if (!bindings) reject(bindings.error());
      token = ReadToken(snapshot->config->admin.token_file);
      if (!token) reject(token.error());
      // What a running process cannot change is said rather than ignored.
      if (NumWorkers(*snapshot->config) != workers_.size())
        snapshot->problems.push_back("workers: takes effect at the next start");
      if (snapshot->config->admin.addresses != admin_addresses_ ||
          snapshot->config->admin.socket != admin_socket_)
        snapshot->problems.push_back("admin: takes effect at the next start");
    }
  }
  if (report.errors.empty() && dry_run == DryRun::kNo)
    if (const auto listens = Listen(bindings.value()); !listens) reject(listens.error());
  report.is_accepted = report.errors.empty();
  if (dry_run == DryRun::kYes) return report;
  if (!report.is_accepted) {
    registry_.CountReload(metrics::Registry::ReloadResult::kRejected);
    PrintProblems(report.errors, "error");
    const std::string first = report.errors.front().ToString();
    const size_t num_more = report.errors.size() - 1;
    base::log::Error("reload_rejected",
                     {{"errors", std::to_string(report.errors.size())}, {"first", first}});
    AddEvent("reload_rejected", kConfiguration,
             num_more == 0 ? first : first + ", and " + std::to_string(num_more) + " more");
    return report;
  }
  token_ = std::move(token).value();
  for (const conf::Problem& warning : loaded.warnings)
    snapshot->problems.push_back(warning.ToString());
  if (const std::string error =
          session_log_.Open(snapshot->config->log.sessions, snapshot->config->log.format);
      !error.empty())
    snapshot->problems.push_back("log.sessions: " + error);
  snapshot->shown = std::move(loaded.shown);
  Publish(std::move(snapshot), std::move(bindings).value());
  registry_.CountReload(metrics::Registry::ReloadResult::kAccepted);
  report.generation = generation_;
  base::log::Info("reloaded", {{"generation", std::to_string(generation_)}});
  AddEvent("reloaded", kConfiguration,
           "generation " + std::to_string(generation_) + " is in force");
  return report;
}

void Process::AddEvent(std::string kind, std::string object, std::string text) {
  events_.Add({loop_.WallNow(), std::move(kind), std::move(object), std::move(text)});
}

void Process::StartThreads() {
  shared_.learned = [this](std::shared_ptr<balance::EndpointState> state,
                           std::vector<std::string> capabilities) {
    // Called on a worker: the facts are replaced here, the announcements on the control thread.
    const auto old = state->facts();
    if (old != nullptr && old->has_capabilities && old->capabilities == capabilities) return;
    state->UpdateFacts([&capabilities](balance::EndpointFacts& facts) {
      facts.capabilities = std::move(capabilities);
      facts.has_capabilities = true;
    });
    loop_.Post([this] { AnnounceAgain(); });
  };
  health_loop_ = std::make_unique<net::EventLoop>();
  health_dialer_ = std::make_unique<net::TcpDialer>(*health_loop_);
  health_resolver_ = std::make_unique<net::DnsResolver>(*health_loop_);
  health::MonitorHooks hooks;
  hooks.on_news = [this] { loop_.Post([this] { AnnounceAgain(); }); };
  hooks.on_down = [this](balance::EndpointState& endpoint) {
    for (const auto& worker : workers_) worker->LeaveEndpoint(endpoint);
  };
  hooks.on_event = [this](const health::Event& event) {
    loop_.Post([this, event] { AddEvent(event.kind, event.object, event.text); });
  };
  monitor_ = std::make_unique<health::Monitor>(*health_loop_, *health_dialer_, *health_resolver_,
                                               health_rng_, registry_, std::move(hooks));
  health_thread_ = std::thread([this] { health_loop_->Run(); });
  shared_.spool.Start();
  for (const auto& worker : workers_) worker->Start();
}

void Process::StopThreads() {
  for (const auto& worker : workers_) worker->Stop();
  for (const auto& worker : workers_) worker->Join();
  shared_.spool.Stop();
  // Timers and streams of the monitor belong to its loop: they go there.
  health_loop_->Post([this] {
    monitor_.reset();
    health_loop_->Stop();
  });
  health_thread_.join();
  workers_.clear();
}

void Process::AnnounceAgain() {
  if (snapshot_ == nullptr) return;
  for (size_t i = 0; i < workers_.size(); ++i) {
    ListenerList announced = daemon::Announce(*snapshot_, snapshot_->workers[i].listeners);
    if (announced == snapshot_->workers[i].listeners) continue;
    snapshot_->workers[i].listeners = announced;
    workers_[i]->Announce(std::move(announced));
  }
}

void Process::OnSignal(int signal) {
  switch (signal) {
    case SIGHUP:
      NotifyServiceManager("RELOADING=1");
      Reload(DryRun::kNo, [this](const ReloadReport&) {
        if (!is_draining_) NotifyServiceManager("READY=1");
      });
      return;
    case SIGUSR1: {
      const std::string error = session_log_.Reopen();
      if (!error.empty()) base::log::Error("reopen_failed", {{"why", error}});
      return;
    }
    case SIGTERM:
      BeginDrain();
      return;
    case SIGINT:
      base::log::Info("stopping", {});
      NotifyServiceManager("STOPPING=1");
      loop_.Stop();
      return;
    default:
      return;
  }
}

void Process::BeginDrain() {
  if (is_draining_) return;
  is_draining_ = true;
  const conf::Drain& drain = snapshot_->config->drain;
  base::log::Info("draining", {{"deadline_s", std::to_string(drain.deadline.count() / 1000)}});
  NotifyServiceManager("STOPPING=1");
  drain_deadline_ = loop_.Now() + drain.deadline;
  for (const auto& worker : workers_) worker->BeginDrain(drain.spread);
  health_loop_->Post([this] {
    if (monitor_ != nullptr) monitor_->StopDeliveries();
  });
  drain_timer_.ArmAt(loop_.Now() + kDrainTick);
}

void Process::OnDrainTick() {
  if (shared_.sessions.load(std::memory_order_relaxed) == 0) {
    // One round more, so that what was accepted at the very end is counted.
    if (drain_round_++ > 0) {
      loop_.Stop();
      return;
    }
  } else {
    drain_round_ = 0;
  }
  if (loop_.Now() >= drain_deadline_) {
    base::log::Warn("drain_deadline", {{"sessions", std::to_string(shared_.sessions.load())}});
    loop_.Stop();
    return;
  }
  drain_timer_.ArmAt(loop_.Now() + kDrainTick);
}

void Process::OnHousekeeping() {
  if (snapshot_->config->tls.ticket_keys.empty() &&
      loop_.Now() - last_rotation_ >= tls::TicketKeys::kRotateEvery) {
    ticket_keys_->Rotate();
    last_rotation_ = loop_.Now();
  }
  for (size_t i = 0; i < workers_.size(); ++i) workers_[i]->ReportLag();
  registry_.SetSpoolBytes(shared_.spool.held_bytes());
  WarnOfDroppedLines();
  map_watch_.Look();
  ldap_helper_.Look(loop_.Now());
  housekeeping_timer_.ArmAt(loop_.Now() + kHousekeeping);
}

// A map in place of an older one of the same configuration; broken, it changes nothing.
void Process::OnMapRead(size_t directory, const directory::FileMap::Loaded& loaded) {
  const std::string& name = snapshot_->config->directories[directory].name;
  if (loaded.map == nullptr) {
    for (const std::string& error : loaded.errors)
      base::log::Error("map_rejected", {{"directory", name}, {"why", error}});
    AddEvent("map_rejected", name, loaded.errors.front());
    return;
  }
  LoadedMap& known = snapshot_->maps[directory];
  known = {loaded.map, loop_.Now()};
  for (const std::unique_ptr<Worker>& worker : workers_) worker->ReplaceMap(directory, known);
  directories_.ReplaceMap(directory, known);
  for (WorkerParts& parts : snapshot_->workers) parts.maps[directory] = known;
  const std::string rows = std::to_string(loaded.map->size());
  base::log::Info("map_loaded", {{"directory", name}, {"keys", rows}});
  AddEvent("map_loaded", name, rows + " keys");
  AnnounceAgain();  // it may name other pools
}

void Process::WarnOfDroppedLines() {
  const uint64_t num_dropped = session_log_.num_dropped();
  if (num_dropped == num_dropped_told_) return;
  base::log::Warn("session_log_dropped",
                  {{"lines", std::to_string(num_dropped - num_dropped_told_)},
                   {"why", "the reader of log.sessions is too slow, or its disk is full"}});
  num_dropped_told_ = num_dropped;
}

}  // namespace postern::daemon
