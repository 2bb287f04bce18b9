// json_number_test: numbers out of other people's JSON.
// SPDX-License-Identifier: Apache-2.0
#include "conf/json_number.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>

namespace postern::conf::json {
namespace {

double Number(std::string_view text, std::string_view pointer) {
  const auto result = FindNumber(text, pointer);
  EXPECT_TRUE(result.ok()) << text << " " << pointer << ": " << (result.ok() ? "" : result.error());
  return result.ok() ? *result : -1;
}
std::string Error(std::string_view text, std::string_view pointer) {
  const auto result = FindNumber(text, pointer);
  return result.ok() ? "none" : result.error();
}

// RFC 6901 5, its values as numbers.
constexpr std::string_view kRfc = R"({"foo": [10, 11], "": 0, "a/b": 1, "c%d": 2, "e^f": 3,
  "g|h": 4, "i\\j": 5, "k\"l": 6, " ": 7, "m~n": 8, "01": 9,
  "deep": {"x": [[], {"y": [1, 2.5]}]}})";

TEST(JsonNumberTest, FollowsPointers) {
  EXPECT_EQ(Number(kRfc, "/foo/0"), 10);
  EXPECT_EQ(Number(kRfc, "/foo/1"), 11);
  EXPECT_EQ(Number(kRfc, "/"), 0);
  EXPECT_EQ(Number(kRfc, "/a~1b"), 1);
  EXPECT_EQ(Number(kRfc, "/c%d"), 2);
  EXPECT_EQ(Number(kRfc, "/e^f"), 3);
  EXPECT_EQ(Number(kRfc, "/g|h"), 4);
  EXPECT_EQ(Number(kRfc, "/i\\j"), 5);
  EXPECT_EQ(Number(kRfc, "/k\"l"), 6);
  EXPECT_EQ(Number(kRfc, "/ "), 7);
  EXPECT_EQ(Number(kRfc, "/m~0n"), 8);
  EXPECT_EQ(Number(kRfc, "/01"), 9);
  EXPECT_EQ(Number(kRfc, "/deep/x/1/y/1"), 2.5);
  EXPECT_EQ(Number(" 42 ", ""), 42);
}

TEST(JsonNumberTest, SaysWhatIsNotThere) {
  const std::string nothing = "there is nothing at the pointer";
  EXPECT_EQ(Error(kRfc, "/bar"), nothing);
  EXPECT_EQ(Error(kRfc, "/foo/2"), nothing);
  EXPECT_EQ(Error(kRfc, "/foo/00"), nothing);
  EXPECT_EQ(Error(kRfc, "/foo/-"), nothing);
  EXPECT_EQ(Error(kRfc, "/foo/x"), nothing);
  EXPECT_EQ(Error(kRfc, "/foo/0/1"), nothing);
  EXPECT_EQ(Error(kRfc, "/y"), nothing);
  EXPECT_EQ(Error(kRfc, "/deep/x/0/y/1"), nothing);
  EXPECT_EQ(Error("7", "/x"), nothing);
  // The same keys elsewhere are others.
  EXPECT_EQ(Error(R"({"b": {"a": {"n": 1}}, "c": [{"a": {"n": 1}}]})", "/a/n"), nothing);
}

TEST(JsonNumberTest, OnlyNumbersCount) {
  const std::string other = "what is at the pointer is not a number";
  for (const std::string_view value :
       {"null", "true", "[1]", "{\"n\": 1}", "\"\"", "\"12 messages\"", "\" 12\"", "\"0x10\""}) {
    EXPECT_EQ(Error("{\"a\": " + std::string(value) + "}", "/a"), other) << value;
  }
  EXPECT_EQ(Error(kRfc, "/foo"), other);
  EXPECT_EQ(Error(kRfc, ""), other);
  EXPECT_EQ(Number(R"({"a": "812"})", "/a"), 812);
  EXPECT_EQ(Number(R"({"a": -3})", "/a"), -3);
  EXPECT_EQ(Number(R"({"a": 1e3})", "/a"), 1000);
  EXPECT_EQ(Number(R"({"a": 18446744073709551616})", "/a"), 18446744073709551616.0);
}

TEST(JsonNumberTest, TwoAnswersAreNone) {
  EXPECT_EQ(Error(R"({"a": 1, "a": 2})", "/a"), "there are several values at the pointer");
  EXPECT_EQ(Error(R"({"a": {"b": 1}, "a": {"b": 2}})", "/a/b"),
            "there are several values at the pointer");
  EXPECT_EQ(Number(R"({"a": {"x": 1}, "a": {"b": 2}, "z": 1, "z": 2})", "/a/b"), 2);
}

TEST(JsonNumberTest, HalfADocumentIsNone) {
  for (const std::string_view text :
       {"", "{", "{\"a\": 1", "{\"a\": 1,}", "{\"a\": 1} x", "{'a': 1}", "{\"a\": NaN}",
        "{\"a\": 1e999}", "{\"a\": 01}", "// c\n{\"a\": 1}", "{\"a\": 1}{\"a\": 1}", "<html>",
        "{\"\xff\": 1, \"a\": 1}"}) {
    EXPECT_EQ(Error(text, "/a"), "the answer is not JSON") << text;
  }
}

TEST(JsonNumberTest, DepthDoesNoHarm) {
  const std::string deep(1 << 20, '[');
  EXPECT_EQ(Error(deep, "/a"), "the answer is not JSON");
  EXPECT_EQ(Number("{\"x\": " + deep + std::string(1 << 20, ']') + ", \"a\": 5}", "/a"), 5);
}

TEST(JsonNumberTest, APointerIsOneOrNot) {
  EXPECT_TRUE(ParsePointer("").has_value());
  EXPECT_EQ(ParsePointer("/a~01/~1")->at(0), "a~1");
  EXPECT_EQ(ParsePointer("/a~01/~1")->at(1), "/");
  for (const std::string_view pointer : {"a", "#/a", "/~", "/~2", "/a~"})
    EXPECT_FALSE(ParsePointer(pointer).has_value()) << pointer;
  EXPECT_EQ(Error("{}", "a"), "the pointer is none");
}

}  // namespace
}  // namespace postern::conf::json
