// load_test: broken texts and the exact lines they give; sources of secrets; files.
// SPDX-License-Identifier: Apache-2.0
#include "conf/load.h"

#include <cstdlib>
#include <ostream>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "test/conf/load_helper.h"

namespace postern::conf {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

TEST(LoadTest, TheGoodConfigurationHasNoProblem) {
  const LoadResult result = Load(kGood);
  EXPECT_THAT(Texts(result.errors), IsEmpty());
  EXPECT_THAT(Texts(result.warnings), IsEmpty());
  ASSERT_TRUE(result.config);
  EXPECT_EQ(result.config->path, "/etc/p.json");
}

// Lines of a file around one broken line: what stands there and what is said of it.
struct LineCase {
  std::string_view name;
  std::string_view line;  // the fourth of the file, in the top-level object
  std::string_view error;
};
void PrintTo(const LineCase& c, std::ostream* out) {
  *out << c.name;
}

class LoadLineTest : public testing::TestWithParam<LineCase> {};

TEST_P(LoadLineTest, GivesExactlyThisError) {
  const std::string text =
      "{\n"
      "  \"listeners\": [{\"name\": \"i\", \"protocol\": \"imap\", \"address\": "
      "\"127.0.0.1:1430\", "
      "\"tls\": \"none\", \"auth_requires_tls\": false, \"route\": \"r\"}],\n"
      "  \"routes\": {\"r\": [{\"backend\": \"b\"}]},\n" +
      std::string(GetParam().line) +
      "\n"
      "  \"backends\": {\"b\": {\"host\": \"10.0.0.1\", \"imap\": {\"port\": 993, \"tls\": "
      "\"implicit\"}}}\n"
      "}\n";
  EXPECT_THAT(ErrorsOf(text), ElementsAre("/etc/p.json:" + std::string(GetParam().error)));
  EXPECT_FALSE(Load(text).config);
}

INSTANTIATE_TEST_SUITE_P(
    All, LoadLineTest,
    testing::Values(
        LineCase{"unknown_key", R"(  "limts": {},)",
                 R"(4:3: /limts: unknown key (did you mean "limits"?))"},
        LineCase{"unknown_inner_key", R"(  "limits": { "lines": "8KiB" },)",
                 R"(4:15: /limits/lines: unknown key (did you mean "line"?))"},
        LineCase{"unknown_far_key", R"(  "log": { "colour": 1 },)",
                 R"(4:12: /log/colour: unknown key (known: level, format, sessions))"},
        LineCase{
            "bare_duration", R"(  "timeouts": { "idle": 35 },)",
            R"(4:25: /timeouts/idle: expected a duration, found a number (with its unit: "35s"))"},
        LineCase{
            "duration_without_unit", R"(  "timeouts": { "idle": "35" },)",
            R"(4:25: /timeouts/idle: "35" has no unit (a whole number with ms, s, m or h, for example "30s"))"},
        LineCase{"duration_low", R"(  "health": { "interval": "99ms" },)",
                 R"(4:27: /health/interval: "99ms" is out of range (from 100ms to 1h))"},
        LineCase{"duration_high", R"(  "health": { "interval": "61m" },)",
                 R"(4:27: /health/interval: "61m" is out of range (from 100ms to 1h))"},
        LineCase{"bare_size", R"(  "limits": { "line": 8192 },)",
                 R"(4:23: /limits/line: expected a size, found a number (with its unit: "8192B"))"},
        LineCase{"size_unit", R"(  "limits": { "line": "8KB" },)",
                 R"(4:23: /limits/line: "8KB" is not a size (write "8KiB"))"},
        LineCase{"line_too_small", R"(  "limits": { "line": "511B" },)",
                 R"(4:23: /limits/line: "511B" is out of range (from 512B to 1MiB))"},
        LineCase{
            "rate", R"(  "limits": { "auth_failures_per_address": 10 },)",
            R"(4:44: /limits/auth_failures_per_address: expected a rate, found a number (for example "10/10m"))"},
        LineCase{"quoted_count", R"(  "workers": "4",)",
                 R"(4:14: /workers: expected a whole number, found a string (without quotes: 4))"},
        LineCase{"fraction", R"(  "workers": 1.5,)",
                 R"(4:14: /workers: expected a whole number, found a number)"},
        LineCase{"negative", R"(  "workers": -1,)",
                 R"(4:14: /workers: the number is out of range (from 0 to 1024))"},
        LineCase{"workers_high", R"(  "workers": 1025,)",
                 R"(4:14: /workers: 1025 is out of range (from 0 to 1024))"},
        LineCase{"huge_count", R"(  "workers": 18446744073709551616,)",
                 R"(4:14: /workers: expected a whole number, found a number)"},
        LineCase{"number_range", R"(  "weights": { "min_factor": 1.5 },)",
                 R"(4:30: /weights/min_factor: the number is out of range (from 0.001 to 1))"},
        LineCase{
            "number_type", R"(  "weights": { "min_factor": "0.5" },)",
            R"(4:30: /weights/min_factor: expected a number, found a string (without quotes: 0.5))"},
        LineCase{
            "quoted_bool", R"(  "users": { "lowercase": "true" },)",
            R"(4:27: /users/lowercase: expected true or false, found a string (without quotes: true))"},
        LineCase{
            "null", R"(  "hostname": null,)",
            R"(4:15: /hostname: expected a host name, found null (without the key its default holds))"},
        LineCase{"hostname", R"(  "hostname": "mail example",)",
                 R"(4:15: /hostname: "mail example" is not a host name)"},
        LineCase{
            "word", R"(  "smtp": { "bare_newline": "normalise" },)",
            R"(4:29: /smtp/bare_newline: "normalise" is not one of reject, normalize and pass (did you mean "normalize"?))"},
        LineCase{"word_far", R"(  "log": { "level": "noise" },)",
                 R"(4:21: /log/level: "noise" is not one of error, warn, info and debug)"},
        LineCase{
            "old_tls", R"(  "tls": { "min_version": "1.1" },)",
            R"(4:27: /tls/min_version: "1.1" is not one of 1.2 and 1.3 (did you mean "1.2"?))"},
        LineCase{"object_wanted", R"(  "limits": [],)",
                 R"(4:13: /limits: expected an object, found a list)"},
        LineCase{"list_wanted", R"(  "tls": { "certificates": {} },)",
                 R"(4:28: /tls/certificates: expected a list of objects, found an object)"},
        LineCase{"object_in_list", R"(  "tls": { "certificates": ["x"] },)",
                 R"(4:29: /tls/certificates/0: expected an object, found a string)"},
        LineCase{"missing_key", R"(  "tls": { "certificates": [{ "cert": "a" }] },)",
                 R"(4:29: /tls/certificates/0: "key" is missing (a path))"},
        LineCase{"strings_wanted", R"(  "tls": { "groups": "X25519" },)",
                 R"(4:22: /tls/groups: expected a list of strings, found a string)"},
        LineCase{"string_in_list", R"(  "tls": { "groups": ["X25519", 5] },)",
                 R"(4:33: /tls/groups/1: expected a string, found a number)"},
        LineCase{"twice_in_list", R"(  "tls": { "groups": ["X25519", "X25519"] },)",
                 R"(4:33: /tls/groups/1: "X25519" stands in the list twice)"},
        LineCase{
            "network", R"(  "limits": { "exempt": ["10.0.0.0/33"] },)",
            R"(4:26: /limits/exempt/0: "10.0.0.0/33" is not a network (for example "10.0.0.0/8" or "2001:db8::/32"))"},
        LineCase{
            "network_host_bits", R"(  "limits": { "exempt": "10.1.2.3/8" },)",
            R"(4:25: /limits/exempt: "10.1.2.3/8" is not a network (did you mean "10.0.0.0/8"?))"},
        LineCase{
            "network_host_bits_v6", R"(  "limits": { "exempt": ["2001:db8::1/32"] },)",
            R"(4:26: /limits/exempt/0: "2001:db8::1/32" is not a network (did you mean "2001:db8::/32"?))"},
        LineCase{
            "address_name", R"(  "admin": { "address": "localhost:9180" },)",
            R"(4:25: /admin/address: "localhost:9180" is not IP:port (write "127.0.0.1:9180"))"},
        LineCase{
            "address_star", R"(  "admin": { "address": "*:9180" },)",
            R"(4:25: /admin/address: "*:9180" is not IP:port (write "0.0.0.0:9180", "[::]:9180", or both as a list))"},
        LineCase{
            "address_port_only", R"(  "admin": { "address": ":9180" },)",
            R"(4:25: /admin/address: ":9180" is not IP:port (write "0.0.0.0:9180", "[::]:9180", or both as a list))"},
        LineCase{"address_no_port", R"(  "admin": { "address": "127.0.0.1" },)",
                 R"(4:25: /admin/address: "127.0.0.1" is not IP:port (the port is missing))"},
        LineCase{
            "address_dns", R"(  "admin": { "address": "lb.example.com:80" },)",
            R"(4:25: /admin/address: "lb.example.com:80" is not IP:port (names are not resolved here, give the address))"},
        LineCase{"address_empty_list", R"(  "admin": { "address": [] },)",
                 R"(4:25: /admin/address: the list is empty)"},
        LineCase{"empty_path", R"(  "admin": { "socket": "" },)",
                 R"(4:24: /admin/socket: this may not be empty)"},
        LineCase{"control_character", R"(  "users": { "strip_extension": "\n" },)",
                 R"(4:33: /users/strip_extension: control characters are not allowed here)"},
        LineCase{
            "name_of_object", R"(  "pools": { "a b": { "backends": ["b"] } },)",
            R"(4:14: /pools/a b: "a b" is not a name (1 to 64 letters, digits, '.', '_' and '-'; not '.' or '-' first))"},
        LineCase{
            "escaped_pointer", R"(  "pools": { "a/b~c": { "backends": ["b"] } },)",
            R"(4:14: /pools/a~1b~0c: "a/b~c" is not a name (1 to 64 letters, digits, '.', '_' and '-'; not '.' or '-' first))"},
        LineCase{
            "control_character_in_key", R"(  "a\nb": 1,)",
            R"(4:3: /a\x0ab: unknown key (known: $schema, hostname, node, workers, tls, listeners, backends, pools, directories, routes, users, health, weights, limits, timeouts, smtp, drain, metrics, probes, admin, log))"},
        LineCase{"duplicate_key", R"(  "log": {}, "log": {},)",
                 R"(4:14: /log: the key stands here a second time (it is first given at 4:3))"},
        LineCase{
            "bad_rewrite", R"(  "users": { "rewrite": [{ "match": "(", "to": "x" }] },)",
            R"(4:37: /users/rewrite/0/match: the expression is not valid: missing ): ( (RE2))"},
        LineCase{
            "rewrite_group", R"(  "users": { "rewrite": [{ "match": "x", "to": "\\1" }] },)",
            R"(4:48: /users/rewrite/0/to: the replacement does not fit its expression (the expression has 0 groups; a backslash is \\ in JSON))"},
        LineCase{"tabs_and_umlauts", "\t\"log\": {\t\"sessions\": \"ä\", \"levl\": 1 },",
                 R"(4:28: /log/levl: unknown key (did you mean "level"?))"},
        LineCase{"trailing_comma", R"(  "log": { "level": "info", },)",
                 R"(4:27: /log/level: a comma before '}' (remove it))"}),
    [](const auto& param_info) { return std::string(param_info.param.name); });

TEST(LoadTest, PlacesAreRightWithCrLf) {
  std::string text;
  for (const char c : std::string_view("{\n \"log\": {},\n\t\"x\": 1 }"))
    text += c == '\n' ? std::string("\r\n") : std::string(1, c);
  EXPECT_THAT(ErrorsOf(text), testing::Contains(HasSubstr("p.json:3:2: /x: unknown key")));
}

TEST(LoadTest, AllErrorsAreReportedAtOnceInTheOrderOfTheFile) {
  const std::string text = R"({
  "workers": 5000,
  "hostnam": "x",
  "listeners": [
    {"name": "mx", "protocol": "smpt", "address": "0.0.0.0", "tls": "starttls", "route": "in"},
    {"name": "mx", "protocol": "imap", "address": "0.0.0.0:993", "tls": "passthrough"}
  ],
  "backends": {"m1": {"host": "10.0.0.1:25", "smtp": {"port": 0}}},
  "pools": {"p": {"backends": ["m2"]}, "p": {}},
  "routes": {"in": [{"pool": "q"}, {"reject": "250 ok"}, {}]},
  "timeouts": {"idle": 5}
})";
  EXPECT_THAT(
      ErrorsOf(text),
      ElementsAre(
          R"(/etc/p.json:9:40: /pools/p: the key stands here a second time (it is first given at 9:13))",
          R"(/etc/p.json:2:14: /workers: 5000 is out of range (from 0 to 1024))",
          R"(/etc/p.json:3:3: /hostnam: unknown key (did you mean "hostname"?))",
          R"(/etc/p.json:5:32: /listeners/0/protocol: "smpt" is not one of smtp, submission, imap, pop3, lmtp, sieve and tcp (did you mean "smtp"?))",
          R"(/etc/p.json:5:51: /listeners/0/address: "0.0.0.0" is not IP:port (the port is missing))",
          R"(/etc/p.json:5:69: /listeners/0/tls: there is no certificate for the TLS of mx ("tls": {"certificates": [{"cert": "...", "key": "..."}]}))",
          R"(/etc/p.json:6:5: /listeners/1: "route" is missing (a name))",
          R"(/etc/p.json:6:14: /listeners/1/name: there is another listener "mx" (it is /listeners/0))",
          R"(/etc/p.json:6:73: /listeners/1/tls: passthrough is for tcp listeners, this is imap (one of none, starttls, implicit))",
          R"(/etc/p.json:8:31: /backends/m1/host: "10.0.0.1:25" is neither a host name nor an IP address (ports belong to the endpoints: "port": 25))",
          R"(/etc/p.json:8:54: /backends/m1/smtp: "tls" is missing (one of none, starttls, implicit))",
          R"(/etc/p.json:8:63: /backends/m1/smtp/port: 0 is out of range (from 1 to 65535))",
          R"(/etc/p.json:9:32: /pools/p/backends/0: there is no backend "m2" (did you mean "m1"?))",
          R"(/etc/p.json:10:30: /routes/in/0/pool: there is no pool "q" (did you mean "p"?))",
          R"(/etc/p.json:10:47: /routes/in/1/reject: the reply does not begin with a code of the form 5xx (for example "550 5.7.1 Relaying denied"))",
          R"(/etc/p.json:10:58: /routes/in/2: the rule leads nowhere (give it a pool, backend, reject, tempfail or directory))",
          R"(/etc/p.json:11:24: /timeouts/idle: expected a duration, found a number (with its unit: "5s"))"));
}

