// smtp_extensions_test: what an EHLO reply says.
// SPDX-License-Identifier: Apache-2.0
#include "lb/proto/smtp_extensions.h"

#include <gtest/gtest.h>

#include "lb/proto/xclient.h"

namespace postern::proto {
namespace {

TEST(SmtpExtensionsTest, ReadsKeywords) {
  const SmtpExtensions extensions = ParseEhloReply(
      "250-mx PIPELINING\r\n250-size 1000\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250-DSN\r\n"
      "250-STARTTLS\r\n250-ENHANCEDSTATUSCODES\r\n250-AUTH PLAIN XOAUTH2\r\n"
      "250-XCLIENT NAME ADDR FUTURE\r\n250-BINARYMIME\r\n250 CHUNKING\r\n");
  EXPECT_FALSE(extensions.pipelining);  // that was the greeting
  EXPECT_TRUE(extensions.size);
  EXPECT_EQ(extensions.max_size, 1000U);
  EXPECT_TRUE(extensions.eight_bit_mime);
  EXPECT_TRUE(extensions.smtp_utf8);
  EXPECT_TRUE(extensions.dsn);
  EXPECT_TRUE(extensions.starttls);
  EXPECT_TRUE(extensions.enhanced_status_codes);
  EXPECT_TRUE(extensions.chunking);
  EXPECT_TRUE(extensions.binary_mime);
  EXPECT_TRUE(extensions.auth);
  EXPECT_TRUE(extensions.auth_plain);
  EXPECT_TRUE(extensions.auth_xoauth2);
  EXPECT_FALSE(extensions.auth_login);
  EXPECT_EQ(extensions.xclient_attributes, kXclientName | kXclientAddr);
}

TEST(SmtpExtensionsTest, ReadsTheOldFormOfAuth) {
  const SmtpExtensions extensions = ParseEhloReply("250-mx\r\n250 AUTH=LOGIN PLAIN\r\n");
  EXPECT_TRUE(extensions.auth_login);
  EXPECT_TRUE(extensions.auth_plain);
}

TEST(SmtpExtensionsTest, TakesASizeThatIsNoNumberForNone) {
  for (const char* line : {"SIZE", "SIZE x", "SIZE 10x", "SIZE 99999999999999999999999"}) {
    SmtpExtensions extensions;
    extensions.Learn(line);
    EXPECT_TRUE(extensions.size) << line;
    EXPECT_EQ(extensions.max_size, 0U) << line;
  }
}

TEST(SmtpExtensionsTest, ListsKeywordLines) {
  const std::vector<std::string> wanted = {"SIZE 10", "X-A b c"};
  EXPECT_EQ(EhloKeywords("250-mx\r\n250-SIZE 10\r\n250 X-A b c\r\n"), wanted);
  EXPECT_TRUE(EhloKeywords("250 mx\r\n").empty());
}

}  // namespace
}  // namespace postern::proto
