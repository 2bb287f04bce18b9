// validator_test: rules across keys, one change of a good configuration each.
// SPDX-License-Identifier: Apache-2.0
#include "conf/validator.h"

#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "test/conf/load_helper.h"
#include "test/conf/rule_case.h"

namespace postern::conf {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::StartsWith;

class ValidatorTest : public testing::TestWithParam<RuleCase> {};

TEST_P(ValidatorTest, SaysExactlyThis) {
  ExpectSaid(GetParam());
}

INSTANTIATE_TEST_SUITE_P(
    References, ValidatorTest,
    testing::Values(
        RuleCase{"listener_route",
                 {{"/listeners/2/route", R"("user")"}},
                 {R"(/listeners/2/route: there is no route "user" (did you mean "users"?))"},
                 {}},
        RuleCase{"rule_pool",
                 {{"/routes/users/1/pool", R"("stor")"}},
                 {R"(/routes/users/1/pool: there is no pool "stor" (did you mean "store"?))"},
                 {R"(/pools/store: no rule leads to pool "store")"}},
        RuleCase{"rule_backend",
                 {{"/routes/users/0/backend", R"("x")"}},
                 {R"(/routes/users/0/backend: there is no backend "x" (known: m1, m2))"},
                 {}},
        RuleCase{
            "rule_directory",
            {{"/routes/users/0", R"({"directory": "people"})"}},
            {R"(/routes/users/0/directory: there is no directory "people" (none is configured))"},
            {}},
        RuleCase{
            "rule_listener",
            {{"/routes/users/0/listener", R"(["imaps", "pop3"])"}},
            {R"(/routes/users/0/listener/1: there is no listener "pop3" (did you mean "pop3s"?))"},
            {}},
        RuleCase{
            "rule_listener_alone",
            {{"/routes/users/0/listener", R"("imap")"}},
            {R"(/routes/users/0/listener: there is no listener "imap" (did you mean "imaps"?))"},
            {}},
        RuleCase{"rule_mixed",
                 {{"/routes/in/0/mixed", R"({"relay": "mxx"})"}},
                 {R"(/routes/in/0/mixed/relay: there is no pool "mxx" (did you mean "mx"?))"},
                 {}},
        RuleCase{
            "rule_mixed_nowhere",
            {{"/backends/m9", R"({"host": "10.0.0.19", "imap": {"port": 993, "tls": "implicit"}})"},
             {"/pools/boxes", R"({"backends": ["m9"]})"},
             {"/routes/in/0/mixed", R"({"relay": "boxes"})"}},
            {R"(/routes/in/0/mixed/relay: no backend of "boxes" has an "smtp" endpoint (a pool that takes mail for every recipient))"},
            {}},
        RuleCase{"pool_backend",
                 {{"/pools/mx/backends/1", R"("m3")"}},
                 {R"(/pools/mx/backends/1: there is no backend "m3" (did you mean "m1"?))"},
                 {}},
        RuleCase{"pool_backend_twice",
                 {{"/pools/mx/backends/1", R"("m1")"}},
                 {R"(/pools/mx/backends/1: "m1" stands in the list twice)"},
                 {}},
        RuleCase{"pool_empty",
                 {{"/pools/mx/backends", "[]"}},
                 {R"(/pools/mx/backends: the list is empty)"},
                 {}},
        RuleCase{
            "directory_table",
            {{"/directories",
              R"({"d": {"type": "redis", "addresses": "127.0.0.1:6379", "table": {"*a": "m1", "*b": "m3"}}})"},
             {"/routes/users/0", R"({"directory": "d"})"}},
            {R"(/directories/d/table/*b: there is no pool or backend "m3" (did you mean "mx"?))"},
            {}},
        RuleCase{
            "probe",
            {{"/probes",
              R"({"p": {"from": "", "to": "a@b", "send": {"listener": "mxx", "pool": "mx"}, "find": {"user": "u", "password": "p"}}})"}},
            {R"(/probes/p/send: a probe is sent one way (one of listener, pool, backend))",
             R"(/probes/p/send/listener: there is no listener "mxx" (did you mean "mx"?))",
             R"(/probes/p/find: a probe is looked for in one place (one of pool, backend))"},
            {}},
        RuleCase{
            "probe_sent_nowhere",
            {{"/probes",
              R"({"p": {"from": "", "to": "a@b", "send": {}, "find": {"pool": "store", "user": "u", "password": "p"}}})"}},
            {R"(/probes/p/send: a probe is sent one way (one of listener, pool, backend))"},
            {}}),
    RuleCaseName);

// A probe with these words in place of good ones.
std::string ProbeOf(const std::string& from, const std::string& to, const std::string& listener,
                    const std::string& mailbox) {
  return R"({"p": {"from": ")" + from + R"(", "to": ")" + to + R"(", "send": {"listener": ")" +
         listener + R"("}, "find": {"pool": "store", "user": "u", "password": "p", "mailbox": ")" +
         mailbox + R"("}}})";
}

