// imap_flow_test: where a relayed IMAP session may end, at any cut of its bytes.
// SPDX-License-Identifier: Apache-2.0
#include "lb/proto/imap_flow.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "lb/base/rng.h"
#include "lb/proto/flow.h"

namespace postern::proto {
namespace {

enum class From { kClient, kBackend };
struct Part {
  From from;
  std::string bytes;
};
struct Row {
  const char* name;
  std::vector<Part> parts;
  bool is_safe, may_say_bye;
};

Part C(std::string bytes) {
  return {From::kClient, std::move(bytes)};
}
Part B(std::string bytes) {
  return {From::kBackend, std::move(bytes)};
}

const std::vector<Row> kRows = {
    {"Start", {}, true, true},
    {"CommandRuns", {C("a NOOP\r\n")}, false, true},
    {"CommandDone", {C("a NOOP\r\n"), B("a OK done\r\n")}, true, true},
    {"HalfACommand", {C("a NO")}, false, true},
    {"HalfAnAnswer", {C("a NOOP\r\n"), B("a OK do")}, false, false},
    {"UnfinishedCrLf", {C("a NOOP\r\n"), B("a OK done\r")}, false, false},
    {"UntaggedFirst", {C("a NOOP\r\n"), B("* 3 EXISTS\r\n")}, false, true},
    {"OtherTag", {C("a NOOP\r\n"), B("b OK done\r\n")}, false, true},
    {"TagIsAPrefix", {C("ab NOOP\r\n"), B("a OK done\r\n")}, false, true},
    {"No", {C("a SELECT x\r\n"), B("a NO none\r\n")}, true, true},
    {"PipelinedFirstDone", {C("a NOOP\r\nb NOOP\r\n"), B("a OK\r\n")}, false, true},
    {"PipelinedAllDone", {C("a NOOP\r\nb NOOP\r\n"), B("a OK\r\nb OK x\r\n")}, true, true},
    {"Idle", {C("a IDLE\r\n"), B("+ idling\r\n")}, true, true},
    {"IdleNews", {C("a idle\r\n"), B("+ idling\r\n* 4 EXISTS\r\n")}, true, true},
    {"IdleHalfNews", {C("a IDLE\r\n"), B("+ idling\r\n* 4 EX")}, false, false},
    {"IdleDone", {C("a IDLE\r\n"), B("+ idling\r\n"), C("DONE\r\n")}, false, true},
    {"IdleOver", {C("a IDLE\r\n"), B("+ \r\n"), C("DONE\r\n"), B("a OK idle\r\n")}, true, true},
    {"FetchLiteralOpen",
     {C("a FETCH 1 BODY[]\r\n"), B("* 1 FETCH (BODY[] {10}\r\nabcde")},
     false,
     false},
    {"FetchLiteralEndsLineOpen",
     {C("a FETCH 1 BODY[]\r\n"), B("* 1 FETCH (BODY[] {5}\r\nabcde")},
     false,
     false},
    {"FetchDone",
     {C("a FETCH 1 BODY[]\r\n"), B("* 1 FETCH (BODY[] {5}\r\nabcde)\r\na OK done\r\n")},
     true,
     true},
    {"AnswerInALiteralIsNone",
     {C("a FETCH 1 BODY[]\r\n"), B("* 1 FETCH (BODY[] {11}\r\na OK done\r\n")},
     false,
     false},
    {"AnswerBehindALiteralIsNone",
     {C("a FETCH 1 BODY[]\r\n"), B("* 1 FETCH (X {2}\r\nxya OK done\r\n")},
     false,
     true},
    {"TwoLiterals",
     {C("a FETCH 1 ALL\r\n"), B("* 1 FETCH (X {2}\r\nab Y {3}\r\ncde)\r\na OK\r\na OK x\r\n")},
     true,
     true},
    {"EmptyLiteral",
     {C("a FETCH 1 ALL\r\n"), B("* 1 FETCH (X {0}\r\n)\r\na OK x\r\n")},
     true,
     true},
    {"AppendLiteralAsked", {C("a APPEND x {5}\r\n")}, false, true},
    {"AppendLiteralOpen", {C("a APPEND x {5}\r\n"), B("+ OK\r\n"), C("abc")}, false, true},
    {"AppendLiteralDone", {C("a APPEND x {5}\r\n"), B("+ OK\r\n"), C("abcde\r\n")}, false, true},
    {"AppendDone",
     {C("a APPEND x {5}\r\n"), B("+ OK\r\n"), C("abcde\r\n"), B("a OK x\r\n")},
     true,
     true},
    {"AppendRefused", {C("a APPEND x {5}\r\n"), B("a NO [TRYCREATE] none\r\n")}, true, true},
    {"AppendRefusedThenNext",
     {C("a APPEND x {5}\r\n"), B("a NO no\r\n"), C("b NOOP\r\n"), B("b OK x\r\n")},
     true,
     true},
    {"CommandInALiteralIsNone",
     {C("a APPEND x {10+}\r\nb LOGOUT\r\n\r\n"), B("a OK x\r\n")},
     true,
     true},
    {"NonSyncAppend", {C("a APPEND x {3+}\r\nabc\r\n"), B("a OK x\r\n")}, true, true},
    {"Compressed", {C("a COMPRESS DEFLATE\r\n"), B("a OK x\r\n")}, false, false},
    {"CompressRefused", {C("a COMPRESS DEFLATE\r\n"), B("a NO x\r\n")}, true, true},
    {"CompressAndMore",
     {C("a COMPRESS DEFLATE\r\nb NOOP\r\n"), B("a NO x\r\nb OK x\r\n")},
     false,
     false},
    {"Bye", {B("* BYE going\r\n")}, false, false},
    {"LowerBye", {B("* bye going\r\n")}, false, false},
    {"NoBye", {B("* BY\r\n")}, true, true},
    {"ByeInText", {B("* OK * BYE\r\n")}, true, true},
    {"ByeInALiteral",
     {C("a FETCH 1 X\r\n"), B("* 1 FETCH (X {9}\r\n* BYE x\r\n)\r\na OK x\r\n")},
     true,
     true},
    {"BracesInText", {B("* OK {x}\r\n")}, true, true},
    {"HugeLiteral", {B("* 1 FETCH (X {99999999999999999999}\r\nabc")}, false, false},
    {"LineOfDigits", {B("* OK " + std::string(100, '1') + "\r\n")}, true, true},
};

class ImapFlowTest : public testing::TestWithParam<Row> {};

void Replay(ImapFlow& flow, const std::vector<Part>& parts, size_t max_piece, uint64_t seed) {
  base::SeededRng rng(seed);
  for (const Part& part : parts) {
    std::string_view rest = part.bytes;
    while (!rest.empty()) {
      const size_t size = std::min<size_t>(rest.size(), 1 + rng.Below(max_piece));
      if (part.from == From::kClient) {
        ASSERT_EQ(flow.FromClient(rest.substr(0, size)), FlowVerdict::kPass);
      } else {
        flow.FromBackend(rest.substr(0, size));
      }
      rest.remove_prefix(size);
    }
  }
}

TEST_P(ImapFlowTest, KnowsWhereItIsAtAnyCut) {
  for (uint64_t seed = 0; seed < 20; ++seed) {
    ImapFlow flow;
    Replay(flow, GetParam().parts, seed == 0 ? SIZE_MAX / 2 : seed == 1 ? 1 : 7, seed);
    EXPECT_EQ(flow.is_safe(), GetParam().is_safe) << seed;
    EXPECT_EQ(flow.may_say_bye(), GetParam().may_say_bye) << seed;
  }
}

INSTANTIATE_TEST_SUITE_P(Table, ImapFlowTest, testing::ValuesIn(kRows),
                         [](const auto& row) { return std::string(row.param.name); });

TEST(ImapFlowEndsTest, KnowsLogout) {
  ImapFlow flow;
  EXPECT_FALSE(flow.has_quit());
  EXPECT_EQ(flow.FromClient("a LOGOUT\r\n"), FlowVerdict::kPass);
  EXPECT_TRUE(flow.has_quit());
}

TEST(ImapFlowEndsTest, LogoutInALiteralIsNone) {
  ImapFlow flow;
  EXPECT_EQ(flow.FromClient("a APPEND x {10+}\r\nb LOGOUT\r\n\r\n"), FlowVerdict::kPass);
  EXPECT_FALSE(flow.has_quit());
}

TEST(ImapFlowEndsTest, ForbidsUnauthenticate) {
  for (const char* line : {"a UNAUTHENTICATE\r\n", "a unauthenticate\r\n"}) {
    ImapFlow flow;
    EXPECT_EQ(flow.FromClient(line), FlowVerdict::kForbidden);
  }
}

TEST(ImapFlowEndsTest, CountsCommandsAndTellsWhichIsDone) {
  ImapFlow flow;
  (void)flow.FromClient("a SELECT INBOX\r\nb uid FETCH 1 X\r\n");
  EXPECT_EQ(flow.num_commands(), 2U);
  EXPECT_EQ(flow.TakeCompleted(), std::nullopt);
  flow.FromBackend("a OK x\r\nb OK x\r\n");
  EXPECT_EQ(flow.TakeCompleted(), FlowCommand::kUid);
  EXPECT_EQ(flow.TakeCompleted(), std::nullopt);
}

TEST(MailFlowTest, SaysGoodbyeInImapAlone) {
  MailFlow imap(MailProtocol::kImap), pop3(MailProtocol::kPop3);
  EXPECT_TRUE(imap.Goodbye(Farewell::kDrain).starts_with("* BYE "));
  EXPECT_TRUE(imap.Goodbye(Farewell::kBackendLost).ends_with("\r\n"));
  EXPECT_EQ(pop3.Goodbye(Farewell::kDrain), "");
  imap.FromBackend("* 1 FE");
  EXPECT_EQ(imap.Goodbye(Farewell::kDrain), "");
}

}  // namespace
}  // namespace postern::proto
