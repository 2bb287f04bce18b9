// seeds: runs a property over many seeds; a failing one is named and can be run alone.
//
// POSTERN_SIM_SEEDS: how many of each property (default: what the test says); POSTERN_SIM_SEED: only this one.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <cstdlib>
#include <functional>
#include <string>

namespace postern::test {

inline uint64_t FromEnvironment(const char* name, uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

inline void ForSeeds(uint64_t count, const std::function<void(uint64_t seed)>& property) {
  if (std::getenv("POSTERN_SIM_SEED") != nullptr) {
    property(FromEnvironment("POSTERN_SIM_SEED", 0));
    return;
  }
  const uint64_t num_seeds = FromEnvironment("POSTERN_SIM_SEEDS", count);
  for (uint64_t seed = 1; seed <= num_seeds; ++seed) {
    property(seed);
    if (testing::Test::HasFailure()) {
      ADD_FAILURE() << "POSTERN_SIM_SEED=" << seed << " runs this one again";
      return;
    }
  }
  testing::Test::RecordProperty("sessions", std::to_string(num_seeds));
}

}  // namespace postern::test
