// sim_loop: virtual time.
// SPDX-License-Identifier: Apache-2.0
#include "test/support/sim_loop.h"

#include <algorithm>
#include <optional>

namespace postern::test {

void SimLoop::Schedule(base::Duration delay, std::function<void()> event) {
  events_.emplace(std::pair(now_ + delay, next_event_++), std::move(event));
}

bool SimLoop::Step(base::MonoTime until) {
  if (!tasks_.empty()) {
    auto task = std::move(tasks_.front());
    tasks_.pop_front();
    task();
    return true;
  }
  std::optional<base::MonoTime> next = timers_.Next();
  const bool is_event = !events_.empty() && (!next || events_.begin()->first.first <= *next);
  if (is_event) next = events_.begin()->first.first;
  if (!next || *next > until) return false;
  now_ = std::max(now_, *next);
  if (is_event) {
    auto event = std::move(events_.begin()->second);
    events_.erase(events_.begin());
    event();
  } else {
    timers_.RunDue(now_);
  }
  return true;
}

bool SimLoop::RunUntilIdle(uint64_t max_steps) {
  for (uint64_t i = 0; i < max_steps; ++i)
    if (!Step()) return true;
  return false;
}

void SimLoop::RunFor(base::Duration duration) {
  const base::MonoTime until = now_ + duration;
  while (Step(until)) {
  }
  now_ = until;
}

bool SimLoop::RunUntil(const std::function<bool()>& condition, uint64_t max_steps) {
  for (uint64_t i = 0; i < max_steps; ++i) {
    if (condition()) return true;
    if (!Step()) return condition();
  }
  return false;
}

}  // namespace postern::test
