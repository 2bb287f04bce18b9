// own_listener: addresses of this machine, and ports of listeners.
// SPDX-License-Identifier: Apache-2.0
#include "conf/own_listener.h"

#include <algorithm>

namespace postern::conf {

std::vector<OwnListener> OwnListenersOf(const Config& config) {
  std::vector<OwnListener> listeners;
  for (const Listener& listener : config.listeners)
    for (const base::SocketAddress& address : listener.addresses)
      if (address.port != 0) listeners.push_back({listener.name, address});
  return listeners;
}

const OwnListener* FindOwnListener(const std::vector<OwnListener>& listeners,
                                   const base::SocketAddress& target, const IsOwnAddress& is_own) {
  const base::IpAddress& ip = target.ip;
  const auto is_here = [&] {
    return ip.is_loopback() || (is_own && is_own(ip)) ||
           std::any_of(listeners.begin(), listeners.end(),
                       [&ip](const OwnListener& listener) { return listener.address.ip == ip; });
  };
  for (const OwnListener& listener : listeners) {
    const base::SocketAddress& address = listener.address;
    if (address.port != target.port) continue;
    if (address.ip == ip) return &listener;
    if (address.ip.is_unspecified() && address.ip.is_v4() == ip.is_v4() && is_here())
      return &listener;
  }
  return nullptr;
}

}  // namespace postern::conf
