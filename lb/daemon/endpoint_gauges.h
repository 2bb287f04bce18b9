// endpoint_gauges: the states of endpoints as gauges: backend_up, backend_degraded,
// backend_weight_ratio, backend_admin_state.
//
// Thread:   control; EndpointState is read as it is now.
// Tests:    test/daemon/endpoint_gauges_test.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "lb/balance/endpoint.h"
#include "metrics/recorder.h"

namespace postern::daemon {

// For the scrape that follows.
void ShowEndpoints(const balance::EndpointTable& endpoints, metrics::Registry& registry);

}  // namespace postern::daemon
