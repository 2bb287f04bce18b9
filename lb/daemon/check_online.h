// check_online: asks everything that a configuration names, once: whether it is there and answers.
//
// Endpoints: their names are resolved, and each is checked by health's own probe: connect, TLS and
// its certificate, greeting, EHLO or CAPABILITY or CAPA, and the login and envelope of
// `health.login` and `health.mail` where they are configured. An address that is a listener of
// Postern's own is a failure: a loop. Queue sources are read once. Every server of a directory is
// asked for a key that nobody has ("postern-check@" and the hostname); that there is none is a good
// answer. Files were looked at by the plain check.
// Limits:   kOnlineAtOnce at a time; each as long as its own bounds allow, all together
//           kOnlineLongest.
// Tests:    test/integration/commands_test.py
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>

#include "lb/base/clock.h"
#include "lb/daemon/snapshot.h"

namespace postern::daemon {

inline constexpr size_t kOnlineAtOnce = 16;
inline constexpr base::Duration kOnlineLongest = std::chrono::minutes(2);

// Prints a line for each, as the answers come, to stdout. Whether all of them are good.
[[nodiscard]] bool CheckOnline(const Snapshot& snapshot);

}  // namespace postern::daemon
