// address_table_test: limits of addresses.
// SPDX-License-Identifier: Apache-2.0
#include "lb/daemon/address_table.h"

#include <gtest/gtest.h>

namespace postern::daemon {
namespace {

class AddressTableTest : public testing::Test {
 protected:
  static base::IpAddress Ip(const std::string& text) { return *base::IpAddress::Parse(text); }
  AddressTable table_;
  conf::Limits limits_;
  base::MonoTime now_{std::chrono::hours(1)};
  const base::IpAddress ip_ = Ip("192.0.2.1");
};

TEST_F(AddressTableTest, CountsSessionsAndForgets) {
  EXPECT_EQ(table_.Enter(ip_, 2), AddressTable::Admission::kAdmitted);
  EXPECT_EQ(table_.Enter(ip_, 2), AddressTable::Admission::kAdmitted);
  EXPECT_EQ(table_.Enter(ip_, 2), AddressTable::Admission::kOverLimit);
  EXPECT_EQ(table_.Enter(Ip("192.0.2.2"), 2), AddressTable::Admission::kAdmitted);
  table_.Leave(ip_);
  EXPECT_EQ(table_.Enter(ip_, 2), AddressTable::Admission::kAdmitted);
  table_.Leave(ip_);
  table_.Leave(ip_);
  table_.Leave(Ip("192.0.2.2"));
  EXPECT_EQ(table_.size(), 0U);
}

TEST_F(AddressTableTest, ManyUsersBlockTheAddress) {
  for (int i = 0; i < 9; ++i) table_.AuthFailed(ip_, "u" + std::to_string(i), limits_, now_);
  EXPECT_FALSE(table_.IsBlocked(ip_, "other", limits_, now_));
  table_.AuthFailed(ip_, "u9", limits_, now_);
  EXPECT_TRUE(table_.IsBlocked(ip_, "other", limits_, now_));
  EXPECT_FALSE(table_.IsBlocked(Ip("192.0.2.2"), "other", limits_, now_));
  now_ += std::chrono::minutes(11);
  EXPECT_FALSE(table_.IsBlocked(ip_, "other", limits_, now_));
}

TEST_F(AddressTableTest, OneUserOverAndOverBlocksThatUserAlone) {
  for (int i = 0; i < 10; ++i) table_.AuthFailed(ip_, "phone", limits_, now_);
  EXPECT_TRUE(table_.IsBlocked(ip_, "phone", limits_, now_));
  EXPECT_FALSE(table_.IsBlocked(ip_, "other", limits_, now_));
}

TEST_F(AddressTableTest, SuccessTakesBackTheUsersOwnFailures) {
  for (int i = 0; i < 10; ++i) table_.AuthFailed(ip_, "phone", limits_, now_);
  table_.AuthSucceeded(ip_, "phone");
  EXPECT_FALSE(table_.IsBlocked(ip_, "phone", limits_, now_));
  EXPECT_EQ(table_.size(), 0U);
}

TEST_F(AddressTableTest, ExemptNetworksAreNeverBlocked) {
  limits_.exempt = {*base::Network::Parse("192.0.2.0/24")};
  for (int i = 0; i < 30; ++i) table_.AuthFailed(ip_, "u" + std::to_string(i), limits_, now_);
  EXPECT_FALSE(table_.IsBlocked(ip_, "u1", limits_, now_));
}

TEST_F(AddressTableTest, MemoryIsBounded) {
  for (uint32_t i = 0; i < 400000; ++i)
    table_.AuthFailed(base::IpAddress::V4({10, static_cast<uint8_t>(i >> 16),
                                           static_cast<uint8_t>(i >> 8), static_cast<uint8_t>(i)}),
                      "u", limits_, now_ + std::chrono::milliseconds(i));
  EXPECT_LE(table_.size(), 64U * 4096U);
}

}  // namespace
}  // namespace postern::daemon