INSTANTIATE_TEST_SUITE_P(
    Probes, ValidatorTest,
    testing::Values(
        RuleCase{"good_words", {{"/probes", ProbeOf("a@b", "c@d", "mx", "INBOX")}}, {}, {}},
        RuleCase{"empty_sender", {{"/probes", ProbeOf("", "c@d", "sub", R"(A \"b\")")}}, {}, {}},
        RuleCase{"brackets", {{"/probes", ProbeOf("<>", "<c@d>", "mx", "Junk")}}, {}, {}},
        RuleCase{
            "from",
            {{"/probes", ProbeOf("A <a@b>", "c@d", "mx", "INBOX")}},
            {R"~(/probes/p/from: "A <a@b>" is no address to send from (no blanks and no name, as in "probe@example.com"; "" for the empty one))~"},
            {}},
        RuleCase{
            "to",
            {{"/probes", ProbeOf("a@b", "c@d e@f", "mx", "INBOX")}},
            {R"~(/probes/p/to: "c@d e@f" is no address to send to (no blanks and no name, as in "probe@example.com"))~"},
            {}},
        RuleCase{
            "to_nobody",
            {{"/probes", ProbeOf("a@b", "<>", "mx", "INBOX")}},
            {R"~(/probes/p/to: "<>" is no address to send to (no blanks and no name, as in "probe@example.com"))~"},
            {}},
        RuleCase{"mailbox",
                 {{"/probes", ProbeOf("a@b", "c@d", "mx", "Entw\xc3\xbcrfe")}},
                 {"/probes/p/find/mailbox: \"Entw\xc3\xbcrfe\" is no name that IMAP can be told "
                  "(in ASCII, "
                  "as IMAP writes it: \"Entw&APw-rfe\" (RFC 3501 5.1.3))"},
                 {}},
        RuleCase{
            "listener_of_readers",
            {{"/probes", ProbeOf("a@b", "c@d", "imaps", "INBOX")}},
            {R"~(/probes/p/send/listener: listener "imaps" takes no mail from senders, it speaks imap (one of smtp or submission))~"},
            {}}),
    RuleCaseName);

