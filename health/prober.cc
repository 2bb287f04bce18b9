// prober: when one endpoint is checked.
// SPDX-License-Identifier: Apache-2.0
#include "health/prober.h"

#include <algorithm>
#include <utility>

namespace postern::health {
namespace {

// While a name is not resolved.
constexpr base::Duration kNotYet = std::chrono::milliseconds(200);
// A relay check that could not ask its question is made again.
constexpr base::Duration kRelayRetry = std::chrono::minutes(10);

base::Duration Scaled(base::Duration duration, double factor) {
  return base::Duration(static_cast<int64_t>(static_cast<double>(duration.count()) * factor));
}

}  // namespace

Prober::Prober(io::Loop& loop, io::Dialer& dialer, base::Rng& rng, Calls calls)
    : loop_(loop),
      dialer_(dialer),
      rng_(rng),
      calls_(std::move(calls)),
      timer_(loop.timers(), io::Timer::Invoke<&Prober::OnTimer, Prober>, this),
      relay_timer_(loop.timers(), io::Timer::Invoke<&Prober::OnRelayTimer, Prober>, this) {}

void Prober::Start(const Schedule& schedule, base::Duration spread) {
  schedule_ = schedule;
  if (!schedule_.has_relay_check) relay_timer_.Cancel();
  if (probe_ != nullptr) return;
  if (last_began_) {
    Plan();
  } else if (!timer_.armed()) {
    timer_.ArmAt(loop_.Now() + Scaled(spread, rng_.Unit()));
  }
}

void Prober::Reset() {
  if (probe_ != nullptr) loop_.Post([probe = std::shared_ptr<Probe>(std::move(probe_))] {});
  timer_.Cancel();
  relay_timer_.Cancel();
  last_began_.reset();
  retry_ = kFirstRetry;
  has_passed_ = is_wanted_ = false;
  is_relay_due_ = true;
}

void Prober::Want() {
  is_wanted_ = true;
  if (probe_ == nullptr) Plan();
}

// When the next check is due.
void Prober::Plan() {
  const base::MonoTime now = loop_.Now();
  if (!schedule_.repeats) {
    is_wanted_ = false;
    if (!has_passed_ && !timer_.armed()) timer_.ArmAt(now + retry_);
    return;
  }
  if (!last_began_) {
    if (is_wanted_ || !timer_.armed()) timer_.ArmAt(now);
    return;
  }
  const base::MonoTime soonest = *last_began_ + schedule_.fast_interval;
  if (is_wanted_) {
    timer_.ArmAt(std::max(now, soonest));
    return;
  }
  const base::Duration gap = calls_.is_in_doubt()
                                 ? std::min(schedule_.fast_interval, schedule_.interval)
                                 : Scaled(schedule_.interval, 0.9 + 0.2 * rng_.Unit());
  // A check that took longer than the interval leaves the server a moment in peace.
  timer_.ArmAt(std::max(*last_began_ + gap,
                        now + std::min(schedule_.fast_interval, schedule_.interval) / 2));
}

void Prober::OnTimer() {
  if (probe_ == nullptr) Begin(Kind::kCheck);
}

void Prober::OnRelayTimer() {
  is_relay_due_ = true;
  if (probe_ == nullptr) Begin(Kind::kRelay);
}

void Prober::Begin(Kind kind) {
  std::optional<ProbePlan> plan = calls_.plan(kind);
  if (!plan) {
    (kind == Kind::kCheck ? timer_ : relay_timer_).ArmAt(loop_.Now() + kNotYet);
    return;
  }
  if (kind == Kind::kCheck) {
    last_began_ = loop_.Now();
    is_wanted_ = false;
    calls_.began();
  } else {
    is_relay_due_ = false;
  }
  probe_ = std::make_unique<Probe>(loop_, dialer_, std::move(*plan),
                                   [this, kind](const Observation& seen) { OnDone(kind, seen); });
  probe_->Start();
}

void Prober::OnDone(Kind kind, const Observation& seen) {
  // The probe calls from within itself: it goes when the loop is free.
  loop_.Post([probe = std::shared_ptr<Probe>(std::move(probe_))] {});
  if (kind == Kind::kCheck) {
    has_passed_ |= seen.is_ok;
    if (!seen.is_ok) {
      timer_.ArmAt(loop_.Now() + retry_);  // where checks do not repeat
      retry_ = std::min(retry_ * 2, kLongestRetry);
    } else {
      retry_ = kFirstRetry;
    }
  } else {
    const base::Duration gap = seen.relays ? kRelayInterval : kRelayRetry;
    relay_timer_.ArmAt(loop_.Now() + Scaled(gap, 0.9 + 0.2 * rng_.Unit()));
  }
  calls_.done(kind, seen);
  if (kind == Kind::kCheck && seen.is_ok && schedule_.has_relay_check && is_relay_due_)
    relay_timer_.ArmAt(loop_.Now());
  Plan();
}

}  // namespace postern::health
