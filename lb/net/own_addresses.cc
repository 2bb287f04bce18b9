// own_addresses: the addresses of this machine's interfaces, as they are now.
// SPDX-License-Identifier: Apache-2.0
#include "lb/net/own_addresses.h"

#include <ifaddrs.h>

#include <memory>

namespace postern::net {

std::set<base::IpAddress> OwnAddresses() {
  std::set<base::IpAddress> own;
  ifaddrs* first = nullptr;
  if (::getifaddrs(&first) != 0) return own;
  const std::unique_ptr<ifaddrs, void (*)(ifaddrs*)> list(first, &::freeifaddrs);
  for (const ifaddrs* one = first; one != nullptr; one = one->ifa_next) {
    if (one->ifa_addr == nullptr) continue;
    if (const auto address = base::SocketAddress::FromSockaddr(one->ifa_addr))
      own.insert(address->ip);
  }
  return own;
}

}  // namespace postern::net
