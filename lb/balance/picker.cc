// picker: the choice of an endpoint.
// SPDX-License-Identifier: Apache-2.0
#include "lb/balance/picker.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace postern::balance {
namespace {

constexpr base::Duration kFailureCounts = std::chrono::seconds(1);
constexpr int kMaxDraws = 8;

bool IsServing(const Endpoint& endpoint) {
  return endpoint.state->admin.load(std::memory_order_relaxed) == AdminState::kReady &&
         endpoint.state->health.load(std::memory_order_relaxed) != Health::kDown;
}

double WeightOf(const Endpoint& endpoint) {
  return static_cast<double>(endpoint.backend->weight) *
         static_cast<double>(endpoint.state->weight_ratio.load(std::memory_order_relaxed));
}

// Lower is better; an endpoint with weight 0 takes work only where there is
// nobody else.
double LoadOf(const Endpoint& endpoint) {
  const double weight = WeightOf(endpoint);
  if (weight <= 0) return std::numeric_limits<double>::infinity();
  return static_cast<double>(endpoint.state->ActiveSum() + 1) / weight;
}

bool IsTried(const Endpoint& endpoint, std::span<const EndpointId> tried) {
  return std::find(tried.begin(), tried.end(), endpoint.id) != tried.end();
}

// Weighted rendezvous: the same on every node with the same configuration;
// moving one endpoint moves only its share.
double Score(const Endpoint& endpoint, std::string_view key) {
  const uint64_t seed =
      base::StableHash(endpoint.backend->name.data(), endpoint.backend->name.size(), 1);
  const uint64_t hash = base::StableHash(key.data(), key.size(), seed);
  const double unit = (static_cast<double>(hash >> 11) + 0.5) * 0x1.0p-53;
  return static_cast<double>(endpoint.backend->weight) / -std::log(unit);
}

}  // namespace

const Endpoint* Picker::Pick(const Home& home, std::string_view key,
                             std::span<const EndpointId> tried, base::MonoTime now) {
  ForgetFailures(now);
  const auto is_candidate = [&](const Endpoint& endpoint) {
    return IsServing(endpoint) && !endpoint.state->InCooldown(now) && !IsTried(endpoint, tried);
  };
  const size_t num_members = home.members.size();
  const conf::Balance balance = home.pool == nullptr ? conf::Balance::kFirst : home.pool->balance;
  const Endpoint* best = nullptr;
  switch (balance) {
    case conf::Balance::kLeastLoad: {
      // Two different candidates by a few draws, whatever the size; where most
      // cannot serve, all are looked at instead, once. Who has weight 0 is not
      // drawn: only the search may find it.
      const Endpoint* two[2] = {};
      for (int draws = 0; num_members > 2 && draws < kMaxDraws && two[1] == nullptr; ++draws) {
        const Endpoint* endpoint = home.members[rng_.Below(num_members)];
        if (endpoint == two[0] || WeightOf(*endpoint) <= 0 || !is_candidate(*endpoint)) continue;
        two[two[0] == nullptr ? 0 : 1] = endpoint;
      }
      if (two[1] != nullptr) {
        best = LoadOf(*two[1]) < LoadOf(*two[0]) ? two[1] : two[0];
        break;
      }
      // Starts at a random place, so that equals share the work.
      const size_t start = num_members > 0 ? rng_.Below(num_members) : 0;
      for (size_t i = 0; i < num_members; ++i) {
        const Endpoint* endpoint = home.members[(start + i) % num_members];
        if (is_candidate(*endpoint) && (best == nullptr || LoadOf(*endpoint) < LoadOf(*best)))
          best = endpoint;
      }
      break;
    }
    case conf::Balance::kRoundRobin: {
      // Smooth weighted: everybody gains its weight, the richest takes the turn
      // and pays for all. An endpoint may be in several homes: it has a value in
      // each.
      std::unordered_map<const EndpointState*, double>& values = current_[home.name];
      double total = 0;
      for (const Endpoint* endpoint : home.members) {
        if (!is_candidate(*endpoint)) continue;
        const double weight = WeightOf(*endpoint);
        total += weight;
        double& current = values[endpoint->state.get()];
        current += weight;
        if (best == nullptr || current > values[best->state.get()]) best = endpoint;
      }
      if (best != nullptr) values[best->state.get()] -= total;
      break;
    }
    case conf::Balance::kHash:
      for (const Endpoint* endpoint : home.members)
        if (is_candidate(*endpoint) &&
            (best == nullptr || Score(*endpoint, key) > Score(*best, key)))
          best = endpoint;
      break;
    case conf::Balance::kFirst:
      for (const Endpoint* endpoint : home.members)
        if (best == nullptr && is_candidate(*endpoint)) best = endpoint;
      break;
  }
  if (best != nullptr) return best;
  // Cooldowns alone never empty a home.
  for (const Endpoint* endpoint : home.members) {
    if (!IsServing(*endpoint) || IsTried(*endpoint, tried)) continue;
    if (best == nullptr || endpoint->state->last_failure_ns.load(std::memory_order_relaxed) <
                               best->state->last_failure_ns.load(std::memory_order_relaxed))
      best = endpoint;
  }
  return best;
}

void Picker::Started(EndpointState& endpoint) {
  auto& active = endpoint.load[static_cast<size_t>(worker_)].active;
  active.store(active.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  endpoint.CountAttempt(worker_);
}

void Picker::Ended(EndpointState& endpoint) {
  auto& active = endpoint.load[static_cast<size_t>(worker_)].active;
  active.store(active.load(std::memory_order_relaxed) - 1, std::memory_order_relaxed);
}

void Picker::Failed(const Endpoint& endpoint, Blame blame, base::MonoTime now) {
  auto& failed = endpoint.state->load[static_cast<size_t>(worker_)].failed_recently;
  failed.store(failed.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  failures_.emplace_back(now + kFailureCounts, endpoint.state);
  endpoint.state->CountFailure(worker_);
  endpoint.state->last_failure_ns.store(now.time_since_epoch().count(), std::memory_order_relaxed);
  if (blame == Blame::kPassive)
    endpoint.state->cooldown_until_ns.store((now + endpoint.cooldown).time_since_epoch().count(),
                                            std::memory_order_relaxed);
}

void Picker::Hangs(const Endpoint& endpoint, base::MonoTime now) {
  endpoint.state->last_failure_ns.store(now.time_since_epoch().count(), std::memory_order_relaxed);
  endpoint.state->cooldown_until_ns.store((now + endpoint.cooldown).time_since_epoch().count(),
                                          std::memory_order_relaxed);
}

void Picker::Succeeded(const Endpoint& endpoint) {
  // Read first: in the common case nothing is written to a line that all
  // workers share.
  if (endpoint.state->cooldown_until_ns.load(std::memory_order_relaxed) != 0)
    endpoint.state->cooldown_until_ns.store(0, std::memory_order_relaxed);
}

void Picker::ForgetFailures(base::MonoTime now) {
  while (!failures_.empty() && failures_.front().first <= now) {
    auto& failed = failures_.front().second->load[static_cast<size_t>(worker_)].failed_recently;
    failed.store(failed.load(std::memory_order_relaxed) - 1, std::memory_order_relaxed);
    failures_.pop_front();
  }
}

}  // namespace postern::balance
