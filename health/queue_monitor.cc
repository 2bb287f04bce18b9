// queue_monitor: schedules the reads, keeps what they gave, and tells of changes.
// SPDX-License-Identifier: Apache-2.0
#include "health/queue_monitor.h"

#include <algorithm>
#include <map>
#include <utility>

#include "health/queue_read.h"
#include "lb/base/log.h"
#include "lb/base/url.h"

namespace postern::health {
namespace {

constexpr base::Duration kLongestStartDelay = std::chrono::seconds(1);
// Addresses are asked for again at their TTL, but not for every read.
constexpr base::Duration kShortestTtl = std::chrono::seconds(5);
constexpr base::Duration kLongestTtl = std::chrono::hours(1);
// A source that fails now and then is not worth a line each time.
constexpr int kFailuresToTell = 3;
constexpr int kGoodReadsToTell = 2;
// HAProxy's largest weight over our usual one.
constexpr double kMaxAgentFactor = 2.56;

std::string_view Name(conf::QueueSource::Kind kind) {
  switch (kind) {
    case conf::QueueSource::Kind::kPrometheus:
      return "prometheus";
    case conf::QueueSource::Kind::kAgent:
      return "agent";
    case conf::QueueSource::Kind::kHttpJson:
      return "http_json";
    case conf::QueueSource::Kind::kShowq:
      break;
  }
  return "showq";
}

bool IsOfHttp(const conf::QueueSource& source) {
  return source.kind == conf::QueueSource::Kind::kPrometheus ||
         source.kind == conf::QueueSource::Kind::kHttpJson;
}

// Whether readings of one are readings of the other: same place, same question.
bool IsSamePlace(const conf::Backend& a, const conf::Backend& b) {
  const conf::QueueSource& x = *a.queue;
  const conf::QueueSource& y = *b.queue;
  return x.kind == y.kind && x.url == y.url && x.metric == y.metric && x.labels == y.labels &&
         x.combine_max == y.combine_max && x.headers == y.headers && x.address == y.address &&
         x.send == y.send && x.pointer == y.pointer && x.queues == y.queues && a.host == b.host;
}

// Where to connect: a local socket, or a host and a port.
struct Peer {
  std::string unix_path;
  std::string host;
  uint16_t port = 0;
  bool is_https = false;
};

// Sources are checked with the configuration; what is not sound all the same leads nowhere.
std::optional<Peer> PeerOf(const conf::QueueSource& source) {
  Peer peer;
  if (IsOfHttp(source)) {
    const auto url = base::ParseHttpUrl(source.url);
    if (!url) return std::nullopt;
    peer.host = url->host;
    peer.port = url->port;
    peer.is_https = url->is_https;
    return peer;
  }
  constexpr std::string_view kUnix = "unix:";
  if (source.address.starts_with(kUnix)) {
    peer.unix_path = source.address.substr(kUnix.size());
    return peer;
  }
  if (const auto address = base::SocketAddress::Parse(source.address)) {
    peer.host = address->ip.ToString();
    peer.port = address->port;
    return peer;
  }
  const size_t colon = source.address.rfind(':');
  if (colon == std::string::npos) return std::nullopt;
  peer.host = source.address.substr(0, colon);
  const auto port = base::SocketAddress::Parse("0.0.0.0" + source.address.substr(colon));
  if (!port) return std::nullopt;
  peer.port = port->port;
  return peer;
}

std::string_view Name(balance::AdminState state) {
  switch (state) {
    case balance::AdminState::kReady:
      return "ready";
    case balance::AdminState::kDrain:
      return "drain";
    case balance::AdminState::kMaintenance:
      break;
  }
  return "maintenance";
}

}  // namespace

std::optional<QueueTls> QueueTlsOf(const conf::Backend& backend) {
  if (!backend.queue || !IsOfHttp(*backend.queue)) return std::nullopt;
  const auto url = base::ParseHttpUrl(backend.queue->url);
  if (!url || !url->is_https) return std::nullopt;
  QueueTls tls{backend.verify, url->host};
  if (!base::EqualsIgnoreCase(url->host, backend.host)) tls.verify.name.clear();
  return tls;
}

struct QueueMonitor::Source {
  Source(QueueMonitor& its_owner, const conf::Backend& its_backend)
      : owner(its_owner),
        next(owner.loop_.timers(), io::Timer::Invoke<&Source::StartRead, Source>, this),
        until(owner.loop_.timers(), io::Timer::Invoke<&Source::OnDeadline, Source>, this),
        stale(owner.loop_.timers(), io::Timer::Invoke<&Source::Review, Source>, this) {
    Configure(its_backend);
    const base::Duration spread = std::min<base::Duration>(conf.interval, kLongestStartDelay);
    next.ArmAt(owner.loop_.Now() + Fraction(spread, owner.rng_.Unit()));
  }

