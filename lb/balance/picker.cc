// picker: the choice of an endpoint.
// SPDX-License-Identifier: Apache-2.0
#include "lb/balance/picker.h"

namespace postern::balance {
namespace {

constexpr base::Duration kFailureCounts = std::chrono::seconds(1);

bool IsMailQueue(conf::Protocol protocol) {
  return protocol == conf::Protocol::kSmtp || protocol == conf::Protocol::kSubmission ||
         protocol == conf::Protocol::kLmtp;
}

// The member that failed longest ago, among those that may be asked though they are not well.
const Endpoint* LongestAgo(const Home& home, const Admission& admission,
                           bool (*may_be_asked)(const Endpoint&)) {
  const Endpoint* best = nullptr;
  for (const Endpoint* endpoint : home.members) {
    if (!may_be_asked(*endpoint) || admission.IsTried(*endpoint) || IsFull(*endpoint)) continue;
    if (best == nullptr || endpoint->state->last_failure_ns.load(std::memory_order_relaxed) <
                               best->state->last_failure_ns.load(std::memory_order_relaxed))
      best = endpoint;
  }
  return best;
}

}  // namespace

KeyPart KeyPartOf(const Home& home) {
  if (home.pool == nullptr || home.pool->balance != conf::Balance::kHash) return KeyPart::kNone;
  return home.pool->hash_on == conf::HashOn::kClient ? KeyPart::kClient : KeyPart::kName;
}

std::string ClientKey(const base::IpAddress& client) {
  return client.ToString();
}

// The hash heeds no queue: a user or recipient has one place, on all nodes.
bool HeedsHard(const Home& home) {
  return home.pool != nullptr && IsMailQueue(home.protocol) &&
         home.pool->balance != conf::Balance::kHash;
}

HomeView& Picker::ViewOf(const Home& home, base::MonoTime now) {
  auto& views = views_[static_cast<size_t>(home.protocol)];
  HomeView& view = views.try_emplace(home.name, home).first->second;
  if (view.serial() != home.serial) view.Adopt(home);
  view.Refresh(now);
  return view;
}

const Endpoint* Picker::Choose(const Home& home, HomeView& view, std::string_view key,
                               const Admission& admission) {
  const conf::Balance balance = home.pool->balance;
  const Endpoint* chosen = nullptr;
  switch (balance) {
    case conf::Balance::kLeastLoad:
      chosen = view.LeastLoad(admission, rng_);
      break;
    case conf::Balance::kRoundRobin:
      chosen = view.NextTurn(admission);
      // Turns pass over weight 0; such a one takes work where there is nobody else.
      if (chosen == nullptr) chosen = LeastOfAll(view.in_use(), admission, rng_);
      break;
    case conf::Balance::kHash:
      chosen = Rendezvous(view.in_use(), key, admission);
      break;
    case conf::Balance::kFirst:
      chosen = FirstOf(view.in_use(), admission);
      break;
  }
  for (size_t i = view.num_tiers_in_use(); chosen == nullptr && i < home.tiers.size(); ++i) {
    switch (balance) {
      case conf::Balance::kLeastLoad:
      case conf::Balance::kRoundRobin:
        chosen = LeastOfAll(home.tiers[i], admission, rng_);
        break;
      case conf::Balance::kHash:
        chosen = Rendezvous(home.tiers[i], key, admission);
        break;
      case conf::Balance::kFirst:
        chosen = FirstOf(home.tiers[i], admission);
        break;
    }
  }
  return chosen;
}

const Endpoint* Picker::Pick(const Home& home, std::string_view key,
                             std::span<const EndpointId> tried, base::MonoTime now) {
  ForgetFailures(now);
  Admission admission{tried, now, false};
  const Endpoint* chosen = nullptr;
  if (home.pool == nullptr) {
    chosen = FirstOf(home.members, admission);
  } else {
    HomeView& view = ViewOf(home, now);
    admission.heeds_hard = HeedsHard(home);
    chosen = Choose(home, view, key, admission);
    if (chosen == nullptr && admission.heeds_hard) {
      admission.heeds_hard = false;
      chosen = Choose(home, view, key, admission);
    }
  }
  // Cooldowns alone never empty a home.
  if (chosen == nullptr) chosen = LongestAgo(home, admission, IsServing);
  if (chosen == nullptr && home.IsTriedWhenDown()) chosen = LongestAgo(home, admission, IsReady);
  return chosen;
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
  // Read first: in the common case nothing is written to a line that all workers share.
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
