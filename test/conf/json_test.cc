// json_test: places of keys and values, and syntax errors.
// SPDX-License-Identifier: Apache-2.0
#include "conf/json.h"

#include <ostream>
#include <string>
#include <string_view>

#include <gtest/gtest.h>

namespace postern::conf::json {

void PrintTo(const Place& place, std::ostream* out) {
  *out << place.line << ":" << place.column;
}

namespace {

// line:col path: message (hint) of every fault, one a line.
std::string Faults(std::string_view text) {
  std::string all;
  for (const Fault& fault : Parse(text).faults) {
    all += std::to_string(fault.place.line) + ":" + std::to_string(fault.place.column) + " " +
           fault.path + ": " + fault.message;
    if (!fault.hint.empty()) all += " (" + fault.hint + ")";
    all += "\n";
  }
  return all;
}

Place ValuePlace(std::string_view text, std::string_view pointer) {
  const Parsed parsed = Parse(text);
  EXPECT_TRUE(parsed.root) << text << "\n" << Faults(text);
  const Node* node = parsed.root ? Lookup(*parsed.root, pointer) : nullptr;
  EXPECT_NE(node, nullptr) << pointer;
  return node == nullptr ? Place{} : node->place;
}

Place KeyPlace(std::string_view text, std::string_view key) {
  const Parsed parsed = Parse(text);
  EXPECT_TRUE(parsed.root);
  const Member* member = parsed.root ? parsed.root->FindMember(key) : nullptr;
  return member == nullptr ? Place{} : member->key_place;
}

TEST(JsonTest, EveryKindOfValueKnowsItsPlace) {
  const std::string text =
      "{\n"
      "  \"s\": \"x\", \"n\": 12, \"f\": -1.5e3,\n"
      "  \"t\": true,\n"
      "  \"z\": null , \"a\": [ 7,8 ],\n"
      "  \"o\": {\"k\":9}\n"
      "}";
  EXPECT_EQ(ValuePlace(text, ""), (Place{1, 1}));
  EXPECT_EQ(KeyPlace(text, "s"), (Place{2, 3}));
  EXPECT_EQ(ValuePlace(text, "/s"), (Place{2, 8}));
  EXPECT_EQ(KeyPlace(text, "n"), (Place{2, 13}));
  EXPECT_EQ(ValuePlace(text, "/n"), (Place{2, 18}));
  EXPECT_EQ(ValuePlace(text, "/f"), (Place{2, 27}));
  EXPECT_EQ(ValuePlace(text, "/t"), (Place{3, 8}));
  EXPECT_EQ(ValuePlace(text, "/z"), (Place{4, 8}));
  EXPECT_EQ(ValuePlace(text, "/a"), (Place{4, 20}));
  EXPECT_EQ(ValuePlace(text, "/a/0"), (Place{4, 22}));
  EXPECT_EQ(ValuePlace(text, "/a/1"), (Place{4, 24}));
  EXPECT_EQ(ValuePlace(text, "/o"), (Place{5, 8}));
  EXPECT_EQ(ValuePlace(text, "/o/k"), (Place{5, 13}));
}

// The library reads one character past a number; whatever that is, the number's place stays.
TEST(JsonTest, NumbersKnowTheirPlaceWhateverFollows) {
  for (const std::string_view after :
       {"]", " ]", "\n]", "\t]", "\r\n]", ",1]", ", \"x\"]", "/**/]", "//c\n]", " /* c */ ]"}) {
    EXPECT_EQ(ValuePlace("[ 5" + std::string(after), "/0"), (Place{1, 3})) << after;
  }
  EXPECT_EQ(ValuePlace("[5,\"x\"]", "/1"), (Place{1, 4}));
}

TEST(JsonTest, CrLfIsOneLineEnd) {
  EXPECT_EQ(ValuePlace("{\r\n\r\n \"a\": 1\r\n}", "/a"), (Place{3, 7}));
}

TEST(JsonTest, TabsAndCharactersOfManyBytesAreOneColumn) {
  EXPECT_EQ(ValuePlace("{\t\"a\":\t1}", "/a"), (Place{1, 8}));
  EXPECT_EQ(ValuePlace("{\"äß€😀\": 1}", "/äß€😀"), (Place{1, 10}));
}

TEST(JsonTest, AByteOrderMarkHasNoColumn) {
  EXPECT_EQ(ValuePlace("\xEF\xBB\xBF{\"a\": 1}", "/a"), (Place{1, 7}));
}

TEST(JsonTest, CommentsMayStandBetweenTokens) {
  const std::string text =
      "// head \"quoted\" {\n"
      "/* of\n two * lines **/ {\"a\" /*x*/ : /* \" */ 1, // end\n"
      " \"b\"://\n2}\n// foot";
  EXPECT_EQ(ValuePlace(text, "/a"), (Place{3, 39}));
  EXPECT_EQ(ValuePlace(text, "/b"), (Place{5, 1}));
}

TEST(JsonTest, NumbersKeepWhatTheyAre) {
  const Parsed parsed = Parse("[0, 18446744073709551615, -3, 1.0, 2e2]");
  ASSERT_TRUE(parsed.root);
  const auto& items = parsed.root->items;
  EXPECT_TRUE(items[0].is_whole);
  EXPECT_EQ(items[1].whole, 18446744073709551615u);
  EXPECT_TRUE(items[2].is_whole && items[2].is_negative);
  EXPECT_EQ(items[2].number, -3);
  EXPECT_FALSE(items[3].is_whole);
  EXPECT_EQ(items[4].number, 200);
}

TEST(JsonTest, DuplicateKeysNameBothPlacesAndDoNotStopTheRest) {
  EXPECT_EQ(Faults("{\"a\": 1,\n \"b\": {\"c\": 1, \"c\": 2},\n \"a\": 3}"),
            "2:16 /b/c: the key stands here a second time (it is first given at 2:8)\n"
            "3:2 /a: the key stands here a second time (it is first given at 1:2)\n");
  const Parsed parsed = Parse("{\"a\": 1, \"a\": 2, \"b\": 3}");
  ASSERT_TRUE(parsed.root);
  ASSERT_EQ(parsed.root->members.size(), 2u);
  EXPECT_EQ(parsed.root->Find("a")->whole, 1u);
}

TEST(JsonTest, TheSameKeyInTwoObjectsIsNoDuplicate) {
  EXPECT_EQ(Faults("[{\"a\": {\"a\": 1}}, {\"a\": 2}]"), "");
}

struct SyntaxCase {
  std::string_view name;
  std::string_view text;
  std::string_view fault;
};
void PrintTo(const SyntaxCase& c, std::ostream* out) {
  *out << c.name;
}

class JsonSyntaxTest : public testing::TestWithParam<SyntaxCase> {};

TEST_P(JsonSyntaxTest, IsOneLocatedError) {
  EXPECT_EQ(Faults(GetParam().text), std::string(GetParam().fault) + "\n");
  EXPECT_FALSE(Parse(GetParam().text).root);
}

INSTANTIATE_TEST_SUITE_P(
    All, JsonSyntaxTest,
    testing::Values(
        SyntaxCase{"empty", "",
                   "1:1 : the text ends too early (a configuration is one object: { ... })"},
        SyntaxCase{"only_comment", "// x\n",
                   "2:1 : the text ends too early (a configuration is one object: { ... })"},
        SyntaxCase{"open_object", "{\n  \"a\": 1\n",
                   "3:1 /a: the text ends too early ('{' of 1:1 is not closed)"},
        SyntaxCase{"open_list", "{\"a\": [1, 2",
                   "1:12 /a/1: the text ends too early ('[' of 1:7 is not closed)"},
        SyntaxCase{"trailing_comma_object", "{\n \"a\": 1,\n}",
                   "2:8 /a: a comma before '}' (remove it)"},
        SyntaxCase{"trailing_comma_list", "{\"a\": [1 , ]}",
                   "1:10 /a/0: a comma before ']' (remove it)"},
        SyntaxCase{
            "missing_comma", "{\"a\": 1\n \"b\": 2}",
            "2:2 /a: unexpected string literal; expected '}' (is a comma missing before it?)"},
        SyntaxCase{
            "missing_comma_list", "[1 2]",
            "1:4 /0: unexpected number literal; expected ']' (is a comma missing before it?)"},
        SyntaxCase{
            "missing_comma_number", "[\"a\" 2/**/]",
            "1:6 /0: unexpected number literal; expected ']' (is a comma missing before it?)"},
        SyntaxCase{"missing_colon", "{\"a\" 1}", "1:6 /a: unexpected number literal; expected ':'"},
        SyntaxCase{"bare_key", "{a: 1}",
                   "1:2 : invalid literal (strings stand in double quotes; the "
                   "words of JSON are true, false and null)"},
        SyntaxCase{
            "number_key", "{1: 1}",
            "1:2 : unexpected number literal; expected string literal (a key in double quotes "
            "belongs here)"},
        SyntaxCase{
            "bare_word", "{\"a\": yes}",
            "1:7 /a: invalid literal (strings stand in double quotes; the words of JSON are true, "
            "false and null)"},
        SyntaxCase{"open_string", "{\"a\": \"x\n}", "1:9 /a: a string without its closing quote"},
        SyntaxCase{"open_string_at_end", "{\"a\": \"x",
                   "1:7 /a: a string without its closing quote"},
        SyntaxCase{"open_string_crlf", "{\"a\": \"x\r\n}",
                   "1:9 /a: a string without its closing quote"},
        SyntaxCase{"tab_in_string", "{\"a\": \"x\ty\"}",
                   "1:9 /a: invalid string: control character U+0009 (HT) must be escaped to "
                   "\\u0009 or \\t"},
        SyntaxCase{"bad_escape", "{\"a\": \"\\q\"}",
                   "1:7 /a: invalid string: forbidden character after backslash"},
        SyntaxCase{
            "lone_surrogate", "{\"a\": \"\\ud800\"}",
            "1:7 /a: invalid string: surrogate U+D800..U+DBFF must be followed by U+DC00..U+DFFF"},
        SyntaxCase{"bad_number", "{\"a\": 1.}", "1:7 /a: invalid number; expected digit after '.'"},
        SyntaxCase{
            "leading_zero", "{\"a\": 012}",
            "1:7 /a: unexpected number literal; expected '}' (is a comma missing before it?)"},
        SyntaxCase{"huge_number", "{\"a\": 1e999}", "1:7 /a: the number is too large"},
        SyntaxCase{"open_comment", "{ /* x", "1:3 : invalid comment; missing closing '*/'"},
        SyntaxCase{"half_comment", "{ / x",
                   "1:3 : invalid comment; expecting '/' or '*' after '/'"},
        SyntaxCase{"text_after_end", "{}\n{}", "2:1 : text after the end of the configuration"},
        SyntaxCase{"nul", std::string_view("{}\0{}", 5),
                   "1:3 : a NUL byte (this is not a text file in UTF-8)"},
        SyntaxCase{"utf8_stray", "{\"a\": \"x\xFFy\"}",
                   "1:9 /a: a byte that is not UTF-8 (save the file as UTF-8)"},
        SyntaxCase{"utf8_cut", "{\"\xC3(\": 1}",
                   "1:3 : a byte that is not UTF-8 (save the file as UTF-8)"},
        SyntaxCase{"utf8_two_leads", "{\"\xC3\xC3\xA4\": 1}",
                   "1:4 : a byte that is not UTF-8 (save the file as UTF-8)"},
        SyntaxCase{"utf8_one_byte_too_many", "{\"\xC3\xA4\xA4\": 1}",
                   "1:4 : a byte that is not UTF-8 (save the file as UTF-8)"},
        SyntaxCase{"utf8_too_long", "{\"ab\xF4\x90\x80\x80\": 1}",
                   "1:5 : a byte that is not UTF-8 (save the file as UTF-8)"},
        SyntaxCase{
            "stray_continuation_bytes", "\xBB\xBB{}",
            "1:1 : invalid literal (strings stand in double quotes; the words of JSON are true, "
            "false and null)"},
        SyntaxCase{"latin1", "{\n\t\"a\": \"K\xF6ln\"}",
                   "2:9 /a: a byte that is not UTF-8 (save the file as UTF-8)"}),
    [](const auto& param_info) { return std::string(param_info.param.name); });

TEST(JsonTest, ErrorTextsHoldNothingOfAValue) {
  EXPECT_EQ(Faults("{\"password\": \"hunter2\" \"x\"").find("hunter2"), std::string::npos);
  EXPECT_EQ(Faults("{\"password\": hunter2}").find("hunter2"), std::string::npos);
}

TEST(JsonTest, DepthIsBounded) {
  const auto nested = [](size_t depth) {
    return std::string(depth, '[') + std::string(depth, ']');
  };
  EXPECT_TRUE(Parse(nested(kMaxDepth)).root);
  EXPECT_EQ(Faults(nested(kMaxDepth + 1)).substr(0, 5), "1:33 ");
  EXPECT_FALSE(Parse(std::string(1'000'000, '[')).root);
}

TEST(JsonTest, EveryPrefixOfATextIsAnErrorThatIsNotBehindItsEnd) {
  const std::string text =
      "{ \"a\": [1, -2.5e1, \"x\\u00e9ö\"], // c\n \"b\": {\"c\": true, \"d\": null} }";
  for (size_t size = 0; size < text.size(); ++size) {
    const Parsed parsed = Parse(text.substr(0, size));
    EXPECT_FALSE(parsed.root) << size;
    ASSERT_EQ(parsed.faults.size(), 1u) << size;
    const Place place = parsed.faults[0].place;
    EXPECT_TRUE(place.line == 1 || place.line == 2) << size;
    EXPECT_GE(place.column, 1) << size;
    EXPECT_LE(place.column, 41) << size;
  }
  EXPECT_TRUE(Parse(text).root);
}

TEST(JsonTest, PointersEscapeAndFindTheNearestPlace) {
  EXPECT_EQ(Join("/a", "x/y~z"), "/a/x~1y~0z");
  const Parsed parsed = Parse("{\"x/y~z\": {\"k\": [1]}}");
  ASSERT_TRUE(parsed.root);
  EXPECT_NE(Lookup(*parsed.root, "/x~1y~0z/k/0"), nullptr);
  EXPECT_EQ(Lookup(*parsed.root, "/x~1y~0z/k/1"), nullptr);
  EXPECT_EQ(Lookup(*parsed.root, "/x~1y~0z/k/0x"), nullptr);
  EXPECT_EQ(PlaceOf(*parsed.root, "/x~1y~0z/missing/deeper"), (Place{1, 11}));
}

}  // namespace
}  // namespace postern::conf::json
