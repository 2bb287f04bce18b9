// log_test: the form of a line, what is left out by level, and that hostile values stay values.
// SPDX-License-Identifier: Apache-2.0
#include "lb/base/log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <string_view>

namespace postern::base::log {
namespace {

using ::testing::HasSubstr;
using std::string_view_literals::operator""sv;

constexpr WallTime kTime{std::chrono::seconds(1795514703) + std::chrono::milliseconds(123)};

TEST(LogTest, FormatsTimeAsRfc3339) {
  using std::chrono::milliseconds;
  using std::chrono::nanoseconds;
  using std::chrono::seconds;
  struct {
    Duration since_epoch;
    std::string_view text;
  } const kRows[] = {
      {seconds(0), "1970-01-01T00:00:00.000Z"},
      {seconds(1795514703) + milliseconds(123), "2026-11-24T10:05:03.123Z"},
      {seconds(951782400), "2000-02-29T00:00:00.000Z"},
      // Cut, not rounded: a line is never from the future.
      {milliseconds(1000) - nanoseconds(1), "1970-01-01T00:00:00.999Z"},
      {nanoseconds(-1), "1969-12-31T23:59:59.999Z"},
      {seconds(4102444799), "2099-12-31T23:59:59.000Z"},
      {milliseconds(7), "1970-01-01T00:00:00.007Z"},
  };
  for (const auto& row : kRows) EXPECT_EQ(FormatTime(WallTime(row.since_epoch)), row.text);
}

TEST(LogTest, Json) {
  EXPECT_EQ(
      FormatLine(Format::kJson, kTime, Level::kInfo, "reload", {{"generation", "3"}}),
      R"({"time":"2026-11-24T10:05:03.123Z","level":"info","event":"reload","generation":"3"})");
  EXPECT_EQ(FormatLine(Format::kJson, kTime, Level::kError, "stop", {}),
            R"({"time":"2026-11-24T10:05:03.123Z","level":"error","event":"stop"})");
}

TEST(LogTest, Logfmt) {
  EXPECT_EQ(FormatLine(Format::kLogfmt, kTime, Level::kWarn, "reload",
                       {{"generation", "3"}, {"why", "no such file"}, {"empty", ""}}),
            "time=2026-11-24T10:05:03.123Z level=warn event=reload generation=3 "
            "why=\"no such file\" empty=\"\"");
}

TEST(LogTest, ValuesCannotForgeFieldsOrLines) {
  struct {
    std::string_view value, json, logfmt;
  } const kRows[] = {
      {"a\",\"event\":\"x", R"("v":"a\",\"event\":\"x"})", R"(v="a\",\"event\":\"x")"},
      {"a b=c", R"("v":"a b=c"})", R"(v="a b=c")"},
      {"a=b", R"("v":"a=b"})", R"(v="a=b")"},
      {"a\nlevel=error", R"("v":"a\u000alevel=error"})", R"(v="a\u000alevel=error")"},
      {"\x1b[31m", R"("v":"\u001b[31m"})", R"(v="\u001b[31m")"},
      {"back\\slash", R"("v":"back\\slash"})", R"(v="back\\slash")"},
      {"\xff"sv, "\"v\":\"\xef\xbf\xbd\"}", "v=\"\xef\xbf\xbd\""},
      {"J\xc3\xbcrgen", "\"v\":\"J\xc3\xbcrgen\"}", "v=\"J\xc3\xbcrgen\""},
      {"nul\0"sv, R"("v":"nul\u0000"})", R"(v="nul\u0000")"},
  };
  for (const auto& row : kRows) {
    const std::string value(row.value);
    EXPECT_THAT(FormatLine(Format::kJson, kTime, Level::kInfo, "e", {{"v", value}}),
                ::testing::EndsWith(std::string(row.json)));
    EXPECT_THAT(FormatLine(Format::kLogfmt, kTime, Level::kInfo, "e", {{"v", value}}),
                ::testing::EndsWith(std::string(row.logfmt)));
  }
}

TEST(LogTest, LevelsHaveNames) {
  const std::pair<Level, std::string> kRows[] = {{Level::kError, "error"},
                                                 {Level::kWarn, "warn"},
                                                 {Level::kInfo, "info"},
                                                 {Level::kDebug, "debug"}};
  for (const auto& [level, name] : kRows) {
    EXPECT_THAT(FormatLine(Format::kLogfmt, kTime, level, "e", {}), HasSubstr("level=" + name));
  }
}

class LogWriteTest : public ::testing::Test {
 protected:
  ~LogWriteTest() override { Configure(Level::kInfo, Format::kJson); }
};

TEST_F(LogWriteTest, StartsWithInfoAsJson) {
  EXPECT_TRUE(Enabled(Level::kInfo));
  EXPECT_FALSE(Enabled(Level::kDebug));
  ::testing::internal::CaptureStderr();
  Info("hello", {{"a", "1"}});
  Debug("unheard", {});
  const std::string text = ::testing::internal::GetCapturedStderr();
  EXPECT_THAT(text, ::testing::EndsWith(R"("level":"info","event":"hello","a":"1"})"
                                        "\n"));
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 1);
}

TEST_F(LogWriteTest, LevelDecides) {
  Configure(Level::kError, Format::kLogfmt);
  EXPECT_TRUE(Enabled(Level::kError));
  EXPECT_FALSE(Enabled(Level::kWarn));
  ::testing::internal::CaptureStderr();
  Warn("unheard", {});
  Error("heard", {});
  EXPECT_THAT(::testing::internal::GetCapturedStderr(),
              ::testing::MatchesRegex("time=[-0-9T:.]+Z level=error event=heard\n"));
  Configure(Level::kDebug, Format::kLogfmt);
  ::testing::internal::CaptureStderr();
  Debug("heard", {});
  EXPECT_THAT(::testing::internal::GetCapturedStderr(), HasSubstr("level=debug event=heard\n"));
}

}  // namespace
}  // namespace postern::base::log
