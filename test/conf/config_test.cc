// config_test: every key, set to something else than its default, arrives in its own field.
// SPDX-License-Identifier: Apache-2.0
#include "conf/config.h"

#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "test/conf/load_helper.h"

namespace postern::conf {
namespace {

using std::chrono::milliseconds;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::Pair;

std::vector<std::string> Shown(const std::vector<base::Network>& networks) {
  std::vector<std::string> texts;
  for (const base::Network& network : networks) texts.push_back(network.ToString());
  return texts;
}
std::vector<std::string> Shown(const std::vector<base::SocketAddress>& addresses) {
  std::vector<std::string> texts;
  for (const base::SocketAddress& address : addresses) texts.push_back(address.ToString());
  return texts;
}

class ConfigTest : public testing::Test {
 protected:
  const Config& With(const std::vector<Change>& changes) {
    result_ = LoadChanged(changes);
    EXPECT_THAT(Texts(result_.errors), IsEmpty());
    if (!result_.config) result_.config.emplace();
    return *result_.config;
  }
  LoadResult result_;
};

TEST_F(ConfigTest, TopLevelAndSmallObjects) {
  const TempFolder folder;
  const Config& config = With({
      {"/hostname", R"("h.example.com")"},
      {"/$schema", R"("postern.schema.json")"},
      {"/node", R"({"name": "n1", "site": "s1"})"},
      {"/workers", "3"},
      {"/tls/min_version", R"("1.3")"},
      {"/tls/groups", R"(["P-256", "X25519"])"},
      {"/tls/ticket_keys", R"("t")"},
      {"/drain", R"({"spread": "1s", "deadline": "2s", "upgrade_deadline": "3s"})"},
      {"/metrics", R"({"phase_histograms": "pool"})"},
      {"/admin", R"({"address": ["127.0.0.1:1", "[::1]:2"], "socket": "/s", "token_file": ")" +
                     folder.Write("token", "x") + R"("})"},
      {"/log", R"({"level": "warn", "format": "logfmt", "sessions": "/s.log"})"},
  });
  EXPECT_EQ(config.hostname, "h.example.com");
  EXPECT_EQ(config.node_name, "n1");
  EXPECT_EQ(config.node_site, "s1");
  EXPECT_EQ(config.workers, 3u);
  EXPECT_EQ(config.tls.min_version, 0x0304);
  EXPECT_THAT(config.tls.groups, ElementsAre("P-256", "X25519"));
  EXPECT_EQ(config.tls.ticket_keys, "/etc/t");
  EXPECT_EQ(config.drain.spread, milliseconds(1000));
  EXPECT_EQ(config.drain.deadline, milliseconds(2000));
  EXPECT_EQ(config.drain.upgrade_deadline, milliseconds(3000));
  EXPECT_TRUE(config.phase_histograms_by_pool);
  EXPECT_THAT(Shown(config.admin.addresses), ElementsAre("127.0.0.1:1", "[::1]:2"));
  EXPECT_EQ(config.admin.socket, "/s");
  EXPECT_EQ(config.admin.token_file, folder.Path("token"));
  EXPECT_EQ(config.log.level, base::log::Level::kWarn);
  EXPECT_EQ(config.log.format, base::log::Format::kLogfmt);
  EXPECT_EQ(config.log.sessions, "/s.log");
}

constexpr char kLimits[] = R"({"sessions": 1, "sessions_per_address": 2,
  "auth_failures_per_address": "3/4s", "auth_failures": 5, "bad_commands": 6, "line": "513B",
  "sasl_line": "514B", "literal": "515B", "recipients": 7, "reply_lines": 8, "message": "3MiB",
  "buffer": "5KiB", "buffers_total": "4MiB", "exempt": ["10.0.0.0/8", "::1"]})";

