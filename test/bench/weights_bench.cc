// weights_bench: what 1,000 backends cost: weighing them all anew, and choosing one of them.
//
// Prints the median of 15 rounds. Not part of the tests: `ninja weights_bench`, optimised.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "health/weigher.h"
#include "lb/balance/picker.h"
#include "lb/base/clock.h"
#include "lb/base/rng.h"

namespace {

using namespace postern;

constexpr size_t kBackends = 1000;

double MedianMicroseconds(const std::function<void()>& run, int times) {
  std::vector<double> rounds;
  for (int round = 0; round < 15; ++round) {
    const auto start = base::SystemClock().Now();
    for (int i = 0; i < times; ++i) run();
    const std::chrono::duration<double, std::micro> took = base::SystemClock().Now() - start;
    rounds.push_back(took.count() / times);
  }
  std::sort(rounds.begin(), rounds.end());
  return rounds[rounds.size() / 2];
}

void Weigh() {
  base::SeededRng rng(1);
  health::PoolWeigher weigher(conf::Weights{}, health::WeigherTimes{}, conf::Protocol::kSmtp);
  for (size_t i = 0; i < kBackends; ++i) (void)weigher.Add("b" + std::to_string(i), 100);
  base::MonoTime now(std::chrono::hours(1));
  const auto observe = [&] {
    now += std::chrono::seconds(5);
    for (health::MemberId id = 0; id < kBackends; ++id)
      for (const base::Phase phase :
           {base::Phase::kConnect, base::Phase::kTls, base::Phase::kGreeting, base::Phase::kHello,
            base::Phase::kMail, base::Phase::kRcpt, base::Phase::kDataReply}) {
        const double ms = (1 + rng.Unit()) * (id % 10 == 0 ? 50 : 10);  // a tenth is slow
        weigher.Observe(id, phase, std::chrono::microseconds(static_cast<int64_t>(ms * 1000)), 20,
                        now);
      }
  };
  for (health::MemberId id = 0; id < kBackends; id += 7) weigher.SetQueue(id, 812, 500, 5000);
  for (int i = 0; i < 20; ++i) observe(), weigher.Tick(now);
  // Weighed with fresh news each time, as in life.
  const double news = MedianMicroseconds(observe, 5);
  const double both = MedianMicroseconds([&] { observe(), weigher.Tick(now); }, 5);
  std::printf("news of 7 phases of 1000 backends  %8.1f us\n", news);
  std::printf("weigh 1000 backends                %8.1f us\n", both - news);
}

void Choose(conf::Balance balance, const char* name) {
  conf::Config config;
  conf::Pool pool;
  pool.name = "p";
  pool.balance = balance;
  for (size_t i = 0; i < kBackends; ++i) {
    conf::Backend backend;
    backend.name = "b" + std::to_string(i);
    backend.endpoints.emplace_back().protocol = conf::Protocol::kImap;
    pool.backends.push_back(backend.name);
    config.backends.push_back(backend);
  }
  config.pools.push_back(pool);
  balance::EndpointBook book(2);
  const balance::EndpointTable table(config, book);
  const balance::Home& home = *table.PoolHome(0, conf::Protocol::kImap);
  base::SeededRng rng(2);
  for (const balance::Endpoint* member : home.members)
    member->state->weight_ratio = static_cast<float>(0.05 + 0.95 * rng.Unit());
  balance::Picker picker(0, rng);
  base::MonoTime now(std::chrono::hours(1));
  uint64_t work = 0;
  const double us = MedianMicroseconds(
      [&] {
        now += std::chrono::microseconds(100);  // ten thousand choices a second
        const std::string key = "user" + std::to_string(work) + "@example.com";
        work += picker.Pick(home, key, {}, now)->id;
      },
      2000);
  std::printf("choose 1 of 1000, %-15s %8.2f us\n", name, us);
}

}  // namespace

int main() {
  Weigh();
  Choose(conf::Balance::kLeastLoad, "least_load");
  Choose(conf::Balance::kRoundRobin, "round_robin");
  Choose(conf::Balance::kHash, "hash");
  Choose(conf::Balance::kFirst, "first");
  return 0;
}
