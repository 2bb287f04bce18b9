// sim_loop: io::Loop on virtual time: what happens next is decided by time, then by order.
//
// Time stands still while anything is ready and jumps to the next event or timer otherwise, so that
// an hour of waiting costs nothing and the same inputs give the same run.
//
// Thread:   one; Post too.
// Tests:    test/io/sim_loop_test.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <utility>

#include "lb/base/rng.h"
#include "lb/io/loop.h"

namespace postern::test {

class SimLoop final : public io::Loop {
 public:
  [[nodiscard]] base::MonoTime Now() const override { return now_; }
  [[nodiscard]] base::WallTime WallNow() const override {
    return base::WallTime(std::chrono::seconds(1'800'000'000) + now_.time_since_epoch());
  }
  [[nodiscard]] io::TimerHeap& timers() override { return timers_; }
  void Post(std::function<void()> task) override { tasks_.push_back(std::move(task)); }

  // From now on events of the same time run in an order by chance, and timers fire late, each round
  // by up to that much, so that what was due behind them may come first. rng outlives the loop.
  void SetDisorder(base::Rng& rng, base::Duration most_late);
  // Runs the event at now + delay; equal times run in the order of scheduling, before timers.
  void Schedule(base::Duration delay, std::function<void()> event);

  // Does what is next: a posted task, else the earliest event or timer, to which time jumps (but
  // not beyond `until`). False if there is nothing.
  bool Step(base::MonoTime until = base::MonoTime::max());
  // Everything that is ready or due now; time stands still.
  void RunReady();
  // Until nothing is left to do, or max_steps were done. True if it became idle.
  bool RunUntilIdle(uint64_t max_steps = 1'000'000);
  // Everything due within the duration; then the time is exactly that much later.
  void RunFor(base::Duration duration);
  // Steps until the condition holds; false if the loop became idle, or max_steps passed, before.
  bool RunUntil(const std::function<bool()>& condition, uint64_t max_steps = 1'000'000);

  [[nodiscard]] uint64_t num_steps() const { return num_steps_; }

 private:
  [[nodiscard]] std::optional<base::MonoTime> NextTimers() const;
  base::MonoTime now_{std::chrono::hours(1)};
  io::TimerHeap timers_;  // outlives what tasks and events own
  std::deque<std::function<void()>> tasks_;
  std::map<std::pair<base::MonoTime, uint64_t>, std::function<void()>> events_;
  uint64_t next_event_ = 0;
  base::Rng* rng_ = nullptr;  // of disorder; null: there is none
  base::Duration most_late_{};
  base::Duration late_{};  // of the next timers
  uint64_t num_steps_ = 0;
};

}  // namespace postern::test
