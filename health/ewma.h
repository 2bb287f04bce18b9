// ewma: a mean that forgets by time, with a guard against outliers.
//
// A sample loses half its say every half_life, whatever the spacing. A single sample far from the
// mean is left out if it is late; three in a row on the same side are the new truth and replace the
// mean at once, so that a step is seen at its third sample and not after many half-lives.
// Owner:    weigher.   Thread: the health loop's; pure, time is passed in.
// Limits:   values in [0, 3600] seconds; anything else is ignored.
// Tests:    test/health/ewma_test.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <optional>

#include "lb/base/clock.h"

namespace postern::health {

class Ewma {
 public:
  static constexpr double kMaxSeconds = 3600;
  static constexpr double kQuietSeconds = 0.005;  // differences below this are never outliers
  static constexpr uint32_t kEnough = 3;          // measurements before a mean is one

  // A mean of `count` measurements that ended at `at`. True: it counts now; false: ignored or held.
  bool Add(double seconds, uint32_t count, base::MonoTime at, base::Duration half_life) {
    if (!std::isfinite(seconds) || seconds < 0 || seconds > kMaxSeconds || count == 0) return false;
    // A mean of many says more than one sample, but a level moves between batches too: so a batch
    // never outweighs ten samples, and a rush does not hold the mean fast.
    const double weight = 10.0 * count / (count + 9.0);
    Age(at, half_life);
    seen_ = std::min(kEnough, seen_ + std::min(kEnough, count));
    const int side = weight_ > 0 ? SideOf(seconds, weight) : 0;
    // A batch is no single sample, but one hang may spoil its mean: it needs one witness, not two.
    const uint32_t strength = count >= 4 ? 2 : 1;
    if (side == 0) {
      row_ -= std::min(row_, strength);
      if (row_ == 0) held_sum_ = held_weight_ = 0;
      Accept(seconds, weight);
      return true;
    }
    if (side != side_) row_ = 0, held_sum_ = held_weight_ = 0;
    side_ = side;
    row_ += strength;
    held_sum_ += seconds * weight;
    held_weight_ += weight;
    if (row_ < 3 && side > 0) return false;
    if (row_ < 3) {  // a quick answer is no accident: it counts at once, as any other
      Accept(seconds, weight);
      return true;
    }
    sum_ = held_sum_;
    weight_ = held_weight_;
    row_ = 0;
    held_sum_ = held_weight_ = 0;
    return true;
  }

  // Seconds; nullopt: too few samples yet.
  [[nodiscard]] std::optional<double> value() const {
    if (seen_ < kEnough || weight_ <= 0) return std::nullopt;
    return sum_ / weight_;
  }
  // How far off the mean may well be, by the scatter of its samples (one standard error, squared).
  [[nodiscard]] double variance() const {
    if (weight_ <= 0) return 0;
    const double error = scatter() * sum_ / weight_;
    return error * error / weight_;
  }
  // Samples beyond the bound are held back: more of them soon would tell.
  [[nodiscard]] bool is_in_doubt() const { return row_ > 0; }
  // When the last sample ended, accepted or held.
  [[nodiscard]] base::MonoTime last() const { return last_; }

 private:
  // The old mean keeps so much say for ever: after a silence, too, one odd sample is an outlier.
  static constexpr double kLeastWeight = 0.5;
  static constexpr double kRatio = 3;       // a third or three times the mean is far
  static constexpr double kDeviations = 4;  // further where samples scatter anyway
  // Scatter is a server's habit and changes slower than its level, so it is kept longer.
  static constexpr double kScatterHalfLives = 8;
  static constexpr double kGuess = 0.5;     // scatter of what is not known yet, worth one sample
  static constexpr double kToSigma = 1.25;  // from mean absolute deviation

  void Age(base::MonoTime at, base::Duration half_life) {
    if (at <= last_) return;  // the same instant, or late news: no time passes
    const double ages =
        half_life.count() > 0 ? base::Seconds(at - last_) / base::Seconds(half_life) : 1e9;
    if (weight_ > kLeastWeight) {
      const double keep = std::max(std::exp2(-ages), kLeastWeight / weight_);
      sum_ *= keep;
      weight_ *= keep;
    }
    const double keep_scatter = std::exp2(-ages / kScatterHalfLives);
    scatter_sum_ *= keep_scatter;
    scatter_weight_ *= keep_scatter;
    last_ = at;
  }
  void Accept(double seconds, double weight) {
    const double mean = weight_ > 0 ? sum_ / weight_ : 0;
    if (mean > 0) {
      // Of one measurement, relative: a batch scatters less by the root of its size.
      scatter_sum_ += std::abs(seconds - mean) / mean * std::sqrt(weight);
      scatter_weight_ += 1;
    }
    sum_ += seconds * weight;
    weight_ += weight;
  }
  // One measurement's standard deviation, as a part of the mean.
  [[nodiscard]] double scatter() const {
    return kToSigma * (scatter_sum_ + kGuess) / (scatter_weight_ + 1);
  }
  // Beyond the bound above (1), below (-1), or within (0).
  [[nodiscard]] int SideOf(double seconds, double weight) const {
    const double mean = sum_ / weight_;
    if (std::abs(seconds - mean) < kQuietSeconds) return 0;
    const double ratio = std::max(kRatio, 1 + kDeviations * scatter() / std::sqrt(weight));
    if (seconds > mean * ratio) return 1;
    if (seconds < mean / ratio) return -1;
    return 0;
  }

  double sum_ = 0, weight_ = 0;                  // decayed to last_
  double scatter_sum_ = 0, scatter_weight_ = 0;  // relative deviations, decayed slower
  double held_sum_ = 0, held_weight_ = 0;        // of the present row beyond the bound
  uint32_t row_ = 0;
  uint32_t seen_ = 0;  // measurements, up to kEnough
  int side_ = 0;
  base::MonoTime last_{};
};

}  // namespace postern::health
