// result_test: a value or an error, never both, never neither.
// SPDX-License-Identifier: Apache-2.0
#include "lb/base/result.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>

namespace postern::base {
namespace {

Result<int> Half(int number) {
  if (number % 2 != 0) return Error{"odd"};
  return number / 2;
}

TEST(ResultTest, Value) {
  const Result<int> result = Half(8);
  EXPECT_TRUE(result.ok());
  EXPECT_TRUE(static_cast<bool>(result));
  EXPECT_EQ(*result, 4);
  EXPECT_EQ(result.value(), 4);
}

TEST(ResultTest, Error) {
  const Result<int> result = Half(7);
  EXPECT_FALSE(result.ok());
  EXPECT_FALSE(static_cast<bool>(result));
  EXPECT_EQ(result.error(), "odd");
}

TEST(ResultTest, ValueMayBeMovedOut) {
  Result<std::unique_ptr<std::string>> result(std::make_unique<std::string>("x"));
  EXPECT_EQ(**result, "x");
  const std::unique_ptr<std::string> taken = std::move(result).value();
  EXPECT_EQ(*taken, "x");
}

TEST(ResultTest, ValueMayBeChanged) {
  Result<std::string> result(std::string("a"));
  *result += "b";
  result->push_back('c');
  EXPECT_EQ(result.value(), "abc");
}

// A string is a value here and not an error.
TEST(ResultTest, StringsAreValues) {
  const Result<std::string> result(std::string("text"));
  EXPECT_TRUE(result.ok());
  const Result<std::string> failed(Error{"why"});
  EXPECT_EQ(failed.error(), "why");
}

TEST(ResultDeathTest, TakingWhatIsNotThereAborts) {
  GTEST_FLAG_SET(death_test_style, "fast");
  EXPECT_DEATH((void)Half(7).value(), "check failed");
  EXPECT_DEATH((void)Half(8).error(), "check failed");
}

}  // namespace
}  // namespace postern::base
