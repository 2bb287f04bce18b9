// pattern_index_test: the first that matches, as if each were tried.
// SPDX-License-Identifier: Apache-2.0
#include "lb/directory/pattern_index.h"

#include <gtest/gtest.h>

#include <optional>
#include <string>

#include "lb/base/rng.h"
#include "lb/route/router.h"

namespace postern::directory {
namespace {

TEST(PatternIndexTest, TheFirstThatWasAddedCounts) {
  PatternIndex index;
  for (const char* pattern : {"sales-*@x", "*@*.y", "sales-*", "a*b*c", "*"})
    ASSERT_TRUE(index.Add(pattern));
  EXPECT_EQ(index.Find("sales-1@x"), 0U);
  EXPECT_EQ(index.Find("sales-1@a.y"), 1U);
  EXPECT_EQ(index.Find("sales-1@z"), 2U);
  EXPECT_EQ(index.Find("a1b2c"), 3U);
  EXPECT_EQ(index.Find("a1c"), 4U);
}

TEST(PatternIndexTest, BeginningAndEndDoNotOverlap) {
  PatternIndex index;
  ASSERT_TRUE(index.Add("aba*aba"));
  EXPECT_EQ(index.Find("ababa"), std::nullopt);
  EXPECT_EQ(index.Find("abaaba"), 0U);
}

TEST(PatternIndexTest, ShapesAndLikenessAreBounded) {
  PatternIndex shapes;
  for (size_t i = 0; i < PatternIndex::kMaxSteps; ++i)
    ASSERT_TRUE(shapes.Add(std::string(i, 'a') + "*"));
  EXPECT_FALSE(shapes.Add("*a"));
  EXPECT_TRUE(shapes.Add("b*"));
  PatternIndex alike;
  for (size_t i = 0; i < PatternIndex::kMaxSteps; ++i)
    ASSERT_TRUE(alike.Add("*" + std::to_string(i) + "*"));
  EXPECT_FALSE(alike.Add("*a*"));
  EXPECT_EQ(alike.size(), PatternIndex::kMaxSteps);
}

TEST(PatternIndexTest, AsIfEachWereTried) {
  base::SeededRng rng(1);
  const auto word = [&rng](const std::string& of, size_t most) {
    std::string made;
    for (size_t left = rng.Below(most + 1); left > 0; --left) made += of[rng.Below(of.size())];
    return made;
  };
  for (int round = 0; round < 200; ++round) {
    PatternIndex index;
    for (int i = 0; i < 20; ++i) {
      const std::string pattern = word("ab*", 4) + "*" + word("ab", 3);
      bool is_known = false;
      for (uint32_t k = 0; k < index.size(); ++k) is_known |= index.pattern(k) == pattern;
      ASSERT_TRUE(is_known || index.Add(pattern));
    }
    for (int i = 0; i < 50; ++i) {
      const std::string key = word("ab", 8);
      std::optional<uint32_t> first;
      for (uint32_t k = 0; k < index.size() && !first; ++k)
        if (route::PatternMatches(index.pattern(k), key)) first = k;
      ASSERT_EQ(index.Find(key), first) << key;
    }
  }
}

}  // namespace
}  // namespace postern::directory
