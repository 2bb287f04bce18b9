// home_view: tiers in use, weighted draws, turns.
// SPDX-License-Identifier: Apache-2.0
#include "lb/balance/home_view.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <unordered_map>

namespace postern::balance {
namespace {

constexpr size_t kSmallHome = 32;
constexpr base::Duration kRefresh = std::chrono::milliseconds(20);
constexpr int kMaxDraws = 8;

double ActiveOf(const Endpoint& endpoint) {
  return static_cast<double>(endpoint.state->ActiveSum());
}

// A full avalanche (the finalizer of MurmurHash3).
uint64_t Mix(uint64_t bits) {
  bits = (bits ^ (bits >> 33)) * 0xff51afd7ed558ccd;
  bits = (bits ^ (bits >> 33)) * 0xc4ceb9fe1a85ec53;
  return bits ^ (bits >> 33);
}

// Part of a tier that serves, by configured weight; by number where no member has one.
double HealthyShare(const std::vector<const Endpoint*>& tier) {
  double all = 0, healthy = 0, num_healthy = 0;
  for (const Endpoint* member : tier) {
    const double weight = member->base_weight();
    all += weight;
    if (!IsServing(*member)) continue;
    healthy += weight;
    num_healthy += 1;
  }
  return all > 0 ? healthy / all : num_healthy / static_cast<double>(tier.size());
}

}  // namespace

bool IsReady(const Endpoint& endpoint) {
  return endpoint.state->admin.load(std::memory_order_relaxed) == AdminState::kReady;
}

bool IsServing(const Endpoint& endpoint) {
  return IsReady(endpoint) &&
         endpoint.state->health.load(std::memory_order_relaxed) != Health::kDown;
}

double WeightOf(const Endpoint& endpoint) {
  return endpoint.base_weight() *
         static_cast<double>(endpoint.state->weight_ratio.load(std::memory_order_relaxed));
}

bool IsFull(const Endpoint& endpoint) {
  if (endpoint.siblings.empty()) return false;
  uint64_t active = 0;
  for (const auto& sibling : endpoint.siblings)
    for (const EndpointState::Load& load : sibling->load)
      active += load.active.load(std::memory_order_relaxed);
  return active >= endpoint.backend->max_sessions;
}

bool Admission::IsTried(const Endpoint& endpoint) const {
  return std::find(tried.begin(), tried.end(), endpoint.id) != tried.end();
}

bool Admission::Admits(const Endpoint& endpoint) const {
  return IsServing(endpoint) && !endpoint.state->InCooldown(now) &&
         !(heeds_hard && endpoint.state->is_above_hard.load(std::memory_order_relaxed)) &&
         !IsTried(endpoint) && !IsFull(endpoint);
}

void HomeView::Adopt(const Home& home) {
  home_ = &home;
  serial_ = home.serial;
  // Of the former table; a home without members has no tier by which they would be replaced.
  in_use_.clear();
  are_turns_made_ = false;
  num_tiers_in_use_ = 0;
  refresh_at_ = {};
}

void HomeView::Refresh(base::MonoTime now) {
  if (now < refresh_at_ && home_->members.size() > kSmallHome) return;
  refresh_at_ = now + kRefresh;
  const double spill_below = home_->pool == nullptr ? 0 : home_->pool->spill_below;
  size_t num_tiers = std::min<size_t>(1, home_->tiers.size());
  while (num_tiers > 0 && num_tiers < home_->tiers.size() &&
         HealthyShare(home_->tiers[num_tiers - 1]) < spill_below)
    ++num_tiers;
  if (num_tiers != num_tiers_in_use_) {
    num_tiers_in_use_ = num_tiers;
    in_use_.clear();
    for (size_t i = 0; i < num_tiers; ++i)
      in_use_.insert(in_use_.end(), home_->tiers[i].begin(), home_->tiers[i].end());
    are_turns_made_ = false;
  }
  if (home_->pool == nullptr || home_->pool->balance != conf::Balance::kLeastLoad) return;
  const Admission anybody{{}, now};
  double sum = 0;
  num_drawable_ = 0;
  cumulative_.resize(in_use_.size());
  for (size_t i = 0; i < in_use_.size(); ++i) {
    const double weight = anybody.Admits(*in_use_[i]) ? WeightOf(*in_use_[i]) : 0;
    if (weight > 0) sum += weight, ++num_drawable_;
    cumulative_[i] = sum;
  }
}

// Two candidates, each drawn in proportion to its weight, so that a light member gets its share
// when all are idle too. The second takes the work where it has less for its weight, both as it is
// and with this piece more: a busy one is relieved, yet a light one that is idle draws no more than
// its share from heavy ones that are not.
const Endpoint* HomeView::LeastLoad(const Admission& admission, base::Rng& rng) const {
  const Endpoint* first = nullptr;
  for (int draws = 0; num_drawable_ > 0 && draws < kMaxDraws; ++draws) {
    const double at = rng.Unit() * cumulative_.back();
    const auto place = std::upper_bound(cumulative_.begin(), cumulative_.end() - 1, at);
    const Endpoint* endpoint = in_use_[static_cast<size_t>(place - cumulative_.begin())];
    if (endpoint == first || WeightOf(*endpoint) <= 0 || !admission.Admits(*endpoint)) continue;
    if (first != nullptr) {
      const double weight = WeightOf(*first), other_weight = WeightOf(*endpoint);
      const double active = ActiveOf(*first), other_active = ActiveOf(*endpoint);
      const bool has_less = other_active * weight < active * other_weight;
      const bool will_have_less = (other_active + 1) * weight <= (active + 1) * other_weight;
      return has_less && will_have_less ? endpoint : first;
    }
    first = endpoint;
    if (num_drawable_ == 1) break;
  }
  return first != nullptr ? first : LeastOfAll(in_use_, admission, rng);
}

void HomeView::MakeTurns() {
  std::unordered_map<const EndpointState*, double> due;
  for (const Turn& turn : turns_) due[turn.state] = turn.due;
  turns_.clear();
  for (uint32_t i = 0; i < in_use_.size(); ++i) {
    const EndpointState* state = in_use_[i]->state.get();
    const auto known = due.find(state);
    const double weight = WeightOf(*in_use_[i]);
    const double start = due_now_ + (weight > 0 ? 0.5 / weight : 0);
    turns_.push_back({known != due.end() ? known->second : start, i, state});
  }
  std::make_heap(turns_.begin(), turns_.end(), IsLater);
  are_turns_made_ = true;
}

const Endpoint* HomeView::NextTurn(const Admission& admission) {
  if (!are_turns_made_) MakeTurns();
  passed_over_.clear();
  const Endpoint* taken = nullptr;
  while (taken == nullptr && !turns_.empty()) {
    std::pop_heap(turns_.begin(), turns_.end(), IsLater);
    Turn turn = turns_.back();
    turns_.pop_back();
    const Endpoint* endpoint = in_use_[turn.member];
    const double weight = WeightOf(*endpoint);
    // Who cannot serve loses its turn, and will not make up for it later.
    turn.due = std::max(turn.due, due_now_);
    if (weight > 0 && admission.Admits(*endpoint)) {
      due_now_ = turn.due;
      taken = endpoint;
    }
    turn.due += 1 / (weight > 0 ? weight : std::max(1.0, endpoint->base_weight()));
    passed_over_.push_back(turn);
  }
  for (const Turn& turn : passed_over_) {
    turns_.push_back(turn);
    std::push_heap(turns_.begin(), turns_.end(), IsLater);
  }
  return taken;
}

const Endpoint* Rendezvous(std::span<const Endpoint* const> members, std::string_view key,
                           const Admission& admission) {
  const uint64_t hash = base::StableHash(key.data(), key.size(), 1);
  const Endpoint* best = nullptr;
  double best_score = -1;
  double heaviest = 0;
  for (const Endpoint* member : members) heaviest = std::max(heaviest, member->base_weight());
  // What a number must exceed to win even with the greatest weight: saves nearly all logarithms.
  double bar = -1;
  for (const Endpoint* member : members) {
    const double unit =
        (static_cast<double>(Mix(hash ^ member->hash_seed) >> 11) + 0.5) * 0x1.0p-53;
    if (unit <= bar) continue;
    const double score = member->base_weight() / -std::log(unit);
    if (score <= best_score || !admission.Admits(*member)) continue;
    best = member;
    best_score = score;
    bar = score > 0 ? std::exp(-heaviest / score) : -1;
  }
  return best;
}

const Endpoint* LeastOfAll(std::span<const Endpoint* const> members, const Admission& admission,
                           base::Rng& rng) {
  const Endpoint* best = nullptr;
  double least = std::numeric_limits<double>::infinity();
  const size_t start = members.empty() ? 0 : rng.Below(members.size());
  for (size_t i = 0; i < members.size(); ++i) {
    const Endpoint* member = members[(start + i) % members.size()];
    if (!admission.Admits(*member)) continue;
    const double weight = WeightOf(*member);
    // Weight 0 takes work only where there is nobody else.
    const double load =
        weight > 0 ? (ActiveOf(*member) + 1) / weight : std::numeric_limits<double>::infinity();
    if (best == nullptr || load < least) best = member, least = load;
  }
  return best;
}

const Endpoint* FirstOf(std::span<const Endpoint* const> members, const Admission& admission) {
  const auto found = std::find_if(members.begin(), members.end(), [&](const Endpoint* member) {
    return admission.Admits(*member);
  });
  return found == members.end() ? nullptr : *found;
}

}  // namespace postern::balance