  void Configure(const conf::Backend& its_backend) {
    backend = its_backend;
    conf = *its_backend.queue;
    peer = PeerOf(conf);
  }
  static base::Duration Fraction(base::Duration whole, double part) {
    return base::Duration(static_cast<int64_t>(static_cast<double>(whole.count()) * part));
  }

  // --- reading ------------------------------------------------------------------------------

  void StartRead() {
    if (is_reading) return;
    is_reading = true;
    started = owner.loop_.Now();
    if (!peer) return Take(Failed("the source's address is not understood"));
    if (!peer->unix_path.empty()) {
      io::DialOptions dial;
      dial.unix_path = peer->unix_path;
      return Read(std::move(dial));
    }
    if (const auto ip = base::IpAddress::Parse(peer->host)) return ReadAt(*ip);
    if (addresses.empty() || started >= addresses_until) Resolve();
    // Addresses that were good a minute ago are better than none, and need not be waited for.
    if (!addresses.empty()) return ReadAtNext();
    until.ArmAt(started + QueueRead::kTimeout);  // the read's bound is for this too
  }

  void Resolve() {
    if (std::exchange(is_resolving, true)) return;
    owner.resolver_.Resolve(peer->host,
                            [self = std::weak_ptr<Source*>(token)](const io::ResolvedName& name) {
                              if (const auto source = self.lock()) (*source)->OnResolved(name);
                            });
  }
  void OnResolved(const io::ResolvedName& name) {
    is_resolving = false;
    if (!name.addresses.empty()) {
      addresses = name.addresses;
      addresses_until =
          owner.loop_.Now() + std::clamp<base::Duration>(name.ttl, kShortestTtl, kLongestTtl);
    }
    if (!until.armed()) return;  // nobody waits (any more); the next read has it
    until.Cancel();
    if (addresses.empty()) return Take(Failed(peer->host + " has no address: " + name.error));
    ReadAtNext();
  }
  void OnDeadline() { Take(Failed(peer->host + " could not be resolved in time")); }

  void ReadAtNext() { ReadAt(addresses[next_address % addresses.size()]); }
  void ReadAt(const base::IpAddress& ip) {
    io::DialOptions dial;
    dial.address = {ip, peer->port};
    for (const base::IpAddress& source : backend.source_addresses)
      if (!dial.source && source.is_v4() == ip.is_v4()) dial.source = source;
    Read(std::move(dial));
  }
  void Read(io::DialOptions dial) {
    QueueTarget target;
    target.dial = std::move(dial);
    if (peer->is_https) {
      if (tls == nullptr) return Take(Failed("there are no TLS settings for it"));
      target.tls = tls;
      const auto wanted = QueueTlsOf(backend);
      target.server_name =
          !wanted || wanted->verify.name.empty() ? peer->host : wanted->verify.name;
    }
    read_conf = conf;
    read = std::make_unique<QueueRead>(
        owner.loop_, owner.dialer_, std::move(target), MakeQueueDecoder(read_conf),
        [this](QueueReading reading) {
          // The read calls from within itself: it goes when the loop is free.
          owner.loop_.Post([old = std::shared_ptr<QueueRead>(std::move(read))] {});
          Take(std::move(reading));
        });
    // A name that took its time has used up a part of the read's.
    read->Start(std::max(started + QueueRead::kTimeout, owner.loop_.Now()));
  }
  static QueueReading Failed(std::string why) {
    QueueReading reading;
    reading.error = std::move(why);
    return reading;
  }

  // --- what it gave -------------------------------------------------------------------------

