// router: compiled rules.
// SPDX-License-Identifier: Apache-2.0
#include "lb/route/router.h"

#include <algorithm>
#include <cmath>
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

}  // namespace

struct Router::Impl {
  struct CompiledRule {
    const conf::Rule* conf;
    Decision decision;
  };
  struct CompiledRoute {
    std::string name;
    std::vector<CompiledRule> rules;
  };
  std::vector<conf::Route>
      routes;  // own copies: what decisions point into lives as long as the Router
  std::vector<CompiledRoute> compiled;

  // Empty: it matches; else why not.
  static std::string WhyNot(const conf::Rule& rule, const Facts& facts);
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
  if (rule.percent) {
    const std::string_view key = facts.user_key.empty() ? facts.recipient_key : facts.user_key;
    if (key.empty()) return "nobody is known yet";
    if (!IsWithinPercent(*rule.percent, rule.salt, key)) return "outside the percentage";
  }
  return "";
}

Router::Router(const conf::Config& config) : impl_(std::make_unique<Impl>()) {
  impl_->routes = config.routes;
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
      if (!rule.directory.empty()) {
        decision.kind = Decision::Kind::kTempFail;
      } else if (const auto* pool = std::get_if<conf::Rule::ToPool>(&rule.action)) {
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
      } else {
        decision.kind = Decision::Kind::kTempFail;
      }
      compiled.rules.push_back({&rule, decision});
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

Decision Router::Decide(uint32_t route, const Facts& facts, std::vector<Tried>* explanation) const {
  POSTERN_CHECK(route < impl_->compiled.size());
  for (const Impl::CompiledRule& rule : impl_->compiled[route].rules) {
    std::string why_not = Impl::WhyNot(*rule.conf, facts);
    const bool is_match = why_not.empty();
    if (explanation != nullptr) {
      const bool needs_directory = is_match && !rule.conf->directory.empty();
      explanation->push_back({rule.conf->name, is_match,
                              needs_directory ? "the directory cannot be asked"
                              : is_match      ? "every condition holds"
                                              : std::move(why_not)});
    }
    if (is_match) return rule.decision;
  }
  Decision unknown;
  unknown.route = route;
  return unknown;
}

}  // namespace postern::route
