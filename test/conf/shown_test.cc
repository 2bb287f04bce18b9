// shown_test: what may be shown, and what counts as a change.
// SPDX-License-Identifier: Apache-2.0
#include "conf/shown.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace postern::conf {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

json::Node Tree(std::string_view text) {
  json::Parsed parsed = json::Parse(text);
  EXPECT_TRUE(parsed.root && parsed.faults.empty()) << text;
  return parsed.root.value_or(json::Node());
}

// "/path: before -> after", an absent side as "-".
std::vector<std::string> Changes(std::string_view before, std::string_view after) {
  std::vector<std::string> lines;
  for (const KeyChange& change : Compare(Tree(before), Tree(after)))
    lines.push_back(change.path + ": " + (change.before.empty() ? "-" : change.before) + " -> " +
                    (change.after.empty() ? "-" : change.after));
  return lines;
}

TEST(ShownTest, MasksEverySecretAndWhatItDoesNotKnow) {
  const std::string shown = Shown(Tree(R"({
    "hostname": "a.example", "odd": {"password": "s3cret"},
    "backends": {"b": {"host": "10.0.0.1",
                       "queue": {"headers": {"X-Key": "s3cret", "X": {"env": "KEY"}}}}},
    "directories": {"d": {"type": "redis", "password": "s3cret"},
                    "l": {"type": "ldap", "bind_password": {"file": "ldap.secret"}}},
    "probes": {"p": {"find": {"password": "s3cret"}}},
    "health": {"login": {"user": "u", "password": "s3cret"}}})"));
  EXPECT_THAT(shown, Not(HasSubstr("s3cret")));
  EXPECT_THAT(shown, HasSubstr(R"("X-Key":"***","X":{"env":"KEY"})"));
  EXPECT_THAT(shown, HasSubstr(R"("bind_password":{"file":"ldap.secret"})"));
  EXPECT_THAT(shown, HasSubstr(R"("odd":"***")"));
  EXPECT_THAT(shown, HasSubstr(R"("user":"u","password":"***")"));
}

TEST(ShownTest, MasksSecretsOfAShapeThatIsNone) {
  EXPECT_EQ(Shown(Tree(R"({"health":{"login":{"password":{"file":"a","x":"s3cret"}}}})")),
            R"({"health":{"login":{"password":"***"}}})");
}

TEST(ShownTest, IsTheSameTreeWhenReadAgain) {
  const std::string text =
      R"({"workers":2,"weights":{"min_factor":0.25},"listeners":[{"name":"a"}]})";
  EXPECT_EQ(Shown(Tree(text)), text);
}

TEST(CompareTest, FindsNoChangeInOtherWordsForTheSame) {
  EXPECT_THAT(Changes(R"({"workers": 0, "timeouts": {"idle": "60s"}, "limits": {"line": "8KiB"},
                          "listeners": [{"name": "a", "address": "127.0.0.1:1"}]})",
                      R"({"timeouts": {"idle": "1m"}, "health": {"rise": 2, "interval": "5000ms"},
                          "weights": {"min_factor": 5e-2},
                          "listeners": [{"name": "a", "address": ["127.0.0.1:1"]}]})"),
              ElementsAre());
}

TEST(CompareTest, ADefaultIsNoDefaultWhereItLaysItselfOverAnotherValue) {
  EXPECT_THAT(
      Changes(
          R"({"health": {"rise": 5}, "pools": {"p": {"backends": "b"}}})",
          R"({"health": {"rise": 5}, "pools": {"p": {"backends": ["b"], "health": {"rise": 2}}}})"),
      ElementsAre("/pools/p/health/rise: - -> 2"));
}

TEST(CompareTest, NamesWhatWasAddedRemovedAndChanged) {
  EXPECT_THAT(
      Changes(
          R"({"backends": {"a": {"host": "10.0.0.1"}, "b": {"host": "10.0.0.2", "weight": 5}}})",
          R"({"backends": {"b": {"host": "10.0.0.3"}, "c": {"host": "10.0.0.4"}}})"),
      ElementsAre(R"(/backends/a: {"host":"10.0.0.1"} -> -)",
                  R"(/backends/b/host: "10.0.0.2" -> "10.0.0.3")", "/backends/b/weight: 5 -> -",
                  R"(/backends/c: - -> {"host":"10.0.0.4"})"));
}

