// smtp_reply_test: whole replies from bytes that come in any pieces.
// SPDX-License-Identifier: Apache-2.0
#include "lb/proto/smtp_reply.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace postern::proto {
namespace {

using namespace std::string_literals;
using Status = SmtpReplyReader::Status;

struct Read {
  std::vector<std::string> replies;
  bool is_bad = false;
};

Read ReadAll(const std::string& input, size_t piece_bytes, SmtpReplyReader::Limits limits = {}) {
  SmtpReplyReader reader(limits);
  Read out;
  std::string kept;
  for (size_t at = 0; at < input.size() && !out.is_bad; at += piece_bytes) {
    kept += input.substr(at, piece_bytes);
    while (true) {
      const SmtpReplyReader::Result result = reader.Next(kept);
      if (result.status == Status::kBad) out.is_bad = true;
      if (result.status != Status::kReply) break;
      out.replies.emplace_back(result.reply.lines);
      kept.erase(0, result.consumed);
    }
  }
  return out;
}

TEST(SmtpReplyTest, ReadsRepliesInAnyPieces) {
  const std::string input = "220 hi\r\n250-a\r\n250-b\r\n250 c\r\n354\r\n250-\r\n250 \r\n";
  const std::vector<std::string> wanted = {"220 hi\r\n", "250-a\r\n250-b\r\n250 c\r\n", "354\r\n",
                                           "250-\r\n250 \r\n"};
  for (size_t piece = 1; piece <= input.size(); ++piece) {
    const Read read = ReadAll(input, piece);
    EXPECT_EQ(read.replies, wanted);
    EXPECT_FALSE(read.is_bad);
  }
}

TEST(SmtpReplyTest, RefusesWhatIsNoReply) {
  for (const std::string& input :
       {"hello\r\n"s, "\r\n"s, "25\r\n"s, "250x\r\n"s, "150 a\r\n"s, "650 a\r\n"s, "2a0 b\r\n"s,
        "250 a\n"s, "250-a\r\n251 b\r\n"s, "250-a\r\nb\r\n"s, "250 a\rb\r\n"s, "250 a\0b\r\n"s,
        "250 \x1b[31m\r\n"s, " 250 a\r\n"s}) {
    for (size_t piece = 1; piece <= input.size(); ++piece) {
      const Read read = ReadAll(input, piece);
      EXPECT_TRUE(read.is_bad) << input;
      EXPECT_TRUE(read.replies.empty()) << input;
    }
  }
}

TEST(SmtpReplyTest, BoundsLinesAndTheirNumber) {
  const SmtpReplyReader::Limits limits{3, 100};
  EXPECT_FALSE(ReadAll("250-a\r\n250-b\r\n250 c\r\n", 5, limits).is_bad);
  EXPECT_TRUE(ReadAll("250-a\r\n250-b\r\n250-c\r\n250 d\r\n", 5, limits).is_bad);
  EXPECT_FALSE(ReadAll("250 " + std::string(94, 'x') + "\r\n", 7, limits).is_bad);
  EXPECT_TRUE(ReadAll("250 " + std::string(95, 'x') + "\r\n", 7, limits).is_bad);
  EXPECT_TRUE(ReadAll("250 " + std::string(1000, 'x'), 7, limits).is_bad);
}

TEST(SmtpReplyTest, BoundsTheWholeReply) {
  const SmtpReplyReader::Limits limits{4, 4000};
  EXPECT_TRUE(
      ReadAll("250-" + std::string(3900, 'x') + "\r\n250-" + std::string(3900, 'x') + "\r\n", 900,
              limits)
          .is_bad);
}

TEST(SmtpReplyTest, ReadsEnhancedCodes) {
  const auto reply = [](std::string_view lines) {
    return SmtpReply{(lines[0] - '0') * 100 + (lines[1] - '0') * 10 + (lines[2] - '0'), lines};
  };
  EXPECT_TRUE(reply("421 4.7.0 no\r\n").HasSubject('7'));
  EXPECT_TRUE(reply("450-4.7.25 no\r\n450 4.7.25 x\r\n").HasSubject('7'));
  EXPECT_TRUE(reply("452 4.3.1\r\n").HasSubject('3'));
  EXPECT_FALSE(reply("421 4.3.0 no\r\n").HasSubject('7'));
  EXPECT_FALSE(reply("421 5.7.0 no\r\n").HasSubject('7'));
  EXPECT_FALSE(reply("421 4.7.x no\r\n").HasSubject('7'));
  EXPECT_FALSE(reply("421 4.7.0x no\r\n").HasSubject('7'));
  EXPECT_FALSE(reply("421\r\n").HasSubject('7'));
  EXPECT_FALSE(reply("421 no 4.7.0\r\n").HasSubject('7'));
}

TEST(SmtpReplyTest, ChangesTheCodeOfEveryLine) {
  EXPECT_EQ(WithCode("421-4.3.2 a\r\n421 4.3.2 421\r\n", 451), "451-4.3.2 a\r\n451 4.3.2 421\r\n");
}

TEST(SmtpReplyTest, MakesOneLineForTheLog) {
  EXPECT_EQ(OneLine("550-a\r\n550 b\r\n"), "550-a 550 b");
}

}  // namespace
}  // namespace postern::proto
