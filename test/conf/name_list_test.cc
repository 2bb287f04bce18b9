// name_list_test: names of a file, and lines that are none.
// SPDX-License-Identifier: Apache-2.0
#include "conf/name_list.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <ios>
#include <istream>
#include <sstream>
#include <streambuf>
#include <string>
#include <utility>
#include <vector>

namespace postern::conf {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

// "LINE name", or "LINE too long".
std::vector<std::string> Names(const std::string& text) {
  std::istringstream lines(text);
  NameList list(lines);
  std::vector<std::string> names;
  while (true) {
    std::string name;
    const NameList::Read read = list.Next(name);
    if (read == NameList::Read::kEnd) break;
    names.push_back(std::to_string(list.line()) + " " +
                    (read == NameList::Read::kName ? name : "too long"));
  }
  std::string name;
  EXPECT_EQ(list.Next(name), NameList::Read::kEnd);
  return names;
}

TEST(NameListTest, OneALineWithoutBlanksAndComments) {
  EXPECT_THAT(Names("# who\n\nalice\n\t bob@example.com \r\n   \n  # nobody\ncarol x\n"),
              ElementsAre("3 alice", "4 bob@example.com", "7 carol x"));
}

TEST(NameListTest, TheLastLineMayHaveNoEnd) {
  EXPECT_THAT(Names("alice\nbob"), ElementsAre("1 alice", "2 bob"));
  EXPECT_THAT(Names("a"), ElementsAre("1 a"));
}

TEST(NameListTest, NothingIsNoName) {
  EXPECT_THAT(Names(""), IsEmpty());
  EXPECT_THAT(Names("\n"), IsEmpty());
  EXPECT_THAT(Names("\r\n \t"), IsEmpty());
}

TEST(NameListTest, ALineThatIsTooLongIsPassedOver) {
  const std::string most(NameList::kMaxLineBytes, 'x');
  EXPECT_THAT(Names(most + "\nbob\n"), ElementsAre("1 " + most, "2 bob"));
  EXPECT_THAT(Names(most), ElementsAre("1 " + most));
  EXPECT_THAT(Names(most + "x\nbob\n"), ElementsAre("1 too long", "2 bob"));
  EXPECT_THAT(Names(most + most + most), ElementsAre("1 too long"));
  EXPECT_THAT(Names("a\n" + most + "x"), ElementsAre("1 a", "2 too long"));
}

// As a file's buffer does when read(2) fails.
class BrokenAfter : public std::streambuf {
 public:
  explicit BrokenAfter(std::string text) : text_(std::move(text)) {
    setg(text_.data(), text_.data(), text_.data() + text_.size());
  }

 protected:
  int_type underflow() override { throw std::ios_base::failure("read error"); }

 private:
  std::string text_;
};

TEST(NameListTest, WhatCannotBeReadOnIsNoEnd) {
  for (const char* const text : {"a\n", "a\nb"}) {
    BrokenAfter buffer(text);
    std::istream lines(&buffer);
    NameList list(lines);
    std::string name;
    EXPECT_EQ(list.Next(name), NameList::Read::kName);
    EXPECT_EQ(name, "a");
    EXPECT_EQ(list.Next(name), NameList::Read::kBroken);
    EXPECT_EQ(name, "a");
    EXPECT_EQ(list.line(), 2U);
    EXPECT_EQ(list.Next(name), NameList::Read::kEnd);
  }
}

TEST(NameListTest, ANulIsPartOfAName) {
  EXPECT_THAT(Names(std::string("a\0b\n", 4)), ElementsAre(std::string("1 a\0b", 5)));
}

}  // namespace
}  // namespace postern::conf
