// endpoint_gauges: the states of endpoints as gauges.
// SPDX-License-Identifier: Apache-2.0
#include "lb/daemon/endpoint_gauges.h"

namespace postern::daemon {
namespace {

metrics::Registry::AdminState WordOf(balance::AdminState state) {
  switch (state) {
    case balance::AdminState::kReady:
      return metrics::Registry::AdminState::kReady;
    case balance::AdminState::kDrain:
      return metrics::Registry::AdminState::kDrain;
    case balance::AdminState::kMaintenance:
      return metrics::Registry::AdminState::kMaintenance;
  }
  return metrics::Registry::AdminState::kReady;
}

}  // namespace

void ShowEndpoints(const balance::EndpointTable& endpoints, metrics::Registry& registry) {
  using Gauge = metrics::Registry::EndpointGauge;
  for (const balance::Endpoint& endpoint : endpoints.endpoints()) {
    const balance::EndpointState& state = *endpoint.state;
    const balance::Health health = state.health.load(std::memory_order_relaxed);
    const auto set = [&](Gauge gauge, double value) {
      registry.SetEndpoint(state.backend, state.protocol, gauge, value);
    };
    set(Gauge::kUp, health == balance::Health::kDown ? 0 : 1);
    set(Gauge::kDegraded, health == balance::Health::kDegraded ? 1 : 0);
    // An operator's weight stands in for the configured one, so it is part of the quotient.
    const double ratio = static_cast<double>(state.weight_ratio.load(std::memory_order_relaxed));
    const double configured = endpoint.backend->weight;
    set(Gauge::kWeightRatio, configured > 0 ? endpoint.base_weight() * ratio / configured : ratio);
    registry.SetEndpointAdmin(state.backend, state.protocol,
                              WordOf(state.admin.load(std::memory_order_relaxed)));
  }
}

}  // namespace postern::daemon
