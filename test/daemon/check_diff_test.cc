// check_diff_test: changes in words, and what they do to sockets and servers.
// SPDX-License-Identifier: Apache-2.0
#include "lb/daemon/check_diff.h"

#include <filesystem>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace postern::daemon {
namespace {

using testing::HasSubstr;
using testing::Not;

conf::json::Node Tree(const std::string& text) {
  conf::json::Parsed parsed = conf::json::Parse(text);
  EXPECT_TRUE(parsed.root) << text;
  return parsed.root.value_or(conf::json::Node());
}

std::string Diff(const std::string& running, const std::string& wanted,
                 const std::string& loaded = "2026-01-02T03:04:05.678Z",
                 const std::string& path = "/none/postern.json") {
  conf::Config config;
  config.path = path;
  return DiffText(Tree(R"({"path":"/etc/p.json","generation":3,"loaded":")" + loaded +
                       R"(","configuration":)" + running + "}"),
                  Tree(wanted), config);
}

TEST(CheckDiffTest, SaysThatNothingChanges) {
  EXPECT_EQ(Diff(R"({"workers":1})", R"({"workers":1})"),
            "the running configuration 3 of /etc/p.json, loaded 2026-01-02T03:04:05.678Z\n"
            "a reload changes nothing\n");
}

TEST(CheckDiffTest, SaysWhenAChangeIsFelt) {
  const std::string text = Diff(R"({"workers":1,"log":{"level":"info"}})",
                                R"({"log":{"level":"warn"},"timeouts":{"idle":"1m"}})");
  EXPECT_THAT(text, HasSubstr("removed /workers: 1 -> not set (0), after a restart\n"));
  EXPECT_THAT(text, HasSubstr("changed /log/level: \"info\" -> \"warn\", at once\n"));
  EXPECT_THAT(text, HasSubstr("added /timeouts/idle: not set (35m) -> \"1m\", for new sessions\n"));
  EXPECT_THAT(text, HasSubstr("a restart is needed for /workers\n"));
}

TEST(CheckDiffTest, SaysWhichSocketsStay) {
  const std::string text = Diff(
      R"({"listeners":[{"name":"a","protocol":"imap","address":["127.0.0.1:1","127.0.0.1:2"]},
                       {"name":"b","protocol":"imap","address":"127.0.0.1:3"},
                       {"name":"c","protocol":"imap","address":"127.0.0.1:4"}]})",
      R"({"listeners":[{"name":"c","protocol":"imap","address":["127.0.0.1:4"]},
                       {"name":"a","protocol":"imap","address":["127.0.0.1:1","127.0.0.1:5"]},
                       {"name":"d","protocol":"sieve","address":"127.0.0.1:6"}]})");
  EXPECT_THAT(text,
              HasSubstr("listener a keeps 127.0.0.1:1, closes 127.0.0.1:2, opens 127.0.0.1:5\n"));
  EXPECT_THAT(text, HasSubstr("listener b closes 127.0.0.1:3\n"));
  EXPECT_THAT(text, Not(HasSubstr("127.0.0.1:6\n"))) << "this build does not open it";
}

TEST(CheckDiffTest, SaysWhatBecomesOfServers) {
  const std::string text = Diff(
      R"({"backends":{"a":{"host":"10.0.0.1","imap":{"port":143}},"b":{"host":"10.0.0.2"}},
          "pools":{"p":{"backends":"a"}}})",
      R"({"backends":{"a":{"host":"10.0.0.1","imap":{"port":993}},"c":{"host":"10.0.0.3"}},
          "pools":{"p":{"backends":"a","balance":"hash"}}})");
  EXPECT_THAT(text, HasSubstr("backend a is another server now"));
  EXPECT_THAT(text, HasSubstr("backend b gets no new work; its sessions run to their end\n"));
  EXPECT_THAT(text, HasSubstr("backend c is new: it is checked at once\n"));
  EXPECT_THAT(text, HasSubstr("pool p is changed\n"));
}

TEST(CheckDiffTest, ShowsStrangeTextAndLongTextBounded) {
  const std::string text =
      Diff("{}", R"({"users":{"default_domain":")" + std::string(5000, 'a') + R"(\u001b[2J"}})");
  EXPECT_THAT(text, HasSubstr("aaa..., for new sessions\n"));
  EXPECT_LT(text.size(), 1000U);
  EXPECT_THAT(text, Not(HasSubstr("\x1b")));
}

TEST(CheckDiffTest, TellsAtMostSoManyChanges) {
  std::string many = "{\"backends\":{";
  for (size_t i = 0; i < kMaxDiffLines + 7; ++i)
    many += (i > 0 ? ",\"b" : "\"b") + std::to_string(i) + R"(":{"host":"10.0.0.1"})";
  EXPECT_THAT(Diff("{}", many + "}}"), HasSubstr("and 7 changes more\n"));
}

TEST(CheckDiffTest, NamesFilesThatHaveChangedSince) {
  const std::filesystem::path folder =
      std::filesystem::path(testing::TempDir()) / "postern_check_diff_test";
  std::filesystem::create_directories(folder);
  std::ofstream(folder / "mail.crt") << "x";
  const std::string tls = R"({"tls":{"certificates":[{"cert":"mail.crt","key":"none.key"}]}})";
  const std::string path = (folder / "postern.json").string();
  EXPECT_THAT(Diff(tls, tls, "2001-01-01T00:00:00.000Z", path),
              HasSubstr("file mail.crt has changed since: a reload reads it anew\n"));
  EXPECT_THAT(Diff(tls, tls, "9001-01-01T00:00:00.000Z", path),
              HasSubstr("a reload changes nothing\n"));
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace postern::daemon