  void Take(QueueReading reading) {
    is_reading = false;
    const base::MonoTime now = owner.loop_.Now();
    const base::Duration interval = conf.interval;
    const base::Duration jittered = Fraction(interval, 0.9 + 0.2 * owner.rng_.Unit());
    next.ArmAt(std::max(now, started + jittered));
    if (reading.agent) TakeAgent(*reading.agent, now);
    if (reading.depth) {
      depth = *reading.depth;
      depth_at = now;
      SetGauges();
    }
    if (reading.error.empty()) {
      OnGoodRead();
    } else {
      ++next_address;
      OnFailedRead(std::move(reading.error));
    }
    Review();
  }
  void TakeAgent(const AgentLine& line, base::MonoTime now) {
    agent_at = now;
    if (line.percent || line.weight) {
      percent = line.percent;
      weight = line.weight;
    }
    if (line.state) agent_state = line.state;
    if (line.admin) agent_admin = line.admin;
    if (!line.said.empty()) said = line.said;
  }
  void SetGauges() const {
    using Gauge = metrics::Registry::QueueGauge;
    if (!depth_at) return;
    const base::Duration age = owner.loop_.Now() - *depth_at;
    owner.registry_.SetQueue(backend.name, Gauge::kDepth, depth);
    owner.registry_.SetQueue(backend.name, Gauge::kReadTimestamp,
                             base::Seconds((owner.loop_.WallNow() - age).time_since_epoch()));
  }

  void OnFailedRead(std::string why) {
    owner.recorder_.QueueReadError(backend.name);
    last_error = std::move(why);
    num_good = 0;
    ++num_failures;
    if (is_told_failing || (num_failures < kFailuresToTell && has_been_good)) return;
    is_told_failing = true;
    base::log::Warn(
        "queue_source_failing",
        {{"backend", backend.name}, {"source", std::string(Name(conf.kind))}, {"why", last_error}});
    Raise("queue_source_failing", std::string(Name(conf.kind)) + ": " + last_error);
  }
  void OnGoodRead() {
    num_failures = 0;
    ++num_good;
    last_error.clear();
    const bool is_first = !std::exchange(has_been_good, true);
    if (!is_told_failing || (num_good < kGoodReadsToTell && !is_first)) return;
    is_told_failing = false;
    base::log::Info("queue_source_works",
                    {{"backend", backend.name}, {"source", std::string(Name(conf.kind))}});
    Raise("queue_source_works", std::string(Name(conf.kind)));
  }
  void Raise(std::string_view kind, std::string text) const {
    if (owner.on_event_) owner.on_event_({std::string(kind), backend.name, std::move(text)});
  }

  // --- what is in force ---------------------------------------------------------------------

  [[nodiscard]] bool IsFresh(const std::optional<base::MonoTime>& at) const {
    return at && owner.loop_.Now() < *at + base::Duration(conf.stale_after);
  }

  [[nodiscard]] AgentStanding Agent() const {
    AgentStanding agent;
    agent.words = said;
    if (agent_state) {
      agent.state =
          *agent_state == AgentLine::State::kUp ? balance::Health::kUp : balance::Health::kDown;
    }
    if (agent_admin) {
      agent.admin = *agent_admin == AgentLine::Admin::kReady   ? balance::AdminState::kReady
                    : *agent_admin == AgentLine::Admin::kDrain ? balance::AdminState::kDrain
                                                               : balance::AdminState::kMaintenance;
    }
    if (!IsFresh(agent_at)) return agent;
    std::optional<double> factor;
    if (percent) factor = *percent / 100.0;
    if (weight && backend.weight > 0) factor = static_cast<double>(*weight) / backend.weight;
    if (!factor) return agent;
    if (*factor > 0) {
      agent.factor = std::min(*factor, kMaxAgentFactor);
    } else if (agent.admin.value_or(balance::AdminState::kReady) == balance::AdminState::kReady) {
      agent.admin = balance::AdminState::kDrain;
    }
    return agent;
  }

  [[nodiscard]] QueueStanding Standing() const {
    QueueStanding standing;
    standing.source = Name(conf.kind);
    standing.agent = Agent();
    if (depth_at) standing.age = owner.loop_.Now() - *depth_at;
    if (IsFresh(depth_at)) {
      standing.depth = depth;
    } else if (!last_error.empty()) {
      standing.why_neutral = last_error;
    } else if (is_told_failing) {
      standing.why_neutral = "the source has only just begun to work again";
    } else if (IsFresh(agent_at)) {
      standing.why_neutral = "the agent tells no queue";
    } else {
      standing.why_neutral = depth_at ? "the last reading is too old" : "not read yet";
    }
    return standing;
  }

