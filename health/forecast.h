// forecast: where a number is heading: Holt's linear trend on samples with uneven spacing.
//
// For queue depths and latencies. Its answers are for people and alerts; they enter no weight.
// Owner:    queue monitor (depth), weigher (latency).   Thread: the health loop's; pure.
// Limits:   values in [0, 1e15]; anything else is ignored.
// Tests:    test/health/forecast_test.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>

#include "lb/base/clock.h"

namespace postern::health {

class Forecast {
 public:
  // half_life: how fast old samples lose their say on the level; the trend forgets twice as
  // slowly. For a queue read every 15 s, a minute is a good one.
  explicit Forecast(base::Duration half_life) : half_life_(half_life) {}

  void Add(double value, base::MonoTime at);
  // Level expected at a time; nullopt: fewer than three samples.
  [[nodiscard]] std::optional<double> At(base::MonoTime when) const;
  // Change per second; nullopt: fewer than three samples, or not more than noise.
  [[nodiscard]] std::optional<double> trend() const;
  // How long until `limit` is reached; zero: it is now. nullopt: not rising, further away than a
  // day, too little known, or the last sample is more than ten half-lives old.
  [[nodiscard]] std::optional<base::Duration> TimeTo(double limit, base::MonoTime now) const;

 private:
  base::Duration half_life_;
  base::MonoTime last_{};
  double level_ = 0;
  double trend_ = 0;      // per second
  double surprise_ = 0;   // decayed mean of |sample - expectation|
  uint32_t samples_ = 0;  // counted up to three
};

}  // namespace postern::health
