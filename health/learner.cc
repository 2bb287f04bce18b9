// learner: names to addresses, endpoints to capabilities.
// SPDX-License-Identifier: Apache-2.0
#include "health/learner.h"

#include <algorithm>
#include <utility>

#include "lb/base/log.h"

namespace postern::health {

struct Learner::Host {
  Host(Learner& its_owner, std::string its_name)
      : owner(its_owner),
        name(std::move(its_name)),
        again(its_owner.loop_.timers(), io::Timer::Invoke<&Host::OnTimer, Host>, this) {}
  void OnTimer() { owner.Resolve(*this); }

  Learner& owner;
  std::string name;
  io::Timer again;
  bool is_asked = false;
  bool is_failing = false;  // the log has it
};

struct Learner::Lesson {
  Lesson(Learner& its_owner, const balance::Endpoint& its_endpoint)
      : owner(its_owner),
        endpoint(its_endpoint),
        again(its_owner.loop_.timers(), io::Timer::Invoke<&Lesson::OnTimer, Lesson>, this) {}
  void OnTimer() { owner.StartProbe(*this); }

  Learner& owner;
  const balance::Endpoint& endpoint;
  io::Timer again;
  base::Duration retry = kFirstRetry;
  size_t num_attempts = 0;
  std::unique_ptr<Probe> probe;
};

Learner::Learner(io::Loop& loop, io::Dialer& dialer, io::Resolver& resolver,
                 std::function<void()> on_news)
    : loop_(loop), dialer_(dialer), resolver_(resolver), on_news_(std::move(on_news)) {}

Learner::~Learner() = default;

void Learner::Watch(std::shared_ptr<const conf::Config> config,
                    std::shared_ptr<const balance::EndpointTable> endpoints,
                    std::vector<std::shared_ptr<const io::TlsSettings>> back_tls) {
  ++generation_;
  lessons_.clear();
  hosts_.clear();
  config_ = std::move(config);
  endpoints_ = std::move(endpoints);
  back_tls_ = std::move(back_tls);
  for (const balance::Endpoint& endpoint : endpoints_->endpoints()) {
    auto lesson = std::make_unique<Lesson>(*this, endpoint);
    const auto facts = endpoint.state->facts();
    if (facts == nullptr || !facts->has_capabilities) lesson->again.ArmAt(loop_.Now());
    lessons_.push_back(std::move(lesson));
    std::unique_ptr<Host>& host = hosts_[endpoint.backend->host];
    if (host == nullptr) host = std::make_unique<Host>(*this, endpoint.backend->host);
  }
  for (auto& [name, host] : hosts_) Resolve(*host);
}

void Learner::Resolve(Host& host) {
  if (host.is_asked) return;
  host.is_asked = true;
  resolver_.Resolve(
      host.name, [this, name = host.name, generation = generation_](
                     const io::ResolvedName& resolved) { OnResolved(name, generation, resolved); });
}

void Learner::OnResolved(const std::string& name, uint64_t generation,
                         const io::ResolvedName& resolved) {
  const auto it = hosts_.find(name);
  if (generation != generation_ || it == hosts_.end()) return;
  Host& host = *it->second;
  host.is_asked = false;
  if (resolved.addresses.empty()) {
    // Addresses that were good a minute ago are better than none.
    if (!host.is_failing)
      base::log::Warn("resolve_failed", {{"host", name}, {"why", resolved.error}});
    host.is_failing = true;
    host.again.ArmAt(loop_.Now() + kShortestTtl);
    return;
  }
  host.is_failing = false;
  host.again.ArmAt(loop_.Now() + std::clamp(resolved.ttl, kShortestTtl, kLongestTtl));
  bool is_news = false;
  for (const auto& lesson : lessons_) {
    if (lesson->endpoint.backend->host != name) continue;
    balance::EndpointState& state = *lesson->endpoint.state;
    const auto old = state.facts();
    // A server that turns the order of its answer about has no news.
    if (old != nullptr && std::is_permutation(old->addresses.begin(), old->addresses.end(),
                                              resolved.addresses.begin(), resolved.addresses.end()))
      continue;
    state.UpdateFacts(
        [&resolved](balance::EndpointFacts& facts) { facts.addresses = resolved.addresses; });
    is_news = true;
    if (lesson->again.armed()) lesson->again.ArmAt(loop_.Now());
  }
  if (is_news) on_news_();
}

void Learner::StartProbe(Lesson& lesson) {
  const auto facts = lesson.endpoint.state->facts();
  if (facts != nullptr && facts->has_capabilities) return;  // a live session was quicker
  if (lesson.probe != nullptr) return;
  if (facts == nullptr || facts->addresses.empty()) {
    lesson.again.ArmAt(loop_.Now() + kFirstRetry);
    return;
  }
  if (!Probe::Speaks(lesson.endpoint.conf->protocol)) return;
  ProbeTarget target;
  target.endpoint = &lesson.endpoint;
  // Each attempt asks another address: the first may be one that cannot be reached from here.
  target.address = {facts->addresses[lesson.num_attempts++ % facts->addresses.size()],
                    lesson.endpoint.conf->port};
  target.tls = back_tls_[lesson.endpoint.id].get();
  target.hello = config_->health.hello.empty() ? config_->hostname : config_->health.hello;
  lesson.probe = std::make_unique<Probe>(
      loop_, dialer_, std::move(target),
      [this, &lesson](const ProbeResult& result) { OnProbed(lesson, result); });
  lesson.probe->Start();
}

void Learner::OnProbed(Lesson& lesson, const ProbeResult& result) {
  const balance::Endpoint& endpoint = lesson.endpoint;
  const std::string protocol(conf::Name(endpoint.conf->protocol));
  // The probe calls from within itself: it goes when the loop is free.
  loop_.Post([probe = std::shared_ptr<Probe>(std::move(lesson.probe))] {});
  if (!result.is_ok) {
    base::log::Warn("capabilities_unknown", {{"backend", endpoint.backend->name},
                                             {"protocol", protocol},
                                             {"phase", std::string(base::Name(result.phase))},
                                             {"why", result.why}});
    lesson.again.ArmAt(loop_.Now() + lesson.retry);
    lesson.retry = std::min(lesson.retry * 2, kLongestRetry);
    return;
  }
  endpoint.state->UpdateFacts([&result](balance::EndpointFacts& facts) {
    facts.capabilities = result.capabilities;
    facts.has_capabilities = true;
  });
  std::string words;
  for (const std::string& capability : result.capabilities)
    words += (words.empty() ? "" : ", ") + capability;
  base::log::Info(
      "capabilities_learned",
      {{"backend", endpoint.backend->name}, {"protocol", protocol}, {"capabilities", words}});
  on_news_();
}

}  // namespace postern::health
