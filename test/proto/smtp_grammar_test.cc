// smtp_grammar_test: command lines taken apart.
// SPDX-License-Identifier: Apache-2.0
#include "lb/proto/smtp_grammar.h"

#include <gtest/gtest.h>

#include <string>

namespace postern::proto {
namespace {

using namespace std::string_literals;
using Error = SmtpPath::Error;

TEST(SmtpGrammarTest, KnowsVerbsInAnyCase) {
  EXPECT_EQ(ParseSmtpCommand("eHlO x").verb, SmtpVerb::kEhlo);
  EXPECT_EQ(ParseSmtpCommand("STARTTLS").verb, SmtpVerb::kStartTls);
  EXPECT_EQ(ParseSmtpCommand("xclient ADDR=1").verb, SmtpVerb::kXclient);
  EXPECT_EQ(ParseSmtpCommand("get / HTTP/1.1").verb, SmtpVerb::kHttp);
  EXPECT_EQ(ParseSmtpCommand("EHLOX").verb, SmtpVerb::kUnknown);
  EXPECT_EQ(ParseSmtpCommand("").verb, SmtpVerb::kUnknown);
  EXPECT_EQ(ParseSmtpCommand(" NOOP").verb, SmtpVerb::kUnknown);
}

TEST(SmtpGrammarTest, TrimsArguments) {
  EXPECT_EQ(ParseSmtpCommand("EHLO  a.example \t").args, "a.example");
  EXPECT_EQ(ParseSmtpCommand("QUIT ").args, "");
}

TEST(SmtpGrammarTest, SeesControlCharacters) {
  EXPECT_TRUE(ParseSmtpCommand("EHLO a\rb").has_control);
  EXPECT_TRUE(ParseSmtpCommand("EHLO a\0b"s).has_control);
  EXPECT_TRUE(ParseSmtpCommand("EHLO a\x7f").has_control);
  EXPECT_FALSE(ParseSmtpCommand("EHLO\ta").has_control);
}

struct PathRow {
  const char* args;
  Error error;
  const char* address;
};

constexpr PathRow kMailRows[] = {
    {"FROM:<a@b.example>", Error::kNone, "a@b.example"},
    {"from:<a@b.example>", Error::kNone, "a@b.example"},
    {"FROM: <a@b.example>", Error::kNone, "a@b.example"},
    {"FROM :\t<a@b.example> ", Error::kNone, "a@b.example"},
    {"FROM:a@b.example", Error::kNone, "a@b.example"},
    {"FROM:<>", Error::kNone, ""},
    {"FROM:<postmaster>", Error::kNone, "postmaster"},
    {"FROM:<@r1,@r2:a@b.example>", Error::kNone, "a@b.example"},
    {"FROM:<\"a b\"@c.example>", Error::kNone, "\"a b\"@c.example"},
    {"FROM:<\"a>b\"@c.example>", Error::kNone, "\"a>b\"@c.example"},
    {"FROM:<\"a\\\"b\"@c.example>", Error::kNone, "\"a\\\"b\"@c.example"},
    {"FROM:<a@[192.0.2.1]>", Error::kNone, "a@[192.0.2.1]"},
    {"FROM", Error::kSyntax, ""},
    {"FROM:", Error::kSyntax, ""},
    {"FRO:<a@b>", Error::kSyntax, ""},
    {"TO:<a@b>", Error::kSyntax, ""},
    {"FROM:<a@b>x", Error::kSyntax, ""},
    {"FROM:<a@b", Error::kBadAddress, ""},
    {"FROM:<a b@c>", Error::kBadAddress, ""},
    {"FROM:<a<b@c>", Error::kBadAddress, ""},
    {"FROM:a>b@c", Error::kBadAddress, ""},
    {"FROM:<\"a@b>", Error::kBadAddress, ""},
    {"FROM:<@b>", Error::kBadAddress, ""},
    {"FROM:<a@>", Error::kBadAddress, ""},
    {"FROM:<@r:>", Error::kBadAddress, ""},
    {"FROM:<@r\"x:a@b> SIZE=1 \"@c>", Error::kBadAddress, ""},
    {"FROM:<@r\"x:<a@b\"@c>", Error::kBadAddress, ""},
    {"FROM:@r\"x:a b\"@c", Error::kBadAddress, ""},
    {"FROM:<a@b> SIZE", Error::kParameterSyntax, ""},
    {"FROM:<a@b> SIZE=", Error::kParameterSyntax, ""},
    {"FROM:<a@b> SIZE=1x", Error::kParameterSyntax, ""},
    {"FROM:<a@b> SIZE=-1", Error::kParameterSyntax, ""},
    {"FROM:<a@b> SIZE=1 SIZE=1", Error::kParameterSyntax, ""},
    {"FROM:<a@b> BODY=BINARYMIME", Error::kNone, "a@b"},
    {"FROM:<a@b> BODY=BASE64", Error::kUnknownParameter, ""},
    {"FROM:<a@b> SMTPUTF8=1", Error::kParameterSyntax, ""},
    {"FROM:<a@b> RET=SOME", Error::kParameterSyntax, ""},
    {"FROM:<a@b> ENVID=a=b", Error::kParameterSyntax, ""},
    {"FROM:<a@b> ENVID=a+2", Error::kParameterSyntax, ""},
    {"FROM:<a@b> NOTIFY=NEVER", Error::kUnknownParameter, ""},
    {"FROM:<a@b> FOO", Error::kUnknownParameter, ""},
};

TEST(SmtpGrammarTest, ParsesMail) {
  for (const PathRow& row : kMailRows) {
    const SmtpPath path = ParseMailArgs(row.args);
    EXPECT_EQ(path.error, row.error) << row.args;
    if (row.error == Error::kNone) {
      EXPECT_EQ(path.address, row.address) << row.args;
    }
  }
}

TEST(SmtpGrammarTest, ParsesMailParameters) {
  const SmtpPath path = ParseMailArgs(
      "FROM:<a@b> size=18446744073709551616 body=8bitmime SMTPUTF8 RET=full ENVID=a+2Bb AUTH=<>");
  EXPECT_EQ(path.error, Error::kNone);
  EXPECT_EQ(path.size, UINT64_MAX);  // larger than any limit, not wrapped
  EXPECT_EQ(path.body, SmtpBody::k8BitMime);
  EXPECT_EQ(path.ret, "RET=full");
  EXPECT_EQ(path.envid, "ENVID=a+2Bb");
  EXPECT_EQ(path.auth, "AUTH=<>");
  EXPECT_EQ(path.parameters,
            kParamSize | kParamBody | kParamSmtpUtf8 | kParamRet | kParamEnvid | kParamAuth);
}

constexpr PathRow kRcptRows[] = {
    {"TO:<a@b.example>", Error::kNone, "a@b.example"},
    {"TO:<a@b> NOTIFY=NEVER", Error::kNone, "a@b"},
    {"TO:<a@b> NOTIFY=SUCCESS,FAILURE,DELAY ORCPT=rfc822;x@y", Error::kNone, "a@b"},
    {"TO:<>", Error::kBadAddress, ""},
    {"TO:<a@b> NOTIFY=NEVER,SUCCESS", Error::kParameterSyntax, ""},
    {"TO:<a@b> NOTIFY=SUCCESS,SUCCESS", Error::kParameterSyntax, ""},
    {"TO:<a@b> NOTIFY=", Error::kParameterSyntax, ""},
    {"TO:<a@b> ORCPT=x@y", Error::kParameterSyntax, ""},
    {"TO:<a@b> ORCPT=;x", Error::kParameterSyntax, ""},
    {"TO:<a@b> SIZE=1", Error::kUnknownParameter, ""},
};

TEST(SmtpGrammarTest, ParsesRcpt) {
  for (const PathRow& row : kRcptRows) {
    const SmtpPath path = ParseRcptArgs(row.args);
    EXPECT_EQ(path.error, row.error) << row.args;
    if (row.error == Error::kNone) {
      EXPECT_EQ(path.address, row.address) << row.args;
    }
  }
}

TEST(SmtpGrammarTest, SeesEightBitAddresses) {
  EXPECT_TRUE(ParseMailArgs("FROM:<j\xc3\xb6@b>").has_8bit);
  EXPECT_FALSE(ParseMailArgs("FROM:<j@b>").has_8bit);
}

TEST(SmtpGrammarTest, LetsNoTabIntoAnAddress) {
  EXPECT_EQ(ParseMailArgs("FROM:<\"a\tb\"@c>").error, Error::kBadAddress);
}

TEST(SmtpGrammarTest, BoundsWhatIsKept) {
  const std::string longest(kMaxSmtpAddressBytes, 'a');
  EXPECT_EQ(ParseMailArgs("FROM:<" + longest + ">").error, Error::kNone);
  EXPECT_EQ(ParseMailArgs("FROM:<" + longest + "a>").error, Error::kBadAddress);
  EXPECT_EQ(ParseRcptArgs("TO:<a@b> ORCPT=x;" + std::string(498, 'a')).error, Error::kNone);
  EXPECT_EQ(ParseRcptArgs("TO:<a@b> ORCPT=x;" + std::string(499, 'a')).error,
            Error::kParameterSyntax);
  EXPECT_TRUE(IsHelloName(std::string(kMaxSmtpHelloBytes, 'a')));
  EXPECT_FALSE(IsHelloName(std::string(kMaxSmtpHelloBytes + 1, 'a')));
}

TEST(SmtpGrammarTest, TakesAnyHelloNameWithoutControlCharacters) {
  EXPECT_TRUE(IsHelloName("[192.0.2.1]"));
  EXPECT_TRUE(IsHelloName("_odd_.example!"));
  EXPECT_TRUE(IsHelloName("\xc3\xb6.example"));
  EXPECT_FALSE(IsHelloName(""));
  EXPECT_FALSE(IsHelloName("a b"));
  EXPECT_FALSE(IsHelloName("a\nb"));
}

TEST(SmtpGrammarTest, EncodesXtext) {
  std::string out;
  AppendXtext(out, "a+b=c d\r\n\x80~!");
  EXPECT_EQ(out, "a+2Bb+3Dc+20d+0D+0A+80~!");
}

struct IdRow {
  const char* reply;
  const char* id;
};

constexpr IdRow kIdRows[] = {
    {"250 2.0.0 Ok: queued as 4XyZ12\r\n", "4XyZ12"},
    {"250 2.0.0 Ok: queued as 8A1F0C0D2E.\r\n", "8A1F0C0D2E"},
    {"250 OK id=1rAbCd-0001Xy-2Z\r\n", "1rAbCd-0001Xy-2Z"},
    {"250 2.6.0 <m@x> [InternalId=123456, Hostname=a] Queued mail for delivery\r\n", "123456"},
    {"250 2.0.0 4AOBCDEF012345 Message accepted for delivery\r\n", "4AOBCDEF012345"},
    {"250 ok 1234567890 qp 4711\r\n", "4711"},
    {"250 2.0.0 Ok\r\n", ""},
    {"250 Message accepted\r\n", ""},
};

TEST(SmtpGrammarTest, FindsQueueIds) {
  for (const IdRow& row : kIdRows) EXPECT_EQ(FindQueueId(row.reply), row.id) << row.reply;
}

}  // namespace
}  // namespace postern::proto
