// servers: failures remembered for a while, names kept resolved.
// SPDX-License-Identifier: Apache-2.0
#include "lb/directory/servers.h"

#include <set>
#include <utility>

#include "lb/base/check.h"
#include "lb/base/log.h"

namespace postern::directory {

std::optional<ServerPlace> ServerPlace::Parse(std::string_view text) {
  constexpr std::string_view kUnix = "unix:";
  if (text.starts_with(kUnix)) {
    ServerPlace place;
    place.unix_path = text.substr(kUnix.size());
    return place.unix_path.empty() ? std::nullopt : std::optional(place);
  }
  if (const auto address = base::SocketAddress::Parse(text))
    return ServerPlace{address->ip.ToString(), address->port, {}};
  const size_t colon = text.rfind(':');
  if (colon == std::string_view::npos || colon == 0 || text.find(':') != colon) return std::nullopt;
  const auto port = base::SocketAddress::Parse("0.0.0.0" + std::string(text.substr(colon)));
  if (!port) return std::nullopt;
  return ServerPlace{std::string(text.substr(0, colon)), port->port, {}};
}

std::string ServerPlace::ToString() const {
  if (!unix_path.empty()) return "unix:" + unix_path;
  if (const auto ip = base::IpAddress::Parse(host))
    return base::SocketAddress{*ip, port}.ToString();
  return host + ":" + std::to_string(port);
}

Servers::Servers(io::Loop& loop, io::Resolver& resolver, std::string directory,
                 std::vector<ServerPlace> places)
    : loop_(loop),
      directory_(std::move(directory)),
      order_(places.size()),
      names_(loop, resolver,
             [this](const std::string& host, const std::vector<base::IpAddress>& addresses) {
               OnResolved(host, addresses);
             }) {
  std::set<std::string> hosts;
  for (ServerPlace& place : places) {
    Server server;
    server.name = place.ToString();
    if (!place.unix_path.empty()) {
      server.addresses.push_back({.unix_path = place.unix_path});
    } else if (const auto ip = base::IpAddress::Parse(place.host)) {
      server.addresses.push_back({.address = {*ip, place.port}});
    } else {
      hosts.insert(place.host);
    }
    server.place = std::move(place);
    servers_.push_back(std::move(server));
  }
  names_.Watch(hosts);
}

void Servers::OnAnswered(uint32_t server) {
  if (!order_.OnAnswered(server)) return;
  base::log::Info("directory_server_back",
                  {{"directory", directory_}, {"server", servers_[server].name}});
}

void Servers::OnFailed(uint32_t server, std::string_view why) {
  if (!order_.OnFailed(server, loop_.Now())) return;
  base::log::Warn(
      "directory_server_failed",
      {{"directory", directory_}, {"server", servers_[server].name}, {"why", std::string(why)}});
}

size_t Servers::CountAddresses(uint32_t server) const {
  return servers_[server].addresses.size();
}

io::DialOptions Servers::Address(uint32_t server) const {
  const Server& it = servers_[server];
  POSTERN_CHECK(!it.addresses.empty());
  return it.addresses[it.next_address % it.addresses.size()];
}

void Servers::Wait(uint32_t server, Waiter& waiter) {
  servers_[server].waiters.push_back(&waiter);
}

void Servers::StopWaiting(uint32_t server, Waiter& waiter) {
  std::erase(servers_[server].waiters, &waiter);
}

void Servers::OnResolved(const std::string& host, const std::vector<base::IpAddress>& addresses) {
  for (Server& server : servers_) {
    if (server.place.host != host) continue;
    server.addresses.clear();
    for (const base::IpAddress& ip : addresses)
      server.addresses.push_back({.address = {ip, server.place.port}});
    // A waiter dials now, which calls nobody back before the loop runs again.
    for (Waiter* waiter : std::exchange(server.waiters, {})) waiter->OnResolved();
  }
}

}  // namespace postern::directory
