// routes_test: who can reach what: storage, percent, failing directories, open relays, dead rules.
// SPDX-License-Identifier: Apache-2.0
#include "conf/validator.h"

#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "test/conf/load_helper.h"
#include "test/conf/rule_case.h"

namespace postern::conf {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

class RoutesTest : public testing::TestWithParam<RuleCase> {};

TEST_P(RoutesTest, SaysExactlyThis) {
  ExpectSaid(GetParam());
}

const std::string kStorageHint =
    " (shared: every member has the same mailboxes at any time; exclusive: the same, one member "
    "per "
    "user at a time; separate: each has its own)";
const Change kRedis{"/directories", R"({"d": {"type": "redis", "addresses": "127.0.0.1:6379"}})"};
Change Table(const std::string& target) {
  return {"/directories",
          R"({"d": {"type": "redis", "addresses": "127.0.0.1:6379", "table": {"*": ")" + target +
              "\"}}}"};
}

INSTANTIATE_TEST_SUITE_P(
    Storage, RoutesTest,
    testing::Values(
        RuleCase{
            "unsaid",
            {{"/pools/store/storage", ""}},
            {R"(/pools/store: listener "imaps" reaches mailboxes here (/routes/users/1/pool): "storage" must be said of two or more backends)" +
             kStorageHint},
            {}},
        RuleCase{"unsaid_of_one_member", {{"/pools/store", R"({"backends": ["m1"]})"}}, {}, {}},
        RuleCase{"unsaid_where_only_smtp_comes", {}, {}, {}},
        RuleCase{"submission_is_no_mailbox",
                 {{"/pools/out/backends", R"(["m1", "m2"])"},
                  {"/backends/m2/submission", R"({"port": 587, "tls": "starttls"})"}},
                 {},
                 {}},
        RuleCase{
            "smtp_over_lmtp",
            {{"/backends/m2/smtp", ""},
             {"/backends/m2/lmtp", R"({"port": 24, "tls": "starttls"})"}},
            {R"(/pools/mx: listener "mx" reaches mailboxes here (/routes/in/0/pool): "storage" must be said of two or more backends)" +
             kStorageHint},
            {}},
        RuleCase{"lmtp_beside_smtp_is_not_used",
                 {{"/backends/m2/lmtp", R"({"port": 24, "tls": "starttls"})"}},
                 {},
                 {}},
        RuleCase{
            "by_table",
            {{"/pools/store/storage", ""},
             Table("store"),
             {"/routes/users/1", R"({"directory": "d"})"}},
            {R"(/pools/store: listener "imaps" reaches mailboxes here (/routes/users/1/directory): "storage" must be said of two or more backends)" +
             kStorageHint},
            {}},
        RuleCase{
            "by_an_answer_at_run_time",
            {{"/pools/store/storage", ""}, kRedis, {"/routes/users/1", R"({"directory": "d"})"}},
            {},
            {}},
        RuleCase{"rule_of_another_listener",
                 {{"/pools/store/storage", ""},
                  {"/routes/users/1", R"({"listener": "sub", "pool": "store"})"},
                  {"/routes/users/2", R"({"backend": "m2"})"},
                  {"/listeners/1/route", R"("users")"}},
                 {},
                 {R"(/routes/out: no listener uses route "out")"}},
        RuleCase{"rule_for_recipients_only",
                 {{"/routes/users/1", R"({"recipient": "*", "pool": "mx"})"},
                  {"/routes/users/2", R"({"pool": "store"})"},
                  {"/listeners/0/route", R"("users")"}},
                 {},
                 {R"(/routes/in: no listener uses route "in")"}},
        RuleCase{
            "behind_a_rule_that_takes_all",
            {{"/routes/users/2", R"({"pool": "mx"})"}},
            {},
            {R"(/routes/users/2: no session can come to this rule (an earlier rule takes them all, or no listener of the route knows what it asks))"}},
        RuleCase{
            "separate_by_pool",
            {{"/pools/store/storage", R"("separate")"}},
            {R"(/routes/users/1/pool: the members of "store" have separate mailboxes: "imaps" may reach them only by their own names (a "backend" here, or a directory that answers a backend's name))"},
            {}},
        RuleCase{
            "separate_by_table",
            {{"/pools/store/storage", R"("separate")"},
             Table("store"),
             {"/routes/users/1", R"({"directory": "d"})"}},
            {R"(/routes/users/1/directory: the members of "store" have separate mailboxes: "imaps" may reach them only by their own names (a "backend" here, or a directory that answers a backend's name))"},
            {}},
        RuleCase{"separate_by_backend_name",
                 {{"/pools/store/storage", R"("separate")"},
                  Table("m2"),
                  {"/routes/users/1", R"({"directory": "d"})"},
                  {"/routes/out/0", R"({"pool": "store"})"}},
                 {},
                 {R"(/pools/out: no rule leads to pool "out")"}},
        RuleCase{"separate_for_smtp", {{"/pools/mx/storage", R"("separate")"}}, {}, {}}),
    RuleCaseName);

