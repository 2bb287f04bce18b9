// own_addresses_test: what the machine says of itself.
// SPDX-License-Identifier: Apache-2.0
#include "lb/net/own_addresses.h"

#include <gtest/gtest.h>

namespace postern::net {
namespace {

TEST(OwnAddressesTest, HasTheLoopbackAndNobodyElses) {
  const std::set<base::IpAddress> own = OwnAddresses();
  EXPECT_EQ(own.count(*base::IpAddress::Parse("127.0.0.1")), 1u);
  EXPECT_EQ(own.count(*base::IpAddress::Parse("192.0.2.1")), 0u);  // RFC 5737: of documentation
  EXPECT_EQ(own.count(*base::IpAddress::Parse("0.0.0.0")), 0u);
}

}  // namespace
}  // namespace postern::net
