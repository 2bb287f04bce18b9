// picker: which endpoint of a home takes the next piece of work.
//
// One per worker (round robin keeps its place, failed attempts their second). Who is considered, in
// this order: members of the tiers in use (home_view) that are ready, not down, not cooling down,
// not full, and on smtp, submission and lmtp not above the hard limit of their mail queue; the
// later tiers one by one; the same with those above the hard limit; with nothing else left, among
// those cooling down the one that failed longest ago; where the whole pool is down and on_down is
// open, among these likewise. Draining, in maintenance, full, or tried by this piece of work:
// never. Among them: least_load: power of two choices on active / weight, drawn by weight.
// round_robin: by turns in proportion to weight. hash: weighted rendezvous on the key, with weights
// as configured and heedless of queues, so that all nodes agree. first: the configured order.
// Tests:    test/balance/picker_test.cc, test/balance/share_test.cc, test/balance/tiers_test.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "lb/balance/endpoint.h"
#include "lb/balance/home_view.h"
#include "lb/base/address.h"
#include "lb/base/clock.h"
#include "lb/base/rng.h"

namespace postern::balance {

// What the key of a choice is made of, by the pool's `balance` and `hash_on`.
enum class KeyPart : uint8_t {
  kNone,  // any key will do
  kName,  // the canonical user; on smtp and lmtp the canonical recipient
  kClient,
};
[[nodiscard]] KeyPart KeyPartOf(const Home& home);
// The key of a client: its address alone, as two connections of one client differ in their ports.
[[nodiscard]] std::string ClientKey(const base::IpAddress& client);

// Does a choice pass over whose mail queue is over its limit, while another is there?
[[nodiscard]] bool HeedsHard(const Home& home);

class Picker {
 public:
  Picker(int worker, base::Rng& rng) : worker_(worker), rng_(rng) {}

  // key: for `hash`, made as KeyPartOf says.
  // Null: nobody can take it now. O(log members) for least_load and round_robin, a few nanoseconds
  // a member for hash; O(members) where most cannot serve.
  [[nodiscard]] const Endpoint* Pick(const Home& home, std::string_view key,
                                     std::span<const EndpointId> tried, base::MonoTime now);

  [[nodiscard]] int worker() const { return worker_; }

  // Load accounting: between a successful Pick and the end of the work on that endpoint.
  void Started(EndpointState& endpoint);
  void Ended(EndpointState& endpoint);
  // The attempt failed (after Ended): counts as load for one second more. If the failure came
  // before any byte that a client chose (connect, TLS, a greeting of 421, BYE or -ERR), passive:
  // the endpoint cools down, on all workers.
  enum class Blame : uint8_t { kNone, kPassive };
  void Failed(const Endpoint& endpoint, Blame blame, base::MonoTime now);
  // It owes an answer for too long, before any byte that a client chose: it cools down, though
  // nothing has failed yet.
  void Hangs(const Endpoint& endpoint, base::MonoTime now);
  // Work got through: ends a cooldown.
  void Succeeded(const Endpoint& endpoint);

 private:
  void ForgetFailures(base::MonoTime now);
  int worker_;
  base::Rng& rng_;
  std::deque<std::pair<base::MonoTime, std::shared_ptr<EndpointState>>> failures_;
  [[nodiscard]] HomeView& ViewOf(const Home& home, base::MonoTime now);
  [[nodiscard]] const Endpoint* Choose(const Home& home, HomeView& view, std::string_view key,
                                       const Admission& admission);
  // Of pools, by name: they outlive a reload, so that round robin goes on.
  std::array<std::unordered_map<std::string, HomeView>, conf::kNumProtocols> views_;
};

}  // namespace postern::balance
