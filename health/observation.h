// observation: what one check of one endpoint has found.
//
// Plain values, made by Probe, read by the judge (state), the weigher (times), the announcements
// (capabilities) and the metrics.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "lb/base/clock.h"
#include "lb/base/end_cause.h"

namespace postern::health {

struct PhaseTime {
  base::Phase phase = base::Phase::kConnect;
  base::Duration took{};
};

struct Observation {
  base::MonoTime at{};  // its end
  base::Duration took{};
  bool is_ok = false;
  // Why not.
  base::Phase phase = base::Phase::kConnect;
  base::FaultKind kind = base::FaultKind::kProtocol;
  std::string why;  // printable
  // It failed for want of a descriptor, port or memory of our own: nothing is known of the
  // endpoint.
  bool is_own_shortage = false;

  std::vector<PhaseTime> phases;  // those that were completed, each once
  bool has_capabilities = false;
  std::vector<std::string> capabilities;
  std::optional<base::WallTime> certificate_not_after;  // of the endpoint's own certificate
  // Relay check: does it take mail for strangers from strangers? Nothing: it was not asked.
  std::optional<bool> relays;
  std::string relay_reply;  // its answer, printable
};

}  // namespace postern::health
