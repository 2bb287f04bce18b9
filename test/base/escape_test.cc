// escape_test: whatever a peer sends, a line stays one line and a terminal stays as it was.
// SPDX-License-Identifier: Apache-2.0
#include "lb/base/escape.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>

#include "lb/base/rng.h"

namespace postern::base {
namespace {

using std::string_view_literals::operator""sv;

std::string Json(ByteView bytes) {
  std::string out;
  AppendJsonString(out, bytes);
  return out;
}

TEST(EscapeTest, ValidUtf8StaysAsItIs) {
  const std::string_view kRows[] = {
      "",
      "plain text ~!@#$%^&*()'`<>",
      "\xc2\xa0",          // U+00A0, the first behind the C1 controls
      "\xdf\xbf",          // U+07FF
      "\xe0\xa0\x80",      // U+0800
      "\xed\x9f\xbf",      // U+D7FF, the last before the surrogates
      "\xee\x80\x80",      // U+E000
      "\xef\xbf\xbf",      // U+FFFF
      "\xf0\x90\x80\x80",  // U+10000
      "\xf4\x8f\xbf\xbf",  // U+10FFFF
      "J\xc3\xbcrgen \xe2\x82\xac \xf0\x9f\x93\xa7",
  };
  for (const auto row : kRows) {
    EXPECT_TRUE(IsUtf8(row)) << row;
    EXPECT_EQ(Printable(row), row);
    EXPECT_EQ(Json(row), '"' + std::string(row) + '"');
  }
}

TEST(EscapeTest, InvalidUtf8IsSpeltOut) {
  struct {
    std::string_view bytes, printed, json;
  } const kRows[] = {
      {"\x80", "\\x80", "\xef\xbf\xbd"},
      {"\xbf", "\\xbf", "\xef\xbf\xbd"},
      {"\xff", "\\xff", "\xef\xbf\xbd"},
      {"\xfe", "\\xfe", "\xef\xbf\xbd"},
      // Overlong forms: of '/', of NUL, of U+07FF, of U+FFFF.
      {"\xc0\xaf", "\\xc0\\xaf", "\xef\xbf\xbd\xef\xbf\xbd"},
      {"\xc1\xbf", "\\xc1\\xbf", "\xef\xbf\xbd\xef\xbf\xbd"},
      {"\xc0\x80", "\\xc0\\x80", "\xef\xbf\xbd\xef\xbf\xbd"},
      {"\xe0\x9f\xbf", "\\xe0\\x9f\\xbf", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
      {"\xf0\x8f\xbf\xbf", "\\xf0\\x8f\\xbf\\xbf",
       "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
      // Surrogates, first and last.
      {"\xed\xa0\x80", "\\xed\\xa0\\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
      {"\xed\xbf\xbf", "\\xed\\xbf\\xbf", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
      // Above U+10FFFF, and forms of five bytes.
      {"\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80",
       "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
      {"\xf5\x80", "\\xf5\\x80", "\xef\xbf\xbd\xef\xbf\xbd"},
      {"\xf8", "\\xf8", "\xef\xbf\xbd"},
      // Cut short, at the end and by a letter.
      {"\xc3", "\\xc3", "\xef\xbf\xbd"},
      {"\xe2\x82", "\\xe2\\x82", "\xef\xbf\xbd\xef\xbf\xbd"},
      {"\xf0\x9f\x93", "\\xf0\\x9f\\x93", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
      {"\xc3(", "\\xc3(", "\xef\xbf\xbd("},
      {"\xe2\x82z", "\\xe2\\x82z", "\xef\xbf\xbd\xef\xbf\xbdz"},
      {"\xc3\xc3\xbc", "\\xc3\xc3\xbc", "\xef\xbf\xbd\xc3\xbc"},
      {"a\xe4z", "a\\xe4z", "a\xef\xbf\xbdz"},
  };
  for (const auto& row : kRows) {
    EXPECT_FALSE(IsUtf8(row.bytes)) << row.printed;
    EXPECT_EQ(Printable(row.bytes), row.printed);
    EXPECT_EQ(Json(row.bytes), '"' + std::string(row.json) + '"') << row.printed;
  }
}

TEST(EscapeTest, ControlCharactersAreSpeltOut) {
  struct {
    std::string_view bytes, printed, json;
  } const kRows[] = {
      {"\0"sv, "\\x00", "\\u0000"},
      {"\r\n", "\\x0d\\x0a", "\\u000d\\u000a"},
      {"\t", "\\x09", "\\u0009"},
      {"\x1b[2J", "\\x1b[2J", "\\u001b[2J"},
      {"\x1f", "\\x1f", "\\u001f"},
      {"\x7f", "\\x7f", "\\u007f"},
      {"\"", "\\x22", "\\\""},
      {"\\", "\\x5c", "\\\\"},
      {"\\x41", "\\x5cx41", "\\\\x41"},
      // C1: terminals take U+009B for ESC [.
      {"\xc2\x80", "\\xc2\\x80", "\\u0080"},
      {"\xc2\x9b"
       "2J",
       "\\xc2\\x9b2J", "\\u009b2J"},
      {"\xc2\x9f", "\\xc2\\x9f", "\\u009f"},
      // Line separators, and what turns the direction of the text around it.
      {"\xe2\x80\xa8", "\\xe2\\x80\\xa8", "\\u2028"},
      {"\xe2\x80\xa9", "\\xe2\\x80\\xa9", "\\u2029"},
      {"\xe2\x80\xae", "\\xe2\\x80\\xae", "\\u202e"},
      {"\xe2\x81\xa6", "\\xe2\\x81\\xa6", "\\u2066"},
      {"\xe2\x81\xa9", "\\xe2\\x81\\xa9", "\\u2069"},
  };
  for (const auto& row : kRows) {
    EXPECT_EQ(Printable(row.bytes), row.printed);
    EXPECT_EQ(Json(row.bytes), '"' + std::string(row.json) + '"');
  }
  // Their neighbours are harmless.
  for (const auto text : {"\xe2\x80\xa7", "\xe2\x80\xaf", "\xe2\x81\xa5", "\xe2\x81\xaa"}) {
    EXPECT_EQ(Printable(text), text);
  }
}

TEST(EscapeTest, LongTextsAreCut) {
  EXPECT_EQ(Printable("abc", 3), "abc");
  EXPECT_EQ(Printable("abcd", 3), "abc...");
  EXPECT_EQ(Printable("abc", 0), "...");
  EXPECT_EQ(Printable("", 0), "");
  // The limit counts input; a character is not cut in two.
  EXPECT_EQ(Printable("\r\n", 1), "\\x0d...");
  EXPECT_EQ(Printable("a\xc3\xbc", 3), "a\xc3\xbc");
  EXPECT_EQ(Printable("a\xc3\xbc"
                      "b",
                      3),
            "a\xc3\xbc...");
  EXPECT_EQ(Printable("a\xc3\xbc", 2), "a...");
  EXPECT_EQ(Printable(std::string(600, 'x')), std::string(512, 'x') + "...");
  EXPECT_EQ(Printable("abc", SIZE_MAX), "abc");
}

TEST(EscapeTest, JsonAppends) {
  std::string out = "{";
  AppendJsonString(out, "a");
  EXPECT_EQ(out, "{\"a\"");
}

TEST(EscapeTest, AnyBytesGiveOneCleanLine) {
  SeededRng rng(11);
  for (int i = 0; i < 5000; ++i) {
    std::string bytes(rng.Below(40), '\0');
    for (char& c : bytes) c = static_cast<char>(rng.Below(256));
    for (const std::string& out : {Printable(bytes), Json(bytes)}) {
      ASSERT_TRUE(IsUtf8(out));
      for (const char c : out) ASSERT_TRUE(static_cast<unsigned char>(c) >= 0x20 && c != 0x7f);
    }
    ASSERT_EQ(Printable(bytes).find('"'), std::string::npos);
  }
}

TEST(EscapeTest, HasLineBreakOrNul) {
  struct {
    std::string_view bytes;
    bool has;
  } const kRows[] = {
      {"", false},       {"abc", false},          {"\r", true},
      {"\n", true},      {"\0"sv, true},          {"ab\rcd", true},
      {"ab\ncd", true},  {"ab\0cd"sv, true},      {"ab\0"sv, true},
      {"\t\v\f", false}, {"\xe2\x80\xa8", false}, {"\\r\\n", false},
  };
  for (const auto& row : kRows)
    EXPECT_EQ(HasLineBreakOrNul(row.bytes), row.has) << Printable(row.bytes);
}

}  // namespace
}  // namespace postern::base
