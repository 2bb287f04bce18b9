// check_diff: what a reload of a configuration would do to the running process, in words.
//
// Limits:   kMaxDiffLines changes, each value cut at kMaxDiffValue bytes.
// Tests:    test/daemon/check_diff_test.cc, test/integration/commands_test.py
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "conf/config.h"
#include "conf/json.h"

namespace postern::daemon {

inline constexpr size_t kMaxDiffLines = 500;
inline constexpr size_t kMaxDiffValue = 200;

// running: as GET /api/v1/config answers. wanted: as conf::Shown has it, config the same as values.
[[nodiscard]] std::string DiffText(const conf::json::Node& running, const conf::json::Node& wanted,
                                   const conf::Config& config);

}  // namespace postern::daemon
