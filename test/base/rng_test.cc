// rng_test: the same numbers everywhere, evenly spread; hashes that nodes can agree on.
// SPDX-License-Identifier: Apache-2.0
#include "lb/base/rng.h"

#include <gtest/gtest.h>

#include <array>
#include <bit>
#include <set>
#include <string>
#include <string_view>

namespace postern::base {
namespace {

uint64_t Hash(std::string_view text, uint64_t salt = 0) {
  return StableHash(text.data(), text.size(), salt);
}

// Fixed for good: a different number here sends users to other backends after an upgrade.
TEST(RngTest, NumbersAreFixed) {
  SeededRng rng(1);
  const uint64_t first = rng.Next();
  const uint64_t second = rng.Next();
  EXPECT_EQ(first, 0xb3f2af6d0fc710c5U);
  EXPECT_EQ(second, 0x853b559647364ceaU);
}

TEST(RngTest, SeedsDecide) {
  SeededRng a(42), b(42), c(43);
  bool differs = false;
  for (int i = 0; i < 100; ++i) {
    const uint64_t x = a.Next();
    ASSERT_EQ(x, b.Next());
    differs = differs || x != c.Next();
  }
  EXPECT_TRUE(differs);
  SeededRng zero(0);
  EXPECT_NE(zero.Next() | zero.Next(), 0u);
}

TEST(RngTest, BelowStaysBelowAndIsEven) {
  SeededRng rng(9);
  EXPECT_EQ(rng.Below(1), 0u);
  std::array<int, 6> counts{};
  for (int i = 0; i < 60000; ++i) ++counts[rng.Below(6)];
  for (const int count : counts) EXPECT_NEAR(count, 10000, 500);
}

// Gives what it is told, so that the edges of Below and Unit can be reached.
struct ToldRng final : Rng {
  uint64_t Next() override { return numbers[at++]; }
  std::array<uint64_t, 3> numbers{};
  size_t at = 0;
};

TEST(RngTest, BelowDrawsAgainWhereItWouldFavour) {
  // 2^64 mod 3 is 1: the number 0 is one too many.
  ToldRng rng;
  rng.numbers = {0, 5, 7};
  EXPECT_EQ(rng.Below(3), 2u);
  EXPECT_EQ(rng.at, 2u);
  // Powers of two need no second draw.
  rng.at = 0;
  EXPECT_EQ(rng.Below(4), 0u);
  EXPECT_EQ(rng.at, 1u);
}

TEST(RngTest, UnitIsInTheHalfOpenRange) {
  ToldRng rng;
  rng.numbers = {0, UINT64_MAX, uint64_t{1} << 63};
  EXPECT_EQ(rng.Unit(), 0.0);
  const double most = rng.Unit();
  EXPECT_LT(most, 1.0);
  EXPECT_GT(most, 0.9999999);
  EXPECT_EQ(rng.Unit(), 0.5);
}

TEST(RngDeathTest, BelowZeroAborts) {
  GTEST_FLAG_SET(death_test_style, "fast");
  SeededRng rng(1);
  EXPECT_DEATH((void)rng.Below(0), "check failed");
}

TEST(RngTest, SystemSeedsDiffer) {
  EXPECT_NE(SystemSeed(), SystemSeed());
}

// Fixed for good, as above.
TEST(StableHashTest, ValuesAreFixed) {
  EXPECT_EQ(Hash(""), 0xc3817c016ba4ff30U);
  EXPECT_EQ(Hash("alice@example.org"), 0x584e0e6cf60b9d33U);
  EXPECT_EQ(Hash("alice@example.org", 7), 0xfc415d84b6872914U);
}

TEST(StableHashTest, EveryBitMatters) {
  std::set<uint64_t> seen{Hash("abcdefghij")};
  for (size_t bit = 0; bit < 80; ++bit) {
    std::string text = "abcdefghij";
    text[bit / 8] = static_cast<char>(text[bit / 8] ^ (1 << bit % 8));
    const uint64_t hash = Hash(text);
    EXPECT_TRUE(seen.insert(hash).second) << bit;
    // About half of the bits change.
    const int changed = std::popcount(hash ^ Hash("abcdefghij"));
    EXPECT_GT(changed, 12) << bit;
    EXPECT_LT(changed, 52) << bit;
  }
}

TEST(StableHashTest, SizeAndSaltMatter) {
  EXPECT_NE(Hash("a"), Hash(std::string_view("a\0", 2)));
  EXPECT_NE(Hash(""), Hash(std::string_view("\0", 1)));
  EXPECT_NE(Hash("a", 1), Hash("a", 2));
}

// Rendezvous: the same key under two salts must not order backends alike.
TEST(StableHashTest, SaltsShareKeysEvenly) {
  std::array<int, 3> wins{};
  for (int i = 0; i < 30000; ++i) {
    const std::string user = "user" + std::to_string(i) + "@example.org";
    size_t best = 0;
    for (size_t node = 1; node < 3; ++node)
      if (Hash(user, node) > Hash(user, best)) best = node;
    ++wins[best];
  }
  for (const int count : wins) EXPECT_NEAR(count, 10000, 500);
}

TEST(StableHashTest, PercentagesAreEven) {
  std::array<int, 100> counts{};
  for (int i = 0; i < 100000; ++i) ++counts[Hash("u" + std::to_string(i)) % 100];
  for (const int count : counts) EXPECT_NEAR(count, 1000, 200);
}

}  // namespace
}  // namespace postern::base