INSTANTIATE_TEST_SUITE_P(
    Percent, RoutesTest,
    testing::Values(
        RuleCase{
            "mailbox",
            {{"/routes/users/0", R"({"percent": 5, "backend": "m1"})"}},
            {R"(/routes/users/0/percent: a share of the users of "imaps" would find other mailboxes than before ("migrated": true, if their mailboxes are there already))"},
            {}},
        RuleCase{"migrated",
                 {{"/routes/users/0",
                   R"({"percent": 5, "salt": "x", "migrated": true, "backend": "m1"})"}},
                 {},
                 {}},
        RuleCase{"submission",
                 {{"/routes/out/0/percent", "5"}, {"/routes/out/1", R"({"pool": "out"})"}},
                 {},
                 {}},
        RuleCase{
            "smtp_over_lmtp",
            {{"/backends/m3", R"({"host": "10.0.0.3", "lmtp": {"port": 24, "tls": "starttls"}})"},
             {"/routes/in/0", R"({"recipient": "*@example.com", "percent": 50, "backend": "m3"})"}},
            {R"(/routes/in/0/percent: a share of the users of "mx" would find other mailboxes than before ("migrated": true, if their mailboxes are there already))"},
            {R"(/pools/mx: no rule leads to pool "mx")"}},
        RuleCase{"out_of_range",
                 {{"/routes/out/0/percent", "101"}},
                 {"/routes/out/0/percent: the number is out of range (from 0 to 100)"},
                 {}},
        RuleCase{"salt_alone",
                 {{"/routes/out/0/salt", R"("x")"}},
                 {},
                 {R"(/routes/out/0/salt: "salt" has a meaning only with "percent")"}}),
    RuleCaseName);

