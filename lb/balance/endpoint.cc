// endpoint: states, homes and the table of a snapshot.
// SPDX-License-Identifier: Apache-2.0
#include "lb/balance/endpoint.h"

#include <algorithm>
#include <variant>

#include "lb/base/bytes.h"
#include "lb/base/check.h"
#include "lb/base/rng.h"

namespace postern::balance {
namespace {

constexpr base::Duration kLeastPatience = std::chrono::seconds(1);
constexpr int kPatienceFactor = 10;

// One writer: no read-modify-write is needed.
void Add(std::atomic<uint64_t>& counter, uint64_t count) {
  counter.store(counter.load(std::memory_order_relaxed) + count, std::memory_order_relaxed);
}

bool IsMailbox(conf::Protocol protocol) {
  switch (protocol) {
    case conf::Protocol::kImap:
    case conf::Protocol::kPop3:
    case conf::Protocol::kSieve:
    case conf::Protocol::kLmtp:
      return true;
    case conf::Protocol::kSmtp:
    case conf::Protocol::kSubmission:
    case conf::Protocol::kTcp:
      return false;
  }
  return false;
}

void FinishHome(Home& home, const std::string& own_site) {
  static std::atomic<uint64_t> last_serial{0};
  home.serial = ++last_serial;
  // A backend that names no site is elsewhere as soon as the node has one.
  std::map<std::pair<int64_t, bool>, std::vector<const Endpoint*>> by_preference;
  for (const Endpoint* member : home.members)
    by_preference[{static_cast<int64_t>(member->backend->priority),
                   member->backend->site != own_site}]
        .push_back(member);
  for (auto& [preference, members] : by_preference) home.tiers.push_back(std::move(members));
}

}  // namespace

uint64_t EndpointState::ActiveSum() const {
  uint64_t sum = 0;
  for (const Load& its : load)
    sum += its.active.load(std::memory_order_relaxed) +
           its.failed_recently.load(std::memory_order_relaxed);
  return sum;
}

void EndpointState::CountAttempt(int worker) {
  Add(load[static_cast<size_t>(worker)].attempts, 1);
}

void EndpointState::CountFailure(int worker) {
  Add(load[static_cast<size_t>(worker)].failures, 1);
}

void EndpointState::CountPhase(int worker, base::Phase phase, base::Duration took) {
  const size_t index = TimedIndex(phase);
  if (index == kTimedPhases.size()) return;
  Load::PhaseSum& sum = load[static_cast<size_t>(worker)].phases[index];
  const auto micros = std::chrono::duration_cast<std::chrono::microseconds>(took).count();
  Add(sum.count, 1);
  Add(sum.total_us, static_cast<uint64_t>(std::max<int64_t>(micros, 0)));
}

LiveSums EndpointState::Sums() const {
  LiveSums sums;
  for (const Load& its : load) {
    sums.attempts += its.attempts.load(std::memory_order_relaxed);
    sums.failures += its.failures.load(std::memory_order_relaxed);
    for (size_t i = 0; i < its.phases.size(); ++i) {
      sums.phases[i].count += its.phases[i].count.load(std::memory_order_relaxed);
      sums.phases[i].total_us += its.phases[i].total_us.load(std::memory_order_relaxed);
    }
  }
  return sums;
}

void EndpointState::Average(size_t timed_index, base::Duration took) {
  constexpr double kNews = 0.3;
  std::atomic<uint32_t>& average = average_us[timed_index];
  const double old = average.load(std::memory_order_relaxed);
  const double us = std::clamp(base::Seconds(took) * 1e6, 1.0, 4e9);
  average.store(static_cast<uint32_t>(old == 0 ? us : old + kNews * (us - old)),
                std::memory_order_relaxed);
}

void EndpointState::WantCheck() {
  // Read first: a crowd of failing sessions need not fight for the line.
  if (check_wanted.load(std::memory_order_relaxed) || check_wanted.exchange(true)) return;
  if (look_now_ != nullptr && *look_now_ != nullptr) (*look_now_)(*this);
}

base::Duration EndpointState::PatienceFor(base::Phase phase) const {
  const size_t index = TimedIndex(phase);
  if (index == kTimedPhases.size()) return base::Duration::max();
  const std::chrono::microseconds average(average_us[index].load(std::memory_order_relaxed));
  if (average.count() == 0) return base::Duration::max();
  return std::max<base::Duration>(kLeastPatience, kPatienceFactor * average);
}

std::shared_ptr<const EndpointFacts> EndpointState::facts() const {
  const std::lock_guard lock(facts_mutex_);
  return facts_;
}

void EndpointState::set_facts(std::shared_ptr<const EndpointFacts> facts) {
  const std::lock_guard lock(facts_mutex_);
  facts_ = std::move(facts);
}

void EndpointState::UpdateFacts(const std::function<void(EndpointFacts& facts)>& change) {
  const std::lock_guard lock(facts_mutex_);
  auto facts = facts_ == nullptr ? std::make_shared<EndpointFacts>()
                                 : std::make_shared<EndpointFacts>(*facts_);
  change(*facts);
  facts_ = std::move(facts);
}

std::shared_ptr<EndpointState> EndpointBook::Get(const std::string& backend,
                                                 conf::Protocol protocol) {
  std::shared_ptr<EndpointState>& state = states_[{backend, protocol}];
  if (state == nullptr) {
    state = std::make_shared<EndpointState>(num_workers_, look_now_);
    state->backend = backend;
    state->protocol = protocol;
  }
  return state;
}

bool Home::Contains(EndpointId id) const {
  return std::any_of(members.begin(), members.end(),
                     [id](const Endpoint* endpoint) { return endpoint->id == id; });
}

bool Home::IsTriedWhenDown() const {
  if (pool == nullptr || pool->on_down != conf::OnDown::kOpen) return false;
  return std::none_of(members.begin(), members.end(), [](const Endpoint* endpoint) {
    const EndpointState& state = *endpoint->state;
    return state.admin.load(std::memory_order_relaxed) == AdminState::kReady &&
           state.health.load(std::memory_order_relaxed) != Health::kDown;
  });
}

bool Home::HasAnother(std::span<const EndpointId> tried) const {
  const bool is_open = IsTriedWhenDown();
  return std::any_of(members.begin(), members.end(), [tried, is_open](const Endpoint* endpoint) {
    const EndpointState& state = *endpoint->state;
    return state.admin.load(std::memory_order_relaxed) == AdminState::kReady &&
           (is_open || state.health.load(std::memory_order_relaxed) != Health::kDown) &&
           std::find(tried.begin(), tried.end(), endpoint->id) == tried.end();
  });
}

EndpointTable::EndpointTable(const conf::Config& config, EndpointBook& book) : config_(config) {
  // Homes point into endpoints_: it must not move any more once they are made.
  std::vector<std::array<int64_t, conf::kNumProtocols>> ids;  // by backend and protocol; -1: none
  for (uint32_t b = 0; b < config.backends.size(); ++b) {
    ids.emplace_back().fill(-1);
    for (uint32_t e = 0; e < config.backends[b].endpoints.size(); ++e) {
      const conf::Endpoint& conf = config.backends[b].endpoints[e];
      Endpoint endpoint;
      endpoint.id = static_cast<EndpointId>(endpoints_.size());
      endpoint.backend_index = b;
      endpoint.endpoint_index = e;
      endpoint.backend = &config.backends[b];
      endpoint.conf = &conf;
      endpoint.cooldown = config.health.cooldown;
      endpoint.state = book.Get(config.backends[b].name, conf.protocol);
      const std::string& name = config.backends[b].name;
      endpoint.hash_seed = base::StableHash(name.data(), name.size(), 1);
      if (config.backends[b].max_sessions > 0)
        for (const conf::Endpoint& sibling : config.backends[b].endpoints)
          endpoint.siblings.push_back(book.Get(name, sibling.protocol));
      ids.back()[static_cast<size_t>(conf.protocol)] = endpoint.id;
      endpoints_.push_back(std::move(endpoint));
    }
  }
  // A pool's own cooldown holds for its members; of several pools the last one's.
  for (const conf::Pool& pool : config.pools)
    for (Endpoint& endpoint : endpoints_)
      if (std::find(pool.backends.begin(), pool.backends.end(), endpoint.backend->name) !=
          pool.backends.end())
        endpoint.cooldown = pool.health.cooldown;

  // As conf::Backend::FindFor: an smtp listener goes to a backend's lmtp where it has no smtp.
  const auto find = [&](uint32_t backend, int protocol) -> const Endpoint* {
    int64_t id = ids[backend][static_cast<size_t>(protocol)];
    if (id < 0 && static_cast<conf::Protocol>(protocol) == conf::Protocol::kSmtp)
      id = ids[backend][static_cast<size_t>(conf::Protocol::kLmtp)];
    return id < 0 ? nullptr : &endpoints_[static_cast<size_t>(id)];
  };
  backends_.resize(config.backends.size());
  for (uint32_t b = 0; b < config.backends.size(); ++b)
    for (int p = 0; p < conf::kNumProtocols; ++p) {
      Home& home = backends_[b][static_cast<size_t>(p)];
      home.name = config.backends[b].name;
      home.protocol = static_cast<conf::Protocol>(p);
      if (const Endpoint* endpoint = find(b, p)) home.members.push_back(endpoint);
      FinishHome(home, config.node_site);
    }
  pools_.resize(config.pools.size());
  for (uint32_t i = 0; i < config.pools.size(); ++i) {
    const conf::Pool& pool = config.pools[i];
    for (int p = 0; p < conf::kNumProtocols; ++p) {
      Home& home = pools_[i][static_cast<size_t>(p)];
      home.name = pool.name;
      home.pool = &pool;
      home.protocol = static_cast<conf::Protocol>(p);
      for (const std::string& name : pool.backends)
        for (uint32_t b = 0; b < config.backends.size(); ++b)
          if (config.backends[b].name == name)
            if (const Endpoint* endpoint = find(b, p)) home.members.push_back(endpoint);
      FinishHome(home, config.node_site);
      const bool is_of_mailboxes =
          IsMailbox(home.protocol) ||
          std::any_of(home.members.begin(), home.members.end(),
                      [](const Endpoint* member) { return IsMailbox(member->conf->protocol); });
      home.may_fail_over = !is_of_mailboxes || home.members.size() < 2 ||
                           pool.storage == conf::Storage::kShared ||
                           pool.storage == conf::Storage::kExclusive;
      home.is_exclusive =
          is_of_mailboxes && home.members.size() > 1 && pool.storage == conf::Storage::kExclusive;
    }
  }
}

const Home* EndpointTable::PoolHome(uint32_t pool_index, conf::Protocol listener) const {
  POSTERN_CHECK(pool_index < pools_.size());
  return &pools_[pool_index][static_cast<size_t>(listener)];
}

const Home* EndpointTable::BackendHome(uint32_t backend_index, conf::Protocol listener) const {
  POSTERN_CHECK(backend_index < backends_.size());
  return &backends_[backend_index][static_cast<size_t>(listener)];
}

// By what is configured, and by what a configured name stands for.
const Home* EndpointTable::HomeAt(std::string_view address, conf::Protocol listener) const {
  const size_t colon = address.rfind(':');
  if (colon == std::string_view::npos) return nullptr;
  std::string_view host = address.substr(0, colon);
  const std::string_view port = address.substr(colon + 1);
  if (host.size() > 2 && host.front() == '[' && host.back() == ']')
    host = host.substr(1, host.size() - 2);
  const auto ip = base::IpAddress::Parse(host);
  for (const auto& homes : backends_) {
    const Home& home = homes[static_cast<size_t>(listener)];
    if (home.members.empty()) continue;
    const Endpoint& endpoint = *home.members.front();
    if (std::to_string(endpoint.conf->port) != port) continue;
    const std::string& own = endpoint.backend->host;
    if (base::EqualsIgnoreCase(own, host)) return &home;
    if (!ip) continue;
    if (base::IpAddress::Parse(own) == ip) return &home;
    const auto facts = endpoint.state->facts();
    if (facts != nullptr &&
        std::find(facts->addresses.begin(), facts->addresses.end(), *ip) != facts->addresses.end())
      return &home;
  }
  return nullptr;
}

std::vector<const Endpoint*> EndpointTable::Eligible(
    const conf::Route& route, conf::Protocol listener,
    const std::vector<std::vector<std::string>>& answers) const {
  std::vector<const Endpoint*> eligible;
  const auto add = [&](const Home& home) {
    for (const Endpoint* endpoint : home.members)
      if (std::find(eligible.begin(), eligible.end(), endpoint) == eligible.end())
        eligible.push_back(endpoint);
  };
  const auto add_pool = [&](const std::string& name) {
    for (uint32_t i = 0; i < config_.pools.size(); ++i)
      if (config_.pools[i].name == name) add(*PoolHome(i, listener));
  };
  const auto add_backend = [&](const std::string& name) {
    for (uint32_t i = 0; i < config_.backends.size(); ++i)
      if (config_.backends[i].name == name) add(*BackendHome(i, listener));
  };
  for (const conf::Rule& rule : route.rules) {
    if (listener == conf::Protocol::kSmtp) add_pool(rule.mixed_relay_pool);
    if (const auto* to_pool = std::get_if<conf::Rule::ToPool>(&rule.action)) {
      add_pool(to_pool->name);
    } else if (const auto* to = std::get_if<conf::Rule::ToBackend>(&rule.action)) {
      add_backend(to->name);
    } else if (std::holds_alternative<conf::Rule::DirectoryAnswer>(rule.action)) {
      for (size_t i = 0; i < answers.size(); ++i) {
        if (config_.directories[i].name != rule.directory) continue;
        for (const std::string& name : answers[i]) {
          add_pool(name);
          add_backend(name);
        }
      }
    }
  }
  return eligible;
}

}  // namespace postern::balance