  // Tells of what has changed since the last time; after each read, and when something gets old.
  void Review() {
    const QueueStanding now = Standing();
    ArmStale();
    const bool has_depth = now.depth.has_value();
    const bool is_new_words = now.agent.state != told_state || now.agent.admin != told_admin;
    if (has_depth == told_depth && !is_new_words) return;
    if (told_depth && !has_depth) {
      base::log::Warn("queue_unknown", {{"backend", backend.name},
                                        {"source", std::string(Name(conf.kind))},
                                        {"why", now.why_neutral}});
    }
    if (is_new_words) {
      base::log::Info("agent_says",
                      {{"backend", backend.name},
                       {"state", !now.agent.state                             ? ""
                                 : *now.agent.state == balance::Health::kDown ? "down"
                                                                              : "up"},
                       {"admin_state", now.agent.admin ? std::string(Name(*now.agent.admin)) : ""},
                       {"words", now.agent.words}});
    }
    told_depth = has_depth;
    told_state = now.agent.state;
    told_admin = now.agent.admin;
    if (is_new_words && owner.on_change_) owner.on_change_(index);
  }
  void ArmStale() {
    stale.Cancel();
    std::optional<base::MonoTime> first;
    for (const auto& at : {depth_at, agent_at}) {
      if (!IsFresh(at)) continue;
      const base::MonoTime end = *at + base::Duration(conf.stale_after);
      first = first ? std::min(*first, end) : end;
    }
    if (first) stale.ArmAt(*first);
  }

  QueueMonitor& owner;
  uint32_t index = 0;
  conf::Backend backend;  // a copy: the configuration may go while a read is under way
  conf::QueueSource conf;
  std::shared_ptr<const io::TlsSettings> tls;
  std::optional<Peer> peer;
  std::shared_ptr<Source*> token = std::make_shared<Source*>(this);

  io::Timer next;   // read
  io::Timer until;  // resolving must have ended
  io::Timer stale;  // what is in force now
  bool is_reading = false;
  base::MonoTime started{};
  conf::QueueSource read_conf;  // of the read under way
  std::unique_ptr<QueueRead> read;
  bool is_resolving = false;
  std::vector<base::IpAddress> addresses;
  base::MonoTime addresses_until{};
  size_t next_address = 0;

  double depth = 0;
  std::optional<base::MonoTime> depth_at;
  std::optional<base::MonoTime> agent_at;
  std::optional<uint32_t> percent, weight;
  std::optional<AgentLine::State> agent_state;
  std::optional<AgentLine::Admin> agent_admin;
  std::string said;
  std::string last_error;

  int num_failures = 0, num_good = 0;  // in a row
  bool has_been_good = false;
  bool is_told_failing = false;
  bool told_depth = false;
  std::optional<balance::Health> told_state;
  std::optional<balance::AdminState> told_admin;
};

QueueMonitor::QueueMonitor(io::Loop& loop, io::Dialer& dialer, io::Resolver& resolver,
                           base::Rng& rng, metrics::Registry& registry, metrics::Recorder& recorder,
                           std::function<void(uint32_t)> on_change, EventSink on_event)
    : loop_(loop),
      dialer_(dialer),
      resolver_(resolver),
      rng_(rng),
      registry_(registry),
      recorder_(recorder),
      on_change_(std::move(on_change)),
      on_event_(std::move(on_event)) {}

QueueMonitor::~QueueMonitor() = default;

void QueueMonitor::Watch(std::shared_ptr<const conf::Config> config,
                         std::vector<std::shared_ptr<const io::TlsSettings>> tls) {
  std::map<std::string, std::unique_ptr<Source>> old;
  for (auto& source : sources_)
    if (source != nullptr) old[source->backend.name] = std::move(source);
  sources_.clear();
  for (uint32_t i = 0; i < config->backends.size(); ++i) {
    const conf::Backend& backend = config->backends[i];
    std::unique_ptr<Source>& source = sources_.emplace_back();
    if (!backend.queue) continue;
    const auto known = old.find(backend.name);
    if (known != old.end() && IsSamePlace(known->second->backend, backend)) {
      source = std::move(known->second);
      source->Configure(backend);
      source->next.ArmAt(std::min(source->next.when(), loop_.Now() + backend.queue->interval));
      source->stale.ArmAt(loop_.Now());  // stale_after may be another now
    } else {
      source = std::make_unique<Source>(*this, backend);
    }
    source->index = i;
    source->tls = i < tls.size() ? tls[i] : nullptr;
  }
  for (const auto& source : sources_) {
    if (source == nullptr) continue;
    source->SetGauges();
  }
}

std::optional<QueueStanding> QueueMonitor::Of(uint32_t backend_index) const {
  if (backend_index >= sources_.size() || sources_[backend_index] == nullptr) return std::nullopt;
  return sources_[backend_index]->Standing();
}

}  // namespace postern::health
