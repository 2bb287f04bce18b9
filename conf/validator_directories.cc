// validator_directories: directories and probes, and what nothing uses.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "conf/map_answers.h"
#include "conf/validator.h"
#include "conf/values.h"
#include "lb/base/mail_text.h"

namespace postern::conf {

void Validator::CheckDirectories() {
  const auto is_name = [&](std::string_view name) {
    return FindPool(name) != nullptr || FindBackend(name) != nullptr;
  };
  std::vector<std::string_view> all_names = pool_names_;
  all_names.insert(all_names.end(), backend_names_.begin(), backend_names_.end());
  if (!config_.directories.empty()) {
    for (const std::string_view name : pool_names_) {
      if (FindBackend(name) == nullptr) continue;
      problems_.Warning(json::Join("/pools", name),
                        "a backend has the name " + Quoted(name) + " too",
                        "a directory's answer of that name means the pool");
    }
  }
  for (const Directory& directory : config_.directories) {
    const std::string path = json::Join("/directories", directory.name);
    CheckFile(directory.ca, path + "/ca", checks_.ca_file);
    if (directory.type == Directory::Type::kLdap && !directory.filter.empty() &&
        directory.filter.find("%u") == std::string::npos &&
        directory.filter.find("%n") == std::string::npos) {
      problems_.Error(path + "/filter",
                      "the filter asks everybody the same: it has no %u and no %n",
                      "for example \"(mail=%u)\"");
    }
    for (const auto& [pattern, answer] : directory.table) {
      const std::string row = json::Join(path + "/table", pattern);
      if (!is_name(answer)) {
        problems_.Error(row, "there is no pool or backend " + Quoted(answer),
                        Suggest(answer, all_names));
      }
    }
    if (directory.type != Directory::Type::kFile || directory.path.empty() ||
        !problems_.IsSound(path + "/type")) {
      continue;
    }
    const MapAnswers answers = checks_.map_file != nullptr
                                   ? checks_.map_file(directory.path, config_.users)
                                   : ReadMapAnswers(directory.path);
    for (const MapFault& fault : answers.faults) {
      if (fault.line == 0) {
        problems_.Error(path + "/path", directory.path + " " + fault.message);
      } else {
        problems_.ErrorInFile(directory.path, fault.line, path + "/path", fault.message);
      }
    }
    size_t num_told = 0;
    for (const auto& [answer, line] : answers.first_lines) {
      if (is_name(answer)) {
        map_answers_[directory.name].insert(answer);
      } else if (num_told++ < MapReader::kMaxFaults) {
        problems_.Warning(path + "/path",
                          directory.path + ":" + std::to_string(line) +
                              ": there is no pool or backend " + Quoted(answer),
                          Suggest(answer, all_names));
      }
    }
  }
}

// What a probe says must be fit to be said: health has the same answers.
void Validator::CheckProbeWords(const Probe& probe, const std::string& path) {
  const std::string find = path + "/find";
  const auto is_address = [&](const std::string& text, std::string_view key) {
    if (!IsGiven(path, key) || !problems_.IsSound(json::Join(path, key))) return true;
    const std::string_view address = base::WithoutBrackets(text);
    return base::IsUsableAddress(address) && (key == "from" || !address.empty());
  };
  if (!is_address(probe.from, "from"))
    problems_.Error(path + "/from", Quoted(probe.from) + " is no address to send from",
                    "no blanks and no name, as in \"probe@example.com\"; \"\" for the empty one");
  if (!is_address(probe.to, "to"))
    problems_.Error(path + "/to", Quoted(probe.to) + " is no address to send to",
                    "no blanks and no name, as in \"probe@example.com\"");
  if (IsGiven(find, "mailbox") && problems_.IsSound(find + "/mailbox") &&
      !base::IsQuotable(probe.mailbox))
    problems_.Error(find + "/mailbox", Quoted(probe.mailbox) + " is no name that IMAP can be told",
                    "in ASCII, as IMAP writes it: \"Entw&APw-rfe\" (RFC 3501 5.1.3)");
  for (size_t i = 0; i < config_.listeners.size(); ++i) {
    const Listener& listener = config_.listeners[i];
    if (probe.send_listener.empty() || listener.name != probe.send_listener) continue;
    if (!problems_.IsSound(json::Join("/listeners", i) + "/protocol")) continue;
    if (listener.protocol == Protocol::kSmtp || listener.protocol == Protocol::kSubmission)
      continue;
    problems_.Error(path + "/send/listener",
                    "listener " + Quoted(listener.name) +
                        " takes no mail from senders, it speaks " +
                        std::string(Name(listener.protocol)),
                    "one of smtp or submission");
  }
}

void Validator::CheckProbes() {
  for (const Probe& probe : config_.probes) {
    const std::string path = json::Join("/probes", probe.name);
    const std::string send = path + "/send";
    const std::string find = path + "/find";
    IsKnown(probe.send_listener, listener_names_, "listener", send + "/listener");
    IsKnown(probe.send_pool, pool_names_, "pool", send + "/pool");
    IsKnown(probe.send_backend, backend_names_, "backend", send + "/backend");
    IsKnown(probe.find_pool, pool_names_, "pool", find + "/pool");
    IsKnown(probe.find_backend, backend_names_, "backend", find + "/backend");
    const int num_ways =
        IsGiven(send, "listener") + IsGiven(send, "pool") + IsGiven(send, "backend");
    if (json::IsGiven(problems_.root(), send) && problems_.IsSound(send) && num_ways != 1)
      problems_.Error(send, "a probe is sent one way", "one of listener, pool, backend");
    const int num_places = IsGiven(find, "pool") + IsGiven(find, "backend");
    if (json::IsGiven(problems_.root(), find) && problems_.IsSound(find) && num_places != 1)
      problems_.Error(find, "a probe is looked for in one place", "one of pool, backend");
    CheckProbeWords(probe, path);
    if (!probe.send_pool.empty()) used_pools_.insert(probe.send_pool);
    if (!probe.find_pool.empty()) used_pools_.insert(probe.find_pool);
    if (!probe.send_backend.empty()) used_backends_.insert(probe.send_backend);
    if (!probe.find_backend.empty()) used_backends_.insert(probe.find_backend);
  }
}

void Validator::WarnUnused() {
  std::set<std::string_view> used_routes, used_directories;
  for (const Listener& listener : config_.listeners) used_routes.insert(listener.route);
  for (size_t i = 0; i < config_.routes.size(); ++i) {
    const Route& route = config_.routes[i];
    const bool is_used = used_routes.count(route.name) > 0;
    if (!is_used) {
      problems_.Warning(json::Join("/routes", route.name),
                        "no listener uses route " + Quoted(route.name));
    }
    for (size_t k = 0; k < route.rules.size(); ++k) {
      const Rule& rule = route.rules[k];
      const std::string& path = built_.rule_paths[i][k];
      used_directories.insert(rule.directory);
      const Targets targets = TargetsOf(rule, path, Protocol::kSmtp);
      anything_may_be_used_ = anything_may_be_used_ || targets.may_be_any;
      for (const Target& target : targets.list) {
        if (target.pool != nullptr) used_pools_.insert(target.pool->name);
        if (target.backend != nullptr) used_backends_.insert(target.backend->name);
      }
      if (is_used && reached_.count(&rule) == 0 && !problems_.has_errors()) {
        problems_.Warning(path, "no session can come to this rule",
                          "an earlier rule takes them all, or no listener of the route knows what "
                          "it asks");
      }
    }
  }
  for (const Directory& directory : config_.directories) {
    if (used_directories.count(directory.name) == 0) {
      problems_.Warning(json::Join("/directories", directory.name),
                        "no rule asks directory " + Quoted(directory.name));
    }
  }
  if (anything_may_be_used_) return;
  for (const Pool& pool : config_.pools) {
    if (used_pools_.count(pool.name) == 0) {
      problems_.Warning(json::Join("/pools", pool.name),
                        "no rule leads to pool " + Quoted(pool.name));
    }
    used_backends_.insert(pool.backends.begin(), pool.backends.end());
  }
  for (const Backend& backend : config_.backends) {
    if (used_backends_.count(backend.name) == 0) {
      problems_.Warning(json::Join("/backends", backend.name),
                        "no pool and no rule names backend " + Quoted(backend.name));
    }
  }
}

}  // namespace postern::conf
