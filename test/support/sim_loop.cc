// sim_loop: virtual time.
// SPDX-License-Identifier: Apache-2.0
#include "test/support/sim_loop.h"

#include <algorithm>

#include "lb/base/check.h"

namespace postern::test {
namespace {
// Tasks or events that make one another for ever, without time passing, are a bug of the code under
// test; better an abort than a test that hangs.
constexpr uint64_t kMaxStepsWithoutEnd = 50'000'000;
}  // namespace

void SimLoop::SetDisorder(base::Rng& rng, base::Duration most_late) {
  rng_ = &rng;
  most_late_ = most_late;
}

void SimLoop::Schedule(base::Duration delay, std::function<void()> event) {
  // The number keeps two of the same chance apart.
  constexpr uint64_t kNumbers = (uint64_t{1} << 40) - 1;
  const uint64_t chance = rng_ == nullptr ? 0 : rng_->Next() & ~kNumbers;
  events_.emplace(std::pair(now_ + std::max(delay, base::Duration(0)), chance | next_event_++),
                  std::move(event));
}

std::optional<base::MonoTime> SimLoop::NextTimers() const {
  std::optional<base::MonoTime> next = timers_.Next();
  if (next) *next += late_;
  return next;
}

bool SimLoop::Step(base::MonoTime until) {
  if (!tasks_.empty()) {
    ++num_steps_;
    const auto task = std::move(tasks_.front());
    tasks_.pop_front();
    task();
    return true;
  }
  std::optional<base::MonoTime> next = NextTimers();
  const bool is_event = !events_.empty() && (!next || events_.begin()->first.first <= *next);
  if (is_event) next = events_.begin()->first.first;
  if (!next || *next > until) return false;
  ++num_steps_;
  now_ = std::max(now_, *next);
  if (is_event) {
    const auto event = std::move(events_.begin()->second);
    events_.erase(events_.begin());
    event();
  } else {
    timers_.RunDue(now_);
    if (rng_ != nullptr)
      late_ = base::Duration(rng_->Below(static_cast<uint64_t>(most_late_.count()) + 1));
  }
  return true;
}

void SimLoop::RunReady() {
  RunFor(base::Duration(0));
}

bool SimLoop::RunUntilIdle(uint64_t max_steps) {
  for (uint64_t i = 0; i < max_steps; ++i)
    if (!Step()) return true;
  return false;
}

void SimLoop::RunFor(base::Duration duration) {
  const base::MonoTime until = now_ + duration;
  uint64_t steps = 0;
  while (Step(until)) POSTERN_CHECK(++steps < kMaxStepsWithoutEnd);
  now_ = std::max(now_, until);
}

bool SimLoop::RunUntil(const std::function<bool()>& condition, uint64_t max_steps) {
  for (uint64_t i = 0; i < max_steps; ++i) {
    if (condition()) return true;
    if (!Step()) return condition();
  }
  return false;
}

}  // namespace postern::test
