// judge: from what checks and live sessions meet to one word: up, degraded or down.
//
// The first check decides at once; until it has ended an endpoint counts as up. Then `fall` failed
// checks in a row take it down, and `rise` good ones bring it up again. Live work never takes it
// down, as clients could then: where checks pass but more than half of an interval's attempts fail
// (kLeastAttempts at least), it is degraded, until that ends. A degraded endpoint gets little work,
// so its attempts are gathered over several intervals, kPatience at most.
// Pure: no clock, no chance.
// Owner:    monitor, one for each endpoint.
// Tests:    test/health/judge_test.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>

#include "lb/balance/endpoint.h"

namespace postern::health {

class Judge {
 public:
  static constexpr uint64_t kLeastAttempts = 10;
  static constexpr uint32_t kPatience = 6;  // intervals

  Judge(uint32_t rise, uint32_t fall) : rise_(rise), fall_(fall) {}
  void SetThresholds(uint32_t rise, uint32_t fall);

  void OnCheck(bool is_ok);
  // What live sessions met since the last call; once an interval.
  void OnInterval(uint64_t attempts, uint64_t failures);

  [[nodiscard]] balance::Health health() const;
  // The next check may change the word: it should come soon.
  [[nodiscard]] bool is_in_doubt() const { return streak_ > 0; }
  [[nodiscard]] bool has_been_checked() const { return is_checked_; }
  // Why it is not simply up ("3 of 3 checks failed"), or nearly so; empty: it is.
  [[nodiscard]] std::string Words() const;

 private:
  uint32_t rise_;
  uint32_t fall_;
  bool is_checked_ = false;
  bool is_down_ = false;
  uint32_t streak_ = 0;  // checks in a row that speak against the present word
  bool is_degraded_ = false;
  uint64_t attempts_ = 0, failures_ = 0;  // gathered
  uint64_t degraded_attempts_ = 0, degraded_failures_ = 0;
  uint32_t num_gathered_ = 0;  // intervals
};

}  // namespace postern::health