INSTANTIATE_TEST_SUITE_P(
    Directories, RoutesTest,
    testing::Values(
        RuleCase{
            "next_then_a_pool",
            {kRedis, {"/routes/users/0", R"({"directory": "d", "on_error": "next"})"}},
            {R"(/routes/users/0/on_error: with the directory down, "imaps" would go on to /routes/users/1 and find other mailboxes ("tempfail"))"},
            {}},
        RuleCase{"next_then_a_refusal",
                 {kRedis,
                  {"/routes/users/0", R"({"directory": "d", "on_error": "next"})"},
                  {"/routes/users/1", R"({"tempfail": "451 4.3.0 Later"})"}},
                 {},
                 {}},
        RuleCase{
            "next_then_another_directory",
            {{"/directories",
              R"({"d": {"type": "redis", "addresses": ["127.0.0.1:6379"]}, "e": {"type": "auth_http", "url": "http://127.0.0.1/"}})"},
             {"/routes/users", R"([{"directory": "d", "on_error": "next"}, {"directory": "e"}])"}},
            {},
            {}},
        RuleCase{
            "next_then_a_pool_behind_a_directory",
            {{"/directories", R"({"d": {"type": "redis", "addresses": ["127.0.0.1:6379"]}})"},
             {"/routes/users",
              R"([{"directory": "d", "on_error": "next"}, {"directory": "d", "value": "x", "pool": "store"}])"}},
            {},
            {}},
        RuleCase{"next_for_submission",
                 {kRedis,
                  {"/routes/out", R"([{"directory": "d", "on_error": "next"}, {"pool": "out"}])"}},
                 {},
                 {}},
        RuleCase{"tempfail_then_a_pool",
                 {kRedis, {"/routes/users/0", R"({"directory": "d", "on_error": "tempfail"})"}},
                 {},
                 {}},
        RuleCase{"keys_that_need_one",
                 {{"/routes/out/0/value", R"("x")"}, {"/routes/out/0/on_error", R"("tempfail")"}},
                 {R"(/routes/out/0/value: "value" has a meaning only with a directory)",
                  R"(/routes/out/0/on_error: "on_error" has a meaning only with a directory)"},
                 {}}),
    RuleCaseName);

const std::string kOpenRelay =
    ": an open relay if m1 trusts Postern's address: any recipient is taken, and no client address "
    "is "
    "handed on (\"recipient\": your domains, or \"client_address\": \"xclient\" or \"proxy-v2\" "
    "there)";
const Change kTrusting{"/backends/m1/smtp/client_address", R"("none")"};

INSTANTIATE_TEST_SUITE_P(
    OpenRelay, RoutesTest,
    testing::Values(
        RuleCase{"any_recipient",
                 {kTrusting, {"/routes/in", R"([{"pool": "mx"}])"}},
                 {},
                 {"/routes/in/0" + kOpenRelay}},
        RuleCase{"star_recipient",
                 {kTrusting,
                  {"/routes/in", R"([{"recipient": ["*@example.com", "*@*"], "backend": "m1"}])"}},
                 {},
                 {R"(/pools/mx: no rule leads to pool "mx")", "/routes/in/0" + kOpenRelay}},
        RuleCase{"any_client",
                 {kTrusting, {"/routes/in", R"([{"client": "0.0.0.0/0", "pool": "mx"}])"}},
                 {},
                 {"/routes/in/0" + kOpenRelay}},
        RuleCase{"own_recipients", {kTrusting}, {}, {}},
        RuleCase{"own_clients",
                 {kTrusting, {"/routes/in/1", R"({"client": ["10.0.0.0/8"], "pool": "mx"})"}},
                 {},
                 {}},
        RuleCase{"addresses_are_handed_on", {{"/routes/in", R"([{"pool": "mx"}])"}}, {}, {}},
        RuleCase{"submission",
                 {{"/listeners/0/route", R"("out")"}, {"/listeners/0/protocol", R"("submission")"}},
                 {},
                 {R"(/routes/in: no listener uses route "in")"}}),
    RuleCaseName);

INSTANTIATE_TEST_SUITE_P(
    Rules, RoutesTest,
    testing::Values(
        RuleCase{"two_targets",
                 {{"/routes/out/0/backend", R"("m1")"}},
                 {"/routes/out/0: the rule has pool and backend (keep one of them)"},
                 {R"(/pools/out: no rule leads to pool "out")"}},
        RuleCase{"no_target",
                 {{"/routes/out/0", R"({"user": "a"})"}},
                 {"/routes/out/0: the rule leads nowhere (give it a pool, backend, reject, "
                  "tempfail or directory)"},
                 {R"(/pools/out: no rule leads to pool "out")"}},
        RuleCase{"no_rule",
                 {{"/routes/out", "[]"}},
                 {"/routes/out: the route has no rule"},
                 {R"(/pools/out: no rule leads to pool "out")"}},
        RuleCase{
            "name_twice",
            {{"/routes/users/1/name", R"("admin")"}},
            {R"(/routes/users/1/name: there is another rule "admin" in this route (it is /routes/users/0))"},
            {}},
        RuleCase{
            "reject_class",
            {{"/routes/in/1/reject", R"("450 4.7.1 x")"}},
            {R"~(/routes/in/1/reject: the reply does not begin with a code of the form 5xx (for example "550 5.7.1 Relaying denied"))~"},
            {}},
        RuleCase{
            "reject_421",
            {{"/routes/in/1/reject", R"("421 4.7.1 x")"}},
            {R"~(/routes/in/1/reject: the reply does not begin with a code of the form 5xx (for example "550 5.7.1 Relaying denied"))~"},
            {}},
        RuleCase{
            "tempfail_421",
            {{"/routes/in/1", R"({"tempfail": "421 4.3.2 Later"})"}},
            {R"~(/routes/in/1/tempfail: 421 would announce the end of the connection (for example "451 4.3.0 Try again later"))~"},
            {}},
        RuleCase{"reject_without_words", {{"/routes/in/1/reject", R"("")"}}, {}, {}},
        RuleCase{
            "tempfail_without_words",
            {{"/routes/in/1", R"({"tempfail": ""})"}},
            {R"~(/routes/in/1/tempfail: the reply does not begin with a code of the form 4xx (for example "451 4.3.0 Try again later"))~"},
            {}},
        RuleCase{"empty_condition",
                 {{"/routes/in/1/client", "[]"}},
                 {"/routes/in/1/client: the list is empty (without the key any client fits)"},
                 {}},
        RuleCase{"empty_pattern",
                 {{"/routes/in/0/recipient", R"(["*@example.com", ""])"}},
                 {"/routes/in/0/recipient/1: this may not be empty"},
                 {}},
        RuleCase{
            "upper_case_pattern",
            {{"/routes/users/0/user", R"("Admin@example.com")"}},
            {},
            {R"(/routes/users/0/user: "Admin@example.com" can never match: names are in lower case by then (write "admin@example.com"))"}},
        RuleCase{"upper_case_kept",
                 {{"/routes/users/0/user", R"("Admin@example.com")"},
                  {"/users", R"({"lowercase": false})"}},
                 {},
                 {}},
        RuleCase{
            "sni_without_tls",
            {{"/listeners/0/tls", R"("none")"}, {"/routes/in/1/sni", R"("x.example.com")"}},
            {},
            {R"(/routes/in/1: no session can come to this rule (an earlier rule takes them all, or no listener of the route knows what it asks))"}},
        RuleCase{
            "user_on_smtp",
            {{"/routes/in/1/user", R"("*")"}},
            {},
            {R"(/routes/in/1: no session can come to this rule (an earlier rule takes them all, or no listener of the route knows what it asks))"}},
        RuleCase{
            "unused_objects",
            {{"/pools/old", R"({"backends": ["m3"]})"},
             {"/backends/m3", R"({"host": "10.0.0.3", "imap": {"port": 993, "tls": "implicit"}})"},
             {"/backends/m4", R"({"host": "10.0.0.4", "imap": {"port": 993, "tls": "implicit"}})"},
             {"/routes/old", R"([{"pool": "mx"}])"}},
            {},
            {R"(/backends/m4: no pool and no rule names backend "m4")",
             R"(/pools/old: no rule leads to pool "old")",
             R"(/routes/old: no listener uses route "old")"}}),
    RuleCaseName);

class FileMapTest : public testing::Test {
 protected:
  LoadResult LoadWith(const std::string& map, const std::vector<Change>& changes) {
    folder_.Write("people.map", map);
    std::vector<Change> all = changes;
    all.push_back({"/directories", R"({"people": {"type": "file", "path": "people.map"}})"});
    all.push_back({"/routes/users", R"([{"directory": "people"}])"});
    return LoadFile(folder_.Write("p.json", Changed(all)), {});
  }
  TempFolder folder_;
};

TEST_F(FileMapTest, ReachesThePoolsThatItNames) {
  const Change unsaid{"/pools/store/storage", ""};
  EXPECT_THAT(
      PlainTexts(LoadWith("a@b store # comment\n", {unsaid}).errors),
      ElementsAre(
          R"(/pools/store: listener "imaps" reaches mailboxes here (/routes/users/0/directory): "storage" must be said of two or more backends)" +
          kStorageHint));
  EXPECT_THAT(PlainTexts(LoadWith("# store\na@b m1\n", {unsaid}).errors), IsEmpty());
}

TEST_F(FileMapTest, BrokenRowsAreErrorsOfTheMap) {
  const LoadResult result = LoadWith("a@b store\n\n# x\nlonely\na b c\n", {});
  EXPECT_THAT(Texts(result.errors),
              ElementsAre(folder_.Path("people.map") +
                              ":4: /directories/people/path: a row is two words, key and answer",
                          folder_.Path("people.map") +
                              ":5: /directories/people/path: a row is two words, key and answer"));
}

TEST_F(FileMapTest, UnknownAnswersAreWarnings) {
  const LoadResult result = LoadWith("a@b store\nc@d stor\n", {});
  EXPECT_THAT(PlainTexts(result.errors), IsEmpty());
  EXPECT_THAT(
      PlainTexts(result.warnings),
      testing::Contains("/directories/people/path: " + folder_.Path("people.map") +
                        ":2: there is no pool or backend \"stor\" (did you mean \"store\"?)"));
}

TEST_F(FileMapTest, AMissingMapIsAnErrorOfTheConfiguration) {
  const std::string file = folder_.Write(
      "p.json", Changed({{"/directories", R"({"people": {"type": "file", "path": "none.map"}})"},
                         {"/routes/out/0", R"({"directory": "people"})"}}));
  const LoadResult result = LoadFile(file, {});
  ASSERT_EQ(result.errors.size(), 1u);
  EXPECT_EQ(result.errors[0].file, file);
  EXPECT_GT(result.errors[0].line, 0);
  EXPECT_EQ(result.errors[0].message,
            folder_.Path("none.map") + " cannot be read: No such file or directory");
}

}  // namespace
}  // namespace postern::conf
