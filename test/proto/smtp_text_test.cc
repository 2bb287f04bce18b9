// smtp_text_test: every reply of our own is one.
// SPDX-License-Identifier: Apache-2.0
#include "lb/proto/smtp_text.h"

#include <gtest/gtest.h>

#include "lb/proto/smtp_reply.h"

namespace postern::proto {
namespace {

TEST(SmtpTextTest, IsOneReplyOfOneLineWithItsEnhancedCode) {
  for (int i = 0; i < kNumSmtpTexts; ++i) {
    const std::string_view line = Line(static_cast<SmtpText>(i));
    SmtpReplyReader reader({1, 512});
    const SmtpReplyReader::Result result = reader.Next(line);
    ASSERT_EQ(result.status, SmtpReplyReader::Status::kReply) << line;
    EXPECT_EQ(result.consumed, line.size()) << line;
    if (result.reply.code == 354) continue;  // RFC 3463 has no codes of class 3
    EXPECT_EQ(line[4], line[0]) << line;
    EXPECT_EQ(line[5], '.') << line;
  }
}

}  // namespace
}  // namespace postern::proto
