// ldap_filter_test: a name in a filter is a name and nothing else.
// SPDX-License-Identifier: Apache-2.0
#include "lb/directory/ldap_filter.h"

#include <gtest/gtest.h>

#include <string>

namespace postern::directory {
namespace {

using namespace std::string_literals;  // NOLINT: literals only

TEST(LdapFilterTest, ANameAndItsParts) {
  EXPECT_EQ(LdapFilter("(&(mail=%u)(uid=%n)(dc=%d))", "bob@example.com"),
            "(&(mail=bob@example.com)(uid=bob)(dc=example.com))");
  EXPECT_EQ(LdapFilter("(|(uid=%n)(dc=%d)(x=100%%))", "bob"), "(|(uid=bob)(dc=)(x=100%))");
}

TEST(LdapFilterTest, WhatMeansSomethingIsEscaped) {
  EXPECT_EQ(EscapeLdapValue("*"), "\\2a");
  EXPECT_EQ(EscapeLdapValue("("), "\\28");
  EXPECT_EQ(EscapeLdapValue(")"), "\\29");
  EXPECT_EQ(EscapeLdapValue("\\"), "\\5c");
  EXPECT_EQ(EscapeLdapValue("\0"s), "\\00");
  EXPECT_EQ(EscapeLdapValue("\r\n\x7f"), "\\0d\\0a\\7f");
  EXPECT_EQ(EscapeLdapValue("M\xc3\xbcller \xff"), "M\\c3\\bcller \\ff");
  EXPECT_EQ(EscapeLdapValue("a.b-c+d_e&f|g!h=i<j>k~l/m %u,"), "a.b-c+d_e&f|g!h=i<j>k~l/m %u,");
}

TEST(LdapFilterTest, ANameCannotWidenTheSearch) {
  EXPECT_EQ(LdapFilter("(mail=%u)", "*)(objectClass=*"), "(mail=\\2a\\29\\28objectClass=\\2a)");
  EXPECT_EQ(LdapFilter("(&(uid=%n)(dc=%d))", "a*(@b)@c\\"), "(&(uid=a\\2a\\28@b\\29)(dc=c\\5c))");
}

TEST(LdapFilterTest, ANameIsNoTemplate) {
  EXPECT_EQ(LdapFilter("(mail=%u)", "%d%%@example.com"), "(mail=%d%%@example.com)");
}

}  // namespace
}  // namespace postern::directory