TEST(LoadTest, AnEmptyObjectLacksWhatMustBeThere) {
  EXPECT_THAT(ErrorsOf("{}"),
              ElementsAre(R"(/etc/p.json:1:1: /: "listeners" is missing (a list of objects))",
                          R"(/etc/p.json:1:1: /: "backends" is missing (objects by name))",
                          R"(/etc/p.json:1:1: /: "routes" is missing (lists of objects by name))"));
}

TEST(LoadTest, OnlyAnObjectIsAConfiguration) {
  EXPECT_THAT(
      ErrorsOf(" [1]"),
      ElementsAre("/etc/p.json:1:2: /: expected an object, found a list (a configuration is "
                  "one object: { ... })"));
}

TEST(LoadTest, ASyntaxErrorIsTheOnlyErrorBesideDuplicates) {
  EXPECT_THAT(ErrorsOf("{\"a\": 1, \"a\": 2, \"b\" 5}"),
              ElementsAre("/etc/p.json:1:10: /a: the key stands here a second time (it is first "
                          "given at 1:2)",
                          "/etc/p.json:1:22: /b: unexpected number literal; expected ':'"));
}

TEST(LoadFileTest, SaysWhyAFileCannotBeRead) {
  const TempFolder folder;
  EXPECT_THAT(
      Texts(LoadFile(folder.Path("none.json"), {}).errors),
      ElementsAre(folder.Path("none.json") + ": /: cannot be read: No such file or directory"));
  EXPECT_THAT(Texts(LoadFile(folder.Path(""), {}).errors),
              ElementsAre(folder.Path("") + ": /: this is a folder, not a file"));
}

