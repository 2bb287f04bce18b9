// keys_test: the table of keys: complete, consistent, and with the promised defaults.
// SPDX-License-Identifier: Apache-2.0
#include "conf/keys.h"

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <map>
#include <ostream>
#include <set>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "conf/config.h"
#include "conf/text_types.h"
#include "conf/values.h"
#include "test/conf/load_helper.h"

namespace postern::conf {
namespace {

using testing::IsEmpty;

bool IsObject(Type type) {
  return type == Type::kObject || type == Type::kObjectList || type == Type::kObjectMap ||
         type == Type::kObjectListMap || type == Type::kObjectOrWord;
}

// Whether a text is a value of the row's type.
bool IsValue(const Key& row, std::string_view text) {
  std::chrono::milliseconds duration{0};
  uint64_t count = 0;
  const auto words = Split(row.values);
  switch (row.type) {
    case Type::kDuration:
      return !ParseDuration(text, duration);
    case Type::kSize:
      return !ParseSize(text, count);
    case Type::kRate:
      return !ParseRate(text, count, duration);
    case Type::kBool:
      return text == "true" || text == "false";
    case Type::kWord:
    case Type::kPathOrWord:
    case Type::kObjectOrWord:
      return std::find(words.begin(), words.end(), text) != words.end();
    case Type::kWords:
      for (const std::string_view word : Split(text))
        if (std::find(words.begin(), words.end(), word) == words.end()) return false;
      return true;
    case Type::kCount:
    case Type::kPort:
    case Type::kNumber:
      return !text.empty() && text.find_first_not_of("0123456789.e") == std::string_view::npos;
    default:
      return !CheckText(row, text);
  }
}

TEST(KeysTest, EveryRowIsWhole) {
  for (const ObjectInfo& info : AllObjects()) {
    std::set<std::string_view> seen;
    for (const Key& row : info.keys) {
      SCOPED_TRACE(std::string(info.name) + "." + std::string(row.key));
      EXPECT_TRUE(seen.insert(row.key).second);
      EXPECT_GT(row.help.size(), 5u);
      EXPECT_EQ(row.help.back(), '.');
      if (!row.is_required() && !row.fallback.empty()) {
        EXPECT_TRUE(IsValue(row, row.fallback));
      }
      if (const size_t dots = row.values.find(".."); dots != std::string_view::npos) {
        EXPECT_TRUE(IsValue(row, row.values.substr(0, dots)));
        EXPECT_TRUE(IsValue(row, row.values.substr(dots + 2)));
      }
      if (IsObject(row.type)) {
        EXPECT_NE(FindKind(Split(row.values).front()), nullptr);
      }
      if (!row.only.empty()) {
        const Key* discriminator = info.Find(info.discriminator);
        ASSERT_NE(discriminator, nullptr);
        for (const std::string_view value : Split(row.only))
          EXPECT_TRUE(IsValue(*discriminator, value));
      }
    }
  }
}

TEST(KeysTest, WhatHasNoEffectYetIsAKeyAndStandsOnce) {
  std::set<std::pair<ObjectKind, std::string_view>> seen;
  for (const NotYet& row : AllNotYet()) {
    SCOPED_TRACE(std::string(Info(row.kind).name) + "." + std::string(row.key));
    EXPECT_TRUE(seen.insert({row.kind, row.key}).second);
    const Key* key = Info(row.kind).Find(row.key);
    ASSERT_NE(key, nullptr);
    for (const std::string_view value : Split(row.values)) EXPECT_TRUE(IsValue(*key, value));
    if (!row.IsWhole()) {
      EXPECT_EQ(key->type, Type::kWord);
    }
  }
}

TEST(KeysTest, EveryKindIsUsedBySomeKey) {
  std::set<std::string_view> used = {"top"};
  for (const ObjectInfo& info : AllObjects())
    for (const Key& row : info.keys)
      if (IsObject(row.type)) used.insert(Split(row.values).front());
  for (const ObjectInfo& info : AllObjects()) EXPECT_EQ(used.count(info.name), 1u) << info.name;
}

// object.key = default, as promised to operators. "!" must be given, "" is unset.
const std::map<std::string, std::string> kPromised = {
    {"top.workers", "0"},
    {"tls.min_version", "1.2"},
    {"listener.name", "!"},
    {"listener.protocol", "!"},
    {"listener.address", "!"},
    {"listener.route", "!"},
    {"listener.auth_requires_tls", "true"},
    {"listener.require_tls", "false"},
    {"listener.accept_proxy_from", ""},
    {"listener.greet_delay", "0s"},
    {"listener.capabilities", ""},
    {"listener.pass_refusal_text", "false"},
    {"backend.host", "!"},
    {"backend.site", ""},
    {"backend.priority", "0"},
    {"backend.weight", "100"},
    {"backend.max_sessions", "0"},
    {"endpoint.port", "!"},
    {"endpoint.client_address", "none"},
    {"endpoint.reauth", "replay"},
    {"pool.backends", "!"},
    {"pool.balance", "least_load"},
    {"pool.hash_on", "user"},
    {"pool.storage", ""},
    {"pool.on_down", "closed"},
    {"pool.spill_below", "0.5"},
    {"health.interval", "5s"},
    {"health.fast_interval", "1s"},
    {"health.timeout", "10s"},
    {"health.rise", "2"},
    {"health.fall", "3"},
    {"health.slow_start", "30s"},
    {"health.cooldown", "5s"},
    {"health.relay_check", "true"},
    {"health.checks", "true"},
    {"weights.latency", "true"},
    {"weights.queue", "true"},
    {"weights.min_factor", "0.05"},
    {"queue.interval", "15s"},
    {"queue.stale_after", "2m"},
    {"queue.combine", "sum"},
    {"queue.queues", "incoming active"},
    {"directory.timeout", "2s"},
    {"cache.hit", "60s"},
    {"cache.miss", "10s"},
    {"cache.stale", "1h"},
    {"directory.allow_unlisted", "false"},
    {"directory.key", "postern:%u"},
    {"rule.on_error", "tempfail"},
    {"rule.mixed", "defer"},
    {"users.lowercase", "true"},
    {"users.strip_extension", "+"},
    {"users.send_rewritten", "false"},
    {"limits.sessions", "100000"},
    {"limits.auth_failures_per_address", "10/10m"},
    {"limits.auth_failures", "3"},
    {"limits.bad_commands", "10"},
    {"limits.line", "8KiB"},
    {"limits.sasl_line", "16KiB"},
    {"limits.literal", "8KiB"},
    {"limits.recipients", "1000"},
    {"limits.reply_lines", "128"},
    {"limits.message", "50MiB"},
    {"limits.buffer", "256KiB"},
    {"limits.buffers_total", "1GiB"},
    {"timeouts.tls", "10s"},
    {"timeouts.command", "5m"},
    {"timeouts.data", "5m"},
    {"timeouts.idle", "35m"},
    {"timeouts.auth_failure_delay", "2s"},
    {"timeouts.connect", "3s"},
    {"timeouts.greeting", "10s"},
    {"timeouts.auth", "20s"},
    {"timeouts.reply", "90s"},
    {"timeouts.data_start", "30s"},
    {"timeouts.data_block", "3m"},
    {"timeouts.data_done", "10m"},
    {"smtp.bare_newline", "reject"},
    {"smtp.replay_memory", "256KiB"},
    {"smtp.replay_memory_total", "256MiB"},
    {"smtp.replay_limit", "50MiB"},
    {"smtp.spool_dir", "/var/spool/postern"},
    {"smtp.spool_total", "4GiB"},
    {"smtp.retries", "2"},
    {"smtp.commit", "streaming"},
    {"legs.idle", "10s"},
    {"legs.transactions", "100"},
    {"drain.spread", "30s"},
    {"drain.deadline", "10m"},
    {"drain.upgrade_deadline", "24h"},
    {"metrics.phase_histograms", "backend"},
    {"probe.interval", "60s"},
    {"probe.timeout", "2m"},
    {"find.mailbox", "INBOX"},
    {"log.level", "info"},
    {"log.format", "json"},
    {"log.sessions", "stdout"},
};

TEST(KeysTest, DefaultsAreThePromisedOnes) {
  for (const auto& [name, fallback] : kPromised) {
    const size_t dot = name.find('.');
    const ObjectInfo* info = FindKind(name.substr(0, dot));
    ASSERT_NE(info, nullptr) << name;
    const Key* row = info->Find(name.substr(dot + 1));
    ASSERT_NE(row, nullptr) << name;
    EXPECT_EQ(row->fallback, fallback) << name;
  }
}

// And no default is in the table that is not promised.
TEST(KeysTest, EveryDefaultIsPromised) {
  for (const ObjectInfo& info : AllObjects()) {
    for (const Key& row : info.keys) {
      const std::string name = std::string(info.name) + "." + std::string(row.key);
      const bool is_plain = row.fallback.empty() || row.is_required() || row.fallback == "false";
      // tls of a listener and of an endpoint must be said but for tcp.
      if (!is_plain && row.key != "tls") {
        EXPECT_EQ(kPromised.count(name), 1u) << name;
      }
    }
  }
}

TEST(KeysTest, AConfigurationWithoutAKeyHasItsDefault) {
  const LoadResult result = Load(kGood);
  ASSERT_TRUE(result.config);
  const Config& config = *result.config;
  EXPECT_EQ(config.limits.SessionsPerAddress(Protocol::kSmtp), 100u);
  EXPECT_EQ(config.limits.SessionsPerAddress(Protocol::kImap), 2000u);
  EXPECT_EQ(config.timeouts.Login(Protocol::kSmtp), std::chrono::minutes(5));
  EXPECT_EQ(config.timeouts.Login(Protocol::kPop3), std::chrono::seconds(60));
  EXPECT_EQ(config.node_name, "mail.example.com");
  EXPECT_EQ(config.health.hello, "mail.example.com");
  EXPECT_EQ(config.pools[0].health.hello, "mail.example.com");
  EXPECT_EQ(config.tls.min_version, 0x0303);
  EXPECT_EQ(config.routes[0].rules[0].name, "RULE-1");
  EXPECT_EQ(config.routes[0].rules[1].name, "RULE-2");
  EXPECT_EQ(config.routes[2].rules[1].name, "rest");
  EXPECT_THAT(config.admin.addresses, IsEmpty());
  EXPECT_FALSE(config.health.login.has_value());
  EXPECT_FALSE(config.listeners[0].has_capabilities);
}

TEST(KeysTest, TheHostnameIsTheSystemsIfNotGiven) {
  const LoadResult result = LoadChanged({{"/hostname", ""}});
  ASSERT_TRUE(result.config);
  EXPECT_TRUE(IsHostname(result.config->hostname));
  EXPECT_EQ(result.config->health.hello, result.config->hostname);
}

TEST(KeysTest, WordsStandInTheOrderOfTheEnums) {
  const auto words = [](ObjectKind kind, std::string_view key) {
    return Split(Info(kind).Find(key)->values);
  };
  const auto protocols = words(ObjectKind::kListener, "protocol");
  ASSERT_EQ(protocols.size(), static_cast<size_t>(kNumProtocols));
  for (size_t i = 0; i < protocols.size(); ++i)
    EXPECT_EQ(protocols[i], Name(static_cast<Protocol>(i)));
  const auto modes = words(ObjectKind::kListener, "tls");
  for (size_t i = 0; i < modes.size(); ++i) EXPECT_EQ(modes[i], Name(static_cast<TlsMode>(i)));
  const auto endpoint_modes = words(ObjectKind::kEndpoint, "tls");
  for (size_t i = 0; i < endpoint_modes.size(); ++i) EXPECT_EQ(endpoint_modes[i], modes[i]);
  const auto addresses = words(ObjectKind::kEndpoint, "client_address");
  for (size_t i = 0; i < addresses.size(); ++i)
    EXPECT_EQ(addresses[i], Name(static_cast<ClientAddress>(i)));
  const auto storages = words(ObjectKind::kPool, "storage");
  for (size_t i = 0; i < storages.size(); ++i)
    EXPECT_EQ(storages[i], Name(static_cast<Storage>(i + 1)));
}

TEST(ReferenceTest, TheFileIsCurrent) {
  const std::string path = std::string(POSTERN_SOURCE_DIR) + "/conf/REFERENCE.md";
  if (std::getenv("POSTERN_WRITE_REFERENCE") != nullptr) std::ofstream(path) << Reference();
  std::ifstream file(path);
  const std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  EXPECT_TRUE(text == Reference())
      << "conf/REFERENCE.md is stale: run conf_test --gtest_filter='ReferenceTest.*' once with "
         "POSTERN_WRITE_REFERENCE=1 in the environment";
}

TEST(ReferenceTest, EveryKeyAndKindIsInIt) {
  const std::string text = Reference();
  for (const ObjectInfo& info : AllObjects()) {
    const size_t start = text.find("\n## " + std::string(info.name) + "\n");
    ASSERT_NE(start, std::string::npos) << info.name;
    for (const Key& row : info.keys)
      EXPECT_NE(text.find("\n| `" + std::string(row.key) + "` | ", start), std::string::npos);
  }
}

}  // namespace
}  // namespace postern::conf
