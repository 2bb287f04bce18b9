// own_addresses: the addresses of this machine's interfaces, as they are now.
// Tests:    test/net/own_addresses_test.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <set>

#include "lb/base/address.h"

namespace postern::net {

// Empty if the system does not tell.
[[nodiscard]] std::set<base::IpAddress> OwnAddresses();

}  // namespace postern::net