INSTANTIATE_TEST_SUITE_P(
    Listeners, ValidatorTest,
    testing::Values(
        RuleCase{"name_twice",
                 {{"/listeners/3/name", R"("imaps")"}},
                 {R"(/listeners/3/name: there is another listener "imaps" (it is /listeners/2))"},
                 {}},
        RuleCase{"none",
                 {{"/listeners", "[]"}},
                 {"/listeners: there is no listener"},
                 {R"(/routes/in: no listener uses route "in")",
                  R"(/routes/out: no listener uses route "out")",
                  R"(/routes/users: no listener uses route "users")"}},
        RuleCase{
            "passthrough_imap",
            {{"/listeners/2/tls", R"("passthrough")"}},
            {R"(/listeners/2/tls: passthrough is for tcp listeners, this is imap (one of none, starttls, implicit))"},
            {}},
        RuleCase{
            "starttls_tcp",
            {{"/listeners/3",
              R"({"name": "t", "protocol": "tcp", "address": "0.0.0.0:9930", "tls": "starttls", "route": "out"})"},
             {"/backends/m1/tcp", R"({"port": 9931})"}},
            {R"(/listeners/3/tls: tcp has no STARTTLS (one of none, implicit, passthrough))"},
            {}},
        RuleCase{
            "tcp_needs_no_tls_key",
            {{"/listeners/3",
              R"({"name": "t", "protocol": "tcp", "address": "0.0.0.0:9930", "route": "out"})"},
             {"/backends/m1/tcp", R"({"port": 9931})"}},
            {},
            {}},
        RuleCase{
            "keys_that_say_nothing_there",
            {{"/listeners/0/greet_delay", R"("2s")"},
             {"/listeners/2/greet_delay", R"("2s")"},
             {"/listeners/2/limits", R"({"sessions": 10, "auth_failures_per_address": "3/1m"})"}},
            {},
            {"/listeners/2/greet_delay: has no effect on imap listeners",
             "/listeners/2/limits/auth_failures_per_address: only the global one counts "
             "(/limits/auth_failures_per_address)"}},
        RuleCase{"tls_must_be_said",
                 {{"/listeners/2/tls", ""}},
                 {R"(/listeners/2: "tls" is missing (one of none, starttls, implicit))"},
                 {}},
        RuleCase{
            "certificate",
            {{"/tls", ""}},
            {R"(/listeners/0/tls: there is no certificate for the TLS of mx, sub, imaps and pop3s ("tls": {"certificates": [{"cert": "...", "key": "..."}]}))"},
            {}},
        RuleCase{
            "require_tls_without",
            {{"/listeners/0/tls", R"("none")"}, {"/listeners/0/require_tls", "true"}},
            {R"(/listeners/0/require_tls: TLS is required where "tls" is "none" ("tls": "starttls" or "implicit"))"},
            {}},
        RuleCase{
            "nobody_can_log_in",
            {{"/listeners/2/tls", R"("none")"}},
            {},
            {R"(/listeners/2/tls: nobody can log in here: logins need TLS, and there is none ("auth_requires_tls": false allows passwords in clear))"}},
        RuleCase{"clear_logins_allowed",
                 {{"/listeners/2/tls", R"("none")"}, {"/listeners/2/auth_requires_tls", "false"}},
                 {},
                 {}},
        RuleCase{
            "address_twice",
            {{"/listeners/3/address", R"(["0.0.0.0:995", "0.0.0.0:993"])"}},
            {R"(/listeners/3/address/1: 0.0.0.0:993 is used twice (first at /listeners/2/address))"},
            {}},
        RuleCase{"address_twice_with_admin",
                 {{"/admin", R"({"address": "127.0.0.1:993"})"},
                  {"/listeners/2/address", R"("127.0.0.1:993")"}},
                 {R"(/admin/address: 127.0.0.1:993 is used twice (first at /listeners/2/address))"},
                 {}},
        RuleCase{"port_zero_may_repeat",
                 {{"/listeners/2/address", R"("127.0.0.1:0")"},
                  {"/listeners/3/address", R"("127.0.0.1:0")"}},
                 {},
                 {}},
        RuleCase{"wildcard_beside_one_address",
                 {{"/listeners/3/address", R"(["10.0.0.5:993", "[::]:993"])"}},
                 {},
                 {}},
        RuleCase{
            "proxy_network",
            {{"/listeners/2/accept_proxy_from", R"(["10.0.0.0/8", "10.0.0.1.2"])"}},
            {R"(/listeners/2/accept_proxy_from/1: "10.0.0.1.2" is not a network (for example "10.0.0.0/8" or "2001:db8::/32"))"},
            {}},
        RuleCase{
            "no_backend_with_the_protocol",
            {{"/backends/m1/pop3", ""}, {"/backends/m2/pop3", ""}},
            {R"(/listeners/3/route: the route leads "pop3s" to no backend that speaks pop3 (a backend with a "pop3" endpoint, and a rule that can hold))"},
            {}},
        RuleCase{
            "no_rule_that_can_hold",
            {{"/listeners/3/route", R"("in")"}, {"/routes/in/1", ""}},
            {R"(/listeners/3/route: the route leads "pop3s" to no backend that speaks pop3 (a backend with a "pop3" endpoint, and a rule that can hold))"},
            {}},
        RuleCase{
            "buffer",
            {{"/listeners/2/limits", R"({"buffer": "2MiB"})"},
             {"/limits", R"({"buffers_total": "1MiB"})"}},
            {R"(/listeners/2/limits/buffer: one session's "buffer" is larger than "buffers_total")"},
            {}}),
    RuleCaseName);

