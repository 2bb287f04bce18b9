// router: compiled rules.
// SPDX-License-Identifier: Apache-2.0
#include "lb/route/router.h"

#include <algorithm>
#include <array>
#include <functional>
#include <map>
#include <utility>

#include "lb/base/bytes.h"
#include "lb/base/check.h"
#include "lb/base/rng.h"

namespace postern::route {

bool PatternMatches(std::string_view pattern, std::string_view text) {
  // Greedy with one place to come back to: after a later '*' an earlier one need not be tried
  // again.
  size_t p = 0;
  size_t t = 0;
  size_t star = std::string_view::npos;
  size_t star_text = 0;
  while (t < text.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      star_text = t;
    } else if (p < pattern.size() && pattern[p] == text[t]) {
      ++p;
      ++t;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      t = ++star_text;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

namespace {

bool AnyMatches(const std::vector<std::string>& patterns, std::string_view text) {
  return !text.empty() && std::any_of(patterns.begin(), patterns.end(), [&](const auto& pattern) {
    return PatternMatches(pattern, text);
  });
}

uint32_t IndexOf(const auto& objects, std::string_view name) {
  for (uint32_t i = 0; i < objects.size(); ++i)
    if (objects[i].name == name) return i;
  POSTERN_CHECK(false);  // the validator has refused references to nothing
  return 0;
}

// A stable hash of salt and user: raising the percentage never moves anybody back.
bool IsWithinPercent(double percent, std::string_view salt, std::string_view user) {
  const uint64_t seed = base::StableHash(salt.data(), salt.size(), 0);
  const uint64_t hash = base::StableHash(user.data(), user.size(), seed);
  return static_cast<double>(hash % 10000) < percent * 100;
}

bool IsOfMailboxes(conf::Protocol listener, const conf::Endpoint& endpoint) {
  return listener == conf::Protocol::kImap || listener == conf::Protocol::kPop3 ||
         listener == conf::Protocol::kSieve || listener == conf::Protocol::kLmtp ||
         endpoint.protocol == conf::Protocol::kLmtp;
}

}  // namespace

struct Router::Impl {
  struct CompiledRule {
    const conf::Rule* conf;
    Decision decision;
    std::optional<uint32_t> directory;
  };
  struct CompiledRoute {
    std::string name;
    std::vector<CompiledRule> rules;
  };
  // What an answer's words can mean, and for which listeners it may not.
  struct Target {
    Decision::Kind kind = Decision::Kind::kPool;
    uint32_t index = 0;
    // A pool that a mailbox listener must not be balanced over.
    std::array<bool, conf::kNumProtocols> is_refused{};
  };
  // Own copies: what decisions point into lives as long as the Router.
  std::vector<conf::Route> routes;
  std::vector<conf::Table> tables;  // by directory
  std::vector<CompiledRoute> compiled;
  std::map<std::string, Target, std::less<>> targets;  // by name

  // Empty: its conditions hold, but for its directory's; else why not.
  static std::string WhyNot(const conf::Rule& rule, const Facts& facts);
  void AddTargets(const conf::Config& config);
  [[nodiscard]] std::optional<std::string_view> Translated(uint32_t directory,
                                                           std::string_view answer) const;
  [[nodiscard]] std::string_view Resolve(std::string_view value, conf::Protocol listener,
                                         Decision& decision) const;
  // Nothing: the next rule.
  [[nodiscard]] std::optional<Decision> DecideBy(const CompiledRule& rule, const Facts& facts,
                                                 std::string& why) const;
};

std::string Router::Impl::WhyNot(const conf::Rule& rule, const Facts& facts) {
  if (!rule.listeners.empty() && std::find(rule.listeners.begin(), rule.listeners.end(),
                                           facts.listener) == rule.listeners.end())
    return "listener differs";
  if (!rule.clients.empty() && !base::AnyContains(rule.clients, facts.client))
    return "client is in none of the networks";
  if (!rule.snis.empty() && !AnyMatches(rule.snis, facts.sni)) return "sni differs";
  if (!rule.users.empty() && !AnyMatches(rule.users, facts.user_key)) return "user differs";
  if (!rule.recipients.empty() && !AnyMatches(rule.recipients, facts.recipient_key))
    return "recipient differs";
  const std::string_view key = facts.user_key.empty() ? facts.recipient_key : facts.user_key;
  if ((rule.percent || !rule.directory.empty()) && key.empty()) return "nobody is known yet";
  if (rule.percent && !IsWithinPercent(*rule.percent, rule.salt, key))
    return "outside the percentage";
  return "";
}

// A pool without a storage that allows it is never balanced over for mailboxes: the validator has
// seen to that for the rules, but cannot know what a directory will say.
void Router::Impl::AddTargets(const conf::Config& config) {
  for (uint32_t i = 0; i < config.backends.size(); ++i)
    targets[config.backends[i].name] = {Decision::Kind::kBackend, i, {}};
  for (uint32_t i = 0; i < config.pools.size(); ++i) {
    const conf::Pool& pool = config.pools[i];
    Target target{Decision::Kind::kPool, i, {}};
    const bool may_balance =
        pool.storage == conf::Storage::kShared || pool.storage == conf::Storage::kExclusive;
    for (int protocol = 0; protocol < conf::kNumProtocols && !may_balance; ++protocol) {
      const auto listener = static_cast<conf::Protocol>(protocol);
      int num_mailbox_members = 0;
      for (const std::string& name : pool.backends) {
        const conf::Endpoint* endpoint =
            config.backends[IndexOf(config.backends, name)].FindFor(listener);
        if (endpoint != nullptr && IsOfMailboxes(listener, *endpoint)) ++num_mailbox_members;
      }
      target.is_refused[static_cast<size_t>(protocol)] = num_mailbox_members > 1;
    }
    targets[pool.name] = target;
  }
}

Router::Router(const conf::Config& config) : impl_(std::make_unique<Impl>()) {
  impl_->routes = config.routes;
  for (const conf::Directory& directory : config.directories)
    impl_->tables.push_back(directory.table);
  impl_->AddTargets(config);
  // What patterns are held against is lower case: a pattern with a capital would never match.
  const auto lower = [](std::vector<std::string>& patterns) {
    for (std::string& pattern : patterns) pattern = base::ToLower(pattern);
  };
  for (conf::Route& route : impl_->routes)
    for (conf::Rule& rule : route.rules) {
      lower(rule.snis);
      if (!config.users.lowercase) continue;
      lower(rule.users);
      lower(rule.recipients);
    }
  for (uint32_t r = 0; r < impl_->routes.size(); ++r) {
    Impl::CompiledRoute compiled;
    compiled.name = impl_->routes[r].name;
    for (uint32_t i = 0; i < impl_->routes[r].rules.size(); ++i) {
      const conf::Rule& rule = impl_->routes[r].rules[i];
      Decision decision;
      decision.route = r;
      decision.rule = i;
      if (const auto* pool = std::get_if<conf::Rule::ToPool>(&rule.action)) {
        decision.kind = Decision::Kind::kPool;
        decision.index = IndexOf(config.pools, pool->name);
      } else if (const auto* backend = std::get_if<conf::Rule::ToBackend>(&rule.action)) {
        decision.kind = Decision::Kind::kBackend;
        decision.index = IndexOf(config.backends, backend->name);
      } else if (const auto* reject = std::get_if<conf::Rule::Reject>(&rule.action)) {
        decision.kind = Decision::Kind::kReject;
        decision.text = reject->reply;
      } else if (const auto* tempfail = std::get_if<conf::Rule::TempFail>(&rule.action)) {
        decision.kind = Decision::Kind::kTempFail;
        decision.text = tempfail->reply;
      }
      if (!rule.mixed_relay_pool.empty())
        decision.relay = IndexOf(config.pools, rule.mixed_relay_pool);
      std::optional<uint32_t> directory;
      if (!rule.directory.empty()) directory = IndexOf(config.directories, rule.directory);
      compiled.rules.push_back({&rule, decision, directory});
    }
    impl_->compiled.push_back(std::move(compiled));
  }
}

Router::~Router() = default;

std::optional<uint32_t> Router::FindRoute(std::string_view name) const {
  for (uint32_t i = 0; i < impl_->compiled.size(); ++i)
    if (impl_->compiled[i].name == name) return i;
  return std::nullopt;
}

std::optional<Decision> Router::Impl::DecideBy(const CompiledRule& rule, const Facts& facts,
                                               std::string& why) const {
  why = WhyNot(*rule.conf, facts);
  if (!why.empty()) return std::nullopt;
  why = "every condition holds";
  Decision decision = rule.decision;
  if (!rule.directory) return decision;
  const auto answered =
      std::find_if(facts.answers.begin(), facts.answers.end(),
                   [&](const Answered& each) { return each.directory == *rule.directory; });
  if (answered == facts.answers.end()) {
    why = "its directory is to be asked";
    decision.kind = Decision::Kind::kAsk;
    decision.index = *rule.directory;
    return decision;
  }
  decision.answer = &*answered;
  const auto failed = [&](std::string_view reason) -> std::optional<Decision> {
    why = "the directory fails: " + std::string(reason);
    if (rule.conf->on_error_next) return std::nullopt;
    decision.kind = Decision::Kind::kTempFail;
    decision.text = {};
    decision.why = reason.empty() ? "it says nothing of why" : reason;
    return decision;
  };
  const io::LookupAnswer& answer = answered->answer;
  switch (answer.kind) {
    case io::LookupAnswer::Kind::kUnknown:
      if (answer.is_stale) return failed("what it knew of nobody has run out");
      why = "the directory knows nobody of that name";
      return std::nullopt;
    case io::LookupAnswer::Kind::kRefused:
      why = "the directory refuses the login";
      decision.kind = Decision::Kind::kRefused;
      return decision;
    case io::LookupAnswer::Kind::kFailed:
      return failed(answer.why);
    case io::LookupAnswer::Kind::kFound:
      break;
  }
  const std::optional<std::string_view> value = Translated(*rule.directory, answer.value);
  if (!value) return failed("its answer is in no row of its table");
  if (!rule.conf->value.empty() && !PatternMatches(rule.conf->value, *value)) {
    why = "the directory's answer differs";
    return std::nullopt;
  }
  if (!std::holds_alternative<conf::Rule::DirectoryAnswer>(rule.conf->action)) return decision;
  const std::string_view fault = Resolve(*value, facts.protocol, decision);
  if (!fault.empty()) return failed(fault);
  return decision;
}

// By the directory's table, where it has one; nothing: no row matches.
std::optional<std::string_view> Router::Impl::Translated(uint32_t directory,
                                                         std::string_view answer) const {
  const conf::Table& table = tables[directory];
  if (table.empty()) return answer;
  for (const auto& [pattern, target] : table)
    if (PatternMatches(pattern, answer)) return target;
  return std::nullopt;
}

// From an answer's words to a home; else what is wrong with them.
std::string_view Router::Impl::Resolve(std::string_view value, conf::Protocol listener,
                                       Decision& decision) const {
  const auto target = targets.find(value);
  if (target == targets.end()) {
    if (value.find(':') == std::string_view::npos) return "its answer is neither pool nor backend";
    decision.kind = Decision::Kind::kAddress;
    decision.text = value;
    return {};
  }
  if (target->second.is_refused[static_cast<size_t>(listener)])
    return "its answer is a pool whose members do not share their mailboxes";
  decision.kind = target->second.kind;
  decision.index = target->second.index;
  return {};
}

Decision Router::Decide(uint32_t route, const Facts& facts, std::vector<Tried>* explanation) const {
  POSTERN_CHECK(route < impl_->compiled.size());
  std::string why;
  for (const Impl::CompiledRule& rule : impl_->compiled[route].rules) {
    const std::optional<Decision> decision = impl_->DecideBy(rule, facts, why);
    if (explanation != nullptr)
      explanation->push_back(
          {rule.conf->name, decision && decision->kind != Decision::Kind::kAsk, std::move(why)});
    if (decision) return *decision;
  }
  Decision unknown;
  unknown.route = route;
  return unknown;
}

}  // namespace postern::route
