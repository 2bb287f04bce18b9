// pop3_grammar_test: commands and replies, taken apart.
// SPDX-License-Identifier: Apache-2.0
#include "lb/proto/pop3_grammar.h"

#include <gtest/gtest.h>

namespace postern::proto {
namespace {

using Kind = Pop3Reply::Kind;

TEST(SplitPop3CommandTest, KeepsTheBlanksOfTheArgument) {
  const Pop3Command pass = SplitPop3Command("PASS  a b ");
  EXPECT_EQ(pass.verb, "PASS");
  EXPECT_EQ(pass.argument, " a b ");
  EXPECT_TRUE(pass.has_argument);
  EXPECT_FALSE(SplitPop3Command("QUIT").has_argument);
  EXPECT_TRUE(SplitPop3Command("QUIT ").has_argument);
  EXPECT_EQ(SplitPop3Command("").verb, "");
}

TEST(ParsePop3ReplyTest, Kinds) {
  EXPECT_EQ(ParsePop3Reply("+OK").kind, Kind::kOk);
  EXPECT_EQ(ParsePop3Reply("+ok ready").text, "ready");
  EXPECT_EQ(ParsePop3Reply("-ERR no").kind, Kind::kErr);
  EXPECT_EQ(ParsePop3Reply("+ abc").kind, Kind::kContinue);
  EXPECT_EQ(ParsePop3Reply("+ abc").text, "abc");
  EXPECT_EQ(ParsePop3Reply("+").kind, Kind::kContinue);
  for (const char* line : {"", "+OKAY", "-ERROR", "OK", "* OK", "-", "+x"})
    EXPECT_EQ(ParsePop3Reply(line).kind, Kind::kGarbage) << line;
}

TEST(ParsePop3ReplyTest, CodesOfRefusalsAlone) {
  const Pop3Reply reply = ParsePop3Reply("-ERR [SYS/TEMP] later");
  EXPECT_EQ(reply.code, "SYS/TEMP");
  EXPECT_EQ(reply.text, "later");
  EXPECT_EQ(ParsePop3Reply("-ERR [open").code, "");
  EXPECT_EQ(ParsePop3Reply("+OK [XCLIENT] ready").text, "[XCLIENT] ready");
}

}  // namespace
}  // namespace postern::proto
