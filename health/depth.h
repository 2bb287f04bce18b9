// depth: what may be taken for the depth of a mail queue.
//
// Tests:    test/health/prometheus_text_test.cc, test/health/queue_decoder_test.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>

namespace postern::health {

// As the configuration's `hard`; above it a number is a fault of its source, not a queue.
inline constexpr double kMaxDepth = 1e12;

// False for NaN, infinities, and what is negative or absurdly large.
[[nodiscard]] constexpr bool IsDepth(double number) {
  return number >= 0 && number <= kMaxDepth;
}

}  // namespace postern::health
