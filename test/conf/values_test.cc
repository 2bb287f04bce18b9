// values_test: durations, sizes, rates, names, replies, suggestions.
// SPDX-License-Identifier: Apache-2.0
#include "conf/values.h"

#include <string>

#include <gtest/gtest.h>

namespace postern::conf {
namespace {

using std::chrono::milliseconds;

std::string Said(const std::optional<Refusal>& refusal) {
  if (!refusal) return "good";
  return refusal->message + (refusal->hint.empty() ? "" : " (" + refusal->hint + ")");
}

milliseconds DurationOf(std::string_view text) {
  milliseconds value{-1};
  EXPECT_EQ(Said(ParseDuration(text, value)), "good") << text;
  return value;
}

std::string DurationFault(std::string_view text) {
  milliseconds value{77};
  const std::string said = Said(ParseDuration(text, value));
  EXPECT_EQ(value, milliseconds(77)) << text;
  return said;
}

uint64_t SizeOf(std::string_view text) {
  uint64_t bytes = 0;
  EXPECT_EQ(Said(ParseSize(text, bytes)), "good") << text;
  return bytes;
}

std::string SizeFault(std::string_view text) {
  uint64_t bytes = 77;
  const std::string said = Said(ParseSize(text, bytes));
  EXPECT_EQ(bytes, 77u) << text;
  return said;
}

TEST(ValuesTest, DurationsAreAWholeNumberAndAUnit) {
  EXPECT_EQ(DurationOf("0ms").count(), 0);
  EXPECT_EQ(DurationOf("250ms").count(), 250);
  EXPECT_EQ(DurationOf("5s").count(), 5000);
  EXPECT_EQ(DurationOf("35m").count(), 35 * 60'000);
  EXPECT_EQ(DurationOf("24h").count(), 24 * 3'600'000);
}

TEST(ValuesTest, WrongDurationsSayHowTheyWouldBeRight) {
  const std::string form = "(a whole number with ms, s, m or h, for example \"30s\")";
  EXPECT_EQ(DurationFault(""), "\"\" is not a duration " + form);
  EXPECT_EQ(DurationFault("s"), "\"s\" is not a duration " + form);
  EXPECT_EQ(DurationFault("-5s"), "\"-5s\" is not a duration " + form);
  EXPECT_EQ(DurationFault("1.5s"), "\"1.5s\" is not a duration " + form);
  EXPECT_EQ(DurationFault("5"), "\"5\" has no unit " + form);
  EXPECT_EQ(DurationFault("5 s"), "\"5 s\" is not a duration (write \"5s\")");
  EXPECT_EQ(DurationFault("5S"), "\"5S\" is not a duration (write \"5s\")");
  EXPECT_EQ(DurationFault("5sec"), "\"5sec\" is not a duration (write \"5s\")");
  EXPECT_EQ(DurationFault("2 minutes"), "\"2 minutes\" is not a duration (write \"2m\")");
  EXPECT_EQ(DurationFault("2d"), "\"2d\" is not a duration (write \"48h\")");
  EXPECT_EQ(DurationFault("1h30m"), "\"1h30m\" is not a duration " + form);
  EXPECT_EQ(DurationFault("99999999h"), "\"99999999h\" is too much");
  EXPECT_EQ(DurationFault("99999999999999999999s"),
            "\"99999999999999999999s\" is not a duration " + form);
}

TEST(ValuesTest, SizesAreAWholeNumberAndAUnit) {
  EXPECT_EQ(SizeOf("512B"), 512u);
  EXPECT_EQ(SizeOf("8KiB"), 8192u);
  EXPECT_EQ(SizeOf("50MiB"), 50u << 20);
  EXPECT_EQ(SizeOf("4GiB"), 4ull << 30);
}

TEST(ValuesTest, WrongSizesSayHowTheyWouldBeRight) {
  const std::string form = "(a whole number with KiB, MiB, GiB or B, for example \"64KiB\")";
  EXPECT_EQ(SizeFault("100"), "\"100\" has no unit " + form);
  EXPECT_EQ(SizeFault("8K"), "\"8K\" is not a size (write \"8KiB\")");
  EXPECT_EQ(SizeFault("8kb"), "\"8kb\" is not a size (write \"8KiB\")");
  EXPECT_EQ(SizeFault("8 MB"), "\"8 MB\" is not a size (write \"8MiB\")");
  EXPECT_EQ(SizeFault("8gib"), "\"8gib\" is not a size (write \"8GiB\")");
  EXPECT_EQ(SizeFault("8 bytes"), "\"8 bytes\" is not a size (write \"8B\")");
  EXPECT_EQ(SizeFault("KiB"), "\"KiB\" is not a size " + form);
  EXPECT_EQ(SizeFault("8TiB"), "\"8TiB\" is not a size " + form);
  EXPECT_EQ(SizeFault("18446744073709551615GiB"), "\"18446744073709551615GiB\" is too much");
}

TEST(ValuesTest, RatesAreACountInADuration) {
  uint64_t count = 0;
  milliseconds window{0};
  EXPECT_EQ(Said(ParseRate("10/5m", count, window)), "good");
  EXPECT_EQ(count, 10u);
  EXPECT_EQ(window, milliseconds(300'000));
  for (const std::string_view bad :
       {"", "10", "/5m", "10/", "0/5m", "10/0s", "10/5", "-1/5m", "a/5m"}) {
    EXPECT_EQ(Said(ParseRate(bad, count, window)),
              Quoted(bad) + " is not a rate (a count, '/' and a duration, for example \"10/10m\")");
    EXPECT_EQ(count, 10u);
  }
}

TEST(ValuesTest, NamesAreShortAndPlain) {
  for (const std::string_view good : {"mx", "store-a", "m365", "by_sni", "a.b", "_x", "9"})
    EXPECT_TRUE(IsName(good)) << good;
  for (const std::string_view bad : {"", "-a", ".a", "a b", "a/b", "a\"", "ä", "a:1", "*"})
    EXPECT_FALSE(IsName(bad)) << bad;
  EXPECT_TRUE(IsName(std::string(64, 'a')));
  EXPECT_FALSE(IsName(std::string(65, 'a')));
}

TEST(ValuesTest, HostNamesAreLabels) {
  for (const std::string_view good :
       {"localhost", "mail.example.com", "a-b.c", "x_1", "1and1.com", "MAIL"})
    EXPECT_TRUE(IsHostname(good)) << good;
  for (const std::string_view bad : {"", ".", "a..b", ".a", "a.", "-a", "a-", "a-.b", "a b",
                                     "10.0.0.1", "a:25", "ä.de", "[::1]", "a/b"}) {
    EXPECT_FALSE(IsHostname(bad)) << bad;
  }
  EXPECT_TRUE(IsHostname(std::string(63, 'a')));
  EXPECT_FALSE(IsHostname(std::string(64, 'a')));
  EXPECT_FALSE(IsHostname(std::string(126, 'a').replace(62, 1, ".") + "." + std::string(130, 'b')));
}

TEST(ValuesTest, RepliesHaveTheRightClassAndOneLine) {
  EXPECT_EQ(Said(CheckReply("550 5.7.1 Relaying denied", '5')), "good");
  EXPECT_EQ(Said(CheckReply("554 No", '5')), "good");
  EXPECT_EQ(Said(CheckReply("451 4.3.0 Later", '4')), "good");
  const std::string example5 = " (for example \"550 5.7.1 Relaying denied\")";
  const std::string example4 = " (for example \"451 4.3.0 Try again later\")";
  for (const std::string_view bad :
       {"", "5", "55", "450 x", "560 x", "5a0 x", "550-x", "5500 x", "no"}) {
    EXPECT_EQ(Said(CheckReply(bad, '5')),
              "the reply does not begin with a code of the form 5xx" + example5)
        << bad;
  }
  EXPECT_EQ(Said(CheckReply("550", '5')), "the reply has no text" + example5);
  EXPECT_EQ(Said(CheckReply("550 ", '5')), "the reply has no text" + example5);
  EXPECT_EQ(Said(CheckReply("550 4.7.1 x", '5')), "the enhanced code's class is not 5" + example5);
  EXPECT_EQ(Said(CheckReply("421 4.3.2 x", '4')),
            "421 would announce the end of the connection" + example4);
  EXPECT_EQ(Said(CheckReply("550 a\r\n250 b", '5')),
            "a reply is one line of printable ASCII" + example5);
  EXPECT_EQ(Said(CheckReply("550 ä", '5')), "a reply is one line of printable ASCII" + example5);
  EXPECT_EQ(Said(CheckReply("550 " + std::string(506, 'x'), '5')), "good");
  EXPECT_EQ(Said(CheckReply("550 " + std::string(507, 'x'), '5')),
            "the reply is longer than 510 characters");
}

TEST(ValuesTest, RewritesMustCompileAndFit) {
  bool is_match_bad = false;
  EXPECT_EQ(Said(CheckRewrite("^(.*)@a$", "\\1@b", is_match_bad)), "good");
  EXPECT_EQ(Said(CheckRewrite("(x", "y", is_match_bad)),
            "the expression is not valid: missing ): (x (RE2)");
  EXPECT_TRUE(is_match_bad);
  EXPECT_EQ(
      Said(CheckRewrite("(x)", "\\2", is_match_bad)),
      "the replacement does not fit its expression (the expression has 1 group; a backslash is "
      "\\\\ in JSON)");
  EXPECT_FALSE(is_match_bad);
}

TEST(ValuesTest, TheNearestWordIsSuggested) {
  const std::vector<std::string_view> known = {"sessions", "line", "literal", "recipients"};
  EXPECT_EQ(Nearest("sesions", known), "sessions");
  EXPECT_EQ(Nearest("lien", known), "line");
  EXPECT_EQ(Nearest("LINE", known), "line");
  EXPECT_EQ(Nearest("recipient", known), "recipients");
  EXPECT_EQ(Nearest("xyz", known), "");
  EXPECT_EQ(Nearest("", known), "");
  EXPECT_EQ(Nearest(std::string(1000, 'x'), known), "");
  EXPECT_EQ(Suggest("sesions", known), "did you mean \"sessions\"?");
  EXPECT_EQ(Suggest("xyz", known), "known: sessions, line, literal, recipients");
  EXPECT_EQ(Suggest("xyz", {}), "");
}

TEST(ValuesTest, LongTextsAreCutBetweenCharacters) {
  EXPECT_EQ(Quoted("x"), "\"x\"");
  std::string umlauts = "a";
  for (int i = 0; i < 100; ++i) umlauts += "ä";
  const std::string quoted = Quoted(umlauts);
  EXPECT_EQ(quoted.size(), 1 + 99 + 3 + 1u);
  EXPECT_EQ(quoted.substr(quoted.size() - 6), "ä...\"");
}

}  // namespace
}  // namespace postern::conf
