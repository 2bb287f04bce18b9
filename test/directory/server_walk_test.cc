// server_walk_test: servers in turn, and whose failure it is with none left.
// SPDX-License-Identifier: Apache-2.0
#include "lb/directory/server_walk.h"

#include <gtest/gtest.h>

#include <string>

#include "test/support/sim_loop.h"
#include "test/support/told_resolver.h"

namespace postern::directory {
namespace {

using Kind = io::LookupAnswer::Kind;

class ServerWalkTest : public testing::Test {
 protected:
  // Which are asked, when each is left so.
  std::string Walk(Blame first, Blame second) {
    ServerWalk walk(servers_);
    std::string asked;
    for (const Blame blame : {first, second}) {
      EXPECT_TRUE(walk.Next());
      asked += std::to_string(walk.server());
      walk.Leave("why", blame);
    }
    EXPECT_FALSE(walk.Next());
    failure_ = walk.Failure();
    return asked;
  }

  test::SimLoop loop_;
  test::ToldResolver resolver_{loop_};
  Servers servers_{loop_, resolver_, "users", {{"10.0.0.1", 1, {}}, {"10.0.0.2", 1, {}}}};
  io::LookupAnswer failure_;
};

TEST_F(ServerWalkTest, EachIsAskedOnceAndSaysWhatItDid) {
  EXPECT_EQ(Walk(Blame::kServer, Blame::kServer), "01");
  EXPECT_EQ(failure_.kind, Kind::kFailed);
  EXPECT_EQ(failure_.why, "10.0.0.1:1: why; 10.0.0.2:1: why");
  EXPECT_FALSE(failure_.is_of_question || failure_.was_not_asked);
}

TEST_F(ServerWalkTest, ThoseKnownAsDeadAreTriedLast) {
  (void)Walk(Blame::kServer, Blame::kQuestion);
  EXPECT_EQ(Walk(Blame::kServer, Blame::kServer), "10");
}

TEST_F(ServerWalkTest, OneThatWorksMakesItTheQuestionsFault) {
  (void)Walk(Blame::kServer, Blame::kQuestion);
  EXPECT_TRUE(failure_.is_of_question);
}

TEST_F(ServerWalkTest, OurOwnWantIsNobodysFault) {
  (void)Walk(Blame::kUs, Blame::kUs);
  EXPECT_TRUE(failure_.was_not_asked);
  EXPECT_EQ(Walk(Blame::kUs, Blame::kServer), "01");
  EXPECT_TRUE(failure_.was_not_asked);
}

TEST_F(ServerWalkTest, AnAnswerBearsItsServersName) {
  ServerWalk walk(servers_);
  ASSERT_TRUE(walk.Next());
  io::LookupAnswer answer;
  answer.kind = Kind::kRefused;
  answer.why = "no";
  EXPECT_EQ(walk.Answered(answer).why, "10.0.0.1:1: no");
  answer.why.clear();
  EXPECT_EQ(walk.Answered(answer).why, "10.0.0.1:1");
}

}  // namespace
}  // namespace postern::directory
