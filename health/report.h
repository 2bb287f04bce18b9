// report: all that health knows, as of one moment, for the API, `postern status` and the dashboard.
//
// Values; readers keep them as long as they like.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
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
  std::shared_ptr<const balance::EndpointState> state;
  conf::Protocol protocol = conf::Protocol::kImap;
  std::string address;  // "10.0.0.11:993"; the host's name while it is not resolved
  double configured_weight = 0;
  Factors factors;
  std::string reason;  // why it is not simply up with its configured weight; without admin's words
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

  // As of now rather than of the report: what others may have changed since.
  [[nodiscard]] balance::Health health() const {
    return state->health.load(std::memory_order_relaxed);
  }
  [[nodiscard]] balance::AdminState admin() const {
    return state->admin.load(std::memory_order_relaxed);
  }
  [[nodiscard]] double weight() const;
  [[nodiscard]] std::string Words() const;  // reason, and what an operator or an agent has said
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
  // For /api/v1/status: what an operator must hear of (an open relay, a certificate that ends
  // soon).
  std::vector<std::string> problems;
};

[[nodiscard]] std::string_view Name(balance::Health health);
[[nodiscard]] std::string_view Name(balance::AdminState state);

}  // namespace postern::health
