// map_answers_test: the answers that a map file can give.
// SPDX-License-Identifier: Apache-2.0
#include "conf/map_answers.h"

#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "test/conf/load_helper.h"

namespace postern::conf {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::Pair;

class MapAnswersTest : public testing::Test {
 protected:
  MapAnswers Read(std::string_view text) { return ReadMapAnswers(folder_.Write("m", text)); }
  static std::vector<std::string> Faults(const MapAnswers& answers) {
    std::vector<std::string> texts;
    for (const MapFault& fault : answers.faults)
      texts.push_back(std::to_string(fault.line) + ": " + fault.message);
    return texts;
  }
  TempFolder folder_;
};

TEST_F(MapAnswersTest, EveryAnswerIsNamedWithItsFirstLine) {
  const MapAnswers answers = Read("a@b one\n\n# x y z\n\tc@d\ttwo # why\r\n e#f@x one\ng@h three");
  EXPECT_THAT(answers.first_lines, ElementsAre(Pair("one", 1), Pair("three", 6), Pair("two", 4)));
  EXPECT_THAT(Faults(answers), IsEmpty());
}

TEST_F(MapAnswersTest, AnEmptyMapHasNone) {
  EXPECT_THAT(Read("").first_lines, IsEmpty());
  EXPECT_THAT(Read("\n\n").first_lines, IsEmpty());
  EXPECT_THAT(Faults(Read("")), IsEmpty());
}

TEST_F(MapAnswersTest, BrokenRowsAreNamedWithTheirLines) {
  EXPECT_THAT(Faults(Read("a\nb c\nd e f\n")),
              ElementsAre("1: a row is two words, key and answer",
                          "3: a row is two words, key and answer"));
}

TEST_F(MapAnswersTest, RowsAcrossReadBlocksAreWhole) {
  std::string text;
  while (text.size() < (600u << 10))
    text += "user" + std::to_string(text.size()) + "@example.com store-a\n";
  text += "last@example.com store-b\n";
  const MapAnswers answers = Read(text);
  EXPECT_THAT(Faults(answers), IsEmpty());
  EXPECT_EQ(answers.first_lines.size(), 2u);
  EXPECT_GT(answers.first_lines.at("store-b"), 10'000);
}

TEST_F(MapAnswersTest, AFileThatCannotBeReadIsOneFault) {
  EXPECT_THAT(Faults(ReadMapAnswers(folder_.Path("none"))),
              ElementsAre("0: cannot be read: No such file or directory"));
  EXPECT_EQ(ReadMapAnswers(folder_.Path("")).faults.size(), 1u);
}

}  // namespace
}  // namespace postern::conf