void ExpectAllLimits(const Limits& limits) {
  EXPECT_EQ(limits.sessions, 1u);
  EXPECT_EQ(limits.SessionsPerAddress(Protocol::kSmtp), 2u);
  EXPECT_EQ(limits.auth_failures_per_address, 3u);
  EXPECT_EQ(limits.auth_failures_window, milliseconds(4000));
  EXPECT_EQ(limits.auth_failures, 5u);
  EXPECT_EQ(limits.bad_commands, 6u);
  EXPECT_EQ(limits.line, 513u);
  EXPECT_EQ(limits.sasl_line, 514u);
  EXPECT_EQ(limits.literal, 515u);
  EXPECT_EQ(limits.recipients, 7u);
  EXPECT_EQ(limits.reply_lines, 8u);
  EXPECT_EQ(limits.message, 3u << 20);
  EXPECT_EQ(limits.buffer, 5u << 10);
  EXPECT_EQ(limits.buffers_total, 4u << 20);
  EXPECT_THAT(Shown(limits.exempt),
              ElementsAre("10.0.0.0/8", base::Network::Parse("::1")->ToString()));
}

constexpr char kTimeouts[] = R"({"tls": "11ms", "login": "12ms", "command": "13ms", "data": "14ms",
  "idle": "15ms", "auth_failure_delay": "16ms", "connect": "17ms", "greeting": "18ms",
  "auth": "19ms", "reply": "20ms", "data_start": "21ms", "data_block": "22ms",
  "data_done": "23ms"})";

void ExpectAllTimeouts(const Timeouts& timeouts) {
  EXPECT_EQ(timeouts.tls.count(), 11);
  EXPECT_EQ(timeouts.Login(Protocol::kSmtp).count(), 12);
  EXPECT_EQ(timeouts.command.count(), 13);
  EXPECT_EQ(timeouts.data.count(), 14);
  EXPECT_EQ(timeouts.idle.count(), 15);
  EXPECT_EQ(timeouts.auth_failure_delay.count(), 16);
  EXPECT_EQ(timeouts.connect.count(), 17);
  EXPECT_EQ(timeouts.greeting.count(), 18);
  EXPECT_EQ(timeouts.auth.count(), 19);
  EXPECT_EQ(timeouts.reply.count(), 20);
  EXPECT_EQ(timeouts.data_start.count(), 21);
  EXPECT_EQ(timeouts.data_block.count(), 22);
  EXPECT_EQ(timeouts.data_done.count(), 23);
}

TEST_F(ConfigTest, LimitsAndTimeoutsOfAll) {
  const Config& config = With({{"/limits", kLimits}, {"/timeouts", kTimeouts}});
  ExpectAllLimits(config.limits);
  ExpectAllTimeouts(config.timeouts);
  ExpectAllLimits(config.listeners[2].limits);
  ExpectAllTimeouts(config.listeners[2].timeouts);
}

TEST_F(ConfigTest, AListenersOwnAreLaidOverThoseOfAll) {
  const Config& config = With({{"/limits", R"({"recipients": 9, "exempt": ["10.0.0.0/8"]})"},
                               {"/timeouts", R"({"reply": "9s"})"},
                               {"/listeners/0/limits", R"({"auth_failures": 4})"},
                               {"/listeners/0/timeouts", R"({"data": "8s"})"},
                               {"/listeners/1/limits", kLimits},
                               {"/listeners/1/timeouts", kTimeouts}});
  EXPECT_EQ(config.listeners[0].limits.recipients, 9u);
  EXPECT_EQ(config.listeners[0].limits.auth_failures, 4u);
  EXPECT_THAT(Shown(config.listeners[0].limits.exempt), ElementsAre("10.0.0.0/8"));
  EXPECT_EQ(config.listeners[0].timeouts.reply, milliseconds(9000));
  EXPECT_EQ(config.listeners[0].timeouts.data, milliseconds(8000));
  EXPECT_EQ(config.limits.auth_failures, 3u);
  ExpectAllLimits(config.listeners[1].limits);
  ExpectAllTimeouts(config.listeners[1].timeouts);
}

