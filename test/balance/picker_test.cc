// picker_test: who gets the work.
// SPDX-License-Identifier: Apache-2.0
#include "lb/balance/picker.h"

#include <gtest/gtest.h>

#include <map>

namespace postern::balance {
namespace {

class PickerTest : public testing::Test {
 protected:
  // Backends b0, b1, ... with these weights, each with imap and smtp, all in pool p.
  void Make(std::vector<uint32_t> weights, conf::Balance balance,
            conf::Storage storage = conf::Storage::kShared) {
    conf::Pool pool;
    pool.name = "p";
    pool.balance = balance;
    pool.storage = storage;
    for (size_t i = 0; i < weights.size(); ++i) {
      conf::Backend backend;
      backend.name = "b" + std::to_string(i);
      backend.weight = weights[i];
      for (const conf::Protocol protocol : {conf::Protocol::kSmtp, conf::Protocol::kImap}) {
        conf::Endpoint endpoint;
        endpoint.protocol = protocol;
        backend.endpoints.push_back(endpoint);
      }
      pool.backends.push_back(backend.name);
      config_.backends.push_back(backend);
    }
    config_.pools.push_back(pool);
    table_ = std::make_unique<EndpointTable>(config_, book_);
  }
  const Home& home() { return *table_->PoolHome(0, conf::Protocol::kImap); }
  std::string Pick(std::vector<EndpointId> tried = {}, std::string_view key = "") {
    const Endpoint* endpoint = picker_.Pick(home(), key, tried, now_);
    return endpoint == nullptr ? "none" : endpoint->backend->name;
  }
  EndpointState& state(size_t i) { return *home().members[i]->state; }

