// validator_backends_test: endpoints, pools and loops, one change of a good configuration each.
// SPDX-License-Identifier: Apache-2.0
#include "conf/validator.h"

#include <gtest/gtest.h>

#include "test/conf/rule_case.h"

namespace postern::conf {
namespace {

class ValidatorBackendsTest : public testing::TestWithParam<RuleCase> {};

TEST_P(ValidatorBackendsTest, SaysExactlyThis) {
  ExpectSaid(GetParam());
}

std::string NotYetSaid(const std::string& protocol, const std::string& hint = "") {
  return "/backends/m1/" + protocol + ": \"" + protocol + "\" has no effect in this build yet" +
         hint;
}

INSTANTIATE_TEST_SUITE_P(
    Backends, ValidatorBackendsTest,
    testing::Values(
        RuleCase{"tls_must_be_said",
                 {{"/backends/m1/imap/tls", ""}},
                 {R"(/backends/m1/imap: "tls" is missing (one of none, starttls, implicit))"},
                 {}},
        RuleCase{
            "tls_word",
            {{"/backends/m1/imap/tls", R"("passthrough")"}},
            {R"(/backends/m1/imap/tls: "passthrough" is not one of none, starttls and implicit)"},
            {}},
        RuleCase{"tcp_starttls",
                 {{"/backends/m1/tcp", R"({"port": 1, "tls": "starttls"})"}},
                 {R"(/backends/m1/tcp/tls: tcp has no STARTTLS (one of none, implicit))"},
                 {}},
        RuleCase{
            "no_endpoint",
            {{"/backends/m3", R"({"host": "10.0.0.3"})"}, {"/pools/out/backends/1", R"("m3")"}},
            {R"(/backends/m3: the backend has no endpoint (for example "imap": {"port": 993, "tls": "implicit"}))"},
            {}},
        RuleCase{
            "none",
            {{"/backends", "{}"},
             {"/pools", "{}"},
             {"/routes",
              R"({"in": [{"reject": ""}], "out": [{"reject": ""}], "users": [{"reject": ""}]})"}},
            {"/backends: there is no backend"},
            {}},
        RuleCase{
            "xclient_imap",
            {{"/backends/m1/imap/client_address", R"("xclient")"}},
            {R"(/backends/m1/imap/client_address: imap has no "xclient" (one of none, proxy-v1, proxy-v2, imap-id))"},
            {}},
        RuleCase{
            "imap_id_pop3",
            {{"/backends/m1/pop3/client_address", R"("imap-id")"}},
            {R"(/backends/m1/pop3/client_address: pop3 has no "imap-id" (one of none, proxy-v1, proxy-v2, xclient))"},
            {}},
        RuleCase{"client_addresses_that_fit",
                 {{"/backends/m1/smtp/client_address", R"("xclient")"},
                  {"/backends/m1/submission/client_address", R"("proxy-v1")"},
                  {"/backends/m1/imap/client_address", R"("imap-id")"},
                  {"/backends/m1/pop3/client_address", R"("xclient")"},
                  {"/backends/m1/lmtp",
                   R"({"port": 24, "tls": "starttls", "client_address": "xclient"})"},
                  {"/backends/m1/sieve",
                   R"({"port": 4190, "tls": "starttls", "client_address": "proxy-v2"})"},
                  {"/backends/m1/tcp", R"({"port": 1, "client_address": "proxy-v1"})"}},
                 {},
                 {NotYetSaid("sieve")}},
        RuleCase{
            "xclient_sieve",
            {{"/backends/m1/sieve",
              R"({"port": 4190, "tls": "starttls", "client_address": "xclient"})"}},
            {R"(/backends/m1/sieve/client_address: sieve has no "xclient" (one of none, proxy-v1, proxy-v2))"},
            {NotYetSaid("sieve")}},
        RuleCase{
            "xclient_tcp",
            {{"/backends/m1/tcp", R"({"port": 1, "client_address": "xclient"})"}},
            {R"(/backends/m1/tcp/client_address: tcp has no "xclient" (one of none, proxy-v1, proxy-v2))"},
            {}},
        RuleCase{
            "reauth_needs_xclient",
            {{"/backends/m1/submission/reauth", R"("xclient-login")"}},
            {R"(/backends/m1/submission/reauth: xclient-login needs "client_address": "xclient")"},
            {}},
        RuleCase{"reauth_elsewhere",
                 {{"/backends/m1/imap/reauth", R"("replay")"}},
                 {},
                 {R"(/backends/m1/imap/reauth: only submission endpoints have a use for it)"}},
        RuleCase{
            "verify_off",
            {{"/backends/m1/verify", R"("off")"}},
            {},
            {R"(/backends/m1/verify: the certificate of "m1" is not verified: anybody in between can read and answer (give its CA: {"ca": "..."}))"}},
        RuleCase{"verify_word",
                 {{"/backends/m1/verify", R"("none")"}},
                 {R"(/backends/m1/verify: expected an object or "off", found "none")"},
                 {}},
        RuleCase{"client_certificate_without_key",
                 {{"/backends/m1/verify", R"({"cert": "c.crt"})"}},
                 {R"(/backends/m1/verify: "cert" needs its "key")"},
                 {}},
        RuleCase{"client_key_without_certificate",
                 {{"/backends/m1/verify", R"({"key": "c.key"})"}},
                 {R"(/backends/m1/verify: "key" needs its "cert")"},
                 {}},
        RuleCase{
            "clear_passwords",
            {{"/backends/m1/imap/tls", R"("none")"}, {"/backends/m1/smtp/tls", R"("none")"}},
            {},
            {R"(/backends/m1/imap/tls: passwords go to 10.0.0.11 in clear, readable on the way ("starttls" or "implicit"))"}},
        RuleCase{"clear_passwords_on_loopback",
                 {{"/backends/m1/imap/tls", R"("none")"},
                  {"/backends/m1/host", R"("127.0.0.1")"},
                  {"/backends/m1/imap/port", "1430"},
                  {"/backends/m1/smtp/port", "1025"},
                  {"/backends/m1/submission/port", "1587"},
                  {"/backends/m1/pop3/port", "1110"}},
                 {},
                 {}},
        RuleCase{
            "host_with_port",
            {{"/backends/m1/host", R"("mail.example.com:993")"}},
            {R"(/backends/m1/host: "mail.example.com:993" is neither a host name nor an IP address (ports belong to the endpoints: "port": 993))"},
            {}},
        RuleCase{
            "host_in_brackets",
            {{"/backends/m1/host", R"("[2001:db8::1]")"}},
            {R"(/backends/m1/host: "[2001:db8::1]" is neither a host name nor an IP address (write it without brackets))"},
            {}},
        RuleCase{
            "host_with_dot",
            {{"/backends/m1/host", R"("mail.example.com.")"}},
            {R"(/backends/m1/host: "mail.example.com." is neither a host name nor an IP address (write it without the last dot))"},
            {}},
        RuleCase{"host_unspecified",
                 {{"/backends/m1/host", R"("::")"}},
                 {"/backends/m1/host: :: is no address to connect to"},
                 {}},
        RuleCase{
            "source_address",
            {{"/backends/m1/source_addresses", R"(["10.0.0.300"])"}},
            {R"(/backends/m1/source_addresses/0: "10.0.0.300" is not an IP address (for example "192.0.2.1" or "2001:db8::1"))"},
            {}},
        RuleCase{
            "queue_variant",
            {{"/backends/m1/queue",
              R"({"source": "showq", "soft": 10, "hard": 10, "metric": "x", "queues": ["activ"]})"}},
            {R"(/backends/m1/queue: "address" is missing (a host:port or unix:PATH))",
             R"(/backends/m1/queue/hard: "hard" must be larger than "soft")",
             R"(/backends/m1/queue/metric: no key of source "showq" (it is one of prometheus))",
             R"(/backends/m1/queue/queues/0: "activ" is not one of incoming, active, deferred, hold and maildrop)"},
            {}},
        RuleCase{
            "queue_stale",
            {{"/backends/m1/queue",
              R"({"source": "agent", "soft": 1, "hard": 10, "address": "nowhere", "interval": "5m"})"}},
            {R"(/backends/m1/queue/address: "nowhere" is not host:port (for example "10.0.0.11:10025"))",
             R"(/backends/m1/queue/interval: a reading would be stale before the next: "stale_after" is shorter than "interval")"},
            {}},
        RuleCase{
            "queue_url",
            {{"/backends/m1/queue",
              R"({"source": "prometheus", "soft": 1, "hard": 10, "url": "http://mail1:99999/", "metric": ""})"}},
            {R"(/backends/m1/queue/url: "http://mail1:99999/" is not a URL: its port is none)",
             R"(/backends/m1/queue/metric: this may not be empty)"},
            {}},
        RuleCase{
            "queue_url_with_a_user",
            {{"/backends/m1/queue",
              R"({"source": "http_json", "soft": 1, "hard": 10, "url": "https://u:p@mail1/", "pointer": "active"})"}},
            {R"(/backends/m1/queue/url: this is not a URL: a user name has no place in it; give a header)",
             R"(/backends/m1/queue/pointer: "active" is not a JSON pointer (for example "/queues/active"; "~" is written "~0", and "/" inside of a name "~1"))"},
            {}},
        RuleCase{"queue_socket",
                 {{"/backends/m1/queue",
                   R"({"source": "showq", "soft": 1, "hard": 10, "address": "unix:/)" +
                       std::string(107, 'x') + R"("})"}},
                 {R"(/backends/m1/queue/address: a socket's path has 107 bytes at most)"},
                 {}},
        RuleCase{"hash_on_without_hash",
                 {{"/pools/mx/hash_on", R"("client")"}},
                 {},
                 {R"(/pools/mx/hash_on: only "balance": "hash" has a use for it)"}},
        RuleCase{"hash_on_client",
                 {{"/pools/mx/balance", R"("hash")"}, {"/pools/mx/hash_on", R"("client")"}},
                 {},
                 {}},
        RuleCase{"fast_interval",
                 {{"/pools/mx/health", R"({"fast_interval": "6s"})"}},
                 {R"(/pools/mx/health/fast_interval: "fast_interval" is longer than "interval")"},
                 {}},
        RuleCase{"health_acts",
                 {{"/health", R"({"cooldown": "1s", "hello": "probe.example.com", "rise": 1})"},
                  {"/pools/mx/weights", R"({"latency": false})"}},
                 {},
                 {}}),
    RuleCaseName);

INSTANTIATE_TEST_SUITE_P(
    Loops, ValidatorBackendsTest,
    testing::Values(
        RuleCase{
            "same_address",
            {{"/listeners/2/address", R"("10.0.0.11:993")"},
             {"/listeners/0/address", R"("10.0.0.5:25")"},
             {"/listeners/1/address", R"("10.0.0.5:587")"},
             {"/listeners/3/address", R"("10.0.0.5:995")"}},
            {R"(/backends/m1/imap/port: a loop: this is Postern's own listener "imaps", 10.0.0.11:993 (a backend is another server, or listens on another port))"},
            {}},
        RuleCase{
            "wildcard_and_loopback",
            {{"/backends/m2/host", R"("127.0.0.2")"},
             {"/backends/m2/smtp/port", "1025"},
             {"/backends/m2/pop3/port", "1110"}},
            {R"(/backends/m2/imap/port: a loop: this is Postern's own listener "imaps", 0.0.0.0:993 (a backend is another server, or listens on another port))"},
            {}},
        RuleCase{
            "wildcard_and_localhost",
            {{"/backends/m2/host", R"("localhost")"},
             {"/backends/m2/smtp/port", "1025"},
             {"/backends/m2/pop3/port", "1110"},
             {"/listeners/2/address", R"("[::]:993")"}},
            {R"(/backends/m2/imap/port: a loop: this is Postern's own listener "imaps", [::]:993 (a backend is another server, or listens on another port))"},
            {}},
        RuleCase{
            "wildcard_and_another_listeners_address",
            {{"/listeners/3/address", R"("10.0.0.12:1995")"}, {"/backends/m2/smtp/port", "1025"}},
            {R"(/backends/m2/imap/port: a loop: this is Postern's own listener "imaps", 0.0.0.0:993 (a backend is another server, or listens on another port))"},
            {}},
        RuleCase{"other_family", {{"/backends/m2/host", R"("::1")"}}, {}, {}},
        RuleCase{
            "names_are_not_resolved", {{"/backends/m2/host", R"("mail.example.com")"}}, {}, {}}),
    RuleCaseName);

}  // namespace
}  // namespace postern::conf
