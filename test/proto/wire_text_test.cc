// wire_text_test: every reply can be sent as it is.
// SPDX-License-Identifier: Apache-2.0
#include "lb/proto/wire_text.h"

#include <gtest/gtest.h>

#include "lb/proto/imap_grammar.h"
#include "lb/proto/pop3_grammar.h"

namespace postern::proto {
namespace {

bool IsOneLine(std::string_view text) {
  for (const char c : text)
    if (c < 0x20 || c >= 0x7f) return false;
  return text.size() <= 120;
}

TEST(WireTextTest, ImapRepliesAreConditions) {
  for (int i = 0; i <= static_cast<int>(ImapText::kByeBackendLost); ++i) {
    const std::string_view text = Text(static_cast<ImapText>(i));
    EXPECT_TRUE(IsOneLine(text)) << text;
    if (static_cast<ImapText>(i) == ImapText::kRefusedText) continue;
    const ImapReply reply = ParseImapReply("a " + std::string(text));
    EXPECT_NE(reply.condition, ImapReply::Condition::kNone) << text;
    EXPECT_FALSE(reply.text.empty()) << text;
  }
}

TEST(WireTextTest, Pop3RepliesHaveAStatus) {
  for (int i = 0; i <= static_cast<int>(Pop3Text::kKicked); ++i) {
    const std::string_view text = Text(static_cast<Pop3Text>(i));
    EXPECT_TRUE(IsOneLine(text)) << text;
    if (static_cast<Pop3Text>(i) == Pop3Text::kNotNowText) continue;
    const Pop3Reply::Kind kind = ParsePop3Reply(text).kind;
    EXPECT_TRUE(kind == Pop3Reply::Kind::kOk || kind == Pop3Reply::Kind::kErr) << text;
  }
}

}  // namespace
}  // namespace postern::proto
