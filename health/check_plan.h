// check_plan: what a check of an endpoint does, by the configuration: for the monitor and for
// whoever wants to check as it does.
//
// Tests:    test/health/monitor_test.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <vector>

#include "conf/config.h"
#include "health/probe.h"
#include "lb/balance/endpoint.h"
#include "lb/io/stream.h"

namespace postern::health {

// By EndpointId, the pool whose settings hold for it: that with the most members, at a tie the
// first; null: it is in none, and the global ones hold.
[[nodiscard]] std::vector<const conf::Pool*> PoolsThatHold(const conf::Config& config,
                                                           const balance::EndpointTable& endpoints);

// A usual check; the addresses and `keep` are the caller's to fill. What is passed outlives the
// probe.
[[nodiscard]] ProbePlan CheckPlan(const conf::Config& config, const conf::Pool* pool,
                                  const balance::Endpoint& endpoint, const io::TlsSettings* tls);

}  // namespace postern::health
