// monitor_weights: what live work and queues say, the weights that follow, and the report of it
// all.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <utility>

#include "health/check_plan.h"
#include "health/monitor_impl.h"
#include "lb/base/log.h"

namespace postern::health {
namespace {

using balance::AdminState;
using balance::EndpointState;
using balance::Health;

// A report is made of all endpoints: not for every single change of a storm.
constexpr base::Duration kReportGap = std::chrono::milliseconds(100);
constexpr base::Duration kCertificateEnds = std::chrono::hours(24 * 14);

bool IsToldByProxy(const conf::Endpoint& endpoint) {
  return endpoint.client_address == conf::ClientAddress::kProxyV1 ||
         endpoint.client_address == conf::ClientAddress::kProxyV2;
}

bool IsServing(const EndpointState& state) {
  return state.health.load(std::memory_order_relaxed) != Health::kDown &&
         state.admin.load(std::memory_order_relaxed) == AdminState::kReady;
}

std::optional<double> SecondsOf(const std::optional<base::Duration>& duration) {
  if (!duration) return std::nullopt;
  return base::Seconds(*duration);
}

}  // namespace

// --- groups -----------------------------------------------------------------------------------

void Monitor::Impl::MakeGroups() {
  const conf::Config& config = *watched->config;
  const std::vector<const conf::Pool*> pool_of = PoolsThatHold(config, *watched->endpoints);
  std::map<std::pair<const conf::Pool*, conf::Protocol>, Group*> known;
  for (Subject* subject : by_id) {
    const conf::Protocol protocol = subject->state->protocol;
    const conf::Pool* const pool = pool_of[subject->endpoint->id];
    subject->pool = pool;
    Group* group = pool != nullptr ? known[{pool, protocol}] : nullptr;
    if (group == nullptr) {
      // One that is in no pool is weighed alone: against its queue's limits.
      const conf::Health& health = subject->conf();
      const conf::Weights& weights = pool != nullptr ? pool->weights : config.weights;
      WeigherTimes times;
      times.interval = health.interval;
      times.half_life = weights.half_life.value_or(health.interval);
      times.slow_start = health.slow_start;
      groups.push_back(std::make_unique<Group>(*this, PoolWeigher(weights, times, protocol),
                                               base::Duration(health.interval)));
      group = groups.back().get();
      if (pool != nullptr) known[{pool, protocol}] = group;
      group->timer.ArmAt(loop.Now() + group->interval);
    }
    subject->group = group;
    subject->member = group->weigher.Add(subject->state->backend, subject->endpoint->base_weight());
    group->weigher.Import(subject->member, subject->memory);
    group->members.push_back(subject);
  }
  for (const auto& group : groups) {
    for (Subject* subject : group->members) StoreServing(*subject);
    group->weigher.Tick(loop.Now());
  }
}

void Monitor::Impl::Tick(Group& group) {
  group.timer.ArmAt(loop.Now() + group.interval);
  for (Subject* subject : group.members) {
    TakeLive(*subject);
    TakeQueue(*subject);
    ApplyHealth(*subject);
    StoreServing(*subject);
  }
  group.weigher.Tick(loop.Now());
  for (Subject* subject : group.members) StoreVerdict(*subject);
  PublishSoon();
}

// What sessions have met since the last interval.
void Monitor::Impl::TakeLive(Subject& subject) {
  EndpointState& state = *subject.state;
  const balance::LiveSums now = state.Sums();
  const balance::LiveSums old = std::exchange(subject.live, now);
  subject.judge.OnInterval(now.attempts - old.attempts, now.failures - old.failures);
  for (size_t i = 0; i < now.phases.size(); ++i) {
    const uint64_t count = now.phases[i].count - old.phases[i].count;
    if (count == 0) continue;
    const std::chrono::microseconds mean((now.phases[i].total_us - old.phases[i].total_us) / count);
    state.Average(i, mean);
    const base::Phase phase = balance::kTimedPhases[i];
    // A server that is told the client's address looks at the client before it greets.
    if (phase == base::Phase::kGreeting && IsToldByProxy(*subject.endpoint->conf)) continue;
    subject.group->weigher.Observe(subject.member, phase, mean,
                                   static_cast<uint32_t>(std::min<uint64_t>(count, UINT32_MAX)),
                                   loop.Now());
  }
}

void Monitor::Impl::TakeQueue(Subject& subject) {
  const conf::Backend& backend = *subject.endpoint->backend;
  if (!backend.queue) return;
  const std::optional<QueueStanding> standing = QueueOf(subject.endpoint->backend_index);
  if (!standing) return;
  PoolWeigher& weigher = subject.group->weigher;
  weigher.SetQueue(subject.member, standing->depth, backend.queue->soft, backend.queue->hard);
  weigher.SetAgent(subject.member, standing->agent.factor);
  FollowQueue(backend, *standing);
  OnAgentWord(subject, standing->agent);
}

void Monitor::Impl::FollowQueue(const conf::Backend& backend, const QueueStanding& standing) {
  if (!standing.depth || !standing.age) return;
  QueueTrend& trend = queue_trends[backend.name];
  const base::MonoTime read = loop.Now() - *standing.age;
  if (read > trend.read) {
    trend.read = read;
    trend.forecast.Add(*standing.depth, read);
  }
  registry.SetQueue(backend.name, metrics::Registry::QueueGauge::kTimeToHard,
                    SecondsToHard(backend).value_or(HUGE_VAL));
}

std::optional<double> Monitor::Impl::SecondsToHard(const conf::Backend& backend) const {
  const auto it = queue_trends.find(backend.name);
  if (it == queue_trends.end() || !backend.queue || backend.queue->hard <= 0) return std::nullopt;
  return SecondsOf(it->second.forecast.TimeTo(backend.queue->hard, loop.Now()));
}

void Monitor::Impl::OnQueueChange(uint32_t backend_index) {
  for (Subject* subject : by_id) {
    if (subject->endpoint->backend_index != backend_index) continue;
    TakeQueue(*subject);
    ApplyHealth(*subject);
    StoreServing(*subject);
    subject->group->weigher.Tick(loop.Now());
    for (Subject* member : subject->group->members) StoreVerdict(*member);
  }
  PublishSoon();
}

void Monitor::Impl::StoreServing(Subject& subject) {
  PoolWeigher& weigher = subject.group->weigher;
  weigher.SetServing(subject.member, IsServing(*subject.state), loop.Now());
  weigher.SetDegraded(subject.member,
                      subject.state->health.load(std::memory_order_relaxed) == Health::kDegraded);
}

void Monitor::Impl::StoreVerdict(Subject& subject) {
  if (subject.group == nullptr) return;
  const Verdict& verdict = subject.group->weigher.verdict(subject.member);
  subject.state->weight_ratio.store(static_cast<float>(verdict.ratio), std::memory_order_relaxed);
  subject.state->is_above_hard.store(verdict.is_above_hard, std::memory_order_relaxed);
  registry.SetWeightFactors(subject.state->backend, subject.state->protocol,
                            {verdict.factors.latency, verdict.factors.queue,
                             verdict.factors.slow_start, verdict.factors.agent});
}

// --- words ------------------------------------------------------------------------------------

void Monitor::Impl::ApplyAdmin(EndpointState& state) {
  const Words& its = words[&state];
  AdminState admin = AdminState::kReady;
  const bool heeds_agent = !its.operators && its.agents && !its.is_agent_overruled;
  if (its.operators) admin = *its.operators;
  if (heeds_agent) admin = *its.agents;
  state.is_admin_of_agent.store(heeds_agent, std::memory_order_relaxed);
  state.admin.store(admin, std::memory_order_relaxed);
}

void Monitor::Impl::OnAgentWord(Subject& subject, const AgentStanding& agent) {
  subject.is_down_by_agent = agent.state == Health::kDown;
  subject.agent_words = agent.words;
  AdminState was = AdminState::kReady, now = AdminState::kReady;
  {
    const std::lock_guard lock(mutex);
    Words& its = words[subject.state.get()];
    if (its.agents == agent.admin) return;
    its.agents = agent.admin;
    its.is_agent_overruled = false;
    was = subject.state->admin.load(std::memory_order_relaxed);
    ApplyAdmin(*subject.state);
    now = subject.state->admin.load(std::memory_order_relaxed);
  }
  TellAdmin(*subject.state, was, now, "its agent");
}

void Monitor::Impl::TellAdmin(const EndpointState& state, AdminState was, AdminState now,
                              std::string_view by) const {
  if (now == was) return;
  const std::string name(Name(now));
  const std::string old(Name(was));
  base::log::Info("backend_admin_state", {{"backend", state.backend},
                                          {"protocol", std::string(conf::Name(state.protocol))},
                                          {"was", old},
                                          {"state", name},
                                          {"by", std::string(by)}});
  Raise("backend_admin_state", state, name + " by " + std::string(by) + ", was " + old);
}

void Monitor::Impl::Raise(std::string_view kind, const EndpointState& state,
                          std::string text) const {
  if (!hooks.on_event) return;
  hooks.on_event({std::string(kind), state.backend + "/" + std::string(conf::Name(state.protocol)),
                  std::move(text)});
}

// --- the report -------------------------------------------------------------------------------

void Monitor::Impl::PublishSoon() {
  if (!publish_timer.armed()) publish_timer.ArmAt(std::max(loop.Now(), published + kReportGap));
}

void Monitor::Impl::Publish() {
  publish_timer.Cancel();
  published = loop.Now();
  auto fresh = std::make_shared<HealthReport>();
  fresh->at = loop.WallNow();
  const auto& backends = watched->config->backends;
  fresh->backends.resize(backends.size());
  for (uint32_t i = 0; i < backends.size(); ++i) {
    BackendReport& backend = fresh->backends[i];
    backend.name = backends[i].name;
    backend.site = backends[i].site;
    backend.priority = backends[i].priority;
    const std::optional<QueueStanding> queue = QueueOf(i);
    if (!queue) continue;
    backend.queue.emplace();
    backend.queue->depth = queue->depth;
    backend.queue->source = queue->source;
    backend.queue->age_seconds = SecondsOf(queue->age);
    backend.queue->why = queue->why_neutral;
    backend.queue->time_to_hard_seconds = SecondsToHard(backends[i]);
  }
  for (const Subject* subject : by_id) {
    const EndpointState& state = *subject->state;
    fresh->backends[subject->endpoint->backend_index].endpoints.push_back(ReportOf(*subject));
    const std::string name = state.backend + "/" + std::string(conf::Name(state.protocol));
    if (!subject->relay_reply.empty())
      fresh->problems.push_back("OPEN RELAY: " + name + " accepted " +
                                std::string(Probe::kForeignRecipient) + " from a stranger (\"" +
                                subject->relay_reply +
                                "\"): it trusts postern's address; anybody can relay through it");
    if (!subject->loop.empty()) fresh->problems.push_back(name + ": " + subject->loop);
    if (subject->certificate_not_after &&
        *subject->certificate_not_after - fresh->at < kCertificateEnds)
      fresh->problems.push_back(name + ": the backend's certificate is good until " +
                                base::log::FormatTime(*subject->certificate_not_after) + " only");
  }
  const std::lock_guard lock(mutex);
  report = std::move(fresh);
}

EndpointReport Monitor::Impl::ReportOf(const Subject& subject) const {
  const balance::Endpoint& endpoint = *subject.endpoint;
  EndpointReport its;
  its.state = subject.state;
  its.protocol = subject.state->protocol;
  const auto facts = subject.state->facts();
  its.address = facts == nullptr || facts->addresses.empty()
                    ? endpoint.backend->host + ":" + std::to_string(endpoint.conf->port)
                    : base::SocketAddress{facts->addresses.front(), endpoint.conf->port}.ToString();
  if (facts != nullptr) its.capabilities = facts->capabilities;
  its.configured_weight = endpoint.backend->weight;
  if (subject.group != nullptr)
    its.factors = subject.group->weigher.verdict(subject.member).factors;
  its.reason = ReasonOf(subject);
  if (subject.last_check)
    its.last_check = EndpointReport::Check{subject.last_check->is_ok, subject.last_check->phase,
                                           subject.last_check->why, subject.last_check_at,
                                           subject.last_check->took};
  its.certificate_not_after = subject.certificate_not_after;
  return its;
}

std::string Monitor::Impl::ReasonOf(const Subject& subject) const {
  std::string reason;
  if (subject.is_loop) return subject.loop;
  const auto add = [&reason](const std::string& more) {
    if (!more.empty()) reason += (reason.empty() ? "" : "; ") + more;
  };
  if (subject.is_down_by_agent) add("its agent says " + subject.agent_words);
  add(subject.judge.Words());
  if (subject.last_check && !subject.last_check->is_ok)
    add(std::string(base::Name(subject.last_check->phase)) + " " +
        std::string(base::Name(subject.last_check->kind)) + ": " + subject.last_check->why);
  if (subject.group != nullptr) add(subject.group->weigher.verdict(subject.member).reason);
  return reason;
}

}  // namespace postern::health
