// pop3_flow_test: where a relayed POP3 session may end, at any cut of its bytes.
// SPDX-License-Identifier: Apache-2.0
#include "lb/proto/pop3_flow.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "lb/base/rng.h"

namespace postern::proto {
namespace {

struct Part {
  bool is_client;
  std::string bytes;
};
struct Row {
  const char* name;
  std::vector<Part> parts;
  bool is_safe;
};

Part C(std::string bytes) {
  return {true, std::move(bytes)};
}
Part B(std::string bytes) {
  return {false, std::move(bytes)};
}

const std::vector<Row> kRows = {
    {"Start", {}, true},
    {"CommandRuns", {C("STAT\r\n")}, false},
    {"HalfACommand", {C("ST")}, false},
    {"CommandDone", {C("STAT\r\n"), B("+OK 2 320\r\n")}, true},
    {"HalfAnAnswer", {C("STAT\r\n"), B("+OK 2 320")}, false},
    {"RetrOpen", {C("RETR 1\r\n"), B("+OK\r\nabc\r\n")}, false},
    {"RetrDone", {C("RETR 1\r\n"), B("+OK\r\nabc\r\n.\r\n")}, true},
    {"RetrEmpty", {C("RETR 1\r\n"), B("+OK\r\n.\r\n")}, true},
    {"RetrStuffedDot", {C("RETR 1\r\n"), B("+OK\r\nabc\r\n..\r\n")}, false},
    {"RetrDotAtTheEndOfALine", {C("RETR 1\r\n"), B("+OK\r\nabc.\r\n")}, false},
    {"RetrRefused", {C("RETR 9\r\n"), B("-ERR none\r\n")}, true},
    {"ListAll", {C("LIST\r\n"), B("+OK\r\n1 2\r\n")}, false},
    {"ListOne", {C("LIST 1\r\n"), B("+OK 1 2\r\n")}, true},
    {"UidlAllDone", {C("uidl\r\n"), B("+OK\r\n1 a\r\n.\r\n")}, true},
    {"Top", {C("TOP 1 0\r\n"), B("+OK\r\nSubject: x\r\n\r\n.\r\n")}, true},
    {"Deleted", {C("DELE 1\r\n"), B("+OK\r\n")}, false},
    {"DeletedAndMore", {C("DELE 1\r\n"), B("+OK\r\n"), C("STAT\r\n"), B("+OK\r\n")}, false},
    {"UnaskedAnswer", {B("+OK\r\n")}, false},
    {"BytesBehindAnAnswer", {C("STAT\r\n"), B("+OK\r\n+OK\r\n")}, false},
    {"BytesBehindABody", {C("RETR 1\r\n"), B("+OK\r\na\r\n.\r\nmore")}, false},
    {"Pipelined", {C("STAT\r\nLIST\r\n"), B("+OK\r\n+OK\r\n.\r\n")}, false},
};

class Pop3FlowTest : public testing::TestWithParam<Row> {};

TEST_P(Pop3FlowTest, KnowsWhereItIsAtAnyCut) {
  for (uint64_t seed = 0; seed < 20; ++seed) {
    base::SeededRng rng(seed);
    const size_t max_piece = seed == 0 ? 1000 : seed == 1 ? 1 : 5;
    Pop3Flow flow;
    for (const Part& part : GetParam().parts) {
      std::string_view rest = part.bytes;
      while (!rest.empty()) {
        const size_t size =
            seed == 0 ? rest.size() : std::min<size_t>(rest.size(), 1 + rng.Below(max_piece));
        if (part.is_client) {
          EXPECT_EQ(flow.FromClient(rest.substr(0, size)), FlowVerdict::kPass);
        } else {
          flow.FromBackend(rest.substr(0, size));
        }
        rest.remove_prefix(size);
      }
    }
    EXPECT_EQ(flow.is_safe(), GetParam().is_safe) << seed;
  }
}

INSTANTIATE_TEST_SUITE_P(Table, Pop3FlowTest, testing::ValuesIn(kRows),
                         [](const auto& row) { return std::string(row.param.name); });

TEST(Pop3FlowEndsTest, KnowsQuitAndCounts) {
  Pop3Flow flow;
  EXPECT_EQ(flow.FromClient("STAT\r\n"), FlowVerdict::kPass);
  flow.FromBackend("+OK\r\n");
  EXPECT_EQ(flow.TakeCompleted(), FlowCommand::kStat);
  EXPECT_FALSE(flow.has_quit());
  EXPECT_EQ(flow.FromClient("quit\r\n"), FlowVerdict::kPass);
  EXPECT_TRUE(flow.has_quit());
  EXPECT_EQ(flow.num_commands(), 2U);
}

}  // namespace
}  // namespace postern::proto
