// service_notify: tells the service manager how far the process is: sd_notify(3) in a few lines.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

namespace postern::daemon {

// state: "READY=1", "STOPPING=1", ... Nothing happens where nobody has asked (NOTIFY_SOCKET).
void NotifyServiceManager(const std::string& state);

}  // namespace postern::daemon