TEST(LoadFileTest, TheSizeOfAFileIsBounded) {
  const TempFolder folder;
  const std::string file = folder.Write("huge.json", "{}");
  std::filesystem::resize_file(file, (16u << 20) + 1);
  EXPECT_THAT(Texts(LoadFile(file, {}).errors), ElementsAre(file + ": /: is larger than 16 MiB"));
}

TEST(LoadFileTest, TakesPathsRelativeToTheFile) {
  const TempFolder folder;
  const LoadResult result =
      LoadFile(folder.Write("etc/p.json", Changed({{"/admin", R"({"socket": "../run/s"})"},
                                                   {"/log", R"({"sessions": "logs/s.log"})"},
                                                   {"/tls/ticket_keys", "\"/abs/keys\""}})),
               {});
  ASSERT_TRUE(result.config);
  EXPECT_EQ(result.config->tls.certificates[0].cert, folder.Path("etc/a.crt"));
  EXPECT_EQ(result.config->tls.certificates[0].key, folder.Path("etc/a.key"));
  EXPECT_EQ(result.config->tls.ticket_keys, "/abs/keys");
  EXPECT_EQ(result.config->admin.socket, folder.Path("run/s"));
  EXPECT_EQ(result.config->log.sessions, folder.Path("etc/logs/s.log"));
  EXPECT_EQ(result.config->path, folder.Path("etc/p.json"));
}