TEST_F(ConfigTest, Listeners) {
  const Config& config = With({{"/listeners/2", R"({"name": "x", "protocol": "pop3",
      "address": ["127.0.0.1:0", "[::]:995"], "tls": "starttls", "route": "users",
      "auth_requires_tls": false, "require_tls": true, "accept_proxy_from": "10.0.0.0/8",
      "greet_delay": "3s", "capabilities": ["UIDL", "TOP"], "pass_refusal_text": true})"}});
  const Listener& listener = config.listeners[2];
  EXPECT_EQ(listener.name, "x");
  EXPECT_EQ(listener.protocol, Protocol::kPop3);
  EXPECT_THAT(Shown(listener.addresses), ElementsAre("127.0.0.1:0", "[::]:995"));
  EXPECT_EQ(listener.tls, TlsMode::kStartTls);
  EXPECT_EQ(listener.route, "users");
  EXPECT_FALSE(listener.auth_requires_tls);
  EXPECT_TRUE(listener.require_tls);
  EXPECT_THAT(Shown(listener.accept_proxy_from), ElementsAre("10.0.0.0/8"));
  EXPECT_EQ(listener.greet_delay, milliseconds(3000));
  EXPECT_THAT(listener.capabilities, ElementsAre("UIDL", "TOP"));
  EXPECT_TRUE(listener.has_capabilities);
  EXPECT_TRUE(listener.pass_refusal_text);
}

TEST_F(ConfigTest, Backends) {
  const Config& config =
      With({{"/backends/m1", R"({"host": "mail.example.net", "site": "s", "priority": 1,
      "weight": 2, "max_sessions": 3, "source_addresses": ["10.0.0.1", "::1"],
      "verify": {"name": "v.example.com", "ca": "ca.pem", "cert": "c.pem", "key": "k.pem"},
      "tcp": {"port": 7}, "imap": {"port": 4, "tls": "starttls", "client_address": "imap-id"},
      "submission": {"port": 5, "tls": "implicit", "client_address": "xclient",
                     "reauth": "xclient-login"},
      "smtp": {"port": 6, "tls": "none", "client_address": "proxy-v1"},
      "pop3": {"port": 8, "tls": "none", "client_address": "proxy-v2", "reauth": "never"},
      "lmtp": {"port": 9, "tls": "none"}, "sieve": {"port": 10, "tls": "none"}})"},
            {"/backends/m2/verify", R"("off")"}});
  const Backend& backend = *config.FindBackend("m1");
  EXPECT_EQ(backend.host, "mail.example.net");
  EXPECT_EQ(backend.site, "s");
  EXPECT_EQ(backend.priority, 1u);
  EXPECT_EQ(backend.weight, 2u);
  EXPECT_EQ(backend.max_sessions, 3u);
  ASSERT_EQ(backend.source_addresses.size(), 2u);
  EXPECT_EQ(backend.source_addresses[1].ToString(), "::1");
  EXPECT_FALSE(backend.verify.off);
  EXPECT_EQ(backend.verify.name, "v.example.com");
  EXPECT_EQ(backend.verify.ca, "/etc/ca.pem");
  EXPECT_EQ(backend.verify.cert, "/etc/c.pem");
  EXPECT_EQ(backend.verify.key, "/etc/k.pem");
  EXPECT_TRUE(config.FindBackend("m2")->verify.off);
  std::vector<std::string> endpoints;
  for (const Endpoint& endpoint : backend.endpoints) {
    endpoints.push_back(std::string(Name(endpoint.protocol)) + " " + std::to_string(endpoint.port) +
                        " " + std::string(Name(endpoint.tls)) + " " +
                        std::string(Name(endpoint.client_address)));
  }
  EXPECT_THAT(endpoints, ElementsAre("smtp 6 none proxy-v1", "submission 5 implicit xclient",
                                     "imap 4 starttls imap-id", "pop3 8 none proxy-v2",
                                     "lmtp 9 none none", "sieve 10 none none", "tcp 7 none none"));
  EXPECT_EQ(backend.Find(Protocol::kSubmission)->reauth, Reauth::kXclientLogin);
  EXPECT_EQ(backend.Find(Protocol::kPop3)->reauth, Reauth::kNever);
  EXPECT_EQ(backend.Find(Protocol::kImap)->reauth, Reauth::kReplay);
}

