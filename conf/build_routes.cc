// build_routes: directories, routes and their rules, probes.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <utility>

#include "conf/build.h"
#include "conf/values.h"
#include "lb/base/bytes.h"

namespace postern::conf {

void Builder::ReadDirectory(const ObjectReader::Named& named) {
  Directory& directory = built_.config.directories.emplace_back();
  directory.name = named.name;
  ObjectReader reader(problems_, sources_, named.value, ObjectKind::kDirectory);
  const bool has_type = reader.Word("type", directory.type);
  if (has_type) reader.SetVariant(named.value.node->Find("type")->text);
  reader.Duration("timeout", directory.timeout);
  if (const auto cache = reader.Object("cache")) {
    ObjectReader times(problems_, sources_, *cache, ObjectKind::kCache);
    times.Duration("hit", directory.cache_hit);
    times.Duration("miss", directory.cache_miss);
    times.Duration("stale", directory.cache_stale);
  }
  reader.Text("path", directory.path);
  std::vector<std::string> more_urls;
  reader.Texts("url", directory.urls);
  reader.Texts("urls", more_urls);
  directory.urls.insert(directory.urls.end(), more_urls.begin(), more_urls.end());
  reader.SecretMap("headers", directory.headers);
  reader.Bool("allow_unlisted", directory.allow_unlisted);
  reader.Bool("starttls", directory.starttls);
  reader.Text("ca", directory.ca);
  reader.Text("bind_dn", directory.bind_dn);
  reader.Secret("bind_password", directory.bind_password);
  reader.Text("base", directory.base);
  reader.Text("filter", directory.filter);
  reader.Text("attribute", directory.attribute);
  reader.Texts("addresses", directory.addresses);
  reader.Text("username", directory.username);
  reader.Secret("password", directory.password);
  if (directory.type == Directory::Type::kRedis || !reader.Has("key")) directory.key = "postern:%u";
  reader.Text("key", directory.key);
  if (directory.type != Directory::Type::kRedis) directory.key.clear();
  reader.Text("field", directory.field);
  reader.StringMap("table", directory.table);

  if (!has_type) return;
  const bool is_http = directory.type == Directory::Type::kAuthHttp;
  const bool is_ldap = directory.type == Directory::Type::kLdap;
  if ((is_http && !reader.Has("url") && !reader.Has("urls")) || (is_ldap && !reader.Has("urls"))) {
    problems_.Error(named.value.node->place, named.value.path, "\"urls\" is missing",
                    "one URL or a list of them");
  }
  if (is_http && reader.Has("url") && reader.Has("urls"))
    problems_.Error(reader.PathOf("url"), "\"url\" and \"urls\" are both given", "keep one");
  const std::string_view scheme = is_ldap ? "ldap" : "http";
  for (const std::string& url : directory.urls) {
    if (url.compare(0, scheme.size(), scheme) == 0) continue;
    const std::string path = reader.PathOf(reader.Has("urls") ? "urls" : "url");
    if (problems_.IsSound(path)) {
      problems_.Error(path, Quoted(url) + " is not a URL of " + std::string(scheme) + " or " +
                                std::string(scheme) + "s");
    }
  }
}

void Builder::ReadRoute(const ObjectReader::Named& named) {
  Route& route = built_.config.routes.emplace_back();
  route.name = named.name;
  std::vector<std::string>& paths = built_.rule_paths.emplace_back();
  for (size_t i = 0; i < named.value.node->items.size(); ++i) {
    const json::Node& item = named.value.node->items[i];
    const std::string path = json::Join(named.value.path, i);
    if (item.kind != json::Node::Kind::kObject) {
      problems_.Error(item.place, path,
                      "expected an object, found " + std::string(json::Name(item.kind)));
      continue;
    }
    paths.push_back(path);
    ReadRule({&item, path, named.value.is_inert}, i + 1, route);
  }
}

void Builder::ReadRule(const Value& value, size_t number, Route& route) {
  Rule rule;
  ObjectReader reader(problems_, sources_, value, ObjectKind::kRule);
  rule.name = "RULE-" + std::to_string(number);
  reader.Text("name", rule.name);
  reader.Texts("listener", rule.listeners);
  if (reader.Networks("client", rule.clients) && rule.clients.empty())
    problems_.Error(reader.PathOf("client"), "the list is empty",
                    "without the key any client fits");
  reader.Texts("sni", rule.snis);
  for (std::string& sni : rule.snis) sni = base::ToLower(sni);
  reader.Texts("user", rule.users);
  reader.Texts("recipient", rule.recipients);
  reader.Number("percent", rule.percent);
  reader.Text("salt", rule.salt);
  reader.Text("directory", rule.directory);
  reader.Text("value", rule.value);
  enum class OnError : uint8_t { kTempFail, kNext };
  OnError on_error = OnError::kTempFail;
  reader.Word("on_error", on_error);
  rule.on_error_next = on_error == OnError::kNext;
  reader.Bool("migrated", rule.migrated);
  std::string defer;
  if (const auto mixed = reader.ObjectOrWord("mixed", defer)) {
    ObjectReader relay(problems_, sources_, *mixed, ObjectKind::kMixed);
    relay.Text("relay", rule.mixed_relay_pool);
  }
  ReadAction(reader, rule);
  route.rules.push_back(std::move(rule));
}

void Builder::ReadAction(ObjectReader& reader, Rule& rule) {
  std::string text;
  std::vector<std::string_view> given;
  for (const std::string_view key : {"pool", "backend", "reject", "tempfail"}) {
    text.clear();
    reader.Text(key, text);
    if (!reader.Has(key)) continue;
    given.push_back(key);
    if (key == "pool") rule.action = Rule::ToPool{text};
    if (key == "backend") rule.action = Rule::ToBackend{text};
    if (key == "reject") rule.action = Rule::Reject{text};
    if (key == "tempfail") rule.action = Rule::TempFail{text};
  }
  if (given.size() > 1) {
    problems_.Error(reader.path(), "the rule has " + Listed(given, " and "), "keep one of them");
  } else if (given.empty() && !reader.Has("directory")) {
    problems_.Error(reader.path(), "the rule leads nowhere",
                    "give it a pool, backend, reject, tempfail or directory");
  }
}

void Builder::ReadProbe(const ObjectReader::Named& named) {
  Probe& probe = built_.config.probes.emplace_back();
  probe.name = named.name;
  ObjectReader reader(problems_, sources_, named.value, ObjectKind::kProbe);
  reader.Duration("interval", probe.interval);
  reader.Duration("timeout", probe.timeout);
  reader.Text("from", probe.from);
  reader.Text("to", probe.to);
  if (const auto send = reader.Object("send")) {
    ObjectReader way(problems_, sources_, *send, ObjectKind::kSend);
    way.Text("listener", probe.send_listener);
    way.Text("pool", probe.send_pool);
    way.Text("backend", probe.send_backend);
  }
  if (const auto login = reader.Object("login")) ReadLogin(*login, probe.login.emplace());
  if (const auto find = reader.Object("find")) {
    ObjectReader place(problems_, sources_, *find, ObjectKind::kFind);
    place.Text("pool", probe.find_pool);
    place.Text("backend", probe.find_backend);
    place.Text("user", probe.find.user);
    place.Secret("password", probe.find.password);
    probe.mailbox = "INBOX";
    place.Text("mailbox", probe.mailbox);
  }
}

}  // namespace postern::conf
