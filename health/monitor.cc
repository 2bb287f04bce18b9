// monitor: endpoints, where they are, their checks, and the states that follow.
// SPDX-License-Identifier: Apache-2.0
#include "health/monitor.h"

#include <algorithm>
#include <set>
#include <utility>

#include "health/check_plan.h"
#include "health/monitor_impl.h"
#include "lb/base/log.h"

namespace postern::health {
namespace {

using balance::AdminState;
using balance::EndpointState;
using balance::Health;

// First checks of one configuration begin within this time, so that a thousand of them are no
// burst.
constexpr base::Duration kFirstChecks = std::chrono::milliseconds(500);

// Is a check of the one a check of the other?
bool IsSameServer(const balance::Endpoint& a, const balance::Endpoint& b) {
  const conf::Verify& x = a.backend->verify;
  const conf::Verify& y = b.backend->verify;
  return a.backend->host == b.backend->host && a.conf->port == b.conf->port &&
         a.conf->tls == b.conf->tls && a.conf->client_address == b.conf->client_address &&
         x.off == y.off && x.name == y.name && x.ca == y.ca && x.cert == y.cert && x.key == y.key;
}

std::string Joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : ", ") + word;
  return text;
}

std::string ProtocolOf(const EndpointState& state) {
  return std::string(conf::Name(state.protocol));
}

}  // namespace

Monitor::Impl::Impl(io::Loop& its_loop, io::Dialer& its_dialer, io::Resolver& resolver,
                    base::Rng& its_rng, metrics::Registry& its_registry, MonitorHooks its_hooks)
    : loop(its_loop),
      dialer(its_dialer),
      rng(its_rng),
      registry(its_registry),
      hooks(std::move(its_hooks)),
      recorder(its_registry),
      names(its_loop, resolver,
            [this](const std::string& host, const std::vector<base::IpAddress>& addresses) {
              OnResolved(host, addresses);
            }),
      queues(
          its_loop, its_dialer, resolver, its_rng, its_registry, recorder,
          [this](uint32_t backend_index) { OnQueueChange(backend_index); }, hooks.on_event),
      deliveries(its_loop, its_dialer, its_rng, recorder, hooks.on_event),
      publish_timer(its_loop.timers(), io::Timer::Invoke<&Impl::Publish, Impl>, this) {}

// --- what is watched --------------------------------------------------------------------------

void Monitor::Impl::Watch(MonitorInputs inputs) {
  watched = std::make_shared<const MonitorInputs>(std::move(inputs));
  for (const auto& group : groups)
    for (Subject* subject : group->members) {
      subject->memory = group->weigher.Export(subject->member);
      subject->group = nullptr;
    }
  groups.clear();
  by_id.clear();
  std::set<const EndpointState*> wanted;
  std::set<std::string> hosts;
  for (const balance::Endpoint& endpoint : watched->endpoints->endpoints()) {
    wanted.insert(endpoint.state.get());
    hosts.insert(endpoint.backend->host);
    Adopt(endpoint);
  }
  std::erase_if(subjects, [&wanted](const auto& entry) { return !wanted.contains(entry.first); });
  MakeGroups();
  // Only now: those before may have asked for what is new.
  for (Subject* subject : by_id) {
    const conf::Health& conf = subject->conf();
    subject->judge.SetThresholds(conf.rise, conf.fall);
    Prober::Schedule schedule;
    schedule.interval = conf.interval;
    schedule.fast_interval = std::min(conf.fast_interval, conf.interval);
    schedule.repeats = conf.checks;
    schedule.has_relay_check =
        conf.relay_check && subject->state->protocol == conf::Protocol::kSmtp;
    subject->prober->Start(schedule, kFirstChecks);
    if (subject->state->check_wanted.load()) subject->prober->Want();
    if (!schedule.has_relay_check) subject->relay_reply.clear();
    if (subject->certificate_not_after)
      registry.SetBackendCertificate(subject->state->backend, subject->state->protocol,
                                     *subject->certificate_not_after);
    StoreVerdict(*subject);
  }
  names.Watch(hosts);
  queues.Watch(watched->config, watched->queue_tls);
  deliveries.Watch(std::make_shared<const DeliveryInputs>(DeliveryInputs{
      watched->config, watched->endpoints, watched->back_tls, watched->delivery_doors}));
  Publish();
}