INSTANTIATE_TEST_SUITE_P(
    Rest, ValidatorTest,
    testing::Values(
        RuleCase{
            "admin_off_loopback",
            {{"/admin", R"({"address": ["127.0.0.1:9180", "0.0.0.0:9180"]})"}},
            {R"(/admin/address: 0.0.0.0:9180 can be reached from elsewhere: a token is needed ("token_file": "admin.token", or a loopback address))"},
            {}},
        RuleCase{"admin_on_loopback",
                 {{"/admin", R"({"address": ["127.0.0.1:9180", "[::1]:9180"]})"}},
                 {},
                 {}},
        RuleCase{"token_file",
                 {{"/admin", R"({"address": "0.0.0.0:9180", "token_file": "/nowhere/token"})"}},
                 {"/admin/token_file: /nowhere/token cannot be read"},
                 {}},
        RuleCase{"socket_path",
                 {{"/admin", R"({"socket": "/)" + std::string(107, 'x') + R"("})"}},
                 {"/admin/socket: the path is longer than a socket's may be (107 bytes at most: /" +
                  std::string(107, 'x') + ")"},
                 {}},
        RuleCase{"replay_memory_total",
                 {{"/smtp", R"({"replay_memory": "2MiB", "replay_memory_total": "1MiB"})"}},
                 {R"(/smtp/replay_memory: "replay_memory" is larger than "replay_memory_total")"},
                 {}},
        RuleCase{"replay_limit",
                 {{"/smtp", R"({"replay_limit": "100KiB"})"}},
                 {R"(/smtp/replay_limit: "replay_memory" is larger than "replay_limit")"},
                 {}},
        RuleCase{"drain_spread",
                 {{"/drain", R"({"spread": "20m"})"}},
                 {},
                 {R"(/drain/spread: goodbyes are spread over more time than "deadline")"}},
        RuleCase{"drain_deadline_alone", {{"/drain", R"({"deadline": "1s"})"}}, {}, {}},
        RuleCase{"groups_empty",
                 {{"/tls/groups", "[]"}},
                 {R"(/tls/groups: no usable group is left (for example "X25519" and "P-256"))"},
                 {}},
        RuleCase{
            "ldap",
            {{"/directories",
              R"~({"d": {"type": "ldap", "url": "http://x", "base": "b", "filter": "(mail=x)", "attribute": "a", "path": "x"}})~"}},
            {R"(/directories/d: "urls" is missing (one URL or a list of them))",
             R"(/directories/d/url: no key of type "ldap" (it is one of auth_http))",
             R"~(/directories/d/filter: the filter asks everybody the same: it has no %u and no %n (for example "(mail=%u)"))~",
             R"(/directories/d/path: no key of type "ldap" (it is one of file))"},
            {R"(/directories/d: no rule asks directory "d")"}},
        RuleCase{
            "directory_urls",
            {{"/directories",
              R"({"d": {"type": "auth_http", "urls": ["ldap://x"]}, "e": {"type": "auth_http", "url": "http://x/", "urls": ["http://y/"]}})"}},
            {R"(/directories/d/urls: "ldap://x" is not a URL of http or https)",
             R"(/directories/e/url: "url" and "urls" are both given (keep one))"},
            {R"(/directories/d: no rule asks directory "d")",
             R"(/directories/e: no rule asks directory "e")"}},
        RuleCase{
            "pool_and_backend_of_one_name",
            {{"/directories", R"({"d": {"type": "auth_http", "url": "http://x/"}})"},
             {"/routes/out/0", R"({"directory": "d"})"},
             {"/pools/m1", R"({"backends": ["m1"]})"}},
            {},
            {R"(/pools/m1: a backend has the name "m1" too (a directory's answer of that name means the pool))"}},
        RuleCase{"directory_type",
                 {{"/directories", R"({"d": {"type": "sql", "path": "x"}})"}},
                 {R"(/directories/d/type: "sql" is not one of file, auth_http, ldap and redis)"},
                 {R"(/directories/d: no rule asks directory "d")"}}),
    RuleCaseName);

// Every key and value without effect, each in a place of its own.
INSTANTIATE_TEST_SUITE_P(
    NoEffect, ValidatorTest,
    testing::Values(
        RuleCase{
            "once_per_key",
            {{"/pools/mx/storage", R"("exclusive")"}, {"/pools/store/storage", R"("exclusive")"}},
            {},
            {}},
        RuleCase{"pool_keys",
                 {{"/pools/mx/balance", R"("hash")"},
                  {"/pools/mx/on_down", R"("open")"},
                  {"/pools/mx/spill_below", "0.3"},
                  {"/pools/store/balance", R"("first")"},
                  {"/pools/store/on_down", R"("closed")"},
                  {"/pools/out/balance", R"("round_robin")"}},
                 {},
                 {}},
        RuleCase{"exclusive_storage", {{"/pools/store/storage", R"("exclusive")"}}, {}, {}},
        RuleCase{
            "smtp_keys",
            {{"/smtp",
              R"({"commit": "after_data", "spool_dir": "/s", "spool_total": "1GiB", "retries": 3, "bare_newline": "pass"})"}},
            {},
            {}},
        RuleCase{
            "whole_objects_are_named_once",
            {{"/directories",
              R"({"d": {"type": "redis", "addresses": "127.0.0.1:6379", "field": "home"}})"},
             {"/metrics", R"({"phase_histograms": "pool"})"}},
            {},
            {R"(/directories/d: no rule asks directory "d")",
             R"(/metrics/phase_histograms: "pool" has no effect in this build yet (as "backend"))"}}),
    RuleCaseName);

TEST(ValidatorChecksTest, AsksForEveryFileThatTheConfigurationNames) {
  std::vector<std::string> asked;
  FileChecks checks;
  checks.pair = [&](const std::string& cert, const std::string& key) {
    asked.push_back("pair " + cert + " " + key);
    return std::optional<std::string>("bad pair");
  };
  checks.ca_file = [&](const std::string& path) {
    asked.push_back("ca " + path);
    return std::optional<std::string>("bad ca");
  };
  checks.ticket_keys = [&](const std::string& path) {
    asked.push_back("tickets " + path);
    return std::optional<std::string>("bad tickets");
  };
  const LoadResult result =
      LoadChanged({{"/tls/ticket_keys", R"("t.keys")"},
                   {"/tls/certificates/1", R"({"cert": "b.crt", "key": "b.key"})"},
                   {"/backends/m1/verify", R"({"ca": "ca.pem", "cert": "c.crt", "key": "c.key"})"}},
                  checks);
  EXPECT_THAT(asked,
              ElementsAre("pair /etc/a.crt /etc/a.key", "pair /etc/b.crt /etc/b.key",
                          "tickets /etc/t.keys", "ca /etc/ca.pem", "pair /etc/c.crt /etc/c.key"));
  EXPECT_THAT(PlainTexts(result.errors),
              ElementsAre("/tls/certificates/0: bad pair", "/tls/certificates/1: bad pair",
                          "/tls/ticket_keys: bad tickets", "/backends/m1/verify/ca: bad ca",
                          "/backends/m1/verify/cert: bad pair"));
}

TEST(ValidatorChecksTest, ACertificateThatHasExpiredStopsAReloadButNotAStart) {
  FileChecks checks;
  checks.pair = [](const std::string& cert, const std::string&) {
    return cert == "/etc/b.crt" ? std::optional<std::string>("bad pair") : std::nullopt;
  };
  checks.validity = [](const std::string& cert) {
    return std::optional<std::string>(cert + ": expired");
  };
  const std::vector<Change> changes = {
      {"/tls/certificates/1", R"({"cert": "b.crt", "key": "b.key"})"}};
  EXPECT_THAT(
      PlainTexts(LoadChanged(changes, checks).errors),
      ElementsAre("/tls/certificates/0: /etc/a.crt: expired", "/tls/certificates/1: bad pair"));
  checks.invalid = FileChecks::Invalid::kWarning;
  const LoadResult start = LoadChanged(changes, checks);
  EXPECT_THAT(PlainTexts(start.errors), ElementsAre("/tls/certificates/1: bad pair"));
  EXPECT_THAT(PlainTexts(start.warnings),
              ElementsAre("/tls/certificates/0: /etc/a.crt: expired "
                          "(served all the same; peers will refuse it)"));
}

TEST(ValidatorChecksTest, GroupsThatTheBuildLacksAreLeftOut) {
  FileChecks checks;
  checks.knows_group = [](const std::string& group) {
    return group == "X25519" || group == "P-256";
  };
  const LoadResult some =
      LoadChanged({{"/tls/groups", R"(["X25519MLKEM768", "X25519", "P-256"])"}}, checks);
  ASSERT_TRUE(some.config);
  EXPECT_THAT(some.config->tls.groups, ElementsAre("X25519", "P-256"));
  EXPECT_THAT(
      PlainTexts(some.warnings),
      ElementsAre(
          R"(/tls/groups/0: this build's TLS library has no group "X25519MLKEM768" (it is left out))"));
  const LoadResult none = LoadChanged({{"/tls/groups", R"(["X448"])"}}, checks);
  EXPECT_THAT(
      PlainTexts(none.errors),
      ElementsAre(R"(/tls/groups: no usable group is left (for example "X25519" and "P-256"))"));
}

TEST(ValidatorChecksTest, AnAddressOfThisMachineBehindAWildcardIsALoop) {
  FileChecks checks;
  checks.is_own_address = [](const base::IpAddress& ip) { return ip.ToString() == "10.0.0.12"; };
  const LoadResult result =
      LoadChanged({{"/backends/m2/smtp/port", "1025"}, {"/backends/m2/pop3/port", "1110"}}, checks);
  EXPECT_THAT(PlainTexts(result.errors),
              ElementsAre(StartsWith("/backends/m2/imap/port: a loop: ")));
}

TEST(ValidatorChecksTest, TokenFilesMustHoldSomething) {
  const TempFolder folder;
  const auto errors = [&](const std::string& token) {
    folder.Write("t", token);
    const std::string file = folder.Write(
        "p.json", Changed({{"/admin", R"({"address": "0.0.0.0:9180", "token_file": "t"})"}}));
    return PlainTexts(LoadFile(file, {}).errors);
  };
  EXPECT_THAT(errors("x"), IsEmpty());
  EXPECT_THAT(errors(""), ElementsAre("/admin/token_file: " + folder.Path("t") + " is empty"));
}

// A value that is broken already is not judged again by the rules that would have used it.
TEST(ValidatorChecksTest, OneMistakeIsOneError) {
  const std::vector<std::vector<Change>> mistakes = {
      {{"/listeners/2/protocol", R"("impa")"}},
      {{"/listeners/2/tls", R"("tls")"}},
      {{"/listeners/2/address", R"("993")"}},
      {{"/listeners/2/route", "5"}},
      {{"/listeners/2/name", "5"}},
      {{"/backends/m1", "5"}},
      {{"/backends/m1/imap", "5"}},
      {{"/backends/m1/imap/port", "0"}},
      {{"/pools/store/storage", R"("share")"}},
      {{"/pools/store/backends", R"("m9")"}},
      {{"/pools/store/backends/0", "5"}},
      {{"/pools/store", "5"}},
      {{"/routes/users/1/pool", "5"}},
      {{"/routes/users", "5"}},
      {{"/tls/certificates", "5"}},
      {{"/backends", "5"}},
      {{"/pools", "5"}},
      {{"/routes", "5"}},
      {{"/listeners", "5"}},
  };
  for (const auto& mistake : mistakes) {
    const LoadResult result = LoadChanged(mistake);
    const std::string first = result.errors.empty() ? "" : result.errors[0].path;
    std::vector<std::string> others;
    // What names the broken object may say that it is not there.
    for (const Problem& problem : result.errors)
      if (problem.message.find("there is no ") != 0) others.push_back(problem.ToString());
    const bool is_reference = mistake[0].json == R"("m9")";
    EXPECT_EQ(others.size(), is_reference ? 0u : 1u) << mistake[0].pointer << "\n"
                                                     << testing::PrintToString(others);
  }
}

}  // namespace
}  // namespace postern::conf
