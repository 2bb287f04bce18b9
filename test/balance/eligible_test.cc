// eligible_test: which endpoints a route can lead to, by rules, relays and answers.
// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "lb/balance/endpoint.h"

namespace postern::balance {
namespace {

using testing::ElementsAre;

class EligibleTest : public testing::Test {
 protected:
  EligibleTest() {
    for (const char* name : {"a", "b", "c", "d"}) {
      conf::Backend& backend = config_.backends.emplace_back();
      backend.name = name;
      backend.host = "192.0.2.1";
      for (const conf::Protocol protocol : {conf::Protocol::kSmtp, conf::Protocol::kImap})
        backend.endpoints.emplace_back().protocol = protocol;
      conf::Pool& pool = config_.pools.emplace_back();
      pool.name = std::string("pool-") + name;
      pool.backends = {name};
    }
    config_.directories.emplace_back().name = "people";
  }
  conf::Rule& Add() { return route_.rules.emplace_back(); }
  std::vector<std::string> Names(conf::Protocol listener,
                                 const std::vector<std::vector<std::string>>& answers = {}) {
    EndpointBook book(1);
    const EndpointTable table(config_, book);
    std::vector<std::string> names;
    for (const Endpoint* endpoint : table.Eligible(route_, listener, answers))
      names.push_back(endpoint->backend->name);
    return names;
  }

  conf::Config config_;
  conf::Route route_;
};

TEST_F(EligibleTest, RulesAndAnswersNameThem) {
  Add().action = conf::Rule::ToPool{"pool-a"};
  Add().action = conf::Rule::ToBackend{"b"};
  Add().directory = "people";
  Add().action = conf::Rule::Reject{"550 5.7.1 no"};
  EXPECT_THAT(Names(conf::Protocol::kImap, {{"pool-c", "a"}}), ElementsAre("a", "b", "c"));
}

TEST_F(EligibleTest, WhereSmtpIsMissingLmtpTakesTheMail) {
  config_.backends[0].endpoints[0].protocol = conf::Protocol::kLmtp;
  config_.backends[1].endpoints.emplace_back().protocol = conf::Protocol::kLmtp;
  config_.pools[0].backends = {"a", "b"};
  config_.pools[0].storage = conf::Storage::kExclusive;
  EndpointBook book(1);
  const EndpointTable table(config_, book);
  const Home& mail = *table.PoolHome(0, conf::Protocol::kSmtp);
  EXPECT_EQ(mail.members.at(0)->conf->protocol, conf::Protocol::kLmtp);
  EXPECT_EQ(mail.members.at(1)->conf->protocol, conf::Protocol::kSmtp);
  EXPECT_TRUE(mail.is_exclusive);
  EXPECT_FALSE(table.PoolHome(2, conf::Protocol::kSmtp)->is_exclusive);
  EXPECT_TRUE(table.PoolHome(0, conf::Protocol::kSubmission)->members.empty());
}

TEST_F(EligibleTest, WhoTakesMixedTransactionsIsOneToo) {
  conf::Rule& rule = Add();
  rule.action = conf::Rule::ToPool{"pool-a"};
  rule.mixed_relay_pool = "pool-d";
  EXPECT_THAT(Names(conf::Protocol::kSmtp), testing::UnorderedElementsAre("a", "d"));
  EXPECT_THAT(Names(conf::Protocol::kImap), ElementsAre("a"));
}

}  // namespace
}  // namespace postern::balance
