// host_names_test: names that are looked up again, fail, change and are forgotten.
// SPDX-License-Identifier: Apache-2.0
#include "lb/io/host_names.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "test/support/sim_loop.h"
#include "test/support/told_resolver.h"

namespace postern::io {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using namespace std::chrono_literals;  // NOLINT: literals only

class HostNamesTest : public testing::Test {
 protected:
  void Say(std::vector<std::string> addresses, base::Duration ttl) {
    resolver_.answer = {};
    for (const std::string& address : addresses)
      resolver_.answer.addresses.push_back(*base::IpAddress::Parse(address));
    resolver_.answer.ttl = ttl;
  }
  std::unique_ptr<HostNames> Watch(std::set<std::string> hosts) {
    auto names = std::make_unique<HostNames>(
        loop_, resolver_,
        [this](const std::string& host, const std::vector<base::IpAddress>& addresses) {
          heard_.push_back(host + " " + addresses.front().ToString());
        });
    names->Watch(hosts);
    return names;
  }

  test::SimLoop loop_;
  test::ToldResolver resolver_{loop_};
  std::vector<std::string> heard_;
};

TEST_F(HostNamesTest, EachIsAskedForAtOnceAndAgainWhenItHasRunOut) {
  Say({"10.0.0.1"}, 30s);
  const auto names = Watch({"a.example", "b.example"});
  loop_.RunReady();
  EXPECT_THAT(heard_, ElementsAre("a.example 10.0.0.1", "b.example 10.0.0.1"));
  Say({"10.0.0.2"}, 30s);
  loop_.RunFor(29s);
  EXPECT_EQ(heard_.size(), 2U);
  loop_.RunFor(1s);
  EXPECT_EQ(heard_.size(), 4U);
}

TEST_F(HostNamesTest, AShortLifeDoesNotMakeItHammer) {
  Say({"10.0.0.1"}, 0s);
  const auto names = Watch({"a.example"});
  loop_.RunFor(14s);
  EXPECT_EQ(resolver_.asked.size(), 3U);
}

TEST_F(HostNamesTest, AFailureChangesNothingAndIsTriedAgain) {
  const auto names = Watch({"a.example"});
  loop_.RunReady();
  EXPECT_THAT(heard_, IsEmpty());
  Say({"10.0.0.1"}, 30s);
  loop_.RunFor(HostNames::kShortestTtl);
  EXPECT_THAT(heard_, ElementsAre("a.example 10.0.0.1"));
}

TEST_F(HostNamesTest, AnswersToAnOlderWatchAreVoid) {
  Say({"10.0.0.1"}, 30s);
  resolver_.is_silent = true;
  const auto names = Watch({"a.example"});
  names->Watch({"a.example"});
  ASSERT_EQ(resolver_.held.size(), 2U);
  resolver_.held[0](resolver_.answer);
  EXPECT_THAT(heard_, IsEmpty());
  resolver_.held[1](resolver_.answer);
  EXPECT_EQ(heard_.size(), 1U);
}

TEST_F(HostNamesTest, MayDieBeforeTheResolverAnswers) {
  Say({"10.0.0.1"}, 30s);
  resolver_.is_silent = true;
  Watch({"a.example"}).reset();
  ASSERT_EQ(resolver_.held.size(), 1U);
  resolver_.held[0](resolver_.answer);
  EXPECT_THAT(heard_, IsEmpty());
  EXPECT_EQ(loop_.timers().size(), 0U);
}

}  // namespace
}  // namespace postern::io
