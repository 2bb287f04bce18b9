// own_listener: whether an address leads back to Postern itself: the rule against loops.
//
// `check` asks it of configured addresses, health and `check --online` of those that names have at
// the moment.
// Tests:    test/conf/own_listener_test.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "conf/config.h"
#include "lb/base/address.h"

namespace postern::conf {

struct OwnListener {
  std::string name;
  base::SocketAddress address;  // an unspecified IP: every one of its family
};
// Whether an interface of this machine has the address, now.
using IsOwnAddress = std::function<bool(const base::IpAddress& ip)>;

// As configured; those whose port is the system's choice are left out.
[[nodiscard]] std::vector<OwnListener> OwnListenersOf(const Config& config);

// The listener that a connection to `target` would come to; null: none. Loopback and listeners' own
// addresses are this machine's in any case; is_own may be null.
[[nodiscard]] const OwnListener* FindOwnListener(const std::vector<OwnListener>& listeners,
                                                 const base::SocketAddress& target,
                                                 const IsOwnAddress& is_own);

}  // namespace postern::conf