TEST_F(ConfigTest, QueueSources) {
  const Config& config = With({
      {"/backends/m1/queue",
       R"({"source": "prometheus", "url": "http://a/m", "metric": "q", "soft": 1.5, "hard": 2,
          "labels": {"a": "b", "c": "d"}, "combine": "max", "headers": {"X-Token": "s"},
          "interval": "1s", "stale_after": "2s"})"},
      {"/backends/m2/queue",
       R"({"source": "showq", "address": "unix:run/showq", "soft": 1, "hard": 2,
          "queues": ["hold"]})"},
      {"/backends/m3", R"({"host": "c", "imap": {"port": 1, "tls": "implicit"}, "queue":
          {"source": "agent", "address": "a.example.com:1", "send": "x\n",
           "soft": 1, "hard": 2}})"},
      {"/backends/m4", R"({"host": "d", "imap": {"port": 1, "tls": "implicit"}, "queue":
          {"source": "http_json", "url": "https://a/", "pointer": "/q/0", "soft": 1, "hard": 2}})"},
      {"/backends/m5", R"({"host": "e", "imap": {"port": 1, "tls": "implicit"}, "queue":
          {"source": "showq", "address": "[::1]:1", "soft": 1, "hard": 2}})"},
  });
  const QueueSource& prometheus = *config.backends[0].queue;
  EXPECT_EQ(prometheus.kind, QueueSource::Kind::kPrometheus);
  EXPECT_EQ(prometheus.url, "http://a/m");
  EXPECT_EQ(prometheus.metric, "q");
  EXPECT_EQ(prometheus.soft, 1.5);
  EXPECT_EQ(prometheus.hard, 2);
  EXPECT_THAT(prometheus.labels, ElementsAre(Pair("a", "b"), Pair("c", "d")));
  EXPECT_TRUE(prometheus.combine_max);
  EXPECT_EQ(prometheus.headers.at("X-Token").Reveal(), "s");
  EXPECT_EQ(prometheus.interval, milliseconds(1000));
  EXPECT_EQ(prometheus.stale_after, milliseconds(2000));
  EXPECT_THAT(prometheus.queues, IsEmpty());
  const QueueSource& showq = *config.backends[1].queue;
  EXPECT_EQ(showq.kind, QueueSource::Kind::kShowq);
  EXPECT_EQ(showq.address, "unix:/etc/run/showq");
  EXPECT_THAT(showq.queues, ElementsAre("hold"));
  const QueueSource& agent = *config.backends[2].queue;
  EXPECT_EQ(agent.kind, QueueSource::Kind::kAgent);
  EXPECT_EQ(agent.address, "a.example.com:1");
  EXPECT_EQ(agent.send, "x\n");
  EXPECT_EQ(config.backends[3].queue->kind, QueueSource::Kind::kHttpJson);
  EXPECT_EQ(config.backends[3].queue->pointer, "/q/0");
  EXPECT_THAT(config.backends[4].queue->queues, ElementsAre("incoming", "active"));
}

