// bindings: new sockets beside those that stay.
// SPDX-License-Identifier: Apache-2.0
#include "lb/daemon/bindings.h"

#include <algorithm>
#include <utility>

#include "lb/base/log.h"
#include "lb/net/tcp_listener.h"
#include "lb/session/session_env.h"

namespace postern::daemon {

std::string BindingKey(const std::string& listener, size_t place,
                       const base::SocketAddress& address) {
  return listener + "#" + std::to_string(place) + "#" + address.ToString();
}

base::Result<Bindings> Bind(const conf::Config& config, const Bindings& known, size_t num_workers) {
  Bindings wanted;
  for (uint32_t i = 0; i < config.listeners.size(); ++i) {
    const conf::Listener& listener = config.listeners[i];
    if (!session::IsServed(listener.protocol)) {  // `check` warns of it
      base::log::Warn("listener_not_opened",
                      {{"listener", listener.name},
                       {"why", "this build does not speak " +
                                   std::string(conf::Name(listener.protocol)) + " yet"}});
      continue;
    }
    for (size_t place = 0; place < listener.addresses.size(); ++place) {
      const base::SocketAddress& address = listener.addresses[place];
      const std::string key = BindingKey(listener.name, place, address);
      BoundListener binding;
      binding.name = listener.name;
      binding.listener = i;
      if (const auto there = known.find(key); there != known.end()) {
        binding.address = there->second.address;
      } else {
        // A listener that was renamed, or moves between all addresses and one, keeps its port.
        const bool is_ours = std::any_of(known.begin(), known.end(), [&address](const auto& other) {
          return other.second.address.port == address.port;
        });
        auto bound = net::BindAll(address, num_workers,
                                  is_ours ? net::PortUse::kBeside : net::PortUse::kAlone);
        if (!bound) return base::Error{"listener " + listener.name + ": " + bound.error()};
        binding.sockets = std::move(bound).value();
        binding.address = net::LocalAddressOf(binding.sockets.front().get());
        binding.is_new = true;
      }
      wanted[key] = std::move(binding);
    }
  }
  return wanted;
}

base::Result<bool> Listen(const Bindings& bindings) {
  for (const auto& [key, binding] : bindings)
    if (const auto listens = net::ListenAll(binding.sockets); !listens)
      return base::Error{"listener " + binding.name + ": " + listens.error()};
  return true;
}

}  // namespace postern::daemon
