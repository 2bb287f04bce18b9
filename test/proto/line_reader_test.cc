// line_reader_test: what ends a line, what does not, and that the cut of the bytes changes nothing.
// SPDX-License-Identifier: Apache-2.0
#include "lb/proto/line_reader.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace postern::proto {
namespace {

using std::string_literals::operator""s;

struct Row {
  const char* name;
  std::string input;
  LineVerdict verdict;
  std::string text;
  size_t size_bytes;
};

// Limit: 8 bytes.
const std::vector<Row> kRows = {
    {"Empty", "", LineVerdict::kNeedMore, "", 0},
    {"EmptyLine", "\r\n", LineVerdict::kLine, "", 2},
    {"Line", "NOOP\r\nmore", LineVerdict::kLine, "NOOP", 6},
    {"NoEndYet", "NOOP\r", LineVerdict::kNeedMore, "", 0},
    {"AtTheLimit", "12345678\r\n", LineVerdict::kLine, "12345678", 10},
    {"AtTheLimitNoEndYet", "12345678\r", LineVerdict::kNeedMore, "", 0},
    {"AboveTheLimit", "123456789\r\n", LineVerdict::kTooLong, "", 0},
    {"AboveTheLimitBareLf", "123456789\n", LineVerdict::kTooLong, "", 0},
    {"NoEndAboveTheLimit", "1234567890", LineVerdict::kTooLong, "", 0},
    {"BareLf", "NOOP\nx", LineVerdict::kBareLf, "NOOP", 5},
    {"LoneLf", "\n", LineVerdict::kBareLf, "", 1},
    {"BareCr", "NO\rOP\r\n", LineVerdict::kBareCr, "NO\rOP", 7},
    {"TwoCr", "NOOP\r\r\n", LineVerdict::kBareCr, "NOOP\r", 7},
    {"Nul", "NO\0P\r\n"s, LineVerdict::kNul, "NO\0P"s, 6},
    {"BareLfWins", "a\rb\n", LineVerdict::kBareLf, "a\rb", 4},
};

class ReadLineTest : public testing::TestWithParam<Row> {};

TEST_P(ReadLineTest, GivesTheVerdict) {
  const LineRead line = ReadLine(GetParam().input, 8);
  EXPECT_EQ(line.verdict, GetParam().verdict);
  EXPECT_EQ(line.text, GetParam().text);
  EXPECT_EQ(line.size_bytes, GetParam().size_bytes);
}

TEST_P(ReadLineTest, ByteByByteEndsAlike) {
  const std::string& input = GetParam().input;
  for (size_t size = 0; size <= input.size(); ++size) {
    const LineRead line = ReadLine(std::string_view(input).substr(0, size), 8);
    if (line.verdict == LineVerdict::kNeedMore) continue;
    EXPECT_EQ(line.verdict, GetParam().verdict);
    EXPECT_EQ(line.text, GetParam().text);
    return;
  }
  EXPECT_EQ(GetParam().verdict, LineVerdict::kNeedMore);
}

INSTANTIATE_TEST_SUITE_P(Table, ReadLineTest, testing::ValuesIn(kRows),
                         [](const auto& row) { return std::string(row.param.name); });

TEST(SkipLineTest, TakesAllUntilLf) {
  EXPECT_EQ(SkipLine("abc").size_bytes, 3U);
  EXPECT_FALSE(SkipLine("abc").is_at_end);
  EXPECT_EQ(SkipLine("ab\r\ncd").size_bytes, 4U);
  EXPECT_TRUE(SkipLine("ab\r\ncd").is_at_end);
}

}  // namespace
}  // namespace postern::proto
