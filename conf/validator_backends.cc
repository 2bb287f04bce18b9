// validator_backends: endpoints that make sense and lead elsewhere, pools of backends that exist.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "conf/json_number.h"
#include "conf/own_listener.h"
#include "conf/validator.h"
#include "conf/values.h"

namespace postern::conf {
namespace {

bool IsLegal(ClientAddress mode, Protocol protocol) {
  switch (mode) {
    case ClientAddress::kNone:
    case ClientAddress::kProxyV1:
    case ClientAddress::kProxyV2:
      return true;
    case ClientAddress::kXclient:
      return protocol == Protocol::kSmtp || protocol == Protocol::kSubmission ||
             protocol == Protocol::kLmtp || protocol == Protocol::kPop3;
    case ClientAddress::kImapId:
      return protocol == Protocol::kImap;
  }
  return false;
}

std::string LegalFor(Protocol protocol) {
  std::vector<std::string_view> legal;
  for (const ClientAddress mode :
       {ClientAddress::kNone, ClientAddress::kProxyV1, ClientAddress::kProxyV2,
        ClientAddress::kXclient, ClientAddress::kImapId}) {
    if (IsLegal(mode, protocol)) legal.push_back(Name(mode));
  }
  return "one of " + Listed(legal, ", ");
}

bool CarriesCredentials(Protocol protocol) {
  return protocol == Protocol::kSubmission || protocol == Protocol::kImap ||
         protocol == Protocol::kPop3 || protocol == Protocol::kSieve;
}

bool IsLocalhost(std::string_view host) {
  return host == "localhost";
}

bool IsLoopbackHost(const std::string& host) {
  const auto ip = base::IpAddress::Parse(host);
  return ip ? ip->is_loopback() : IsLocalhost(host);
}

}  // namespace

void Validator::CheckBackends() {
  if (config_.backends.empty() && json::IsGiven(problems_.root(), "/backends") &&
      problems_.IsSound("/backends")) {
    problems_.Error("/backends", "there is no backend");
  }
  for (const Backend& backend : config_.backends) {
    const std::string path = json::Join("/backends", backend.name);
    if (const auto ip = base::IpAddress::Parse(backend.host); ip && ip->is_unspecified())
      problems_.Error(path + "/host", backend.host + " is no address to connect to");
    CheckVerify(backend, path);
    for (const Endpoint& endpoint : backend.endpoints)
      CheckEndpoint(backend, endpoint, json::Join(path, Name(endpoint.protocol)));
    if (backend.queue) CheckQueue(*backend.queue, path + "/queue");
  }
}

void Validator::CheckVerify(const Backend& backend, const std::string& path) {
  const Verify& verify = backend.verify;
  const std::string verify_path = path + "/verify";
  if (verify.off) {
    problems_.Warning(verify_path,
                      "the certificate of " + Quoted(backend.name) +
                          " is not verified: anybody in between can read and answer",
                      "give its CA: {\"ca\": \"...\"}");
  }
  if (verify.cert.empty() != verify.key.empty() && problems_.IsSound(verify_path + "/cert") &&
      problems_.IsSound(verify_path + "/key")) {
    problems_.Error(verify_path, verify.cert.empty() ? "\"key\" needs its \"cert\""
                                                     : "\"cert\" needs its \"key\"");
  }
  CheckFile(verify.ca, verify_path + "/ca", checks_.ca_file);
  CheckPair(verify.cert, verify.key, verify_path + "/cert");
}

void Validator::CheckEndpoint(const Backend& backend, const Endpoint& endpoint,
                              const std::string& path) {
  const Protocol protocol = endpoint.protocol;
  const std::string name(Name(protocol));
  if (endpoint.tls == TlsMode::kStartTls && protocol == Protocol::kTcp)
    problems_.Error(path + "/tls", "tcp has no STARTTLS", "one of none, implicit");
  if (!IsLegal(endpoint.client_address, protocol)) {
    problems_.Error(path + "/client_address",
                    name + " has no " + Quoted(Name(endpoint.client_address)), LegalFor(protocol));
  }
  if (protocol == Protocol::kSubmission) {
    if (endpoint.reauth == Reauth::kXclientLogin &&
        endpoint.client_address != ClientAddress::kXclient) {
      problems_.Error(path + "/reauth", "xclient-login needs \"client_address\": \"xclient\"");
    }
  } else if (IsGiven(path, "reauth")) {
    problems_.Warning(path + "/reauth", "only submission endpoints have a use for it");
  }
  if (endpoint.tls == TlsMode::kNone && CarriesCredentials(protocol) &&
      problems_.IsSound(path + "/tls") && !backend.host.empty() && !IsLoopbackHost(backend.host)) {
    problems_.Warning(path + "/tls",
                      "passwords go to " + backend.host + " in clear, readable on the way",
                      "\"starttls\" or \"implicit\"");
  }
  CheckLoop(backend, endpoint, path);
}

void Validator::CheckLoop(const Backend& backend, const Endpoint& endpoint,
                          const std::string& path) {
  if (endpoint.port == 0) return;
  std::vector<base::IpAddress> addresses;
  const bool is_localhost = IsLocalhost(backend.host);
  for (const std::string_view text : is_localhost
                                         ? std::vector<std::string_view>{"127.0.0.1", "::1"}
                                         : std::vector<std::string_view>{backend.host})
    if (const auto ip = base::IpAddress::Parse(text)) addresses.push_back(*ip);
  const std::vector<OwnListener> listeners = OwnListenersOf(config_);
  for (const base::IpAddress& ip : addresses) {
    const OwnListener* const own =
        FindOwnListener(listeners, {ip, endpoint.port}, checks_.is_own_address);
    if (own == nullptr) continue;
    problems_.Error(path + "/port",
                    "a loop: this is Postern's own listener " + Quoted(own->name) + ", " +
                        own->address.ToString(),
                    "a backend is another server, or listens on another port");
    return;
  }
}

void Validator::CheckQueue(const QueueSource& queue, const std::string& path) {
  if (IsGiven(path, "pointer") && !json::ParsePointer(queue.pointer)) {
    problems_.Error(
        path + "/pointer", Quoted(queue.pointer) + " is not a JSON pointer",
        "for example \"/queues/active\"; \"~\" is written \"~0\", and \"/\" inside of a "
        "name \"~1\"");
  }
  if (IsGiven(path, "metric") && queue.metric.empty())
    problems_.Error(path + "/metric", "this may not be empty");
  constexpr std::string_view kUnix = "unix:";
  constexpr size_t kMaxSocketPathBytes = 107;  // sockaddr_un has no more
  if (queue.address.starts_with(kUnix) &&
      queue.address.size() > kUnix.size() + kMaxSocketPathBytes) {
    problems_.Error(path + "/address", "a socket's path has 107 bytes at most");
  }
  if (queue.soft >= queue.hard && IsGiven(path, "soft") && IsGiven(path, "hard") &&
      problems_.IsSound(path + "/soft") && problems_.IsSound(path + "/hard")) {
    problems_.Error(path + "/hard", "\"hard\" must be larger than \"soft\"");
  }
  if (queue.stale_after < queue.interval) {
    problems_.Error(path + (IsGiven(path, "stale_after") ? "/stale_after" : "/interval"),
                    "a reading would be stale before the next: \"stale_after\" is shorter than "
                    "\"interval\"");
  }
}

void Validator::CheckPools() {
  for (const Pool& pool : config_.pools) {
    const std::string path = json::Join("/pools", pool.name);
    const json::Node* list = json::Lookup(problems_.root(), path + "/backends");
    if (list != nullptr) {
      const bool is_list = list->kind == json::Node::Kind::kArray;
      for (size_t i = 0; i < (is_list ? list->items.size() : 1); ++i) {
        const json::Node& item = is_list ? list->items[i] : *list;
        IsKnown(item.text, backend_names_, "backend",
                is_list ? json::Join(path + "/backends", i) : path + "/backends");
      }
    }
    if (IsGiven(path, "health")) CheckHealth(pool.health, path + "/health");
    if (IsGiven(path, "hash_on") && pool.balance != Balance::kHash)
      problems_.Warning(path + "/hash_on", "only \"balance\": \"hash\" has a use for it");
  }
}

void Validator::CheckHealth(const Health& health, const std::string& path) {
  const bool is_said = IsGiven(path, "interval") || IsGiven(path, "fast_interval");
  if (is_said && health.fast_interval > health.interval) {
    problems_.Error(path + (IsGiven(path, "interval") ? "/interval" : "/fast_interval"),
                    "\"fast_interval\" is longer than \"interval\"");
  }
}

}  // namespace postern::conf