TEST_F(ConfigTest, PoolsWithHealthAndWeightsLaidOver) {
  const Config& config = With({
      {"/health",
       R"({"interval": "7s", "fast_interval": "2s", "timeout": "3s", "rise": 4, "fall": 5, "slow_start": "6s",
          "cooldown": "8s", "hello": "h.example.com", "relay_check": false, "checks": false,
          "login": {"user": "u", "password": "p"}, "mail": {"from": "", "to": "a@b"}})"},
      {"/weights", R"({"latency": false, "queue": false, "min_factor": 0.1, "half_life": "9s"})"},
      {"/pools/store",
       R"({"backends": ["m2", "m1"], "balance": "hash", "hash_on": "client", "storage": "exclusive",
          "on_down": "open", "spill_below": 0.25, "health": {"rise": 9},
          "weights": {"queue": true}})"},
  });
  const Health& health = config.health;
  EXPECT_EQ(health.interval, milliseconds(7000));
  EXPECT_EQ(health.fast_interval, milliseconds(2000));
  EXPECT_EQ(health.timeout, milliseconds(3000));
  EXPECT_EQ(health.rise, 4u);
  EXPECT_EQ(health.fall, 5u);
  EXPECT_EQ(health.slow_start, milliseconds(6000));
  EXPECT_EQ(health.cooldown, milliseconds(8000));
  EXPECT_EQ(health.hello, "h.example.com");
  EXPECT_FALSE(health.relay_check);
  EXPECT_FALSE(health.checks);
  EXPECT_EQ(health.login->user, "u");
  EXPECT_EQ(health.login->password.Reveal(), "p");
  EXPECT_EQ(health.mail->from, "");
  EXPECT_EQ(health.mail->to, "a@b");
  EXPECT_FALSE(config.weights.latency);
  EXPECT_FALSE(config.weights.queue);
  EXPECT_EQ(config.weights.min_factor, 0.1);
  EXPECT_EQ(config.weights.half_life, milliseconds(9000));
  const Pool& pool = *config.FindPool("store");
  EXPECT_THAT(pool.backends, ElementsAre("m2", "m1"));
  EXPECT_EQ(pool.balance, Balance::kHash);
  EXPECT_EQ(pool.hash_on, HashOn::kClient);
  EXPECT_EQ(pool.storage, Storage::kExclusive);
  EXPECT_EQ(pool.on_down, OnDown::kOpen);
  EXPECT_EQ(pool.spill_below, 0.25);
  EXPECT_EQ(pool.health.rise, 9u);
  EXPECT_EQ(pool.health.fall, 5u);
  EXPECT_TRUE(pool.weights.queue);
  EXPECT_FALSE(pool.weights.latency);
}

TEST_F(ConfigTest, Directories) {
  const TempFolder folder;
  const std::string map = folder.Write("people.map", "a m1\n");
  const std::string directories = R"~({
      "f": {"type": "file", "path": ")~" +
                                  map + R"~("},
      "h": {"type": "auth_http", "url": "http://a/", "timeout": "3s", "headers": {"X-K": "v"},
            "allow_unlisted": true, "cache": {"hit": "4s", "miss": "5s", "stale": "6s"}},
      "l": {"type": "ldap", "urls": ["ldap://a", "ldaps://b"], "starttls": true, "ca": "ca",
            "bind_dn": "dn", "bind_password": "pw", "base": "b", "filter": "(m=%u)",
            "attribute": "at", "table": {"*z": "m1", "*a": "mx"}},
      "r": {"type": "redis", "addresses": ["127.0.0.1:6379", "r.example.com:6379"],
            "username": "u", "password": "pw", "field": "home"},
      "k": {"type": "redis", "addresses": "127.0.0.1:6379", "key": "k:%u"}})~";
  const Config& config = With({{"/directories", directories}});
  ASSERT_EQ(config.directories.size(), 5u);
  const Directory& file = config.directories[0];
  EXPECT_EQ(file.name, "f");
  EXPECT_EQ(file.type, Directory::Type::kFile);
  EXPECT_EQ(file.path, map);
  const Directory& http = config.directories[1];
  EXPECT_EQ(http.type, Directory::Type::kAuthHttp);
  EXPECT_THAT(http.urls, ElementsAre("http://a/"));
  EXPECT_EQ(http.timeout, milliseconds(3000));
  EXPECT_EQ(http.headers.at("X-K").Reveal(), "v");
  EXPECT_TRUE(http.allow_unlisted);
  EXPECT_EQ(http.cache_hit, milliseconds(4000));
  EXPECT_EQ(http.cache_miss, milliseconds(5000));
  EXPECT_EQ(http.cache_stale, milliseconds(6000));
  const Directory& ldap = config.directories[2];
  EXPECT_EQ(ldap.type, Directory::Type::kLdap);
  EXPECT_THAT(ldap.urls, ElementsAre("ldap://a", "ldaps://b"));
  EXPECT_TRUE(ldap.starttls);
  EXPECT_EQ(ldap.ca, "/etc/ca");
  EXPECT_EQ(ldap.bind_dn, "dn");
  EXPECT_EQ(ldap.bind_password.Reveal(), "pw");
  EXPECT_EQ(ldap.base, "b");
  EXPECT_EQ(ldap.filter, "(m=%u)");
  EXPECT_EQ(ldap.attribute, "at");
  EXPECT_THAT(ldap.table, ElementsAre(Pair("*z", "m1"), Pair("*a", "mx")));  // in file order
  const Directory& redis = config.directories[3];
  EXPECT_EQ(redis.type, Directory::Type::kRedis);
  EXPECT_THAT(redis.addresses, ElementsAre("127.0.0.1:6379", "r.example.com:6379"));
  EXPECT_EQ(redis.username, "u");
  EXPECT_EQ(redis.password.Reveal(), "pw");
  EXPECT_EQ(redis.key, "postern:%u");
  EXPECT_EQ(redis.field, "home");
  EXPECT_EQ(config.directories[4].key, "k:%u");
  EXPECT_EQ(config.directories[4].timeout, milliseconds(2000));
}

