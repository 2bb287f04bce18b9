// resolver: names to addresses and addresses to names; never blocks.
// Implementations: net::DnsResolver (c-ares); test fakes.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "lb/base/address.h"
#include "lb/base/clock.h"
#include "lb/base/peer_name.h"

namespace postern::io {

struct ResolvedName {
  std::vector<base::IpAddress> addresses;  // empty: the name has none, or the lookup failed
  base::Duration ttl{};                    // the smallest; zero on failure
  std::string error;                       // why there are none
};

using base::PeerName;

class Resolver {
 public:
  virtual ~Resolver() = default;
  // The callback runs later on the loop's thread, exactly once, unless the resolver dies before.
  virtual void Resolve(const std::string& host, std::function<void(const ResolvedName&)> done) = 0;
  // PTR, then A/AAAA of the name found must contain the address.
  virtual void FindPeerName(const base::IpAddress& address,
                            std::function<void(const PeerName&)> done) = 0;
};

}  // namespace postern::io
