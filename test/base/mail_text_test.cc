// mail_text_test: what can stand in a mail command, and what cannot.
// SPDX-License-Identifier: Apache-2.0
#include "lb/base/mail_text.h"

#include <gtest/gtest.h>

#include <string>

namespace postern::base {
namespace {

TEST(MailTextTest, AnAddressHasNoBlanksControlsAndBrackets) {
  for (const char* good :
       {"", "a@x.example", "postmaster", "gr\xc3\xbc\xc3\x9f@x.example", "a+b@[192.0.2.1]"})
    EXPECT_TRUE(IsUsableAddress(good)) << good;
  for (const char* bad : {"a b@x", "a@x\r\nDATA", "a\t@x", "a@x\x7f", "a@x>", "<a@x", "A <a@x>"})
    EXPECT_FALSE(IsUsableAddress(bad)) << bad;
  EXPECT_FALSE(IsUsableAddress(std::string("a\0@x", 4)));
}

TEST(MailTextTest, OnePairOfBracketsComesOff) {
  EXPECT_EQ(WithoutBrackets("<>"), "");
  EXPECT_EQ(WithoutBrackets("<a@x>"), "a@x");
  EXPECT_EQ(WithoutBrackets("<<a@x>>"), "<a@x>");
  for (const char* as_it_is : {"", "<", ">", "a@x", "<a@x", "a@x>"})
    EXPECT_EQ(WithoutBrackets(as_it_is), as_it_is);
}

TEST(MailTextTest, QuotesHoldSevenBitsOfOneShortLine) {
  EXPECT_TRUE(IsQuotable(""));
  EXPECT_TRUE(IsQuotable("a\"b\\c d\t"));
  EXPECT_TRUE(IsQuotable(std::string(kMaxQuotedBytes, 'x')));
  EXPECT_FALSE(IsQuotable(std::string(kMaxQuotedBytes + 1, 'x')));
  EXPECT_FALSE(IsQuotable("a\nb"));
  EXPECT_FALSE(IsQuotable("a\rb"));
  EXPECT_FALSE(IsQuotable(std::string("a\0b", 3)));
  EXPECT_FALSE(IsQuotable("\xc3\xa4"));
}

}  // namespace
}  // namespace postern::base
