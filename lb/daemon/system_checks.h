// system_checks: the checks that conf/ asks for, answered by lb/tls, lb/net and lb/directory.
//
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "conf/load.h"
#include "lb/daemon/directories.h"

namespace postern::daemon {

// What this machine has, and its files, at the moment of asking. maps outlives them.
[[nodiscard]] conf::FileChecks SystemFileChecks(
    MapLoader& maps, conf::FileChecks::Invalid invalid = conf::FileChecks::Invalid::kError);

}  // namespace postern::daemon
