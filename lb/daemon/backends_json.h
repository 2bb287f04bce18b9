// backends_json: what health knows as the JSON of GET /api/v1/backends.
//
// Thread:   any.
// Tests:    test/daemon/admin_test.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "health/report.h"

namespace postern::daemon {

// The list; state, weight and sessions as they are now.
[[nodiscard]] std::string BackendsAsJson(const health::HealthReport& report);

}  // namespace postern::daemon