TEST(LoadFileTest, SessionLogWordsAreNoPaths) {
  EXPECT_EQ(LoadChanged({{"/log", R"({"sessions": "off"})"}}).config->log.sessions, "off");
  EXPECT_EQ(Load(kGood).config->log.sessions, "stdout");
}

class SecretTest : public testing::Test {
 protected:
  LoadResult LoadWith(const std::string& secret) const {
    const std::string file = folder_.Write(
        "p.json",
        Changed({{"/health", R"({"login": {"user": "u", "password": )" + secret + "}}"}}));
    return LoadFile(file, {});
  }
  std::string SecretOf(const std::string& secret) const {
    const LoadResult result = LoadWith(secret);
    EXPECT_THAT(Texts(result.errors), IsEmpty());
    if (!result.config || !result.config->health.login) return "";
    return std::string(result.config->health.login->password.Reveal());
  }
  std::string ErrorOf(const std::string& secret) const {
    const LoadResult result = LoadWith(secret);
    EXPECT_EQ(result.errors.size(), 1u);
    if (result.errors.empty()) return "";
    EXPECT_EQ(result.errors[0].path, "/health/login/password");
    EXPECT_GT(result.errors[0].line, 1);
    return result.errors[0].message;
  }
  TempFolder folder_;
};

TEST_F(SecretTest, ComesAsTextFileOrVariable) {
  folder_.Write("s", "hunter2");
  ASSERT_EQ(setenv("POSTERN_TEST_SECRET", "from env", 1), 0);
  EXPECT_EQ(SecretOf(R"("plain")"), "plain");
  EXPECT_EQ(SecretOf(R"({"file": "s"})"), "hunter2");
  EXPECT_EQ(SecretOf(R"({"env": "POSTERN_TEST_SECRET"})"), "from env");
}