void Monitor::Impl::Adopt(const balance::Endpoint& endpoint) {
  std::unique_ptr<Subject>& subject = subjects[endpoint.state.get()];
  if (subject == nullptr) {
    subject = std::make_unique<Subject>();
    subject->state = endpoint.state;
    subject->live = endpoint.state->Sums();
    endpoint.state->health.store(Health::kUp, std::memory_order_relaxed);
    MakeProber(*subject);
  } else if (!IsSameServer(*subject->endpoint, endpoint)) {
    // Another server: what is known of the old one says nothing.
    subject->prober->Reset();
    subject->judge = Judge(2, 3);
    subject->memory = MemberMemory();
    subject->last_check.reset();
    subject->certificate_not_after.reset();
    subject->relay_reply.clear();
    ApplyHealth(*subject);
  }
  subject->watched = watched;
  subject->endpoint = &endpoint;
  by_id.push_back(subject.get());
}

void Monitor::Impl::MakeProber(Subject& subject) {
  Prober::Calls calls;
  calls.plan = [this, &subject](Prober::Kind kind) { return PlanFor(subject, kind); };
  calls.began = [&subject] { subject.state->check_wanted.store(false); };
  calls.done = [this, &subject](Prober::Kind kind, const Observation& seen) {
    if (kind == Prober::Kind::kRelay) {
      OnRelayCheck(subject, seen);
    } else {
      OnCheck(subject, seen);
    }
  };
  calls.is_in_doubt = [&subject] {
    return subject.judge.is_in_doubt() ||
           (subject.group != nullptr && subject.group->weigher.IsInDoubt(subject.member));
  };
  subject.prober = std::make_unique<Prober>(loop, dialer, rng, std::move(calls));
}

void Monitor::Impl::OnResolved(const std::string& host,
                               const std::vector<base::IpAddress>& addresses) {
  bool is_news = false;
  for (Subject* subject : by_id)
    if (subject->endpoint->backend->host == host) is_news = Place(*subject, addresses) || is_news;
  if (is_news) hooks.on_news();
}

// Where it is, without the addresses that lead back to ourselves. Whether that is news.
bool Monitor::Impl::Place(Subject& subject, std::vector<base::IpAddress> addresses) {
  std::string loop_words;
  std::erase_if(addresses, [&](const base::IpAddress& ip) {
    const base::SocketAddress target{ip, subject.endpoint->conf->port};
    const conf::OwnListener* const own =
        conf::FindOwnListener(watched->own_listeners, target, watched->is_own_address);
    if (own == nullptr) return false;
    loop_words = "a loop: " + target.ToString() + " of " + subject.endpoint->backend->host +
                 " is postern's own listener " + own->name;
    return true;
  });
  const bool was_loop = subject.is_loop;
  subject.is_loop = !loop_words.empty() && addresses.empty();
  if (std::exchange(subject.loop, loop_words) != loop_words) {
    if (!subject.is_loop && !loop_words.empty())
      base::log::Error("address_is_own", {{"backend", subject.state->backend},
                                          {"protocol", ProtocolOf(*subject.state)},
                                          {"why", loop_words}});
    PublishSoon();
  }
  if (subject.is_loop != was_loop) {
    subject.prober->Reset();  // what is under way may be talking to ourselves
    ApplyHealth(subject);
    subject.prober->Want();
  }
  const auto old = subject.state->facts();
  // A server that turns the order of its answer about has no news.
  if (old != nullptr && std::is_permutation(old->addresses.begin(), old->addresses.end(),
                                            addresses.begin(), addresses.end()))
    return false;
  subject.state->UpdateFacts(
      [&addresses](balance::EndpointFacts& facts) { facts.addresses = addresses; });
  return true;
}

// --- checks -----------------------------------------------------------------------------------

