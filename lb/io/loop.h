// loop: what a thread of Postern offers to the code that lives on it: time, timers, later.
//
// Implementations: net::EventLoop (libevent), test/support/sim_loop (virtual time).
// Thread:   everything but Post belongs to the loop's own thread.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>

#include "lb/base/clock.h"
#include "lb/io/timer.h"

namespace postern::io {

class Loop {
 public:
  virtual ~Loop() = default;
  // Taken once an iteration: cheap, and the same for everything that happens in it.
  [[nodiscard]] virtual base::MonoTime Now() const = 0;
  [[nodiscard]] virtual base::WallTime WallNow() const = 0;
  [[nodiscard]] virtual TimerHeap& timers() = 0;
  // Runs the task on the loop's thread, after the current event, in the order of posting. From any
  // thread.
  virtual void Post(std::function<void()> task) = 0;
};

}  // namespace postern::io
