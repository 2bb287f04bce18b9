// validator: names, references, TLS, listeners, admin, and numbers that must fit each other.
// SPDX-License-Identifier: Apache-2.0
#include "conf/validator.h"

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <system_error>

#include "conf/values.h"

namespace postern::conf {
namespace {

template <typename Object>
std::vector<std::string_view> NamesOf(const std::vector<Object>& objects) {
  std::vector<std::string_view> names;
  for (const Object& object : objects)
    if (!object.name.empty()) names.push_back(object.name);
  return names;
}

std::optional<std::string> ReadableAndNotEmpty(const std::string& file) {
  std::error_code error;
  if (std::filesystem::is_directory(file, error)) return file + " is a folder";
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> stream(
      std::filesystem::is_regular_file(file, error) ? std::fopen(file.c_str(), "re") : nullptr,
      &std::fclose);
  if (stream == nullptr) return file + " cannot be read";
  if (std::fgetc(stream.get()) == EOF) return file + " is empty";
  return std::nullopt;
}

bool HasLogin(Protocol protocol) {
  return protocol == Protocol::kSubmission || protocol == Protocol::kImap ||
         protocol == Protocol::kPop3 || protocol == Protocol::kSieve;
}

// sun_path, with its NUL.
constexpr size_t kMaxSocketPath = 107;

}  // namespace

void Validator::Run() {
  listener_names_ = NamesOf(config_.listeners);
  backend_names_ = NamesOf(config_.backends);
  pool_names_ = NamesOf(config_.pools);
  route_names_ = NamesOf(config_.routes);
  directory_names_ = NamesOf(config_.directories);
  for (const Pool& pool : config_.pools) pools_.emplace(pool.name, &pool);
  for (const Backend& backend : config_.backends) backends_.emplace(backend.name, &backend);
  CheckTls();
  CheckListeners();
  CheckAddresses();
  CheckAdmin();
  CheckNumbers();
  CheckBackends();
  CheckPools();
  CheckDirectories();
  CheckRoutes();
  CheckProbes();
  CheckReach();
  WarnUnused();
}

const Pool* Validator::FindPool(std::string_view name) const {
  const auto found = pools_.find(name);
  return found == pools_.end() ? nullptr : found->second;
}

const Backend* Validator::FindBackend(std::string_view name) const {
  const auto found = backends_.find(name);
  return found == backends_.end() ? nullptr : found->second;
}

bool Validator::IsKnown(std::string_view name, const std::vector<std::string_view>& known,
                        std::string_view what, const std::string& path) {
  if (name.empty() || !problems_.IsSound(path)) return false;
  if (std::find(known.begin(), known.end(), name) != known.end()) return true;
  std::string hint = Suggest(name, known);
  if (known.empty()) hint = "none is configured";
  problems_.Error(path, "there is no " + std::string(what) + " " + Quoted(name), std::move(hint));
  return false;
}

bool Validator::IsGiven(const std::string& path, std::string_view key) const {
  return json::IsGiven(problems_.root(), json::Join(path, key));
}

void Validator::CheckFile(
    const std::string& file, const std::string& path,
    const std::function<std::optional<std::string>(const std::string&)>& check) {
  if (file.empty() || !check) return;
  if (auto error = check(file)) problems_.Error(path, *std::move(error));
}

void Validator::CheckPair(const std::string& cert, const std::string& key,
                          const std::string& path) {
  if (cert.empty() || key.empty() || !checks_.pair) return;
  if (auto error = checks_.pair(cert, key)) {
    problems_.Error(path, *std::move(error));
    return;
  }
  if (!checks_.validity) return;
  auto invalid = checks_.validity(cert);
  if (!invalid) return;
  if (checks_.invalid == FileChecks::Invalid::kError) {
    problems_.Error(path, *std::move(invalid));
  } else {
    problems_.Warning(path, *std::move(invalid), "served all the same; peers will refuse it");
  }
}

void Validator::CheckTls() {
  for (size_t i = 0; i < config_.tls.certificates.size(); ++i) {
    const Certificate& certificate = config_.tls.certificates[i];
    CheckPair(certificate.cert, certificate.key, built_.certificate_paths[i]);
  }
  CheckFile(config_.tls.ticket_keys, "/tls/ticket_keys", checks_.ticket_keys);
  CheckGroups();
}

void Validator::CheckGroups() {
  std::vector<std::string>& groups = config_.tls.groups;
  const std::string path = "/tls/groups";
  if (!IsGiven("/tls", "groups") || !problems_.IsSound(path)) return;
  if (checks_.knows_group) {
    const std::vector<std::string> wanted = std::move(groups);
    groups.clear();
    for (size_t i = 0; i < wanted.size(); ++i) {
      if (checks_.knows_group(wanted[i])) {
        groups.push_back(wanted[i]);
      } else {
        problems_.Warning(json::Join(path, i),
                          "this build's TLS library has no group " + Quoted(wanted[i]),
                          "it is left out");
      }
    }
  }
  if (groups.empty())
    problems_.Error(path, "no usable group is left", "for example \"X25519\" and \"P-256\"");
}

void Validator::CheckListeners() {
  if (config_.listeners.empty() && problems_.IsSound("/listeners"))
    problems_.Error("/listeners", "there is no listener");
  std::map<std::string_view, std::string> seen;
  std::vector<std::string_view> need_certificate;
  std::string first_path;
  for (size_t i = 0; i < config_.listeners.size(); ++i) {
    const Listener& listener = config_.listeners[i];
    const std::string& path = built_.listener_paths[i];
    if (!listener.name.empty()) {
      const auto [other, is_new] = seen.emplace(listener.name, path);
      if (!is_new) {
        problems_.Error(path + "/name", "there is another listener " + Quoted(listener.name),
                        "it is " + other->second);
      }
    }
    CheckListener(listener, path);
    const bool has_tls = listener.tls == TlsMode::kStartTls || listener.tls == TlsMode::kImplicit;
    if (has_tls && config_.tls.certificates.empty()) {
      if (need_certificate.empty()) first_path = path + "/tls";
      need_certificate.push_back(listener.name.empty() ? std::string_view(path) : listener.name);
    }
  }
  if (!need_certificate.empty() && problems_.IsSound("/tls/certificates")) {
    problems_.Error(first_path,
                    "there is no certificate for the TLS of " + Listed(need_certificate, " and "),
                    "\"tls\": {\"certificates\": [{\"cert\": \"...\", \"key\": \"...\"}]}");
  }
}

void Validator::CheckListener(const Listener& listener, const std::string& path) {
  const bool is_tcp = listener.protocol == Protocol::kTcp;
  const std::string tls_path = path + "/tls";
  IsKnown(listener.route, route_names_, "route", path + "/route");
  CheckLimits(listener.limits, path + "/limits");
  for (const std::string_view key : {"auth_failures_per_address", "buffers_total"}) {
    if (IsGiven(path + "/limits", key))
      problems_.Warning(json::Join(path + "/limits", key), "only the global one counts",
                        "/limits/" + std::string(key));
  }
  if (!problems_.IsSound(path + "/protocol") || !problems_.IsSound(tls_path)) return;
  const std::string protocol(Name(listener.protocol));
  if (listener.tls == TlsMode::kPassthrough && !is_tcp) {
    problems_.Error(tls_path, "passthrough is for tcp listeners, this is " + protocol,
                    "one of none, starttls, implicit");
  }
  if (listener.greet_delay > Millis(0) && listener.protocol != Protocol::kSmtp &&
      listener.protocol != Protocol::kSubmission && listener.protocol != Protocol::kLmtp) {
    problems_.Warning(path + "/greet_delay", "has no effect on " + protocol + " listeners");
  }
  if (listener.tls == TlsMode::kStartTls && is_tcp)
    problems_.Error(tls_path, "tcp has no STARTTLS", "one of none, implicit, passthrough");
  if (listener.tls != TlsMode::kNone) return;
  if (listener.require_tls) {
    problems_.Error(path + "/require_tls", "TLS is required where \"tls\" is \"none\"",
                    "\"tls\": \"starttls\" or \"implicit\"");
  }
  if (HasLogin(listener.protocol) && listener.auth_requires_tls) {
    problems_.Warning(tls_path, "nobody can log in here: logins need TLS, and there is none",
                      "\"auth_requires_tls\": false allows passwords in clear");
  }
}

void Validator::CheckAddresses() {
  std::map<base::SocketAddress, std::string> seen;
  const auto check = [&](const std::vector<base::SocketAddress>& addresses,
                         const std::string& path) {
    if (!problems_.IsSound(path)) return;
    const json::Node* list = json::Lookup(problems_.root(), path);
    const bool is_list = list != nullptr && list->kind == json::Node::Kind::kArray;
    for (size_t i = 0; i < addresses.size(); ++i) {
      if (addresses[i].port == 0) continue;
      const std::string item = is_list ? json::Join(path, i) : path;
      const auto [other, is_new] = seen.emplace(addresses[i], item);
      if (!is_new) {
        problems_.Error(item, addresses[i].ToString() + " is used twice",
                        "first at " + other->second);
      }
    }
  };
  for (size_t i = 0; i < config_.listeners.size(); ++i)
    check(config_.listeners[i].addresses, built_.listener_paths[i] + "/address");
  check(config_.admin.addresses, "/admin/address");
}

void Validator::CheckAdmin() {
  const Admin& admin = config_.admin;
  if (admin.token_file.empty() && problems_.IsSound("/admin/token_file")) {
    for (const base::SocketAddress& address : admin.addresses) {
      if (address.ip.is_loopback()) continue;
      problems_.Error("/admin/address",
                      address.ToString() + " can be reached from elsewhere: a token is needed",
                      "\"token_file\": \"admin.token\", or a loopback address");
      break;
    }
  }
  CheckFile(admin.token_file, "/admin/token_file", ReadableAndNotEmpty);
  if (admin.socket.size() > kMaxSocketPath) {
    problems_.Error("/admin/socket", "the path is longer than a socket's may be",
                    std::to_string(kMaxSocketPath) + " bytes at most: " + admin.socket);
  }
}

void Validator::CheckLimits(const Limits& limits, const std::string& path) {
  const bool is_said = IsGiven(path, "buffer") || IsGiven(path, "buffers_total");
  if (is_said && limits.buffer > limits.buffers_total) {
    problems_.Error(path + (IsGiven(path, "buffer") ? "/buffer" : "/buffers_total"),
                    "one session's \"buffer\" is larger than \"buffers_total\"");
  }
}

void Validator::CheckNumbers() {
  CheckLimits(config_.limits, "/limits");
  const Smtp& smtp = config_.smtp;
  if (smtp.replay_memory > smtp.replay_memory_total) {
    problems_.Error(
        IsGiven("/smtp", "replay_memory") ? "/smtp/replay_memory" : "/smtp/replay_memory_total",
        "\"replay_memory\" is larger than \"replay_memory_total\"");
  }
  if (smtp.replay_memory > smtp.replay_limit) {
    problems_.Error(IsGiven("/smtp", "replay_limit") ? "/smtp/replay_limit" : "/smtp/replay_memory",
                    "\"replay_memory\" is larger than \"replay_limit\"");
  }
  if (config_.drain.spread > config_.drain.deadline && IsGiven("/drain", "spread"))
    problems_.Warning("/drain/spread", "goodbyes are spread over more time than \"deadline\"");
  CheckHealth(config_.health, "/health");
}

}  // namespace postern::conf
