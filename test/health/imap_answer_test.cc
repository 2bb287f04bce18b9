// imap_answer_test: answers of IMAP servers, honest and otherwise.
// SPDX-License-Identifier: Apache-2.0
#include "health/imap_answer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace postern::health {
namespace {

using Status = ImapAnswerReader::Status;
using testing::ElementsAre;
using testing::IsEmpty;

// All answers, the input growing by `piece` bytes at a time.
std::vector<std::string> ReadAll(const std::string& bytes, size_t piece) {
  ImapAnswerReader reader;
  std::vector<std::string> answers;
  std::string input;
  for (size_t at = 0; at < bytes.size(); at += piece) {
    input += bytes.substr(at, piece);
    while (true) {
      const auto result = reader.Next(input);
      if (result.status == Status::kBad) answers.emplace_back("<bad>");
      if (result.status != Status::kAnswer) break;
      answers.emplace_back(result.text);
      input.erase(0, result.consumed);
    }
    if (!answers.empty() && answers.back() == "<bad>") return answers;
  }
  return answers;
}

TEST(ImapAnswerReaderTest, AnyCutGivesTheSameAnswers) {
  const std::string bytes =
      "* SEARCH 1 2\r\n* 1 FETCH (UID 1 BODY[] {6}\r\na\r\nb\r\n X {0}\r\n)\r\nD1 OK done\r\n";
  for (const size_t piece : {1U, 2U, 3U, 7U, 1000U})
    EXPECT_THAT(ReadAll(bytes, piece),
                ElementsAre("* SEARCH 1 2", "* 1 FETCH (UID 1 BODY[] {6}\r\na\r\nb\r\n X {0}\r\n)",
                            "D1 OK done"))
        << piece;
}

TEST(ImapAnswerReaderTest, EndlessLinesAndLargeLiteralsAreBad) {
  EXPECT_THAT(ReadAll(std::string(ImapAnswerReader::kMaxBytes + 1, 'x'), 4096),
              ElementsAre("<bad>"));
  EXPECT_THAT(ReadAll("* 1 FETCH (BODY[] {999999999}\r\nx", 1000), ElementsAre("<bad>"));
}

TEST(ParseSearchTest, TakesNumbersAndNothingElse) {
  EXPECT_THAT(*ParseSearch("* SEARCH"), IsEmpty());
  EXPECT_THAT(*ParseSearch("* SEARCH 2 84 4294967295 "), ElementsAre(2, 84, 4294967295U));
  for (const char* answer : {"* SEARCH 0", "* SEARCH 4294967296", "* SEARCH 1x", "* SEARCH 1)",
                             "* SEARCHED", "* LIST 1", "* SEARCH -1"})
    EXPECT_FALSE(ParseSearch(answer).has_value()) << answer;
}

TEST(ParseSearchTest, StopsAtItsLimit) {
  std::string answer = "* SEARCH";
  for (size_t i = 1; i <= kMaxUids + 5; ++i) answer += ' ' + std::to_string(i);
  EXPECT_EQ(ParseSearch(answer)->size(), kMaxUids);
}

TEST(ParseFetchedHeaderTest, ItemsComeInAnyOrder) {
  const auto fetched = ParseFetchedHeader(
      "* 12 FETCH (FLAGS (\\Seen $x) BODY[HEADER.FIELDS (X-Postern-Probe)] {4}\r\nA: b UID 9)");
  ASSERT_TRUE(fetched.has_value());
  EXPECT_EQ(fetched->uid, 9U);
  EXPECT_EQ(fetched->header, "A: b");
  EXPECT_EQ(ParseFetchedHeader("* 1 FETCH (UID 3 BODY[HEADER.FIELDS (\"X\")] \"q\\\"\")")->header,
            "q\"");
}

TEST(ParseFetchedHeaderTest, WhatIsNotWholeIsNothing) {
  for (const char* answer :
       {"* 12 FETCH (UID 9)", "* 12 FETCH (BODY[HEADER] \"x\")", "* 12 FETCH (UID 9",
        "* 12 FETCH (UID 0 BODY[HEADER] \"x\")", "* 12 FETCH (UID 9 BODY[HEADER] {9}\r\nshort)",
        "* 12 FETCH (UID 9 BODY[HEADER] \"open)", "* 12 FETCH (UID 9 BODY[HEADER] NIL)",
        "* x FETCH (UID 9 BODY[HEADER] \"x\")", "* 12 FETCH (UID 9 BODY[HEADER] \"x\") more",
        "* 12 FETCH (A ((((((((((((((((((((1)))))))))))))))))))) UID 9 BODY[HEADER] \"x\")"})
    EXPECT_FALSE(ParseFetchedHeader(answer).has_value()) << answer;
}

TEST(ParseListedTest, KnowsTheJunkFolder) {
  const auto listed = ParseListed("* LIST (\\HasNoChildren \\junk) \"/\" \"Sp \\\"am\"");
  ASSERT_TRUE(listed.has_value());
  EXPECT_TRUE(listed->is_junk);
  EXPECT_TRUE(listed->is_selectable);
  EXPECT_EQ(listed->name, "Sp \"am");
  EXPECT_FALSE(ParseListed("* LIST (\\Noselect) NIL x")->is_selectable);
  EXPECT_EQ(ParseListed("* LIST () \".\" {3}\r\na b")->name, "a b");
  for (const char* answer : {"* LIST", "* LIST (", "* LIST () NIL", "* LSUB () NIL x"})
    EXPECT_FALSE(ParseListed(answer).has_value()) << answer;
}

TEST(HeaderBodiesTest, UnfoldsAndCollectsEach) {
  EXPECT_THAT(HeaderBodies("X-A: one\r\n two\r\nX-AB: no\r\nx-a:three \r\nX-A\r\n\r\n", "X-A"),
              ElementsAre("one two", "three"));
  EXPECT_THAT(HeaderBodies(" folded first\n", "X-A"), IsEmpty());
}

TEST(PrintUidSetTest, JoinsNeighbours) {
  EXPECT_EQ(PrintUidSet({9, 3, 5, 4, 9, 4294967295U}), "3:5,9,4294967295");
  EXPECT_EQ(PrintUidSet({}), "");
}

}  // namespace
}  // namespace postern::health
