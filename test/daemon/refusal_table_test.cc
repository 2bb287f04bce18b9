// refusal_table_test: what is remembered, how long, and how much.
// SPDX-License-Identifier: Apache-2.0
#include "lb/daemon/refusal_table.h"

#include <gtest/gtest.h>

namespace postern::daemon {
namespace {

class RefusalTableTest : public testing::Test {
 protected:
  base::MonoTime now_{std::chrono::hours(100)};
  RefusalTable table_;
};

TEST_F(RefusalTableTest, SaysEachOnce) {
  EXPECT_EQ(table_.Recall("k", now_), "");
  table_.Remember("k", "550 no\r\n", now_);
  table_.Remember("l", "450 later\r\n", now_);
  EXPECT_EQ(table_.Recall("m", now_), "");
  EXPECT_EQ(table_.Recall("k", now_), "550 no\r\n");
  EXPECT_EQ(table_.Recall("k", now_), "");
  EXPECT_EQ(table_.Recall("l", now_), "450 later\r\n");
  EXPECT_EQ(table_.size(), 0U);
}

TEST_F(RefusalTableTest, TheNewestCounts) {
  table_.Remember("k", "550 no\r\n", now_);
  table_.Remember("k", "450 later\r\n", now_);
  EXPECT_EQ(table_.size(), 1U);
  EXPECT_EQ(table_.Recall("k", now_), "450 later\r\n");
}

TEST_F(RefusalTableTest, ForgetsAfterADay) {
  table_.Remember("k", "550 no\r\n", now_);
  table_.Remember("l", "550 no\r\n", now_);
  now_ += RefusalTable::kLife - std::chrono::seconds(1);
  EXPECT_EQ(table_.Recall("k", now_), "550 no\r\n");
  now_ += std::chrono::seconds(1);
  EXPECT_EQ(table_.Recall("l", now_), "");
  EXPECT_EQ(table_.size(), 0U);
}

TEST_F(RefusalTableTest, WhatIsOldMakesRoom) {
  table_.Remember("k", "550 no\r\n", now_);
  table_.Remember("l", "550 no\r\n", now_);
  table_.Remember("m", "550 no\r\n", now_ + RefusalTable::kLife);
  EXPECT_EQ(table_.size(), 1U);
}

TEST_F(RefusalTableTest, TheOldestGoesFirst) {
  for (size_t i = 0; i <= RefusalTable::kMaxEntries; ++i)
    table_.Remember(std::to_string(i), "550 no\r\n", now_);
  EXPECT_EQ(table_.size(), RefusalTable::kMaxEntries);
  EXPECT_EQ(table_.Recall("0", now_), "");
  EXPECT_EQ(table_.Recall("1", now_), "550 no\r\n");
  EXPECT_EQ(table_.Recall(std::to_string(RefusalTable::kMaxEntries), now_), "550 no\r\n");
}

TEST_F(RefusalTableTest, TooLongAKeyIsNotRemembered) {
  table_.Remember(std::string(RefusalTable::kMaxKeyBytes + 1, 'k'), "550 no\r\n", now_);
  EXPECT_EQ(table_.size(), 0U);
  table_.Remember(std::string(RefusalTable::kMaxKeyBytes, 'k'), "550 no\r\n", now_);
  EXPECT_EQ(table_.size(), 1U);
}

}  // namespace
}  // namespace postern::daemon
