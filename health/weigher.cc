// weigher: from what is known of a pool's members to their shares of new work.
// SPDX-License-Identifier: Apache-2.0
#include "health/weigher.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <string_view>

namespace postern::health {
namespace {

// Seconds.
constexpr double kIgnored = 0.005;         // a difference below this is nobody's loss
constexpr double kLeastReference = 0.001;  // below, a ratio says more of the clock than of the pool
constexpr double kErrors = 3;              // standard errors that may be chance
constexpr double kTurnHalfLives = 24;      // how long a turn is remembered
constexpr double kLongHalfLives = 12;
constexpr double kFallPatience = 0.5, kRisePatience = 0.2;  // how much each late turn slows
// Bands within which factors stay: for latency a part of itself. Queue depths are counts, not
// samples: they need a smaller one.
constexpr double kLatencyBand = 0.15;
constexpr double kQueueBand = 0.03;
// A phase without news keeps its value for so many half-lives, then fades into the pool's: who gets
// little work must not be judged by what it did long ago.
constexpr double kFreshHalfLives = 12;
constexpr double kFadeHalfLives = 3;
constexpr double kReleaseAbove = 0.95;  // of `hard`: below, new mail comes again
constexpr double kMaxAgent = 10;
constexpr double kMaxDepth = 1e12;

// What the first useful work waits for. Message text goes at the client's pace; routing is ours.
constexpr base::Phase kCounted[] = {
    base::Phase::kConnect, base::Phase::kTls,  base::Phase::kGreeting, base::Phase::kHello,
    base::Phase::kLogin,   base::Phase::kMail, base::Phase::kRcpt,     base::Phase::kDataReply,
};
bool IsCounted(base::Phase phase) {
  return std::find(std::begin(kCounted), std::end(kCounted), phase) != std::end(kCounted);
}
size_t Index(base::Phase phase) {
  return static_cast<size_t>(phase);
}

// Of at least one value; reorders them.
double LowerQuartile(std::vector<double>& values) {
  const auto at = values.begin() + static_cast<std::ptrdiff_t>((values.size() - 1) / 4);
  std::nth_element(values.begin(), at, values.end());
  return *at;
}

void Append(std::string& text, const char* format, auto... values) {
  char buffer[256];
  std::snprintf(buffer, sizeof buffer, format, values...);
  if (!text.empty()) text += "; ";
  text += buffer;
}
// Milliseconds with as many digits as matter.
std::string Ms(double seconds) {
  char buffer[32];
  const double ms = seconds * 1000;
  std::snprintf(buffer, sizeof buffer, ms < 10 ? "%.1f" : "%.0f", ms);
  return buffer;
}

}  // namespace

std::optional<double> GreetingPause::Pass(double seconds) {
  constexpr double kLate = 0.98, kSlack = 0.15;  // timers fire a little early, and work follows
  if (seconds < kLate) {
    count_ = 0;
    return seconds;
  }
  late_[count_ % late_.size()] = seconds;
  if (count_ < 1U << 30U) ++count_;
  if (count_ < late_.size()) return std::nullopt;
  const double pause = std::floor(seconds + 1 - kLate);
  const bool is_pause = std::all_of(late_.begin(), late_.end(), [&](double late) {
    return late > pause - (1 - kLate) && late < pause + kSlack;
  });
  return is_pause ? std::max(0.0, seconds - pause) : seconds;
}

void Smoothed::Follow(double target, double band, double half_lives) {
  turns_ *= std::exp2(-half_lives / kTurnHalfLives);
  still_ += half_lives;
  const bool is_fall = target < value_;
  const bool is_turn = is_fall != is_falling_;
  const double distance = std::abs(target - value_);
  if (distance < 1e-9) return;
  // Fully well again is no noise about a level: it may always rise to that; and to what has been
  // offered for long, lest it stay a little too low for ever.
  const bool may_turn =
      distance > band * (1 + turns_) || target >= 1 || (!is_fall && still_ > kLongHalfLives);
  if (is_turn && !may_turn) return;
  if (is_turn) turns_ += 1;
  is_falling_ = is_fall;
  still_ = 0;
  if (is_fall)
    value_ *= std::pow(target / value_, 1 / (1 + kFallPatience * std::max(0.0, turns_ - 1)));
  else
    value_ = std::min(target, value_ * std::exp2(half_lives / (1 + kRisePatience * turns_)));
}

PoolWeigher::PoolWeigher(const conf::Weights& weights, const WeigherTimes& times,
                         conf::Protocol protocol)
    : weights_(weights),
      times_(times),
      protocol_(protocol),
      min_factor_(std::isfinite(weights.min_factor) ? std::clamp(weights.min_factor, 0.001, 1.0)
                                                    : 0.05),
      is_queue_counted_(weights.queue && (protocol == conf::Protocol::kSmtp ||
                                          protocol == conf::Protocol::kSubmission ||
                                          protocol == conf::Protocol::kLmtp)) {
  times_.half_life = std::max<base::Duration>(times_.half_life, std::chrono::milliseconds(1));
}

MemberId PoolWeigher::Add(std::string name, double configured_weight) {
  Member& member = members_.emplace_back();
  member.name = std::move(name);
  member.configured_weight = configured_weight;
  member.memory.latency_forecast = Forecast(4 * times_.half_life);
  return static_cast<MemberId>(members_.size() - 1);
}

void PoolWeigher::Observe(MemberId id, base::Phase phase, base::Duration mean, uint32_t count,
                          base::MonoTime at) {
  if (!IsCounted(phase)) return;
  MemberMemory& memory = members_[id].memory;
  std::optional<double> seconds = base::Seconds(mean);
  if (!(*seconds >= 0 && *seconds <= Ewma::kMaxSeconds)) return;
  if (phase == base::Phase::kGreeting && protocol_ == conf::Protocol::kSmtp)
    seconds = memory.pause.Pass(*seconds);
  if (seconds.has_value()) memory.phases[Index(phase)].Add(*seconds, count, at, times_.half_life);
}

void PoolWeigher::SetQueue(MemberId id, std::optional<double> depth, double soft, double hard) {
  Member& member = members_[id];
  const bool is_sane = depth.has_value() && *depth >= 0 && *depth <= kMaxDepth && soft >= 0 &&
                       hard > 0 && std::isfinite(soft) && std::isfinite(hard);
  member.depth = is_sane ? depth : std::nullopt;
  member.soft = soft;
  member.hard = hard;
}

void PoolWeigher::SetAgent(MemberId id, std::optional<double> factor) {
  const bool is_sane = factor.has_value() && *factor >= 0 && *factor <= kMaxAgent;
  members_[id].agent = is_sane ? *factor : 1;
}

void PoolWeigher::SetServing(MemberId id, bool is_serving, base::MonoTime now) {
  MemberMemory& memory = members_[id].memory;
  if (memory.is_serving == is_serving) return;
  memory.is_serving = is_serving;
  if (is_serving) {
    memory.ramp_since = now;
    return;
  }
  // Whatever comes back is to be measured anew.
  memory.phases = {};
  memory.pause = {};
  memory.latency = {};
  memory.latency_forecast = Forecast(4 * times_.half_life);
  memory.ramp_since.reset();
}

void PoolWeigher::SetDegraded(MemberId id, bool is_degraded) {
  members_[id].is_degraded = is_degraded;
}

void PoolWeigher::Tick(base::MonoTime now) {
  const double elapsed = last_tick_.has_value() ? base::Seconds(now - *last_tick_) : 0;
  const double half_lives = std::max(0.0, elapsed) / base::Seconds(times_.half_life);
  last_tick_ = now;
  if (weights_.latency) LearnPool(now);
  for (Member& member : members_) {
    if (weights_.latency) WeighLatency(member, half_lives);
    if (is_queue_counted_) WeighQueue(member, half_lives);
    Conclude(member, now);
    if (member.has_latency) member.memory.latency_forecast.Add(member.total, now);
  }
}

// The pool's own value of each phase, every member's sum, and the reference among these.
void PoolWeigher::LearnPool(base::MonoTime now) {
  const base::Duration fresh = times_.half_life * static_cast<int64_t>(kFreshHalfLives);
  for (const base::Phase phase : kCounted) {
    scratch_.clear();
    for (const Member& member : members_) {
      const Ewma& ewma = member.memory.phases[Index(phase)];
      const std::optional<double> value = ewma.value();
      if (value.has_value() && member.memory.is_serving && now - ewma.last() <= fresh)
        scratch_.push_back(*value);
    }
    pool_phases_[Index(phase)].reset();
    if (!scratch_.empty()) pool_phases_[Index(phase)] = LowerQuartile(scratch_);
  }
  scratch_.clear();
  double most = 0;
  for (Member& member : members_) {
    SumPhases(member, now);
    if (IsMeasured(member)) most = std::max(most, member.verdict.ratio);
  }
  // Who is spared is idle, and fast for that alone: no measure for those that do its work.
  for (const Member& member : members_)
    if (IsMeasured(member) && member.verdict.ratio >= most / 2) scratch_.push_back(member.total);
  reference_ = scratch_.empty() ? 0 : std::max(kLeastReference, LowerQuartile(scratch_));
}

void PoolWeigher::SumPhases(Member& member, base::MonoTime now) const {
  member.has_latency = false;
  member.total = member.error = member.worst_seconds = 0;
  double worst_excess = -1;
  double variance = 0;
  for (const base::Phase phase : kCounted) {
    const std::optional<double>& pool = pool_phases_[Index(phase)];
    if (!pool.has_value()) continue;
    const Ewma& ewma = member.memory.phases[Index(phase)];
    double seconds = ewma.value().value_or(*pool);
    if (ewma.value().has_value()) {
      const double ages = base::Seconds(now - ewma.last()) / base::Seconds(times_.half_life);
      if (ages > kFreshHalfLives)
        seconds = *pool + (seconds - *pool) * std::exp2((kFreshHalfLives - ages) / kFadeHalfLives);
      variance += ewma.variance();
      member.has_latency = true;
    }
    member.total += seconds;
    if (seconds - *pool > worst_excess) {
      worst_excess = seconds - *pool;
      member.worst = phase;
      member.worst_seconds = seconds;
    }
  }
  member.error = member.total > 0 ? kErrors * std::sqrt(variance) / member.total : 0;
}

void PoolWeigher::WeighLatency(Member& member, double half_lives) const {
  double target = 1;
  if (member.has_latency) {
    const double own = std::min(member.total - kIgnored, member.total / (1 + member.error));
    if (own > reference_) {
      const double ratio = reference_ / own;
      target = std::max(min_factor_, ratio * ratio);
    }
  }
  member.memory.latency.Follow(target, kLatencyBand * member.memory.latency.value(), half_lives);
}

void PoolWeigher::WeighQueue(Member& member, double half_lives) const {
  double target = 1;
  if (member.depth.has_value()) {
    if (*member.depth >= member.hard)
      target = min_factor_;
    else if (*member.depth > member.soft)
      target = 1 - (1 - min_factor_) * (*member.depth - member.soft) / (member.hard - member.soft);
    const double limit = member.hard * (member.memory.is_above_hard ? kReleaseAbove : 1);
    member.memory.is_above_hard = *member.depth > limit;
  } else {
    member.memory.is_above_hard = false;
  }
  member.memory.queue.Follow(target, kQueueBand, half_lives);
}

void PoolWeigher::Conclude(Member& member, base::MonoTime now) const {
  Verdict& verdict = member.verdict;
  MemberMemory& memory = member.memory;
  verdict.factors.latency = memory.latency.value();
  verdict.factors.queue = memory.queue.value();
  verdict.factors.agent = member.agent;
  verdict.factors.slow_start = 1;
  if (memory.ramp_since.has_value()) {
    const base::Duration since = now - *memory.ramp_since;
    if (since >= times_.slow_start)
      memory.ramp_since.reset();
    else
      verdict.factors.slow_start =
          std::max(min_factor_, base::Seconds(since) / base::Seconds(times_.slow_start));
  }
  verdict.ratio = verdict.factors.latency * verdict.factors.queue * verdict.factors.slow_start *
                  verdict.factors.agent;
  if (member.is_degraded) verdict.ratio = std::min(verdict.ratio, min_factor_);
  verdict.is_above_hard = memory.is_above_hard;
  verdict.reason = Reason(member);
}

std::string PoolWeigher::Reason(const Member& member) const {
  std::string text;
  const Factors& factors = member.verdict.factors;
  if (factors.queue < 1 || member.memory.is_above_hard) {
    if (!member.depth.has_value())
      Append(text, "queue not known, rising: factor %.2f", factors.queue);
    else if (member.memory.is_above_hard)
      Append(text, "queue %.0f above hard %.0f: factor %.2f, no new mail while others are below",
             *member.depth, member.hard, factors.queue);
    else if (*member.depth > member.soft)
      Append(text, "queue %.0f of soft %.0f: factor %.2f", *member.depth, member.soft,
             factors.queue);
    else
      Append(text, "queue %.0f below soft %.0f again: factor %.2f, rising", *member.depth,
             member.soft, factors.queue);
  }
  if (factors.latency < 1) {
    const std::optional<double>& pool = pool_phases_[Index(member.worst)];
    if (!member.has_latency || !pool.has_value() || member.total - reference_ < kIgnored)
      Append(text, "latency as the pool's again: factor %.2f, rising", factors.latency);
    else
      Append(text, "%s %s ms against pool %s ms (all phases %s against %s): factor %.2f",
             std::string(base::Name(member.worst)).c_str(), Ms(member.worst_seconds).c_str(),
             Ms(*pool).c_str(), Ms(member.total).c_str(), Ms(reference_).c_str(), factors.latency);
  }
  if (factors.slow_start < 1)
    Append(text, "slow start of %.0f s after recovery: factor %.2f",
           base::Seconds(times_.slow_start), factors.slow_start);
  if (factors.agent != 1)
    Append(text, "agent asks for %.0f %%: factor %.2f", factors.agent * 100, factors.agent);
  if (member.is_degraded)
    Append(text, "degraded, most of its live work fails: weight at most %.2f", min_factor_);
  return text;
}

bool PoolWeigher::IsInDoubt(MemberId id) const {
  const MemberMemory& memory = members_[id].memory;
  return memory.pause.is_in_doubt() ||
         std::any_of(memory.phases.begin(), memory.phases.end(),
                     [](const Ewma& ewma) { return ewma.is_in_doubt(); });
}

std::optional<double> PoolWeigher::latency_seconds(MemberId id) const {
  const Member& member = members_[id];
  if (!member.has_latency) return std::nullopt;
  return member.total;
}

std::optional<base::Duration> PoolWeigher::TimeToMinFactor(MemberId id, base::MonoTime now) const {
  const Member& member = members_[id];
  if (!member.has_latency || reference_ <= 0) return std::nullopt;
  const double limit = reference_ / std::sqrt(min_factor_) + kIgnored;
  return member.memory.latency_forecast.TimeTo(limit, now);
}

}  // namespace postern::health
