// clock: two kinds of time that cannot be mixed up.
//
// MonoTime never jumps; every deadline and duration comes from it. WallTime is for logs,
// certificates and what is shown to people. Both are handed in: nothing below lb/net reads a clock.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>

namespace postern::base {

using Duration = std::chrono::nanoseconds;

struct MonoClock {
  using duration = Duration;
  using rep = duration::rep;
  using period = duration::period;
  using time_point = std::chrono::time_point<MonoClock>;
  static constexpr bool is_steady = true;
};
struct WallClock {
  using duration = Duration;
  using rep = duration::rep;
  using period = duration::period;
  using time_point = std::chrono::time_point<WallClock>;  // since the Unix epoch, UTC
  static constexpr bool is_steady = false;
};
using MonoTime = MonoClock::time_point;
using WallTime = WallClock::time_point;

[[nodiscard]] constexpr double Seconds(Duration duration) {
  return std::chrono::duration<double>(duration).count();
}

class Clock {
 public:
  virtual ~Clock() = default;
  [[nodiscard]] virtual MonoTime Now() const = 0;
  [[nodiscard]] virtual WallTime WallNow() const = 0;
};

// The only implementation that asks the system (CLOCK_MONOTONIC, CLOCK_REALTIME).
[[nodiscard]] const Clock& SystemClock();

}  // namespace postern::base
