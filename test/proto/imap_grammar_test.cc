// imap_grammar_test: commands, literals and replies, taken apart.
// SPDX-License-Identifier: Apache-2.0
#include "lb/proto/imap_grammar.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace postern::proto {
namespace {

struct LiteralRow {
  const char* name;
  std::string line;
  std::optional<uint64_t> size;
  bool is_sync;
};
const std::vector<LiteralRow> kLiterals = {
    {"Sync", "a LOGIN {5}", 5, true},
    {"NonSync", "a LOGIN {5+}", 5, false},
    {"Zero", "a LOGIN {0}", 0, true},
    {"LeadingZeros", "a LOGIN {0005}", 5, true},
    {"InList", "a ID ({4}", 4, true},
    {"Binary", "a APPEND x ~{4}", 4, true},
    {"Saturates", "a LOGIN {18446744073709551620}", UINT64_MAX, true},
    {"MostDigits", "a LOGIN {18446744073709551615+}", UINT64_MAX, false},
    {"NoDigits", "a LOGIN {}", std::nullopt, true},
    {"PlusAlone", "a LOGIN {+}", std::nullopt, true},
    {"Negative", "a LOGIN {-5}", std::nullopt, true},
    {"Blank", "a LOGIN {5 }", std::nullopt, true},
    {"PlusFirst", "a LOGIN {+5}", std::nullopt, true},
    {"TwoPlus", "a LOGIN {5++}", std::nullopt, true},
    {"Hex", "a LOGIN {0x5}", std::nullopt, true},
    {"NotAtTheEnd", "a LOGIN {5} ", std::nullopt, true},
    {"InAnAtom", "a LOGIN abc{5}", std::nullopt, true},
    {"InQuotes", "a LOGIN \"x {5}", std::nullopt, true},
    {"BehindQuotes", "a LOGIN \"x\" {5}", 5, true},
    {"BehindEscapedQuote", "a LOGIN \"x\\\" {5}", std::nullopt, true},
    {"BehindEscapedBackslash", "a LOGIN \"x\\\\\" {5}", 5, true},
    {"Alone", "{5}", std::nullopt, true},
};

class ImapLiteralTest : public testing::TestWithParam<LiteralRow> {};

TEST_P(ImapLiteralTest, IsFoundOrNot) {
  const auto got = FindImapLiteral(GetParam().line);
  ASSERT_EQ(got.has_value(), GetParam().size.has_value());
  if (!got) return;
  EXPECT_EQ(got->size_bytes, *GetParam().size);
  EXPECT_EQ(got->is_sync, GetParam().is_sync);
}

INSTANTIATE_TEST_SUITE_P(Table, ImapLiteralTest, testing::ValuesIn(kLiterals),
                         [](const auto& row) { return std::string(row.param.name); });

TEST(ImapTagTest, IsBoundedAndChecked) {
  EXPECT_TRUE(IsImapTag("A001"));
  EXPECT_TRUE(IsImapTag("]"));
  EXPECT_TRUE(IsImapTag(std::string(kMaxTagBytes, 't')));
  EXPECT_FALSE(IsImapTag(std::string(kMaxTagBytes + 1, 't')));
  for (const char* tag :
       {"", "+", "a+", "*", "a*", "a%", "a(", "a{", "a\"", "a\\", "a\x7f", "\xc3"})
    EXPECT_FALSE(IsImapTag(tag)) << tag;
}

TEST(ImapArgumentsTest, TakesEachForm) {
  ImapArguments arguments("atom \"q\\\"\\\\\" {3}\r\na\rb {2+}\r\ncd");
  EXPECT_EQ(arguments.TakeAstring()->Reveal(), "atom");
  EXPECT_TRUE(arguments.TakeBlank());
  EXPECT_EQ(arguments.TakeAstring()->Reveal(), "q\"\\");
  EXPECT_TRUE(arguments.TakeBlank());
  EXPECT_EQ(arguments.TakeAstring()->Reveal(), "a\rb");
  EXPECT_TRUE(arguments.TakeBlank());
  EXPECT_EQ(arguments.TakeAstring()->Reveal(), "cd");
  EXPECT_TRUE(arguments.at_end());
}

TEST(ImapArgumentsTest, RefusesWhatIsNone) {
  for (const char* text :
       {"", " x", "\"open", "\"bad\\x\"", "\"\\", "(x", "{5}\r\nabc", "{x}\r\nabc", "{3}abc"})
    EXPECT_FALSE(ImapArguments(text).TakeAstring()) << text;
}

TEST(ImapQuotedTest, SaysWhatCanBeQuoted) {
  EXPECT_TRUE(IsQuotable("a\"b\\c d\t"));
  EXPECT_TRUE(IsQuotable(""));
  EXPECT_FALSE(IsQuotable("a\nb"));
  EXPECT_FALSE(IsQuotable("\xc3\xa4"));
  EXPECT_FALSE(IsQuotable(std::string(1001, 'x')));
  std::string out;
  AppendQuoted(out, "a\"b\\c");
  EXPECT_EQ(out, "\"a\\\"b\\\\c\"");
  EXPECT_EQ(ImapArguments(out).TakeAstring()->Reveal(), "a\"b\\c");
}

struct ReplyRow {
  const char* name;
  const char* line;
  ImapReply::Kind kind;
  ImapReply::Condition condition;
  const char *tag, *word, *code, *text;
};
using Kind = ImapReply::Kind;
using Condition = ImapReply::Condition;
const std::vector<ReplyRow> kReplies = {
    {"Greeting", "* OK [CAPABILITY IMAP4rev1] ready", Kind::kUntagged, Condition::kOk, "", "OK",
     "CAPABILITY IMAP4rev1", "ready"},
    {"NoCode", "* OK ready [to go]", Kind::kUntagged, Condition::kOk, "", "OK", "",
     "ready [to go]"},
    {"OpenCode", "* OK [CAPABILITY IMAP4rev1", Kind::kUntagged, Condition::kOk, "", "OK", "",
     "[CAPABILITY IMAP4rev1"},
    {"Bye", "* bye", Kind::kUntagged, Condition::kBye, "", "bye", "", ""},
    {"Data", "* CAPABILITY A B", Kind::kUntagged, Condition::kNone, "", "CAPABILITY", "", "A B"},
    {"Tagged", "P1 NO [UNAVAILABLE] later", Kind::kTagged, Condition::kNo, "P1", "NO",
     "UNAVAILABLE", "later"},
    {"Continue", "+ abc", Kind::kContinue, Condition::kNone, "", "", "", "abc"},
    {"ContinueBare", "+", Kind::kContinue, Condition::kNone, "", "", "", ""},
    {"ContinueNoBlank", "+abc", Kind::kContinue, Condition::kNone, "", "", "", "abc"},
    {"Empty", "", Kind::kGarbage, Condition::kNone, "", "", "", ""},
    {"OneWord", "*", Kind::kGarbage, Condition::kNone, "", "", "", ""},
    {"NoTag", "(x) OK", Kind::kGarbage, Condition::kNone, "", "OK", "", ""},
};

class ImapReplyTest : public testing::TestWithParam<ReplyRow> {};

TEST_P(ImapReplyTest, IsTakenApart) {
  const ReplyRow& row = GetParam();
  const ImapReply reply = ParseImapReply(row.line);
  EXPECT_EQ(reply.kind, row.kind);
  EXPECT_EQ(reply.condition, row.condition);
  EXPECT_EQ(reply.tag, row.tag);
  EXPECT_EQ(reply.word, row.word);
  EXPECT_EQ(reply.code, row.code);
  EXPECT_EQ(reply.text, row.text);
}

INSTANTIATE_TEST_SUITE_P(Table, ImapReplyTest, testing::ValuesIn(kReplies),
                         [](const auto& row) { return std::string(row.param.name); });

}  // namespace
}  // namespace postern::proto
