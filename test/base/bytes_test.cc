// bytes_test: ASCII comparisons, and the queue against a plain string.
// SPDX-License-Identifier: Apache-2.0
#include "lb/base/bytes.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <string>
#include <string_view>

#include "lb/base/rng.h"

// The memory of this test program, so that a test can see how much was asked for.
namespace {
size_t largest_allocation_bytes = 0;
}
[[gnu::noinline]] void* operator new(size_t size) {
  largest_allocation_bytes = std::max(largest_allocation_bytes, size);
  void* const memory = std::malloc(size == 0 ? 1 : size);
  if (memory == nullptr) std::abort();
  return memory;
}
[[gnu::noinline]] void operator delete(void* memory) noexcept {
  std::free(memory);
}
[[gnu::noinline]] void operator delete(void* memory, size_t) noexcept {
  std::free(memory);
}

namespace postern::base {
namespace {

using std::string_view_literals::operator""sv;

TEST(BytesTest, EqualsIgnoreCase) {
  struct {
    std::string_view a, b;
    bool equal;
  } const kRows[] = {
      {"", "", true},
      {"EHLO", "ehlo", true},
      {"eHlO", "EhLo", true},
      {"EHLO", "EHLO ", false},
      {"EHLO", "HELO", false},
      {"", "x", false},
      // Neighbours of the letters, and bytes that differ by 0x20 only.
      {"@", "`", false},
      {"[", "{", false},
      {"Z", "z", true},
      {"A", "a", true},
      {"0", "\x10", false},
      {"\xc4", "\xe4", false},
      {"a\0b"sv, "A\0B"sv, true},
      {"a\0b"sv, "a\0c"sv, false},
      // Letters of other alphabets that a locale would fold: the Kelvin sign, the dotless i.
      {"\xe2\x84\xaa", "k", false},
      {"\xc4\xb1", "I", false},
  };
  for (const auto& row : kRows) {
    EXPECT_EQ(EqualsIgnoreCase(row.a, row.b), row.equal) << row.a << " " << row.b;
    EXPECT_EQ(EqualsIgnoreCase(row.b, row.a), row.equal) << row.a << " " << row.b;
  }
}

TEST(BytesTest, StartsWithIgnoreCase) {
  EXPECT_TRUE(StartsWithIgnoreCase("mail from:<a>", "MAIL FROM:"));
  EXPECT_TRUE(StartsWithIgnoreCase("MAIL", "mail"));
  EXPECT_TRUE(StartsWithIgnoreCase("MAIL", ""));
  EXPECT_FALSE(StartsWithIgnoreCase("MAI", "mail"));
  EXPECT_FALSE(StartsWithIgnoreCase("", "m"));
  EXPECT_FALSE(StartsWithIgnoreCase(" MAIL", "mail"));
}

TEST(BytesTest, CaseOfAsciiOnly) {
  std::string all;
  for (int i = 0; i < 256; ++i) all.push_back(static_cast<char>(i));
  const std::string lower = ToLower(all);
  const std::string upper = ToUpper(all);
  for (int i = 0; i < 256; ++i) {
    const auto at = static_cast<size_t>(i);
    const bool is_upper = i >= 'A' && i <= 'Z';
    const bool is_lower = i >= 'a' && i <= 'z';
    EXPECT_EQ(lower[at], static_cast<char>(is_upper ? i + 32 : i)) << i;
    EXPECT_EQ(upper[at], static_cast<char>(is_lower ? i - 32 : i)) << i;
  }
}

TEST(ByteQueueTest, TakesFromTheFront) {
  ByteQueue queue;
  EXPECT_TRUE(queue.empty());
  queue.Append("abc");
  queue.Append("");
  queue.Append("def");
  EXPECT_EQ(queue.View(), "abcdef");
  queue.Consume(4);
  EXPECT_EQ(queue.View(), "ef");
  EXPECT_EQ(queue.size(), 2u);
  queue.Append("g");
  EXPECT_EQ(queue.View(), "efg");
  queue.Consume(3);
  EXPECT_TRUE(queue.empty());
  EXPECT_EQ(queue.View(), "");
  queue.Consume(0);
  queue.Append("again");
  EXPECT_EQ(queue.View(), "again");
  queue.Clear();
  EXPECT_TRUE(queue.empty());
}

TEST(ByteQueueDeathTest, ConsumingMoreThanThereIsAborts) {
  GTEST_FLAG_SET(death_test_style, "fast");
  ByteQueue queue;
  queue.Append("abc");
  queue.Consume(1);
  EXPECT_DEATH(queue.Consume(3), "check failed");
}

TEST(ByteQueueTest, AgreesWithAString) {
  SeededRng rng(5);
  ByteQueue queue;
  std::string model;
  for (int i = 0; i < 20000; ++i) {
    if (rng.Below(2) == 0) {
      const std::string bytes(rng.Below(300), static_cast<char>('a' + i % 26));
      queue.Append(bytes);
      model += bytes;
    } else {
      const size_t size = rng.Below(model.size() + 1);
      queue.Consume(size);
      model.erase(0, size);
    }
    ASSERT_EQ(queue.View(), model);
    ASSERT_EQ(queue.size(), model.size());
  }
}

// A queue that never runs empty must not keep what was consumed.
TEST(ByteQueueTest, MemoryFollowsWhatIsQueued) {
  ByteQueue queue;
  const std::string kilobyte(1024, 'x');
  queue.Append(kilobyte);
  largest_allocation_bytes = 0;
  for (int i = 0; i < 10000; ++i) {
    queue.Append(kilobyte);
    queue.Consume(1024);
  }
  EXPECT_EQ(queue.size(), 1024u);
  EXPECT_LT(largest_allocation_bytes, 64u * 1024);
}

TEST(ByteQueueTest, AnEmptyQueueHoldsNothing) {
  ByteQueue queue;
  queue.Append(std::string(100000, 'x'));
  queue.Consume(100000);
  largest_allocation_bytes = 0;
  queue.Append(std::string_view("0123456789012345678901234567890123456789"));
  // It had to ask for memory again.
  EXPECT_GT(largest_allocation_bytes, 0u);
}

}  // namespace
}  // namespace postern::base
