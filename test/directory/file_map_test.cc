// file_map_test: who finds which row, what a broken map says, and what a large one weighs.
// SPDX-License-Identifier: Apache-2.0
#include "lb/directory/file_map.h"

#include <cstdio>
#include <map>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "conf/config.h"

namespace postern::directory {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class FileMapTest : public testing::Test {
 protected:
  FileMap::Loaded Parse(std::string_view text, const FileMapLimits& limits = {}) const {
    return FileMap::Parse(text, "m", route::UserKey(users_), limits);
  }
  void Use(std::string_view text) {
    const FileMap::Loaded loaded = Parse(text);
    ASSERT_THAT(loaded.errors, IsEmpty());
    map_ = loaded.map;
  }
  std::vector<std::string> Errors(std::string_view text, const FileMapLimits& limits = {}) const {
    const FileMap::Loaded loaded = Parse(text, limits);
    EXPECT_EQ(loaded.map == nullptr, !loaded.errors.empty());
    return loaded.errors;
  }
  // "-": there is none.
  std::string Find(std::string_view key) const {
    const std::string* const answer = map_->Find(key);
    return answer == nullptr ? "-" : *answer;
  }
  // As a session asks.
  std::string FindTyped(std::string_view name) const {
    return Find(route::UserKey(users_).Key(name));
  }

