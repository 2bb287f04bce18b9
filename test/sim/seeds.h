// seeds: runs a property over many seeds; a failing one is named and can be run alone.
//
// POSTERN_SIM_SEEDS: how many of each property (default: what the test says).
// POSTERN_SIM_TRANSACTIONS: of a property that counts them, as many seeds as it takes to have these.
// POSTERN_SIM_SHARD: "0/2": of these, every second from the first on, so that processes share them.
// POSTERN_SIM_SEED:  only this one, with its log; a failure prints the whole command.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>

#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <iostream>
#include <optional>
#include <string_view>

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

// What this process has of the seeds.
struct SeedShare {
  uint64_t index = 0, num_shares = 1;

  static std::optional<SeedShare> FromText(const char* text) {
    if (text == nullptr) return SeedShare{};
    SeedShare share;
    char* rest = nullptr;
    share.index = std::strtoull(text, &rest, 10);
    if (*rest != '/') return std::nullopt;
    share.num_shares = std::strtoull(rest + 1, nullptr, 10);
    if (share.index >= share.num_shares) return std::nullopt;
    return share;
  }
};

// The command that runs the present seed alone; told also where the process dies of it.
class SeedCommand {
 public:
  SeedCommand() {
    for (const int signal : {SIGABRT, SIGSEGV, SIGFPE, SIGBUS}) std::signal(signal, &OnDeath);
  }
  ~SeedCommand() {
    for (const int signal : {SIGABRT, SIGSEGV, SIGFPE, SIGBUS}) std::signal(signal, SIG_DFL);
  }
  void Set(uint64_t seed) {
    // A suite may run its seeds before its first test.
    const testing::TestInfo* test = testing::UnitTest::GetInstance()->current_test_info();
    const testing::TestSuite* suite = testing::UnitTest::GetInstance()->current_test_suite();
    std::snprintf(text_.data(), text_.size(),
                  "this one again: POSTERN_SIM_SEED=%llu %s --gtest_filter='%s.%s'\n",
                  static_cast<unsigned long long>(seed), program_invocation_name, suite->name(),
                  test == nullptr ? "*" : test->name());
  }
  [[nodiscard]] static const char* text() { return text_.data(); }

 private:
  static void OnDeath(int signal) {
    const std::string_view text(text_.data());
    if (::write(STDOUT_FILENO, text.data(), text.size()) < 0) ::_exit(1);
    std::signal(signal, SIG_DFL);
    std::raise(signal);
  }
  static inline std::array<char, 400> text_{};
};

// Runs the property for the seeds from 1 on, as long as more are wanted (by their number, and what
// the property has returned so far, in all shares) or one fails. Says how many of `what` there were.
inline void ForSeeds(const char* what,
                     const std::function<bool(uint64_t seed, uint64_t sum)>& wanted,
                     const std::function<uint64_t(uint64_t seed)>& property) {
  base::log::Configure(SimLogLevel(), base::log::Format::kJson);
  if (std::getenv("POSTERN_SIM_SEED") != nullptr) {
    (void)property(FromEnvironment("POSTERN_SIM_SEED", 0));
    return;
  }
  const auto share = SeedShare::FromText(std::getenv("POSTERN_SIM_SHARD"));
  ASSERT_TRUE(share.has_value()) << "POSTERN_SIM_SHARD is \"0/2\"";
  SeedCommand command;
  uint64_t sum = 0;
  for (uint64_t seed = 1 + share->index; wanted(seed, sum * share->num_shares);
       seed += share->num_shares) {
    command.Set(seed);
    sum += property(seed);
    if (!testing::Test::HasFailure()) continue;
    ADD_FAILURE() << command.text();
    break;
  }
  std::cout << sum << " " << what << " by seed\n";
}

// Runs the property for seeds 1 to count, up to the first failure.
inline void ForSeeds(uint64_t count, const std::function<void(uint64_t seed)>& property) {
  const uint64_t last = FromEnvironment("POSTERN_SIM_SEEDS", count);
  ForSeeds(
      "sessions", [last](uint64_t seed, uint64_t) { return seed <= last; },
      [&](uint64_t seed) {
        property(seed);
        return 1;
      });
}

// Runs the property, which says how many transactions it has made, for as many seeds as it takes.
inline void ForTransactions(uint64_t count,
                            const std::function<uint64_t(uint64_t seed)>& property) {
  const uint64_t enough = FromEnvironment("POSTERN_SIM_TRANSACTIONS", count);
  ForSeeds(
      "transactions", [enough](uint64_t, uint64_t sum) { return sum < enough; }, property);
}

}  // namespace postern::test
