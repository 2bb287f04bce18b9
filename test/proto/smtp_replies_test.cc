// smtp_replies_test: replies in the client's order, whoever answers first.
// SPDX-License-Identifier: Apache-2.0
#include "lb/proto/smtp_replies.h"

#include <gtest/gtest.h>

namespace postern::proto {
namespace {

std::string Take(SmtpReplies& replies) {
  std::string out(replies.Output());
  replies.ClearOutput();
  return out;
}

TEST(SmtpRepliesTest, SaysAtOnceWhatNothingWaitsBefore) {
  SmtpReplies replies;
  replies.Say("a");
  EXPECT_EQ(Take(replies), "a");
  EXPECT_EQ(Take(replies), "");
}

TEST(SmtpRepliesTest, KeepsTheOrder) {
  SmtpReplies replies;
  const auto first = replies.Expect();
  replies.Say("b");
  const auto third = replies.Expect();
  replies.Say("d");
  replies.Answer(third, "c");
  EXPECT_EQ(Take(replies), "");
  replies.Answer(first, "a");
  EXPECT_EQ(Take(replies), "abcd");
  EXPECT_FALSE(replies.has_pending());
}

TEST(SmtpRepliesTest, HoldsBackWhileAnythingBehindWaits) {
  SmtpReplies replies;
  replies.Say("a");
  const auto second = replies.Expect();
  EXPECT_EQ(Take(replies), "");
  EXPECT_EQ(Take(replies), "");  // not lost by the attempt
  replies.Answer(second, "b");
  EXPECT_EQ(Take(replies), "ab");
}

TEST(SmtpRepliesTest, EndsWithWhatIsReadyAndAGoodbye) {
  SmtpReplies replies;
  replies.Say("a");
  static_cast<void>(replies.Expect());
  replies.Say("never");
  replies.Finish("bye");
  EXPECT_EQ(Take(replies), "abye");
}

TEST(SmtpRepliesTest, IsFullAtItsLimit) {
  SmtpReplies replies;
  static_cast<void>(replies.Expect());
  while (!replies.is_full()) replies.Say("x");
  EXPECT_EQ(replies.num_commands(), SmtpReplies::kMaxPending);
}

}  // namespace
}  // namespace postern::proto