TEST_F(ConfigTest, Rules) {
  const Config& config = With({
      {"/directories", R"({"d": {"type": "auth_http", "url": "http://a/"}})"},
      {"/routes/users", R"([
          {"name": "a", "listener": ["imaps", "pop3s"], "client": ["10.0.0.0/8"],
           "sni": ["A.Example.com"], "user": ["a*", "b*"], "percent": 12.5, "salt": "s",
           "migrated": true, "backend": "m2"},
          {"directory": "d", "value": "x*", "on_error": "next"},
          {"user": "c*", "reject": ""},
          {"user": "d*", "tempfail": "451 4.3.0 Later"}])"},
      {"/routes/in/0",
       R"({"recipient": "*@example.com", "mixed": {"relay": "out"}, "pool": "mx"})"},
      {"/routes/in/1", R"({"mixed": "defer", "reject": "550 5.1.1 No"})"},
  });
  const Rule& first = config.FindRoute("users")->rules[0];
  EXPECT_EQ(first.name, "a");
  EXPECT_THAT(first.listeners, ElementsAre("imaps", "pop3s"));
  EXPECT_THAT(Shown(first.clients), ElementsAre("10.0.0.0/8"));
  EXPECT_THAT(first.snis, ElementsAre("a.example.com"));
  EXPECT_THAT(first.users, ElementsAre("a*", "b*"));
  EXPECT_EQ(first.percent, 12.5);
  EXPECT_EQ(first.salt, "s");
  EXPECT_TRUE(first.migrated);
  EXPECT_EQ(std::get<Rule::ToBackend>(first.action).name, "m2");
  const Rule& second = config.FindRoute("users")->rules[1];
  EXPECT_EQ(second.name, "RULE-2");
  EXPECT_EQ(second.directory, "d");
  EXPECT_EQ(second.value, "x*");
  EXPECT_TRUE(second.on_error_next);
  EXPECT_TRUE(std::holds_alternative<Rule::DirectoryAnswer>(second.action));
  EXPECT_EQ(std::get<Rule::Reject>(config.FindRoute("users")->rules[2].action).reply, "");
  EXPECT_EQ(std::get<Rule::TempFail>(config.FindRoute("users")->rules[3].action).reply,
            "451 4.3.0 Later");
  const Rule& third = config.FindRoute("in")->rules[0];
  EXPECT_THAT(third.recipients, ElementsAre("*@example.com"));
  EXPECT_EQ(third.mixed_relay_pool, "out");
  EXPECT_EQ(std::get<Rule::ToPool>(third.action).name, "mx");
  EXPECT_EQ(config.FindRoute("in")->rules[1].mixed_relay_pool, "");
}

