// delivery_plan: ways of a delivery probe's message.
// SPDX-License-Identifier: Apache-2.0
#include "health/delivery_plan.h"

#include <algorithm>
#include <array>

#include "health/delivery_message.h"
#include "lb/base/mail_text.h"

namespace postern::health {
namespace {

using balance::Endpoint;
using balance::Home;
using conf::Protocol;

// A probe is nobody's client: XCLIENT and ID have nothing to say.
std::optional<proto::ProxyVersion> ProxyOf(conf::ClientAddress mode) {
  switch (mode) {
    case conf::ClientAddress::kProxyV1:
      return proto::ProxyVersion::kV1;
    case conf::ClientAddress::kProxyV2:
      return proto::ProxyVersion::kV2;
    case conf::ClientAddress::kNone:
    case conf::ClientAddress::kXclient:
    case conf::ClientAddress::kImapId:
      break;
  }
  return std::nullopt;
}

proto::LoginRequest LoginOf(const conf::Credentials& credentials) {
  proto::LoginRequest login;
  login.user = credentials.user;
  login.password = credentials.password;
  return login;
}

// Null: the pool or backend has no endpoint of this protocol.
const Home* FindHome(const DeliveryInputs& inputs, const std::string& pool,
                     const std::string& backend, Protocol protocol) {
  const conf::Config& config = *inputs.config;
  for (uint32_t i = 0; i < config.pools.size(); ++i)
    if (config.pools[i].name == pool) {
      const Home* home = inputs.endpoints->PoolHome(i, protocol);
      return home->members.empty() ? nullptr : home;
    }
  for (uint32_t i = 0; i < config.backends.size(); ++i)
    if (config.backends[i].name == backend) {
      const Home* home = inputs.endpoints->BackendHome(i, protocol);
      return home->members.empty() ? nullptr : home;
    }
  return nullptr;
}

LegPlan LegTo(const DeliveryInputs& inputs, const Endpoint& endpoint) {
  LegPlan leg;
  const conf::Backend& backend = *endpoint.backend;
  if (const auto facts = endpoint.state->facts(); facts != nullptr)
    leg.addresses = facts->addresses;
  if (const auto ip = base::IpAddress::Parse(backend.host); ip && leg.addresses.empty())
    leg.addresses = {*ip};
  leg.port = endpoint.conf->port;
  leg.sources = backend.source_addresses;
  if (endpoint.id < inputs.back_tls.size()) leg.tls = inputs.back_tls[endpoint.id];
  leg.server_name = backend.verify.name.empty() ? backend.host : backend.verify.name;
  leg.connect = inputs.config->timeouts.connect;
  return leg;
}

std::string NobodyOf(const std::string& pool, const std::string& backend) {
  return pool.empty() ? "backend " + backend + " takes no work now"
                      : "no server of pool " + pool + " takes work now";
}

SendWay PlanListener(const DeliveryInputs& inputs, size_t index) {
  const conf::Probe& probe = inputs.config->probes[index];
  const auto& listeners = inputs.config->listeners;
  const auto listener = std::find_if(
      listeners.begin(), listeners.end(),
      [&probe](const conf::Listener& each) { return each.name == probe.send_listener; });
  SendWay way;
  if (listener == listeners.end() || index >= inputs.doors.size() ||
      inputs.doors[index].listener.port == 0) {
    way.why_not = "listener " + probe.send_listener + " is not open";
    return way;
  }
  const DeliveryDoor& door = inputs.doors[index];
  base::IpAddress ip = door.listener.ip;
  if (ip.is_unspecified()) ip = *base::IpAddress::Parse(ip.is_v4() ? "127.0.0.1" : "::1");
  way.leg.addresses = {ip};
  way.leg.port = door.listener.port;
  way.leg.tls = door.listener_tls;
  way.leg.server_name = inputs.config->hostname;
  way.submission.tls = listener->tls;
  way.submission.proxy_expected_from = listener->accept_proxy_from;
  return way;
}

SendWay PlanEndpoint(const DeliveryInputs& inputs, size_t index, balance::Picker& picker,
                     std::span<const balance::EndpointId> tried, base::MonoTime now) {
  const conf::Probe& probe = inputs.config->probes[index];
  SendWay way;
  // Who logs in is a user that sends; else it is mail from elsewhere.
  std::array<Protocol, 2> protocols = {Protocol::kSmtp, Protocol::kSubmission};
  if (probe.login) std::swap(protocols[0], protocols[1]);
  const Home* home = FindHome(inputs, probe.send_pool, probe.send_backend, protocols[0]);
  if (home == nullptr) home = FindHome(inputs, probe.send_pool, probe.send_backend, protocols[1]);
  if (home == nullptr) {
    way.why_not = "there is neither an smtp nor a submission endpoint";
    return way;
  }
  const std::string key = index < inputs.doors.size() ? inputs.doors[index].recipient_key : "";
  way.endpoint = picker.Pick(*home, key, tried, now);
  if (way.endpoint == nullptr) {
    way.why_not = NobodyOf(probe.send_pool, probe.send_backend);
    return way;
  }
  way.leg = LegTo(inputs, *way.endpoint);
  way.submission.tls = way.endpoint->conf->tls;
  if (const auto proxy = ProxyOf(way.endpoint->conf->client_address))
    way.submission.client_address = *proxy == proto::ProxyVersion::kV1
                                        ? conf::ClientAddress::kProxyV1
                                        : conf::ClientAddress::kProxyV2;
  return way;
}

}  // namespace

SendWay PlanSend(const DeliveryInputs& inputs, size_t index, balance::Picker& picker,
                 std::span<const balance::EndpointId> tried, base::MonoTime now) {
  const conf::Config& config = *inputs.config;
  const conf::Probe& probe = config.probes[index];
  SendWay way = probe.send_listener.empty() ? PlanEndpoint(inputs, index, picker, tried, now)
                                            : PlanListener(inputs, index);
  way.submission.hello = config.health.hello.empty() ? config.hostname : config.health.hello;
  if (probe.login) way.submission.login = LoginOf(*probe.login);
  way.submission.from = base::WithoutBrackets(probe.from);
  way.submission.to = base::WithoutBrackets(probe.to);
  if (!base::IsUsableAddress(way.submission.from) || !base::IsUsableAddress(way.submission.to) ||
      way.submission.to.empty())
    way.why_not = "`from` or `to` is no address";
  return way;
}

FindWay PlanFind(const DeliveryInputs& inputs, size_t index, balance::Picker& picker,
                 std::span<const balance::EndpointId> tried, base::MonoTime now) {
  const conf::Config& config = *inputs.config;
  const conf::Probe& probe = config.probes[index];
  FindWay way;
  if (!base::IsQuotable(probe.mailbox)) {
    way.why_not = "`mailbox` is to be written as IMAP does, in ASCII";
    return way;
  }
  const Home* home = FindHome(inputs, probe.find_pool, probe.find_backend, Protocol::kImap);
  if (home == nullptr) {
    way.why_not = "there is no imap endpoint";
    return way;
  }
  const std::string key = index < inputs.doors.size() ? inputs.doors[index].user_key : "";
  way.endpoint = picker.Pick(*home, key, tried, now);
  if (way.endpoint == nullptr) {
    way.why_not = NobodyOf(probe.find_pool, probe.find_backend);
    return way;
  }
  way.leg = LegTo(inputs, *way.endpoint);
  way.mailbox.tls = way.endpoint->conf->tls;
  way.mailbox.proxy = ProxyOf(way.endpoint->conf->client_address);
  way.mailbox.login = LoginOf(probe.find);
  way.mailbox.owner =
      DeliveryOwner(config.node_name.empty() ? config.hostname : config.node_name, probe.name);
  return way;
}

}  // namespace postern::health