  conf::Users users_;
  std::shared_ptr<const FileMap> map_;
};

TEST_F(FileMapTest, AnAddressHasItsRow) {
  Use("alice@example.com store-a\nbob@example.com store-b\n");
  EXPECT_EQ(Find("alice@example.com"), "store-a");
  EXPECT_EQ(Find("bob@example.com"), "store-b");
  EXPECT_EQ(Find("carol@example.com"), "-");
  EXPECT_EQ(Find("alice@example.org"), "-");
  EXPECT_EQ(Find("alice"), "-");
  EXPECT_EQ(Find(""), "-");
  EXPECT_EQ(map_->size(), 2u);
}

TEST_F(FileMapTest, AnEmptyMapKnowsNobody) {
  Use("# nothing yet\n");
  EXPECT_EQ(Find("alice@example.com"), "-");
  EXPECT_EQ(map_->size(), 0u);
}

TEST_F(FileMapTest, ADomainIsForThoseWithoutARow) {
  Use("@example.com store-b\nalice@example.com store-a\n");
  EXPECT_EQ(Find("alice@example.com"), "store-a");
  EXPECT_EQ(Find("bob@example.com"), "store-b");
  EXPECT_EQ(Find("\"a@b\"@example.com"), "store-b");
  EXPECT_EQ(Find("bob@sub.example.com"), "-");
  EXPECT_EQ(Find("example.com"), "-");
}

TEST_F(FileMapTest, APatternOfNamesStandsBetweenAddressAndDomain) {
  Use("@example.com rest\nsales-*@example.com first\nsales-1@example.com own\n*-2@* second\n");
  EXPECT_EQ(Find("sales-1@example.com"), "own");
  EXPECT_EQ(Find("sales-2@example.com"), "first");  // in the order of the file
  EXPECT_EQ(Find("help-2@example.com"), "second");
  EXPECT_EQ(Find("help-3@example.com"), "rest");
  EXPECT_EQ(map_->size(), 4u);
}

TEST_F(FileMapTest, APatternOfDomainsStandsBehindDomains) {
  Use("* all\n*@*.example.com late\n@a.example.com own\n");
  EXPECT_EQ(Find("x@a.example.com"), "own");
  EXPECT_EQ(Find("x@b.example.com"), "all");  // in the order of the file
  EXPECT_EQ(Find("x"), "all");
  Use("@*.example.com sub\n*@* all\n@a.example.com own\n");
  EXPECT_EQ(Find("x@a.example.com"), "own");
  EXPECT_EQ(Find("x@b.example.com"), "sub");
  EXPECT_EQ(Find("x@example.com"), "all");
  EXPECT_EQ(Find("x"), "-");
}

TEST_F(FileMapTest, AStarAloneIsEverybody) {
  users_.default_domain = "example.com";
  Use("* store-a\n");
  EXPECT_EQ(Find("alice@example.org"), "store-a");
  EXPECT_EQ(Find(""), "-");
}

TEST_F(FileMapTest, KeysAreWrittenAsPeopleWrite) {
  Use("Alice+work@Example.COM store-a\n@SALES.example.com store-b\nDev-*@Example.com store-c\n");
  EXPECT_EQ(Find("alice@example.com"), "store-a");
  EXPECT_EQ(Find("x@sales.example.com"), "store-b");
  EXPECT_EQ(Find("dev-1@example.com"), "store-c");
}

TEST_F(FileMapTest, AnExtensionIsOfTheSameUser) {
  Use("alice@example.com store-a\n@example.com store-b\n");
  EXPECT_EQ(FindTyped("Alice+lists+x@example.com"), "store-a");
  EXPECT_EQ(FindTyped("\"alice\"@EXAMPLE.com"), "store-a");
  EXPECT_EQ(FindTyped("alicia+lists@example.com"), "store-b");
}

TEST_F(FileMapTest, TheDefaultDomainIsAddedToNamesButNotToPatterns) {
  users_.default_domain = "example.com";
  Use("alice store-a\nsales-* store-b\n");
  EXPECT_EQ(FindTyped("alice"), "store-a");
  EXPECT_EQ(FindTyped("alice@example.com"), "store-a");
  EXPECT_EQ(FindTyped("alice@example.org"), "-");
  EXPECT_EQ(FindTyped("sales-1@example.org"), "store-b");
}

TEST_F(FileMapTest, CaseCountsWhereItDoesForLogins) {
  users_.lowercase = false;
  Use("Alice@example.com upper\nalice@example.com lower\n");
  EXPECT_EQ(FindTyped("Alice@example.com"), "upper");
  EXPECT_EQ(FindTyped("alice@example.com"), "lower");
}

TEST_F(FileMapTest, ARowTwiceIsNoMatterIfItSaysTheSame) {
  Use("alice@example.com a\nAlice@example.com a\nx*@y b\nX*@y b\n@*.z c\n*@*.z c\n");
  EXPECT_EQ(map_->size(), 3u);
}

TEST_F(FileMapTest, TwoAnswersAreAFault) {
  EXPECT_THAT(Errors("# x\nalice@x a\nbob@x b\nAlice+1@x b\n@x a\n@X c\ns*@x a\nS*@x b\n"),
              ElementsAre(R"(m:4: "alice@x" has another answer, "a", in line 2)",
                          R"(m:6: "@x" has another answer, "a", in line 5)",
                          R"(m:8: "S*@x" has another answer, "a", in line 7)"));
}

TEST_F(FileMapTest, AllErrorsAreToldUpToABound) {
  EXPECT_THAT(Errors("one\na b\none two three\n"),
              ElementsAre("m:1: a row is two words, key and answer",
                          "m:3: a row is two words, key and answer"));
  std::string many;
  for (size_t i = 0; i < conf::MapReader::kMaxFaults + 7; ++i) many += "x\n";
  const auto errors = Errors(many);
  EXPECT_EQ(errors.size(), conf::MapReader::kMaxFaults + 1);
  EXPECT_EQ(errors.back(), "m has 7 more errors");
}

TEST_F(FileMapTest, APatternThatWouldBecomeAnotherIsAFault) {
  EXPECT_THAT(Errors("sales+*@x a\n"), ElementsAre(HasSubstr(R"(makes "sales@x" of the pattern)")));
  EXPECT_THAT(Errors("*+x@x a\n"), ElementsAre(HasSubstr(R"(makes "*@x" of the pattern)")));
  users_.rewrite = {{"-old$", "-olden"}, {"^@\\*", "x"}};
  EXPECT_THAT(Errors("*-old a\n"), ElementsAre(HasSubstr(R"(makes "*-olden" of the pattern)")));
  EXPECT_THAT(Errors("@*.y a\n"), ElementsAre(HasSubstr(R"(makes "x.y" of the pattern)")));
}

TEST_F(FileMapTest, AKeyOfWhichNothingIsLeftIsAFault) {
  users_.rewrite = {{"^x$", ""}, {"^y@z$", "@z"}, {"^big$", std::string(70'000, 'b')}};
  EXPECT_THAT(Errors("x a\n"), ElementsAre(R"(m:1: `users` makes "" of the key "x")"));
  EXPECT_THAT(Errors("y@z a\n"), ElementsAre(R"(m:1: `users` makes "@z" of the key "y@z")"));
  EXPECT_THAT(Errors("big a\n"), ElementsAre(HasSubstr(R"(of the key "big")")));
}

TEST_F(FileMapTest, ErrorsAreFitForATerminal) {
  EXPECT_THAT(
      Errors("\u202Eq@x \u202Ea\n\u202Eq@x b\n"),
      ElementsAre(R"(m:2: "\xe2\x80\xaeq@x" has another answer, "\xe2\x80\xaea", in line 1)"));
}

TEST_F(FileMapTest, PatternsAreBounded) {
  FileMapLimits limits;
  limits.patterns = 2;
  EXPECT_THAT(Errors("a* x\nb* x\nA* x\n@d x\n", limits), IsEmpty());
  EXPECT_THAT(Errors("a* x\nb* x\nc* x\nd* x\ne\n", limits),
              ElementsAre("m:3: there are more than 2 patterns",
                          "m:5: a row is two words, key and answer"));
}

TEST_F(FileMapTest, MemoryIsBounded) {
  FileMapLimits limits;
  limits.keys_bytes = 20;  // a key of four bytes costs ten
  EXPECT_THAT(Errors("aaaa x\nbbbb x\naaaa x\n", limits), IsEmpty());
  EXPECT_THAT(Errors("aaaa x\nbbbb x\ncccc x\ndddd x\n", limits),
              ElementsAre("m:3: the keys up to here take more than 20 bytes"));
}

// Against a plain map, through many sizes of the table.
TEST_F(FileMapTest, AgreesWithAModel) {
  std::map<std::string, std::string> model;
  std::string text;
  for (int i = 0; i < 20'000; ++i) {
    const std::string key = "u" + std::to_string(i * 7919 % 100'003) + "@d" + std::to_string(i % 9);
    model[key] = "store-" + std::to_string(i % 250);
    text += key + " " + model[key] + "\n";
    if (i % 1000 != 0 && i > 40) continue;
    Use(text);
    ASSERT_EQ(map_->size(), model.size());
    for (const auto& [known, answer] : model) ASSERT_EQ(Find(known), answer);
  }
  for (int i = 0; i < 20'000; ++i) ASSERT_EQ(Find("v" + std::to_string(i) + "@d1"), "-");
}

TEST_F(FileMapTest, ALargeMapIsLight) {
  std::string text;
  for (int i = 0; i < 100'000; ++i)
    text += "firstname.lastname" + std::to_string(i) + "@example.com store-" +
            std::to_string(i % 40) + "\n";
  Use(text);
  EXPECT_EQ(map_->size(), 100'000u);
  EXPECT_LT(map_->memory_bytes(), 100'000u * 60);
}

TEST_F(FileMapTest, AFileIsLoadedWithItsStamp) {
  const std::string path = testing::TempDir() + "postern_file_map_test.map";
  std::FILE* const file = std::fopen(path.c_str(), "we");
  ASSERT_NE(file, nullptr);
  std::fputs("alice@example.com store-a\n", file);
  std::fclose(file);
  const FileMap::Loaded loaded = FileMap::Load(path, route::UserKey(users_));
  ASSERT_THAT(loaded.errors, IsEmpty());
  map_ = loaded.map;
  EXPECT_EQ(Find("alice@example.com"), "store-a");
  EXPECT_EQ(conf::StampOf(path), map_->stamp());
  FileMapLimits limits;
  limits.file_bytes = 25;
  EXPECT_THAT(FileMap::Load(path, route::UserKey(users_), limits).errors,
              ElementsAre(path + " is larger than 25 bytes"));
  std::remove(path.c_str());
  EXPECT_THAT(FileMap::Load(path, route::UserKey(users_)).errors,
              ElementsAre(path + " cannot be read: No such file or directory"));
}

}  // namespace
}  // namespace postern::directory
