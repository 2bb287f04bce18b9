// report: all that health knows, as of one moment, for the API, `postern status` and the dashboard.
//
// A value that is published whole and never changed; readers keep it as long as they like.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "conf/config.h"
#include "health/weigher.h"
#include "lb/balance/endpoint.h"
#include "lb/base/clock.h"
#include "lb/base/end_cause.h"

namespace postern::health {

struct EndpointReport {
  conf::Protocol protocol = conf::Protocol::kImap;
  std::string address;  // "10.0.0.11:993"; the host's name while it is not resolved
  balance::Health health = balance::Health::kUp;
  balance::AdminState admin = balance::AdminState::kReady;
  double weight = 0;  // now, on the scale of configured_weight
  double configured_weight = 0;
  Factors factors;
  bool is_above_hard = false;
  std::string reason;  // why state and weight are what they are, in words
  uint64_t sessions = 0;
  std::vector<std::string> capabilities;

  struct Check {
    bool is_ok = false;
    base::Phase phase = base::Phase::kConnect;  // where it failed
    std::string why;
    base::WallTime at{};
    base::Duration took{};
  };
  std::optional<Check> last_check;
  std::optional<base::WallTime> certificate_not_after;
};

struct QueueReport {
  std::optional<double> depth;
  std::string source;
  std::optional<double> age_seconds;
  std::optional<double> time_to_hard_seconds;
  std::string why;  // there is no depth
};

struct BackendReport {
  std::string name;
  std::string site;
  uint32_t priority = 0;
  std::vector<EndpointReport> endpoints;
  std::optional<QueueReport> queue;  // where the backend has a queue source
};

struct HealthReport {
  base::WallTime at{};
  std::vector<BackendReport> backends;
  // For /api/v1/status: what an operator must hear of (an open relay, a certificate that ends soon).
  std::vector<std::string> problems;
};

}  // namespace postern::health
