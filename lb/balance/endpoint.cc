// endpoint: states, homes and the table of a snapshot.
// SPDX-License-Identifier: Apache-2.0
#include "lb/balance/endpoint.h"

#include <algorithm>
#include <variant>

#include "lb/base/check.h"

namespace postern::balance {
namespace {

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

}  // namespace

uint64_t EndpointState::ActiveSum() const {
  uint64_t sum = 0;
  for (const Load& its : load)
    sum += its.active.load(std::memory_order_relaxed) +
           its.failed_recently.load(std::memory_order_relaxed);
  return sum;
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
    state = std::make_shared<EndpointState>(num_workers_);
    state->backend = backend;
    state->protocol = protocol;
  }
  return state;
}

bool Home::Contains(EndpointId id) const {
  return std::any_of(members.begin(), members.end(),
                     [id](const Endpoint* endpoint) { return endpoint->id == id; });
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

  // An smtp listener cannot use lmtp endpoints yet, so the endpoint of a listener is that of its
  // own protocol.
  const auto find = [&](uint32_t backend, int protocol) -> const Endpoint* {
    const int64_t id = ids[backend][static_cast<size_t>(protocol)];
    return id < 0 ? nullptr : &endpoints_[static_cast<size_t>(id)];
  };
  backends_.resize(config.backends.size());
  for (uint32_t b = 0; b < config.backends.size(); ++b)
    for (int p = 0; p < conf::kNumProtocols; ++p) {
      Home& home = backends_[b][static_cast<size_t>(p)];
      home.name = config.backends[b].name;
      home.protocol = static_cast<conf::Protocol>(p);
      if (const Endpoint* endpoint = find(b, p)) home.members.push_back(endpoint);
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
      home.may_fail_over = !IsMailbox(home.protocol) || home.members.size() < 2 ||
                           pool.storage == conf::Storage::kShared ||
                           pool.storage == conf::Storage::kExclusive;
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

std::vector<const Endpoint*> EndpointTable::Eligible(const conf::Route& route,
                                                     conf::Protocol listener) const {
  std::vector<const Endpoint*> eligible;
  const auto add = [&](const Home& home) {
    for (const Endpoint* endpoint : home.members)
      if (std::find(eligible.begin(), eligible.end(), endpoint) == eligible.end())
        eligible.push_back(endpoint);
  };
  for (const conf::Rule& rule : route.rules) {
    if (const auto* to_pool = std::get_if<conf::Rule::ToPool>(&rule.action)) {
      for (uint32_t i = 0; i < config_.pools.size(); ++i)
        if (config_.pools[i].name == to_pool->name) add(*PoolHome(i, listener));
    } else if (const auto* to = std::get_if<conf::Rule::ToBackend>(&rule.action)) {
      for (uint32_t i = 0; i < config_.backends.size(); ++i)
        if (config_.backends[i].name == to->name) add(*BackendHome(i, listener));
    }
  }
  return eligible;
}

}  // namespace postern::balance