std::optional<ProbePlan> Monitor::Impl::PlanFor(const Subject& subject, Prober::Kind kind) const {
  if (subject.is_loop) return std::nullopt;
  const io::TlsSettings* tls = nullptr;
  if (subject.endpoint->id < subject.watched->back_tls.size())
    tls = subject.watched->back_tls[subject.endpoint->id].get();
  ProbePlan plan = CheckPlan(*subject.watched->config, subject.pool, *subject.endpoint, tls);
  plan.keep = subject.watched;
  // A literal address needs no lookup; a name that was never resolved is no fault of the server.
  if (const auto facts = subject.state->facts()) plan.addresses = facts->addresses;
  if (const auto ip = base::IpAddress::Parse(subject.endpoint->backend->host);
      ip && plan.addresses.empty())
    plan.addresses = {*ip};
  if (plan.addresses.empty()) return std::nullopt;
  plan.is_relay_check = kind == Prober::Kind::kRelay;
  return plan;
}

void Monitor::Impl::OnCheck(Subject& subject, const Observation& seen) {
  EndpointState& state = *subject.state;
  if (seen.is_own_shortage) {
    base::log::Warn(
        "check_impossible",
        {{"backend", state.backend}, {"protocol", ProtocolOf(state)}, {"why", seen.why}});
    return;
  }
  const bool was_failing = subject.last_check && !subject.last_check->is_ok;
  if (!subject.last_check || was_failing == seen.is_ok) PublishSoon();
  subject.last_check = seen;
  subject.last_check_at = loop.WallNow();
  const auto& slots = watched->slots;
  const balance::Endpoint& endpoint = *subject.endpoint;
  if (endpoint.backend_index < slots.size())
    recorder.CheckDone(slots[endpoint.backend_index][endpoint.endpoint_index], seen.is_ok,
                       seen.took);
  if (seen.certificate_not_after) {
    subject.certificate_not_after = seen.certificate_not_after;
    registry.SetBackendCertificate(state.backend, state.protocol, *seen.certificate_not_after);
  }
  if (seen.is_ok) {
    state.cooldown_until_ns.store(0, std::memory_order_relaxed);
    Learn(subject, seen);
    for (const PhaseTime& time : seen.phases) {
      if (subject.group != nullptr)
        subject.group->weigher.Observe(subject.member, time.phase, time.took, 1, seen.at);
      const size_t index = balance::TimedIndex(time.phase);
      if (index < balance::kTimedPhases.size()) state.Average(index, time.took);
    }
  } else if (!was_failing) {
    base::log::Warn("check_failed", {{"backend", state.backend},
                                     {"protocol", ProtocolOf(state)},
                                     {"phase", std::string(base::Name(seen.phase))},
                                     {"kind", std::string(base::Name(seen.kind))},
                                     {"why", seen.why}});
  }
  if (subject.conf().checks) subject.judge.OnCheck(seen.is_ok);
  ApplyHealth(subject);
}

void Monitor::Impl::Learn(Subject& subject, const Observation& seen) {
  if (!seen.has_capabilities) return;
  EndpointState& state = *subject.state;
  const auto facts = state.facts();
  const bool is_known = facts != nullptr && facts->has_capabilities;
  // Live sessions learn too, and may be told otherwise than a check is (a server that trusts an
  // address says more to it): only what has changed since the last check is news.
  if (is_known && subject.checked_capabilities == seen.capabilities) return;
  subject.checked_capabilities = seen.capabilities;
  if (is_known && facts->capabilities == seen.capabilities) return;
  state.UpdateFacts([&seen](balance::EndpointFacts& changed) {
    changed.capabilities = seen.capabilities;
    changed.has_capabilities = true;
  });
  base::log::Info("capabilities_learned", {{"backend", state.backend},
                                           {"protocol", ProtocolOf(state)},
                                           {"capabilities", Joined(seen.capabilities)}});
  hooks.on_news();
}

void Monitor::Impl::OnRelayCheck(Subject& subject, const Observation& seen) {
  if (!seen.relays) return;  // it could not be asked: a check's matter, not ours
  subject.relay_reply = *seen.relays ? seen.relay_reply : "";
  if (*seen.relays)
    base::log::Error("open_relay", {{"backend", subject.state->backend},
                                    {"protocol", ProtocolOf(*subject.state)},
                                    {"recipient", std::string(Probe::kForeignRecipient)},
                                    {"reply", seen.relay_reply},
                                    {"why",
                                     "it takes mail of strangers for strangers: whoever "
                                     "reaches this backend through postern can relay"}});
  PublishSoon();
}

