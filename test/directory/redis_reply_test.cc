// redis_reply_test: replies whole and cut, bounded, and what they mean.
// SPDX-License-Identifier: Apache-2.0
#include "lb/directory/redis_reply.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

namespace postern::directory {
namespace {

using ReplyKind = RedisReply::Kind;
using testing::HasSubstr;
using namespace std::string_literals;  // NOLINT: literals only

std::string ReadIn(std::string_view bytes, size_t piece_bytes) {
  RedisReader reader;
  std::vector<RedisReply> replies;
  bool is_good = true;
  for (size_t at = 0; at < bytes.size(); at += piece_bytes)
    is_good = reader.Feed(bytes.substr(at, piece_bytes), replies);
  std::string text;
  for (const RedisReply& reply : replies)
    text += std::to_string(static_cast<int>(reply.kind)) + reply.text + ";";
  return is_good ? text : text + "!" + reader.error();
}
std::string Read(std::string_view bytes) {
  const std::string whole = ReadIn(bytes, bytes.size() + 1);
  EXPECT_EQ(ReadIn(bytes, 1), whole);
  EXPECT_EQ(ReadIn(bytes, 7), whole);
  return whole;
}

TEST(RedisReaderTest, RepliesOfEachKind) {
  EXPECT_EQ(Read("$5\r\nhello\r\n$-1\r\n+OK\r\n-ERR no\r\n:7\r\n$0\r\n\r\n"),
            "0hello;1;2OK;3ERR no;4;0;");
  EXPECT_EQ(Read("$4\r\n\r\n\0x\r\n"s), "0\r\n\0x;"s);
  EXPECT_EQ(Read("$5\r\nhel"), "");
}

TEST(RedisReaderTest, WhatIsNotUnderstoodStaysBroken) {
  RedisReader reader;
  std::vector<RedisReply> replies;
  EXPECT_FALSE(reader.Feed("?\r\n", replies));
  EXPECT_FALSE(reader.Feed("+OK\r\n", replies));
  EXPECT_TRUE(replies.empty());
  EXPECT_EQ(reader.error(), "what it says is not understood");
}

TEST(RedisReaderTest, AStringEndsWhereItSays) {
  EXPECT_EQ(Read("$1\r\nabc\r\n"), "!what it says is not understood");
  EXPECT_EQ(Read("$1\r\na\n\r"), "!what it says is not understood");
}

TEST(RedisReaderTest, ArraysAreNotEvenBegun) {
  EXPECT_EQ(Read("*2\r\n"), "!what it says is not understood");
  EXPECT_EQ(Read("*2147483647\r\n"), "!what it says is not understood");
  EXPECT_EQ(Read("*0\r\n"), "!what it says is not understood");
  // No nil that stands for a missing value.
  EXPECT_EQ(Read("*-1\r\n"), "4;");
}

TEST(RedisReaderTest, AReplyIsBoundedWhateverItAnnounces) {
  constexpr size_t kMax = RedisReader::kMaxReplyBytes;
  EXPECT_EQ(Read("$99999999\r\n" + std::string(kMax - 100, 'x')), "");
  EXPECT_EQ(Read("$32768\r\n" + std::string(kMax, 'x') + "\r\n"), "!what it says is too long");
  EXPECT_EQ(Read("$99999999\r\n" + std::string(kMax + 8192, 'x')), "!what it says is too long");
  EXPECT_EQ(Read("$9223372036854775807\r\n" + std::string(kMax + 8192, 'x')),
            "!what it says is too long");
  EXPECT_EQ(Read("+" + std::string(kMax + 8192, 'x')), "!what it says is too long");
  // Many short ones are no long one.
  std::string many;
  for (size_t i = 0; i < 20'000; ++i) many += "$-1\r\n";
  EXPECT_EQ(ReadIn(many, many.size()).size(), 40'000U);
}

TEST(RedisCommandTest, ArgumentsMayHoldAnything) {
  const std::vector<std::string_view> words = {"GET", "a\r\nb", std::string_view("\0", 1), ""};
  EXPECT_EQ(RedisCommand(words), "*4\r\n$3\r\nGET\r\n$4\r\na\r\nb\r\n$1\r\n\0\r\n$0\r\n\r\n"s);
}

TEST(RedisMeaningTest, OnlyNilIsUnknown) {
  using Kind = io::LookupAnswer::Kind;
  EXPECT_EQ(MeaningOf({ReplyKind::kNil, ""}).kind, Kind::kUnknown);
  EXPECT_EQ(MeaningOf({ReplyKind::kString, "mail1"}).kind, Kind::kFound);
  EXPECT_EQ(MeaningOf({ReplyKind::kString, ""}).kind, Kind::kFailed);
  EXPECT_EQ(MeaningOf({ReplyKind::kString, "a\tb"}).kind, Kind::kFailed);
  EXPECT_EQ(MeaningOf({ReplyKind::kError, "ERR unknown command"}).why, "ERR unknown command");
  EXPECT_EQ(MeaningOf({ReplyKind::kError, ""}).why, "an error without words");
  EXPECT_EQ(MeaningOf({ReplyKind::kStatus, "OK"}).kind, Kind::kFailed);
  EXPECT_EQ(MeaningOf({ReplyKind::kOther, ""}).kind, Kind::kFailed);
}

TEST(RedisMeaningTest, ErrorsOfTheServerAreKnownByTheirFirstWord) {
  EXPECT_TRUE(IsOfServer({ReplyKind::kError, "LOADING Redis is loading"}));
  EXPECT_TRUE(IsOfServer({ReplyKind::kError, "MASTERDOWN"}));
  EXPECT_TRUE(IsOfServer({ReplyKind::kError, "ERR max number of clients reached"}));
  EXPECT_FALSE(IsOfServer({ReplyKind::kError, "ERR unknown command"}));
  EXPECT_FALSE(IsOfServer({ReplyKind::kError, "WRONGTYPE LOADING"}));
  EXPECT_FALSE(IsOfServer({ReplyKind::kError, "LOADINGX y"}));
  EXPECT_FALSE(IsOfServer({ReplyKind::kString, "LOADING y"}));
}

TEST(RedisTemplateTest, PartsOfTheKey) {
  EXPECT_EQ(FillTemplate("postern:%u", "a@b.example"), "postern:a@b.example");
  EXPECT_EQ(FillTemplate("%d/%n", "a@b@c.example"), "c.example/a@b");
  EXPECT_EQ(FillTemplate("%n|%d|%u", "alice"), "alice||alice");
  EXPECT_EQ(FillTemplate("100%%u %x %", "a"), "100%u %x %");
  EXPECT_EQ(FillTemplate("%u", "%d@x"), "%d@x");
}

}  // namespace
}  // namespace postern::directory