  conf::Config config_;
  EndpointBook book_{1};
  std::unique_ptr<EndpointTable> table_;
  base::SeededRng rng_{7};
  Picker picker_{0, rng_};
  base::MonoTime now_{std::chrono::hours(1)};
};

TEST_F(PickerTest, RoundRobinIsSmoothAndWeighted) {
  Make({50, 10, 10}, conf::Balance::kRoundRobin);
  std::string order;
  for (int i = 0; i < 7; ++i) order += Pick();
  EXPECT_EQ(order, "b0b0b0b1b2b0b0");
}

TEST_F(PickerTest, RoundRobinOfOnePoolIsNotMovedByAnother) {
  Make({100, 100, 100}, conf::Balance::kRoundRobin);
  config_.pools[0].backends = {"b0", "b1"};
  conf::Pool other = config_.pools[0];
  other.name = "q";
  other.backends = {"b0", "b2"};
  config_.pools.push_back(other);
  table_ = std::make_unique<EndpointTable>(config_, book_);
  std::string of_p, of_q;
  for (int i = 0; i < 4; ++i) {
    of_p += Pick();
    of_q += picker_.Pick(*table_->PoolHome(1, conf::Protocol::kImap), "", {}, now_)->backend->name;
  }
  EXPECT_EQ(of_p, "b0b1b0b1");
  EXPECT_EQ(of_q, "b0b2b0b2");
}

TEST_F(PickerTest, RoundRobinGoesOnAfterAReload) {
  Make({100, 100}, conf::Balance::kRoundRobin);
  EXPECT_EQ(Pick(), "b0");
  table_ = std::make_unique<EndpointTable>(config_, book_);
  EXPECT_EQ(Pick(), "b1");
}

TEST_F(PickerTest, WhoHasLeftWithAllOthersIsNotChosenAfterAReload) {
  for (const conf::Balance balance : {conf::Balance::kRoundRobin, conf::Balance::kLeastLoad,
                                      conf::Balance::kFirst, conf::Balance::kHash}) {
    config_ = {};
    Make({100, 100}, balance);
    EXPECT_NE(Pick(), "none");
    config_.pools[0].backends.clear();
    table_ = std::make_unique<EndpointTable>(config_, book_);
    EXPECT_EQ(Pick(), "none");
  }
}

TEST_F(PickerTest, LeastLoadGoesWhereLessIsOpenForTheWeight) {
  Make({100, 100}, conf::Balance::kLeastLoad);
  picker_.Started(state(0));
  for (int i = 0; i < 20; ++i) EXPECT_EQ(Pick(), "b1");
  picker_.Started(state(1));
  picker_.Started(state(1));
  for (int i = 0; i < 20; ++i) EXPECT_EQ(Pick(), "b0");
}

TEST_F(PickerTest, LeastLoadSharesByWeight) {
  Make({300, 100, 100, 100}, conf::Balance::kLeastLoad);
  std::map<std::string, int> count;
  for (int i = 0; i < 6000; ++i) {
    const Endpoint* endpoint = picker_.Pick(home(), "", {}, now_);
    picker_.Started(*endpoint->state);  // never ended: the load shows the shares
    ++count[endpoint->backend->name];
  }
  EXPECT_NEAR(count["b0"], 3000, 300);
  EXPECT_NEAR(count["b1"], 1000, 150);
}

TEST_F(PickerTest, WeightZeroTakesWorkOnlyWhereThereIsNobodyElse) {
  Make({0, 100, 0, 0}, conf::Balance::kLeastLoad);
  for (int i = 0; i < 200; ++i) EXPECT_EQ(Pick(), "b1");
  EXPECT_NE(Pick({home().members[1]->id}), "none");
}

TEST_F(PickerTest, TriedEndpointsAreLeftOut) {
  Make({100, 100, 100}, conf::Balance::kLeastLoad);
  const EndpointId first = home().members[0]->id;
  const EndpointId second = home().members[1]->id;
  for (int i = 0; i < 50; ++i) EXPECT_EQ(Pick({first, second}), "b2");
  EXPECT_EQ(Pick({first, second, home().members[2]->id}), "none");
}

TEST_F(PickerTest, AFailureBeforeTheClientCoolsDownAndEndsByTime) {
  Make({100, 100}, conf::Balance::kLeastLoad);
  picker_.Failed(*home().members[0], Picker::Blame::kPassive, now_);
  for (int i = 0; i < 20; ++i) EXPECT_EQ(Pick(), "b1");
  now_ += std::chrono::seconds(6);  // cooldown is 5 s
  std::map<std::string, int> count;
  for (int i = 0; i < 50; ++i) ++count[Pick()];
  EXPECT_GT(count["b0"], 0);
}

TEST_F(PickerTest, OtherFailuresDoNotCoolDown) {
  Make({100, 100}, conf::Balance::kFirst);
  picker_.Failed(*home().members[0], Picker::Blame::kNone, now_);
  EXPECT_EQ(Pick(), "b0");
}

TEST_F(PickerTest, CooldownsAloneNeverEmptyAHome) {
  Make({100, 100}, conf::Balance::kLeastLoad);
  picker_.Failed(*home().members[1], Picker::Blame::kPassive, now_);
  picker_.Failed(*home().members[0], Picker::Blame::kPassive, now_ + std::chrono::seconds(1));
  now_ += std::chrono::seconds(2);
  EXPECT_EQ(Pick(), "b1") << "the one that failed longest ago";
  EXPECT_EQ(Pick({home().members[1]->id}), "b0");
}

TEST_F(PickerTest, SuccessEndsACooldown) {
  Make({100, 100}, conf::Balance::kFirst);
  picker_.Failed(*home().members[0], Picker::Blame::kPassive, now_);
  EXPECT_EQ(Pick(), "b1");
  picker_.Succeeded(*home().members[0]);
  EXPECT_EQ(Pick(), "b0");
}

TEST_F(PickerTest, DownAndDrainedNeverGetWork) {
  Make({100, 100}, conf::Balance::kLeastLoad);
  state(0).health = Health::kDown;
  for (int i = 0; i < 20; ++i) EXPECT_EQ(Pick(), "b1");
  state(1).admin = AdminState::kDrain;
  EXPECT_EQ(Pick(), "none");
}

TEST_F(PickerTest, AFailedAttemptCountsAsLoadForASecond) {
  Make({100, 100}, conf::Balance::kLeastLoad);
  picker_.Failed(*home().members[0], Picker::Blame::kNone, now_);
  EXPECT_EQ(state(0).ActiveSum(), 1U);
  now_ += std::chrono::milliseconds(1001);
  (void)Pick();
  EXPECT_EQ(state(0).ActiveSum(), 0U);
}

TEST_F(PickerTest, HashMovesOnlyTheShareOfTheOneThatLeaves) {
  Make({100, 100, 100, 100}, conf::Balance::kHash);
  int moved = 0;
  int of_b2 = 0;
  for (int i = 0; i < 2000; ++i) {
    const std::string user = "user" + std::to_string(i) + "@example.com";
    const std::string before = Pick({}, user);
    const std::string after = Pick({home().members[2]->id}, user);
    of_b2 += before == "b2";
    moved += before != after;
    if (before != "b2") {
      EXPECT_EQ(before, after);
    }
  }
  EXPECT_EQ(moved, of_b2);
  EXPECT_NEAR(of_b2, 500, 100);
}

TEST_F(PickerTest, TheKeyIsMadeOfWhatThePoolHashes) {
  Make({100, 100}, conf::Balance::kHash);
  EXPECT_EQ(KeyPartOf(home()), KeyPart::kName);
  config_.pools[0].hash_on = conf::HashOn::kClient;
  EXPECT_EQ(KeyPartOf(home()), KeyPart::kClient);
  EXPECT_EQ(KeyPartOf(*table_->BackendHome(0, conf::Protocol::kImap)), KeyPart::kNone);
  for (const conf::Balance balance :
       {conf::Balance::kLeastLoad, conf::Balance::kRoundRobin, conf::Balance::kFirst}) {
    config_.pools[0].balance = balance;
    EXPECT_EQ(KeyPartOf(home()), KeyPart::kNone) << static_cast<int>(balance);
  }
}

TEST_F(PickerTest, ClientsAreSharedByTheirAddressHoweverItIsWritten) {
  Make({100, 100}, conf::Balance::kHash);
  EXPECT_EQ(ClientKey(*base::IpAddress::Parse("::ffff:192.0.2.1")),
            ClientKey(*base::IpAddress::Parse("192.0.2.1")));
  std::map<std::string, int> shares;
  for (int i = 0; i < 2000; ++i) {
    const std::string ip = "10.1." + std::to_string(i / 200) + "." + std::to_string(i % 200);
    ++shares[Pick({}, ClientKey(*base::IpAddress::Parse(ip)))];
  }
  EXPECT_NEAR(shares["b0"], 1000, 100);
  EXPECT_NEAR(shares["b1"], 1000, 100);
}

TEST_F(PickerTest, MailHeedsQueuesOthersAndTheHashDoNot) {
  Make({100, 100}, conf::Balance::kFirst);
  EXPECT_FALSE(HeedsHard(home()));
  EXPECT_TRUE(HeedsHard(*table_->PoolHome(0, conf::Protocol::kSmtp)));
  EXPECT_FALSE(HeedsHard(*table_->BackendHome(0, conf::Protocol::kSmtp)));
  config_.pools[0].balance = conf::Balance::kHash;
  EXPECT_FALSE(HeedsHard(*table_->PoolHome(0, conf::Protocol::kSmtp)));
}

TEST_F(PickerTest, StorageDecidesWhoMayStandIn) {
  Make({100, 100}, conf::Balance::kLeastLoad, conf::Storage::kSeparate);
  EXPECT_FALSE(table_->PoolHome(0, conf::Protocol::kImap)->may_fail_over);
  EXPECT_TRUE(table_->PoolHome(0, conf::Protocol::kSmtp)->may_fail_over);
}

TEST_F(PickerTest, StateSurvivesANewTable) {
  Make({100, 100}, conf::Balance::kFirst);
  picker_.Failed(*home().members[0], Picker::Blame::kPassive, now_);
  table_ = std::make_unique<EndpointTable>(config_, book_);
  EXPECT_EQ(Pick(), "b1");
}

TEST_F(PickerTest, APoolWithoutTheProtocolHasNoMembers) {
  Make({100}, conf::Balance::kLeastLoad);
  EXPECT_TRUE(table_->PoolHome(0, conf::Protocol::kPop3)->members.empty());
  EXPECT_EQ(picker_.Pick(*table_->PoolHome(0, conf::Protocol::kPop3), "", {}, now_), nullptr);
}

}  // namespace
}  // namespace postern::balance
