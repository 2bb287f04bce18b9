// dice: chance in the words of a simulation.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "lb/base/clock.h"
#include "lb/base/rng.h"

namespace postern::test {

class Dice {
 public:
  explicit Dice(base::Rng& rng) : rng_(rng) {}

  [[nodiscard]] uint64_t Below(uint64_t bound) { return rng_.Below(bound); }
  [[nodiscard]] bool OneIn(uint64_t count) { return rng_.Below(count) == 0; }
  // Of a thousand; 0 costs nothing.
  [[nodiscard]] bool PerMille(uint32_t chance) { return chance > 0 && rng_.Below(1000) < chance; }
  [[nodiscard]] base::Duration UpTo(base::Duration most) {
    return base::Duration(rng_.Below(static_cast<uint64_t>(most.count()) + 1));
  }
  template <typename T, size_t N>
  [[nodiscard]] T Of(const std::array<T, N>& all) {
    return all[rng_.Below(N)];
  }
  [[nodiscard]] base::Rng& rng() { return rng_; }

 private:
  base::Rng& rng_;
};

}  // namespace postern::test