TEST_F(ConfigTest, UsersSmtpAndProbes) {
  const Config& config = With({
      {"/users",
       R"~({"lowercase": false, "strip_extension": "", "default_domain": "d.example", "send_rewritten": true,
          "rewrite": [{"match": "a(.)", "to": "b\\1"}, {"match": "c", "to": ""}]})~"},
      {"/smtp",
       R"({"bare_newline": "normalize", "replay_memory": "5KiB", "replay_memory_total": "2MiB",
          "replay_limit": "6KiB", "spool_dir": "sp", "spool_total": "7KiB", "retries": 8,
          "commit": "after_data", "legs": {"idle": "9s", "transactions": 10}})"},
      {"/probes",
       R"({"p": {"interval": "1s", "timeout": "2s", "from": "f@x", "to": "t@x", "send": {"listener": "mx"},
          "login": {"user": "lu", "password": "lp"},
          "find": {"pool": "store", "user": "fu", "password": "fp", "mailbox": "Probe"}},
          "q": {"from": "f@x", "to": "t@x", "send": {"pool": "mx"},
                "find": {"backend": "m1", "user": "u", "password": "p"}},
          "r": {"from": "f@x", "to": "t@x", "send": {"backend": "m2"},
                "find": {"backend": "m1", "user": "u", "password": "p"}}})"},
  });
  EXPECT_FALSE(config.users.lowercase);
  EXPECT_EQ(config.users.strip_extension, "");
  EXPECT_EQ(config.users.default_domain, "d.example");
  EXPECT_TRUE(config.users.send_rewritten);
  ASSERT_EQ(config.users.rewrite.size(), 2u);
  EXPECT_EQ(config.users.rewrite[0].match, "a(.)");
  EXPECT_EQ(config.users.rewrite[0].to, "b\\1");
  EXPECT_EQ(config.smtp.bare_newline, BareNewline::kNormalize);
  EXPECT_EQ(config.smtp.replay_memory, 5u << 10);
  EXPECT_EQ(config.smtp.replay_memory_total, 2u << 20);
  EXPECT_EQ(config.smtp.replay_limit, 6u << 10);
  EXPECT_EQ(config.smtp.spool_dir, "/etc/sp");
  EXPECT_EQ(config.smtp.spool_total, 7u << 10);
  EXPECT_EQ(config.smtp.retries, 8u);
  EXPECT_EQ(config.smtp.commit, Commit::kAfterData);
  EXPECT_EQ(config.smtp.legs_idle, milliseconds(9000));
  EXPECT_EQ(config.smtp.legs_transactions, 10u);
  const Probe& probe = config.probes[0];
  EXPECT_EQ(probe.name, "p");
  EXPECT_EQ(probe.interval, milliseconds(1000));
  EXPECT_EQ(probe.timeout, milliseconds(2000));
  EXPECT_EQ(probe.from, "f@x");
  EXPECT_EQ(probe.to, "t@x");
  EXPECT_EQ(probe.send_listener, "mx");
  EXPECT_EQ(probe.login->user, "lu");
  EXPECT_EQ(probe.login->password.Reveal(), "lp");
  EXPECT_EQ(probe.find_pool, "store");
  EXPECT_EQ(probe.find.user, "fu");
  EXPECT_EQ(probe.find.password.Reveal(), "fp");
  EXPECT_EQ(probe.mailbox, "Probe");
  EXPECT_EQ(config.probes[1].send_pool, "mx");
  EXPECT_EQ(config.probes[1].find_backend, "m1");
  EXPECT_EQ(config.probes[1].mailbox, "INBOX");
  EXPECT_EQ(config.probes[2].send_backend, "m2");
}

// Both ends of a range belong to it.
TEST_F(ConfigTest, RangesIncludeTheirEnds) {
  const std::vector<Change> ends = {
      {"/workers", "0"},
      {"/workers", "1024"},
      {"/weights", R"({"min_factor": 0.001})"},
      {"/weights", R"({"min_factor": 1})"},
      {"/routes/out/0/percent", "0"},
      {"/routes/out/0/percent", "100"},
      {"/health", R"({"interval": "1000ms"})"},
      {"/health", R"({"interval": "1h"})"},
      {"/health", R"({"fast_interval": "100ms"})"},
      {"/limits", R"({"line": "512B"})"},
      {"/limits", R"({"line": "1MiB"})"},
      {"/backends/m1/imap/port", "1"},
      {"/backends/m1/imap/port", "65535"},
  };
  for (const Change& end : ends)
    EXPECT_TRUE(LoadChanged({end}).config) << end.pointer << " " << end.json;
}

}  // namespace
}  // namespace postern::conf
