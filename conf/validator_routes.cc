// validator_routes: which rules the sessions of a listener can come to, and what they find there.
//
// A client that lands on an empty mailbox deletes its local copies: most rules here exist so that
// no configuration that could do this is accepted.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "conf/validator.h"
#include "conf/values.h"
#include "lb/base/bytes.h"

namespace postern::conf {
namespace {

bool IsMailbox(Protocol protocol) {
  return protocol == Protocol::kImap || protocol == Protocol::kPop3 ||
         protocol == Protocol::kSieve || protocol == Protocol::kLmtp;
}
bool KnowsUser(Protocol protocol) {
  return protocol == Protocol::kSubmission || protocol == Protocol::kImap ||
         protocol == Protocol::kPop3 || protocol == Protocol::kSieve;
}
bool KnowsRecipient(Protocol protocol) {
  return protocol == Protocol::kSmtp || protocol == Protocol::kLmtp;
}

bool HasAny(const std::vector<std::string>& patterns) {
  return std::any_of(patterns.begin(), patterns.end(), [](const std::string& pattern) {
    return pattern == "*" || pattern == "**" || pattern == "*@*";
  });
}

// Empty lists of conditions hold for everything.
bool HoldsForAny(const std::vector<std::string>& patterns) {
  return patterns.empty() || HasAny(patterns);
}
bool HoldsForAny(const std::vector<base::Network>& networks) {
  return networks.empty() ||
         std::any_of(networks.begin(), networks.end(), [](const base::Network& network) {
           return network.ToString() == "0.0.0.0/0" || network.ToString() == "::/0";
         });
}

// Whether the rule could hold for some session of the listener. What is not known does not hold.
bool MayHold(const Rule& rule, const Listener& listener) {
  if (!rule.listeners.empty() && std::find(rule.listeners.begin(), rule.listeners.end(),
                                           listener.name) == rule.listeners.end()) {
    return false;
  }
  if (!rule.users.empty() && !KnowsUser(listener.protocol)) return false;
  if (!rule.recipients.empty() && !KnowsRecipient(listener.protocol)) return false;
  return rule.snis.empty() || listener.tls != TlsMode::kNone;
}

// Whether it holds for every session that comes to it, so that none gets further.
bool HoldsAlways(const Rule& rule) {
  return rule.clients.empty() && rule.snis.empty() && HoldsForAny(rule.users) &&
         HoldsForAny(rule.recipients) && !rule.percent && rule.directory.empty();
}

bool HasTarget(const Rule& rule) {
  return std::holds_alternative<Rule::ToPool>(rule.action) ||
         std::holds_alternative<Rule::ToBackend>(rule.action);
}

// Whether sessions of the listener come to mailboxes there: by protocol, or as mail over LMTP.
bool LeadsToMailbox(const Backend& backend, Protocol listener) {
  const Endpoint* endpoint = backend.FindFor(listener);
  if (endpoint == nullptr) return false;
  return IsMailbox(listener) || endpoint->protocol == Protocol::kLmtp;
}

}  // namespace

void Validator::CheckRoutes() {
  for (size_t i = 0; i < config_.routes.size(); ++i) {
    const Route& route = config_.routes[i];
    const std::vector<std::string>& paths = built_.rule_paths[i];
    const std::string path = json::Join("/routes", route.name);
    const json::Node* list = json::Lookup(problems_.root(), path);
    if (list != nullptr && list->items.empty()) problems_.Error(path, "the route has no rule", "");
    std::map<std::string_view, std::string_view> seen;
    for (size_t k = 0; k < route.rules.size(); ++k) {
      CheckRule(route.rules[k], paths[k]);
      const auto [other, is_new] = seen.emplace(route.rules[k].name, paths[k]);
      if (!is_new && IsGiven(paths[k], "name")) {
        problems_.Error(paths[k] + "/name",
                        "there is another rule " + Quoted(route.rules[k].name) + " in this route",
                        "it is " + std::string(other->second));
      }
    }
  }
}

void Validator::CheckRule(const Rule& rule, const std::string& path) {
  const bool is_list = rule.listeners.size() > 1 ||
                       (json::Lookup(problems_.root(), path + "/listener/0") != nullptr);
  for (size_t i = 0; i < rule.listeners.size(); ++i) {
    IsKnown(rule.listeners[i], listener_names_, "listener",
            is_list ? json::Join(path + "/listener", i) : path + "/listener");
  }
  if (const auto* pool = std::get_if<Rule::ToPool>(&rule.action))
    IsKnown(pool->name, pool_names_, "pool", path + "/pool");
  if (const auto* backend = std::get_if<Rule::ToBackend>(&rule.action))
    IsKnown(backend->name, backend_names_, "backend", path + "/backend");
  if (IsKnown(rule.mixed_relay_pool, pool_names_, "pool", path + "/mixed/relay"))
    CheckRelayPool(*FindPool(rule.mixed_relay_pool), path + "/mixed/relay");
  IsKnown(rule.directory, directory_names_, "directory", path + "/directory");
  for (const std::string_view key : {"value", "on_error"}) {
    if (IsGiven(path, key) && !IsGiven(path, "directory"))
      problems_.Error(json::Join(path, key), Quoted(key) + " has a meaning only with a directory");
  }
  for (const std::string_view key : {"salt", "migrated"}) {
    if (IsGiven(path, key) && !IsGiven(path, "percent"))
      problems_.Warning(json::Join(path, key),
                        Quoted(key) + " has a meaning only with \"percent\"");
  }
  CheckPatterns(rule.users, path + "/user");
  CheckPatterns(rule.recipients, path + "/recipient");
}

// What is relayed there would wait for ever.
void Validator::CheckRelayPool(const Pool& pool, const std::string& path) {
  for (const std::string& name : pool.backends) {
    const Backend* backend = FindBackend(name);
    if (backend == nullptr || backend->Find(Protocol::kSmtp) != nullptr) return;
  }
  if (problems_.IsSound(json::Join("/pools", pool.name) + "/backends") &&
      problems_.IsSound("/backends"))
    problems_.Error(path, "no backend of " + Quoted(pool.name) + " has an \"smtp\" endpoint",
                    "a pool that takes mail for every recipient");
}

void Validator::CheckPatterns(const std::vector<std::string>& patterns, const std::string& path) {
  if (!config_.users.lowercase) return;
  for (const std::string& pattern : patterns) {
    const std::string lower = base::ToLower(pattern);
    if (lower == pattern) continue;
    problems_.Warning(path, Quoted(pattern) + " can never match: names are in lower case by then",
                      "write " + Quoted(lower));
  }
}

void Validator::AddTarget(std::string_view name, const std::string& path, Targets& targets) const {
  Target target{FindPool(name), nullptr, path};
  if (target.pool == nullptr) target.backend = FindBackend(name);
  if (target.pool == nullptr && target.backend == nullptr) {
    targets.is_incomplete = true;
  } else {
    targets.list.push_back(std::move(target));
  }
}

Validator::Targets Validator::TargetsOf(const Rule& rule, const std::string& path,
                                        Protocol protocol) {
  Targets targets;
  if (const auto* pool = std::get_if<Rule::ToPool>(&rule.action)) {
    targets.list.push_back({FindPool(pool->name), nullptr, path + "/pool"});
    if (targets.list.back().pool == nullptr) {
      targets.list.clear();
      targets.is_incomplete = true;
    }
  } else if (const auto* backend = std::get_if<Rule::ToBackend>(&rule.action)) {
    targets.list.push_back({nullptr, FindBackend(backend->name), path + "/backend"});
    if (targets.list.back().backend == nullptr) {
      targets.list.clear();
      targets.is_incomplete = true;
    }
  } else if (std::holds_alternative<Rule::DirectoryAnswer>(rule.action)) {
    const auto directory =
        std::find_if(config_.directories.begin(), config_.directories.end(),
                     [&](const Directory& known) { return known.name == rule.directory; });
    if (directory == config_.directories.end()) {
      targets.is_incomplete = true;
    } else if (directory->type == Directory::Type::kFile) {
      targets.may_be_any = true;  // the map is read again while Postern runs
      for (const std::string& answer : map_answers_[directory->name])
        AddTarget(answer, path + "/directory", targets);
    } else if (directory->table.empty()) {
      targets.may_be_any = true;
    } else {
      for (const auto& [pattern, answer] : directory->table)
        AddTarget(answer, path + "/directory", targets);
    }
  }
  if (!rule.mixed_relay_pool.empty() && protocol == Protocol::kSmtp)
    AddTarget(rule.mixed_relay_pool, path + "/mixed/relay", targets);
  return targets;
}

std::vector<Validator::Step> Validator::StepsOf(const Listener& listener) {
  std::vector<Step> steps;
  for (size_t i = 0; i < config_.routes.size(); ++i) {
    const Route& route = config_.routes[i];
    if (route.name != listener.route) continue;
    for (size_t k = 0; k < route.rules.size(); ++k) {
      const Rule& rule = route.rules[k];
      if (!MayHold(rule, listener)) continue;
      const std::string& path = built_.rule_paths[i][k];
      steps.push_back({&rule, path, TargetsOf(rule, path, listener.protocol)});
      if (HoldsAlways(rule)) break;
    }
  }
  return steps;
}

void Validator::CheckReach() {
  for (size_t i = 0; i < config_.listeners.size(); ++i) {
    const std::string& path = built_.listener_paths[i];
    if (problems_.IsSound(path + "/protocol") && problems_.IsSound(path + "/tls"))
      CheckReachOf(config_.listeners[i], path);
  }
}

void Validator::CheckReachOf(const Listener& listener, const std::string& path) {
  if (config_.FindRoute(listener.route) == nullptr) return;
  const std::vector<Step> steps = StepsOf(listener);
  bool has_endpoint = false;
  bool is_incomplete = config_.FindRoute(listener.route)->rules.empty();
  for (const Step& step : steps) {
    reached_.insert(step.rule);
    has_endpoint = has_endpoint || step.targets.may_be_any;
    is_incomplete = is_incomplete || step.targets.is_incomplete || !problems_.IsSound(step.path);
    const auto serves = [&](const Backend* backend) {
      return backend != nullptr && backend->FindFor(listener.protocol) != nullptr;
    };
    for (const Target& target : step.targets.list) {
      has_endpoint = has_endpoint || serves(target.backend);
      if (target.pool == nullptr) continue;
      for (const std::string& name : target.pool->backends) {
        const Backend* backend = FindBackend(name);
        has_endpoint = has_endpoint || serves(backend);
        is_incomplete = is_incomplete || backend == nullptr;
      }
      is_incomplete = is_incomplete ||
                      !problems_.IsSound(json::Join("/pools", target.pool->name) + "/backends");
    }
  }
  if (!has_endpoint && !is_incomplete && problems_.IsSound("/backends")) {
    const std::string protocol(Name(listener.protocol));
    problems_.Error(
        path + "/route",
        "the route leads " + Quoted(listener.name) + " to no backend that speaks " + protocol,
        "a backend with a " + Quoted(protocol) + " endpoint, and a rule that can hold");
  }
  CheckMailboxSteps(listener, steps);
  if (listener.protocol == Protocol::kSmtp)
    for (const Step& step : steps) CheckOpenRelay(step);
}

void Validator::CheckMailboxSteps(const Listener& listener, const std::vector<Step>& steps) {
  const auto leads_to_mailbox = [&](const Target& target) {
    if (target.backend != nullptr) return LeadsToMailbox(*target.backend, listener.protocol);
    return std::any_of(target.pool->backends.begin(), target.pool->backends.end(),
                       [&](const std::string& name) {
                         const Backend* backend = FindBackend(name);
                         return backend != nullptr && LeadsToMailbox(*backend, listener.protocol);
                       });
  };
  // Whether this listener comes to mailboxes by the rule itself, not by what it relays to.
  const auto is_mailbox_step = [&](const Step& step) {
    if (IsMailbox(listener.protocol)) return true;
    return std::any_of(step.targets.list.begin(), step.targets.list.end(), leads_to_mailbox);
  };
  const Step* lenient = nullptr;  // an earlier rule whose failing directory is passed over
  for (const Step& step : steps) {
    for (const Target& target : step.targets.list) {
      if (target.pool == nullptr || !leads_to_mailbox(target)) continue;
      const Pool& pool = *target.pool;
      const std::string pool_path = json::Join("/pools", pool.name);
      if (pool.storage == Storage::kUnset && pool.backends.size() >= 2 &&
          problems_.IsSound(pool_path + "/storage") && told_.insert(pool_path).second) {
        problems_.Error(pool_path,
                        "listener " + Quoted(listener.name) + " reaches mailboxes here (" +
                            target.path + "): \"storage\" must be said of two or more backends",
                        "shared: every member has the same mailboxes at any time; exclusive: the "
                        "same, one member per user at a time; separate: each has its own");
      }
      if (pool.storage == Storage::kSeparate && told_.insert(target.path).second) {
        problems_.Error(target.path,
                        "the members of " + Quoted(pool.name) + " have separate mailboxes: " +
                            Quoted(listener.name) + " may reach them only by their own names",
                        "a \"backend\" here, or a directory that answers a backend's name");
      }
    }
    if (!is_mailbox_step(step)) continue;
    if (step.rule->percent && !step.rule->migrated && told_.insert(step.path + "/percent").second) {
      problems_.Error(step.path + "/percent",
                      "a share of the users of " + Quoted(listener.name) +
                          " would find other mailboxes than before",
                      "\"migrated\": true, if their mailboxes are there already");
    }
    if (lenient != nullptr && HasTarget(*step.rule) && step.rule->directory.empty() &&
        told_.insert(lenient->path + "/on_error").second) {
      problems_.Error(lenient->path + "/on_error",
                      "with the directory down, " + Quoted(listener.name) + " would go on to " +
                          step.path + " and find other mailboxes",
                      "\"tempfail\"");
    }
    if (step.rule->on_error_next && !step.rule->directory.empty() && lenient == nullptr)
      lenient = &step;
  }
}

void Validator::CheckOpenRelay(const Step& step) {
  const Rule& rule = *step.rule;
  if (!HasTarget(rule) || !rule.directory.empty() || !HoldsForAny(rule.recipients) ||
      !HoldsForAny(rule.clients)) {
    return;
  }
  std::vector<std::string_view> trusting;
  const auto add = [&](const Backend* backend) {
    const Endpoint* endpoint = backend == nullptr ? nullptr : backend->Find(Protocol::kSmtp);
    if (endpoint != nullptr && endpoint->client_address == ClientAddress::kNone)
      trusting.push_back(backend->name);
  };
  for (const Target& target : step.targets.list) {
    add(target.backend);
    if (target.pool == nullptr) continue;
    for (const std::string& name : target.pool->backends) add(FindBackend(name));
  }
  if (trusting.empty() || !told_.insert(step.path).second) return;
  problems_.Warning(step.path,
                    "an open relay if " + Listed(trusting, " or ") +
                        " trusts Postern's address: any recipient is taken, and no client address "
                        "is handed on",
                    "\"recipient\": your domains, or \"client_address\": \"xclient\" or "
                    "\"proxy-v2\" there");
}

}  // namespace postern::conf