TEST(CompareTest, ListenersAreKnownByTheirNames) {
  EXPECT_THAT(
      Changes(R"({"listeners": [{"name": "a", "route": "r"}, {"name": "b", "route": "r"}]})",
              R"({"listeners": [{"name": "b", "route": "s"}, {"name": "a", "route": "r"}]})"),
      ElementsAre(R"(/listeners/b/route: "r" -> "s")"));
}

TEST(CompareTest, TheOrderOfRulesIsAChange) {
  EXPECT_THAT(
      Changes(R"({"routes": {"r": [{"name": "a", "pool": "p"}, {"name": "b", "pool": "p"}]}})",
              R"({"routes": {"r": [{"name": "b", "pool": "p"}, {"name": "a", "pool": "p"}]}})"),
      ElementsAre(R"(/routes/r: ["a","b"] -> ["b","a"])"));
}

TEST(CompareTest, RulesWithoutNamesGoByTheirPlaces) {
  EXPECT_THAT(Changes(R"({"routes": {"r": [{"pool": "p"}]}})",
                      R"({"routes": {"r": [{"pool": "q"}, {"pool": "p"}]}})"),
              ElementsAre(R"(/routes/r/0/pool: "p" -> "q")", R"(/routes/r/1: - -> {"pool":"p"})"));
}

TEST(CompareTest, ASecretThatMovesToAFileIsAChangeAndStaysOne) {
  EXPECT_THAT(Changes(R"({"directories": {"d": {"type": "redis", "password": "one"}}})",
                      R"({"directories": {"d": {"type": "redis", "password": {"file": "f"}}}})"),
              ElementsAre(R"(/directories/d/password: "***" -> {"file":"f"})"));
  EXPECT_THAT(Changes(R"({"directories": {"d": {"type": "redis", "password": "one"}}})",
                      R"({"directories": {"d": {"type": "redis", "password": "***"}}})"),
              ElementsAre());
}

TEST(CompareTest, AnObjectThatComesWithItsOwnMeaningIsAddedWhole) {
  EXPECT_THAT(
      Changes(R"({"health": {}})", R"({"health": {"mail": {"from": "", "to": "a@b.example"}}})"),
      ElementsAre(R"(/health/mail: - -> {"from":"","to":"a@b.example"})"));
  EXPECT_THAT(Changes(R"({"backends": {"b": {"verify": "off"}}})",
                      R"({"backends": {"b": {"verify": {"ca": "ca.pem"}}}})"),
              ElementsAre(R"(/backends/b/verify: "off" -> {"ca":"ca.pem"})"));
}

TEST(CompareTest, SaysWhenAChangeIsFeltAndWhatHoldsWithoutTheKey) {
  const auto changes = Compare(Tree(R"({"workers": 2})"), Tree("{}"));
  ASSERT_EQ(changes.size(), 1U);
  EXPECT_EQ(changes[0].kind, KeyChange::Kind::kRemoved);
  EXPECT_EQ(changes[0].reload, Reload::kRestart);
  EXPECT_EQ(changes[0].fallback, "0");
}

TEST(FilesNamedInTest, AreThoseOfEveryKind) {
  EXPECT_THAT(FilesNamedIn(Tree(R"({
      "tls": {"certificates": [{"cert": "a.crt", "key": "a.key"}]},
      "backends": {"b": {"verify": {"ca": "ca.pem"}, "queue": {"headers": {"X": {"file": "x"}}}}},
      "directories": {"d": {"type": "file", "path": "d.map"}},
      "admin": {"token_file": "token"}})")),
              ElementsAre("a.crt", "a.key", "ca.pem", "x", "d.map", "token"));
}

}  // namespace
}  // namespace postern::conf
