// seeds: runs a property over many seeds; a failing one is named and can be run alone.
//
// POSTERN_SIM_SEEDS: how many of each property (default: what the test says).
// POSTERN_SIM_SHARD: "0/2": of these, every second from the first on, so that processes share them.
// POSTERN_SIM_SEED:  only this one, with its log; with --gtest_filter as a failure names it.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <cstdlib>
#include <functional>
#include <iostream>

#include "lb/base/log.h"

namespace postern::test {

inline uint64_t FromEnvironment(const char* name, uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

// Of the code under test: faults are its daily bread, so that only a replay is told of them.
inline base::log::Level SimLogLevel() {
  return std::getenv("POSTERN_SIM_SEED") != nullptr ? base::log::Level::kDebug
                                                    : base::log::Level::kError;
}

// Runs the property for seeds 1 to count, up to the first failure.
inline void ForSeeds(uint64_t count, const std::function<void(uint64_t seed)>& property) {
  base::log::Configure(SimLogLevel(), base::log::Format::kJson);
  if (std::getenv("POSTERN_SIM_SEED") != nullptr) {
    property(FromEnvironment("POSTERN_SIM_SEED", 0));
    return;
  }
  uint64_t shard = 0, num_shards = 1;
  if (const char* text = std::getenv("POSTERN_SIM_SHARD"); text != nullptr) {
    char* rest = nullptr;
    shard = std::strtoull(text, &rest, 10);
    ASSERT_EQ(*rest, '/') << "POSTERN_SIM_SHARD is \"0/2\"";
    num_shards = std::strtoull(rest + 1, nullptr, 10);
    ASSERT_LT(shard, num_shards);
  }
  uint64_t num_run = 0;
  for (uint64_t seed = 1 + shard; seed <= FromEnvironment("POSTERN_SIM_SEEDS", count);
       seed += num_shards) {
    property(seed);
    ++num_run;
    if (testing::Test::HasFailure()) {
      // Of the suite and not of the test: a suite may run its seeds before its first test.
      const testing::TestSuite& suite = *testing::UnitTest::GetInstance()->current_test_suite();
      ADD_FAILURE() << "POSTERN_SIM_SEED=" << seed << " with --gtest_filter=" << suite.name()
                    << ".*  runs this one again";
      break;
    }
  }
  std::cout << num_run << " sessions by seed\n";
}

}  // namespace postern::test