// Judge's and agent's words become the endpoint's state.
void Monitor::Impl::ApplyHealth(Subject& subject) {
  EndpointState& state = *subject.state;
  const bool is_out = subject.is_loop || subject.is_down_by_agent;
  const Health health = is_out ? Health::kDown : subject.judge.health();
  state.health.store(health, std::memory_order_relaxed);
  if (health == subject.shown) return;
  const Health old = std::exchange(subject.shown, health);
  const std::string was(Name(old));
  const std::string why = ReasonOf(subject);
  const base::log::Fields fields = {
      {"backend", state.backend}, {"protocol", ProtocolOf(state)}, {"was", was}, {"why", why}};
  std::string_view kind;
  switch (health) {
    case Health::kDown:
      kind = "backend_down";
      base::log::Error(kind, fields);
      break;
    case Health::kDegraded:
      kind = "backend_degraded";
      base::log::Warn(kind, fields);
      break;
    case Health::kUp:
      kind = "backend_up";
      base::log::Info(kind, fields);
      break;
  }
  Raise(kind, state, "was " + was + (why.empty() ? "" : ": " + why));
  if (subject.group != nullptr) {
    // The ramp begins, and a degraded endpoint's weight falls, at once and not at the next
    // interval.
    StoreServing(subject);
    subject.group->weigher.Tick(loop.Now());
    for (Subject* member : subject.group->members) StoreVerdict(*member);
  }
  if (health == Health::kDown) hooks.on_down(state);
  PublishSoon();
}

// --- the face ---------------------------------------------------------------------------------

Monitor::Monitor(io::Loop& loop, io::Dialer& dialer, io::Resolver& resolver, base::Rng& rng,
                 metrics::Registry& registry, MonitorHooks hooks)
    : impl_(std::make_unique<Impl>(loop, dialer, resolver, rng, registry, std::move(hooks))) {}

Monitor::~Monitor() = default;

void Monitor::Watch(MonitorInputs inputs) {
  impl_->Watch(std::move(inputs));
}

void Monitor::StopDeliveries() {
  impl_->deliveries.Stop();
}

void Monitor::LookNow(EndpointState& endpoint) {
  const auto it = impl_->subjects.find(&endpoint);
  if (it != impl_->subjects.end()) it->second->prober->Want();
}

void Monitor::SetAdmin(EndpointState& endpoint, AdminState state) {
  AdminState was = AdminState::kReady, now = AdminState::kReady;
  {
    const std::lock_guard lock(impl_->mutex);
    Impl::Words& words = impl_->words[&endpoint];
    words.operators.reset();
    words.is_agent_overruled = state == AdminState::kReady;
    if (state != AdminState::kReady) words.operators = state;
    was = endpoint.admin.load(std::memory_order_relaxed);
    impl_->ApplyAdmin(endpoint);
    now = endpoint.admin.load(std::memory_order_relaxed);
  }
  impl_->TellAdmin(endpoint, was, now, "an operator");
  impl_->loop.Post([impl = impl_.get()] { impl->PublishSoon(); });
}

void Monitor::SetWeight(EndpointState& endpoint, uint32_t weight) {
  const int64_t was = endpoint.operator_weight.exchange(weight, std::memory_order_relaxed);
  if (was != int64_t{weight}) {
    const std::string number = std::to_string(weight);
    base::log::Info(
        "backend_weight",
        {{"backend", endpoint.backend}, {"protocol", ProtocolOf(endpoint)}, {"weight", number}});
    impl_->Raise("backend_weight", endpoint, number + " by an operator");
  }
  impl_->loop.Post([impl = impl_.get()] { impl->PublishSoon(); });
}

std::shared_ptr<const HealthReport> Monitor::Report() const {
  const std::lock_guard lock(impl_->mutex);
  return impl_->report;
}

}  // namespace postern::health
