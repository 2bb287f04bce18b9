// servers_test: places as they are written, and the order in which servers are asked.
// SPDX-License-Identifier: Apache-2.0
#include "lb/directory/servers.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "test/support/sim_loop.h"
#include "test/support/told_resolver.h"

namespace postern::directory {
namespace {

using testing::ElementsAre;
using namespace std::chrono_literals;  // NOLINT: literals only

std::string Parsed(std::string_view text) {
  const auto place = ServerPlace::Parse(text);
  return place ? place->ToString() : "none";
}

TEST(ServerPlaceTest, HostsAddressesAndLocalSockets) {
  EXPECT_EQ(Parsed("redis.example:6379"), "redis.example:6379");
  EXPECT_EQ(Parsed("192.0.2.1:6379"), "192.0.2.1:6379");
  EXPECT_EQ(Parsed("[2001:db8::1]:6379"), "[2001:db8::1]:6379");
  EXPECT_EQ(Parsed("unix:/run/redis.sock"), "unix:/run/redis.sock");
  for (const char* text : {"", ":6379", "redis.example", "redis.example:", "redis.example:x",
                           "redis.example:65536", "2001:db8::1:6379", "unix:"})
    EXPECT_EQ(Parsed(text), "none") << text;
}

class ServersTest : public testing::Test {
 protected:
  test::SimLoop loop_;
  test::ToldResolver resolver_{loop_};
  Servers servers_{
      loop_, resolver_, "users", {{"10.0.0.1", 1, {}}, {"10.0.0.2", 1, {}}, {"10.0.0.3", 1, {}}}};
};

TEST_F(ServersTest, InTheOrderOfTheConfiguration) {
  EXPECT_THAT(servers_.Order(), ElementsAre(0, 1, 2));
}

TEST_F(ServersTest, ThoseThatFailedComeLastTheLongestAgoFirst) {
  servers_.OnFailed(1, "x");
  loop_.RunFor(1s);
  servers_.OnFailed(0, "x");
  EXPECT_THAT(servers_.Order(), ElementsAre(2, 1, 0));
  servers_.OnAnswered(0);
  EXPECT_THAT(servers_.Order(), ElementsAre(0, 2, 1));
}

TEST_F(ServersTest, AfterAWhileOneQuestionTries) {
  servers_.OnFailed(0, "x");
  loop_.RunFor(ServerOrder::kSkipFor);
  EXPECT_THAT(servers_.Order(), ElementsAre(0, 1, 2));
  servers_.OnAsked(0);
  EXPECT_THAT(servers_.Order(), ElementsAre(1, 2, 0));
  servers_.OnAnswered(0);
  EXPECT_THAT(servers_.Order(), ElementsAre(0, 1, 2));
}

}  // namespace
}  // namespace postern::directory
