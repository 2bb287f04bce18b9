// smtp_commit_bounds_test: what becomes of a text that cannot be kept until its end (commit
// after_data): the backend is chosen within it.
// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "test/proto/smtp_commit_case.h"

namespace postern::proto {
namespace {

using testing::IsEmpty;

class SmtpCommitBoundsTest : public SmtpCommitTest {
 protected:
  SmtpCommitBoundsTest() {
    bench_.settings.replay_memory = 1000;
    bench_.settings.replay_limit = 5000;
    text_ = Lines(1000);
  }
  void BeginText() {
    Begin();
    Envelope();
    bench_.Send(text_);
    EXPECT_EQ(bench_.Codes(), "250 250 354");
  }
  std::string text_;
};
POSTERN_IN_ALL_CUTS(SmtpCommitBoundsTest);

TEST_P(SmtpCommitBoundsTest, TheDiskKeepsWhatMemoryDoesNot) {
  bench_.settings.replay_limit = 1 << 20;
  BeginText();
  EXPECT_EQ(num_connections(), 0);
  EXPECT_EQ(bench_.spool_file->size(), text_.size() - 1000);
  Text();
  EXPECT_EQ(bench_.Codes(), "250");
  EXPECT_EQ(b1().messages[0].text, text_ + "hello\r\n");
  EXPECT_FALSE(bench_.spool_file);
}

TEST_P(SmtpCommitBoundsTest, AMessageThatIsTooLongForItGoesOnAsItComes) {
  BeginText();
  EXPECT_EQ(b1().num_connections, 1);
  EXPECT_EQ(CountEvents("lost too_long"), 1);
  Text();
  EXPECT_EQ(bench_.Codes(), "250");
  EXPECT_EQ(b1().messages[0].text, text_ + "hello\r\n");
}

TEST_P(SmtpCommitBoundsTest, WithoutAFileMemoryIsTheEnd) {
  bench_.settings.replay_limit = 0;
  BeginText();
  EXPECT_EQ(b1().num_connections, 1);
  EXPECT_FALSE(bench_.spool_file);
  Text();
  EXPECT_EQ(bench_.Codes(), "250");
  EXPECT_EQ(b1().messages[0].text, text_ + "hello\r\n");
}

TEST_P(SmtpCommitBoundsTest, WhatNormalizedNewlinesTakeIsAskedFor) {
  bench_.settings.bare_newline = conf::BareNewline::kNormalize;
  bench_.settings.replay_limit = 0;
  text_ = std::string(700, '\n');  // fits as it came, not as it goes on
  BeginText();
  Text();
  EXPECT_EQ(bench_.Codes(), "250");
  std::string normalized;
  for (size_t i = 0; i < text_.size(); ++i) normalized += "\r\n";
  EXPECT_EQ(b1().messages[0].text, normalized + "hello\r\n");
}

TEST_P(SmtpCommitBoundsTest, WithoutMemoryAndFileNothingWaits) {
  bench_.settings.replay_limit = 1 << 20;
  bench_.budget_bytes = 0;
  bench_.file_bytes = 0;
  BeginText();
  EXPECT_EQ(b1().num_connections, 1);
  Text();
  EXPECT_EQ(bench_.Codes(), "250");
  EXPECT_EQ(b1().messages[0].text, text_ + "hello\r\n");
}

TEST_P(SmtpCommitBoundsTest, ADiskWithoutRoomIsAskedInTime) {
  bench_.settings.replay_limit = 1 << 20;
  bench_.file_bytes = 3000;
  BeginText();
  EXPECT_EQ(b1().num_connections, 1);
  Text();
  EXPECT_EQ(bench_.Codes(), "250");
  EXPECT_EQ(b1().messages[0].text, text_ + "hello\r\n");
}

TEST_P(SmtpCommitBoundsTest, ChunksThatCannotBeKeptGoOnAsTheyCome) {
  bench_.capabilities = {"PIPELINING", "CHUNKING"};
  b1().keywords = {"PIPELINING", "CHUNKING"};
  Begin();
  EXPECT_EQ(Group("b"), "250 250");
  bench_.Send("BDAT " + std::to_string(text_.size()) + "\r\n" + text_);
  EXPECT_EQ(bench_.Codes(), "250");
  EXPECT_EQ(b1().num_connections, 1);
  bench_.Send("BDAT 3 LAST\r\nend");
  EXPECT_EQ(bench_.Codes(), "250");
  EXPECT_EQ(b1().messages[0].text, text_ + "end");
}

// What is kept moves; what is not, does not.
TEST_P(SmtpCommitBoundsTest, OneThatDiesAtTheSwitchIsReplaced) {
  b1().answers["RCPT"] = {"die"};
  BeginText();
  Text();
  EXPECT_EQ(bench_.Codes(), "250");
  EXPECT_EQ(b2().messages[0].text, text_ + "hello\r\n");
}

TEST_P(SmtpCommitBoundsTest, OneThatDiesBehindItIsNot) {
  BeginText();
  bench_.LoseBack("B1");
  Text();
  EXPECT_EQ(bench_.Replies(), "451 4.4.2 Lost the mail server, try again\r\n");
  EXPECT_EQ(b2().num_connections, 0);
}

TEST_P(SmtpCommitBoundsTest, VerdictsWithinTheTextAreSaidAtItsEnd) {
  b1().answers["RCPT b@y.example"] = {"550 5.1.1 nobody"};
  BeginText();
  Text();
  EXPECT_EQ(bench_.Replies(), "550 5.1.1 nobody\r\n");
  EXPECT_THAT(b1().messages, IsEmpty());
}

// Answers to what was pipelined behind it say nothing any more, and cannot make it a bounce.
TEST_P(SmtpCommitBoundsTest, ARefusalOfMailWithinTheTextIsSaidAtItsEnd) {
  b1().answers["MAIL"] = {"450 4.7.1 grey"};
  b1().answers["RCPT"] = {"503 5.5.1 MAIL first"};
  BeginText();
  Text();
  EXPECT_EQ(bench_.Replies(), "450 4.7.1 grey\r\n");
  EXPECT_THAT(bench_.refusals, IsEmpty());
}

TEST_P(SmtpCommitBoundsTest, WhatADiskHasLostNobodyHas) {
  bench_.settings.replay_limit = 1 << 20;
  BeginText();
  bench_.FailSpool();
  EXPECT_FALSE(bench_.spool_file);
  Text();
  EXPECT_EQ(bench_.Replies(), "451 4.3.1 The message could not be kept, try again\r\n");
  EXPECT_EQ(num_connections(), 0);
  EXPECT_EQ(CountEvents("lost disk"), 1);
  EXPECT_EQ(bench_.budget_taken, 0U);
}

TEST_P(SmtpCommitBoundsTest, ADiskThatFailsBeforeTheBackendHasAllEndsTheMessage) {
  bench_.settings.replay_limit = 1 << 20;
  bench_.is_spool_quick = false;
  BeginText();
  bench_.AnswerSpool();
  Text();
  EXPECT_EQ(bench_.leg_backend(), "B1");
  bench_.FailSpool();
  EXPECT_EQ(bench_.Replies(), "451 4.3.1 The message could not be kept, try again\r\n");
  EXPECT_THAT(b1().messages, IsEmpty());
}

}  // namespace
}  // namespace postern::proto
