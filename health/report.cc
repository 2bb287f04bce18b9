// report: words and numbers of what health knows.
// SPDX-License-Identifier: Apache-2.0
#include "health/report.h"

#include <cmath>

namespace postern::health {

std::string_view Name(balance::Health health) {
  switch (health) {
    case balance::Health::kUp:
      return "up";
    case balance::Health::kDegraded:
      return "degraded";
    case balance::Health::kDown:
      return "down";
  }
  return "up";
}

std::string_view Name(balance::AdminState state) {
  switch (state) {
    case balance::AdminState::kReady:
      return "ready";
    case balance::AdminState::kDrain:
      return "drain";
    case balance::AdminState::kMaintenance:
      return "maintenance";
  }
  return "ready";
}

double EndpointReport::weight() const {
  const int64_t operators = state->operator_weight.load(std::memory_order_relaxed);
  const double base = operators >= 0 ? static_cast<double>(operators) : configured_weight;
  return base * static_cast<double>(state->weight_ratio.load(std::memory_order_relaxed));
}

std::string EndpointReport::Words() const {
  std::string words;
  const auto add = [&words](const std::string& more) {
    if (!more.empty()) words += (words.empty() ? "" : "; ") + more;
  };
  if (admin() != balance::AdminState::kReady)
    add(std::string(Name(admin())) + (state->is_admin_of_agent.load(std::memory_order_relaxed)
                                          ? " by its agent"
                                          : " by an operator"));
  if (const int64_t operators = state->operator_weight.load(std::memory_order_relaxed);
      operators >= 0)
    add("weight " + std::to_string(operators) + " by an operator, configured " +
        std::to_string(static_cast<int64_t>(configured_weight)));
  add(reason);
  return words;
}

}  // namespace postern::health
