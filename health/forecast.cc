// forecast: Holt's linear trend.
// SPDX-License-Identifier: Apache-2.0
#include "health/forecast.h"

#include <algorithm>
#include <cmath>

namespace postern::health {
namespace {

constexpr double kMaxValue = 1e15;
constexpr double kMaxSeconds = 86400;
constexpr double kTrendHalfLives = 2;  // the trend forgets this much slower than the level
constexpr double kNoiseHalfLives =
    4;                           // a trend that moves less than the noise in this time is none
constexpr double kMaxAges = 10;  // half-lives after which silence means nothing is known

double Share(double seconds, double half_life) {
  return 1 - std::exp2(-seconds / half_life);
}

}  // namespace

void Forecast::Add(double value, base::MonoTime at) {
  if (!std::isfinite(value) || value < 0 || value > kMaxValue || at < last_) return;
  const double half_life = std::max(1e-3, base::Seconds(half_life_));
  const double elapsed = base::Seconds(at - last_);
  if (samples_ == 0 || elapsed > kMaxAges * half_life) {  // what is that old is no trend
    level_ = value;
    trend_ = surprise_ = 0;
    samples_ = 1;
    last_ = at;
    return;
  }
  if (elapsed <= 0) return;  // two at one instant have no slope
  last_ = at;
  if (samples_ == 1) {
    trend_ = (value - level_) / elapsed;
    surprise_ = std::abs(value - level_);  // nothing is known of the noise: all may be
    level_ = value;
    samples_ = 2;
    return;
  }
  const double expected = level_ + trend_ * elapsed;
  const double alpha = Share(elapsed, half_life);
  const double level = std::max(0.0, expected + alpha * (value - expected));
  trend_ += Share(elapsed, half_life * kTrendHalfLives) * ((level - level_) / elapsed - trend_);
  surprise_ += alpha * (std::abs(value - expected) - surprise_);
  level_ = level;
  samples_ = 3;
}

std::optional<double> Forecast::At(base::MonoTime when) const {
  if (samples_ < 3) return std::nullopt;
  return std::clamp(level_ + trend_ * base::Seconds(when - last_), 0.0, kMaxValue);
}

std::optional<double> Forecast::trend() const {
  const double span = std::max(1e-3, base::Seconds(half_life_)) * kNoiseHalfLives;
  if (samples_ < 3 || std::abs(trend_) * span <= surprise_) return std::nullopt;
  return trend_;
}

std::optional<base::Duration> Forecast::TimeTo(double limit, base::MonoTime now) const {
  const double half_life = std::max(1e-3, base::Seconds(half_life_));
  if (samples_ == 0 || !std::isfinite(limit)) return std::nullopt;
  if (base::Seconds(now - last_) > kMaxAges * half_life) return std::nullopt;
  if (level_ >= limit) return base::Duration::zero();
  const std::optional<double> slope = trend();
  if (!slope.has_value() || *slope <= 0) return std::nullopt;
  const double seconds = (limit - level_) / *slope - base::Seconds(now - last_);
  if (seconds > kMaxSeconds) return std::nullopt;
  return std::chrono::duration_cast<base::Duration>(
      std::chrono::duration<double>(std::max(0.0, seconds)));
}

}  // namespace postern::health