TEST_F(SecretTest, OneNewlineAtTheEndIsDropped) {
  folder_.Write("unix", "a b \n");
  folder_.Write("dos", "a b \r\n");
  EXPECT_EQ(SecretOf(R"({"file": "unix"})"), "a b ");
  EXPECT_EQ(SecretOf(R"({"file": "dos"})"), "a b ");
  folder_.Write("two", "a\n\n");
  EXPECT_EQ(ErrorOf(R"({"file": "two"})"), "the secret has control characters or several lines");
}

TEST_F(SecretTest, TheLargestIsTaken) {
  folder_.Write("large", std::string(64 << 10, 'x'));
  EXPECT_EQ(SecretOf(R"({"file": "large"})").size(), 64u << 10);
}

TEST_F(SecretTest, ErrorsAreLocatedAndHoldNothingOfIt) {
  folder_.Write("two", "topsecret\nlines\n");
  folder_.Write("empty", "\n");
  folder_.Write("huge", std::string((64 << 10) + 1, 'x'));
  ASSERT_EQ(unsetenv("POSTERN_TEST_NONE"), 0);
  EXPECT_EQ(ErrorOf(R"({"file": "none"})"),
            "cannot read " + folder_.Path("none") + ": No such file or directory");
  EXPECT_EQ(ErrorOf(R"({"file": "."})"), folder_.Path("") + " is not a regular file");
  EXPECT_EQ(ErrorOf(R"({"file": "two"})"), "the secret has control characters or several lines");
  EXPECT_EQ(ErrorOf(R"({"file": "empty"})"), "the secret is empty");
  EXPECT_EQ(ErrorOf(R"({"file": "huge"})"), folder_.Path("huge") + " is too large for a secret");
  EXPECT_EQ(ErrorOf(R"({"env": "POSTERN_TEST_NONE"})"),
            "the environment has no variable \"POSTERN_TEST_NONE\"");
  EXPECT_EQ(ErrorOf(R"("")"), "the secret is empty");
  for (const std::string bad : {"5", "{}", R"({"file": 5})", R"({"file": "two", "env": "X"})",
                                R"({"flie": "topsecret"})", R"(["topsecret"])"}) {
    EXPECT_EQ(ErrorOf(bad), "this is not a secret") << bad;
  }
}

}  // namespace
}  // namespace postern::conf
