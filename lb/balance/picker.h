// picker: which endpoint of a home takes the next piece of work.
//
// One per worker (round robin keeps its place, failed attempts their second).
// Orders of preference: ready endpoints that are not down and not cooling down;
// with nothing else left, among those cooling down the one that failed longest
// ago; draining, in maintenance or down: never. Endpoints already tried by this
// piece of work are left out. least_load: power of two choices on (active + 1)
// / weight. round_robin: smooth weighted. hash: weighted rendezvous on the key.
// first: the configured order. Tests:    test/balance/picker_test.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "lb/balance/endpoint.h"
#include "lb/base/clock.h"
#include "lb/base/rng.h"

namespace postern::balance {

class Picker {
 public:
  Picker(int worker, base::Rng& rng) : worker_(worker), rng_(rng) {}

  // Null: nobody can take it now. O(1) expected for least_load, O(members) at
  // worst.
  [[nodiscard]] const Endpoint* Pick(const Home& home, std::string_view key,
                                     std::span<const EndpointId> tried, base::MonoTime now);

  [[nodiscard]] int worker() const { return worker_; }

  // Load accounting: between a successful Pick and the end of the work on that
  // endpoint.
  void Started(EndpointState& endpoint);
  void Ended(EndpointState& endpoint);
  // The attempt failed (after Ended): counts as load for one second more. If
  // the failure came before any byte that a client chose (connect, TLS, a
  // greeting of 421, BYE or -ERR), passive: the endpoint cools down, on all
  // workers.
  enum class Blame : uint8_t { kNone, kPassive };
  void Failed(const Endpoint& endpoint, Blame blame, base::MonoTime now);
  // It owes an answer for too long, before any byte that a client chose: it
  // cools down, though nothing has failed yet.
  void Hangs(const Endpoint& endpoint, base::MonoTime now);
  // Work got through: ends a cooldown.
  void Succeeded(const Endpoint& endpoint);

 private:
  void ForgetFailures(base::MonoTime now);
  int worker_;
  base::Rng& rng_;
  std::deque<std::pair<base::MonoTime, std::shared_ptr<EndpointState>>> failures_;
  // round robin: running values by pool name and member; both outlive a reload,
  // so that it goes on.
  std::unordered_map<std::string, std::unordered_map<const EndpointState*, double>> current_;
};

}  // namespace postern::balance
