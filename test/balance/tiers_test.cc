// tiers_test: priorities, sites, spill, limits of sessions, mail queues above their limit, and
// pools that are down.
// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "lb/balance/picker.h"

namespace postern::balance {
namespace {

struct Backend {
  std::string name;
  uint32_t priority = 0;
  std::string site = {};
  uint64_t max_sessions = 0;
};

class TiersTest : public testing::Test {
 protected:
  void Make(const std::vector<Backend>& backends, conf::Balance balance = conf::Balance::kLeastLoad,
            int workers = 1) {
    config_ = {};
    config_.node_site = site_;
    conf::Pool pool;
    pool.name = "p";
    pool.balance = balance;
    pool.spill_below = spill_below_;
    pool.on_down = on_down_;
    for (const Backend& its : backends) {
      conf::Backend backend;
      backend.name = its.name;
      backend.priority = its.priority;
      backend.site = its.site;
      backend.max_sessions = its.max_sessions;
      for (const conf::Protocol protocol : {conf::Protocol::kSmtp, conf::Protocol::kImap}) {
        conf::Endpoint endpoint;
        endpoint.protocol = protocol;
        backend.endpoints.push_back(endpoint);
      }
      pool.backends.push_back(backend.name);
      config_.backends.push_back(backend);
    }
    config_.pools.push_back(pool);
    book_ = std::make_unique<EndpointBook>(workers);
    table_ = std::make_unique<EndpointTable>(config_, *book_);
  }
  const Endpoint* PickOne(std::vector<EndpointId> tried = {}) {
    return picker_.Pick(*table_->PoolHome(0, protocol_), key_, tried, now_);
  }
  // Who gets work in two hundred choices, none of which begins.
  std::string Picked() {
    std::set<std::string> names;
    for (int i = 0; i < 200; ++i) {
      key_ = "user" + std::to_string(i);
      const Endpoint* endpoint = PickOne();
      names.insert(endpoint == nullptr ? "none" : endpoint->backend->name);
    }
    std::string text;
    for (const std::string& name : names) text += text.empty() ? name : " " + name;
    return text;
  }
  EndpointState& state(size_t i, conf::Protocol protocol) {
    return *book_->Get(config_.backends[i].name, protocol);
  }
  EndpointState& state(size_t i) { return state(i, protocol_); }

  std::string site_;
  double spill_below_ = 0.5;
  conf::OnDown on_down_ = conf::OnDown::kClosed;
  conf::Protocol protocol_ = conf::Protocol::kImap;
  std::string key_;
  conf::Config config_;
  std::unique_ptr<EndpointBook> book_;
  std::unique_ptr<EndpointTable> table_;
  base::SeededRng rng_{7};
  Picker picker_{0, rng_};
  base::MonoTime now_{std::chrono::hours(1)};
};

constexpr conf::Balance kAll[] = {conf::Balance::kLeastLoad, conf::Balance::kRoundRobin,
                                  conf::Balance::kHash, conf::Balance::kFirst};

TEST_F(TiersTest, LowerPriorityComesFirst) {
  for (const conf::Balance balance : kAll) {
    Make({{"cloud", 1}, {"a"}}, balance);
    EXPECT_EQ(Picked(), "a") << static_cast<int>(balance);
  }
}

TEST_F(TiersTest, TheNodesOwnSiteComesFirstWithinAPriority) {
  site_ = "tokyo";
  for (const conf::Balance balance : kAll) {
    Make({{"o", 0, "osaka"}, {"t", 0, "tokyo"}, {"u", 0, ""}, {"x", 1, "tokyo"}}, balance);
    EXPECT_EQ(Picked(), "t") << static_cast<int>(balance);
  }
}

TEST_F(TiersTest, ANodeWithoutASiteTakesAll) {
  Make({{"o", 0, "osaka"}, {"t", 0, "osaka"}});
  EXPECT_EQ(Picked(), "o t");
}

TEST_F(TiersTest, SpillsWhereTooFewAreHealthy) {
  Make({{"a"}, {"b"}, {"c"}, {"d"}, {"cloud", 1}});
  state(0).health = Health::kDown;
  state(1).health = Health::kDown;
  EXPECT_EQ(Picked(), "c d") << "half is not below half";
  state(2).health = Health::kDown;
  EXPECT_EQ(Picked(), "cloud d");
  state(2).health = Health::kUp;
  EXPECT_EQ(Picked(), "c d");
}

TEST_F(TiersTest, DrainedMembersAreNoPartOfTheHealthy) {
  Make({{"a"}, {"b"}, {"c"}, {"cloud", 1}}, conf::Balance::kRoundRobin);
  state(0).admin = AdminState::kDrain;
  state(1).admin = AdminState::kMaintenance;
  EXPECT_EQ(Picked(), "c cloud");
}

TEST_F(TiersTest, SpillsFurtherWhereTheNextIsIllToo) {
  Make({{"a"}, {"b", 1}, {"c", 1}, {"d", 1}, {"e", 2}, {"f", 3}});
  state(0).health = Health::kDown;
  EXPECT_EQ(Picked(), "b c d");
  state(1).health = Health::kDown;
  state(2).health = Health::kDown;
  EXPECT_EQ(Picked(), "d e");
}

TEST_F(TiersTest, WithSpillAtZeroOnlyAnEmptyTierIsLeft) {
  spill_below_ = 0;
  for (const conf::Balance balance : kAll) {
    Make({{"a"}, {"b"}, {"cloud", 1}}, balance);
    state(0).health = Health::kDown;
    EXPECT_EQ(Picked(), "b") << static_cast<int>(balance);
    state(1).health = Health::kDown;
    EXPECT_EQ(Picked(), "cloud") << static_cast<int>(balance);
  }
}

TEST_F(TiersTest, AFailedAttemptGoesOnToTheNextTier) {
  Make({{"a"}, {"cloud", 1}});
  EXPECT_EQ(PickOne({0})->backend->name, "a") << "id 0 is a's smtp";
  EXPECT_EQ(PickOne({1})->backend->name, "cloud");
}

TEST_F(TiersTest, ACooldownGoesToTheNextTierAndNotToTheOneThatFails) {
  Make({{"a"}, {"cloud", 1}});
  picker_.Failed(*PickOne(), Picker::Blame::kPassive, now_);
  EXPECT_EQ(Picked(), "cloud");
}

// Limits of sessions.

TEST_F(TiersTest, ABackendTakesNoMoreThanItsSessionsOverAllItsEndpoints) {
  for (const conf::Balance balance : kAll) {
    Make({{"a", 0, "", 3}, {"b", 1}}, balance, 2);
    Picker other(1, rng_);
    other.Started(state(0, conf::Protocol::kSmtp));
    picker_.Started(state(0));
    EXPECT_EQ(Picked(), "a") << static_cast<int>(balance);
    picker_.Started(state(0));
    EXPECT_EQ(Picked(), "b") << static_cast<int>(balance);
    other.Ended(state(0, conf::Protocol::kSmtp));
    EXPECT_EQ(Picked(), "a") << static_cast<int>(balance);
  }
}

TEST_F(TiersTest, AllFullIsNobody) {
  Make({{"a", 0, "", 1}, {"b", 0, "", 1}});
  picker_.Started(state(0));
  picker_.Started(state(1));
  EXPECT_EQ(PickOne(), nullptr);
}

// Mail queues above their hard limit.

TEST_F(TiersTest, AboveHardTakesNoMailWhileAnotherIsBelow) {
  protocol_ = conf::Protocol::kSmtp;
  for (const conf::Balance balance :
       {conf::Balance::kLeastLoad, conf::Balance::kRoundRobin, conf::Balance::kFirst}) {
    Make({{"a"}, {"b", 1}}, balance);
    state(0).is_above_hard = true;
    EXPECT_EQ(Picked(), "b") << static_cast<int>(balance);
    state(1).is_above_hard = true;
    EXPECT_EQ(Picked(), "a") << static_cast<int>(balance);
  }
}

TEST_F(TiersTest, AboveHardIsBetterThanOneThatFails) {
  protocol_ = conf::Protocol::kSmtp;
  Make({{"a"}, {"b"}});
  state(0).is_above_hard = true;
  picker_.Failed(*table_->PoolHome(0, protocol_)->members[1], Picker::Blame::kPassive, now_);
  EXPECT_EQ(Picked(), "a");
}

TEST_F(TiersTest, TheHashHeedsNoMeasuredNumber) {
  protocol_ = conf::Protocol::kSmtp;
  Make({{"a"}, {"b"}, {"c"}}, conf::Balance::kHash);
  std::map<std::string, const Endpoint*> before;
  for (int i = 0; i < 100; ++i) {
    key_ = std::to_string(i);
    before[key_] = PickOne();
  }
  state(0).is_above_hard = true;
  state(1).weight_ratio = 0.05F;
  for (const auto& [key, endpoint] : before) {
    key_ = key;
    EXPECT_EQ(PickOne(), endpoint);
  }
}

// Pools that are down.

TEST_F(TiersTest, ADownPoolIsClosedUnlessItIsOpen) {
  Make({{"a"}, {"b", 1}});
  state(0).health = state(1).health = Health::kDown;
  EXPECT_EQ(PickOne(), nullptr);
  on_down_ = conf::OnDown::kOpen;
  Make({{"a"}, {"b", 1}});
  state(0).health = state(1).health = Health::kDown;
  EXPECT_TRUE(table_->PoolHome(0, protocol_)->HasAnother({}));
  const Endpoint* first = PickOne();
  ASSERT_NE(first, nullptr);
  picker_.Failed(*first, Picker::Blame::kPassive, now_);
  const Endpoint* second = PickOne();
  ASSERT_NE(second, nullptr);
  EXPECT_NE(first, second) << "the one that failed longest ago";
  const EndpointId both[] = {first->id, second->id};
  EXPECT_EQ(PickOne({both[0], both[1]}), nullptr);
}

TEST_F(TiersTest, AnOpenPoolStillLeavesOutWhatTheOperatorTookAway) {
  on_down_ = conf::OnDown::kOpen;
  Make({{"a"}, {"b"}});
  state(0).health = state(1).health = Health::kDown;
  state(0).admin = AdminState::kMaintenance;
  EXPECT_EQ(Picked(), "b");
}

TEST_F(TiersTest, AnOpenPoolWithOneUpAsksOnlyThat) {
  on_down_ = conf::OnDown::kOpen;
  Make({{"a"}, {"b"}});
  state(0).health = Health::kDown;
  EXPECT_EQ(Picked(), "b");
}

}  // namespace
}  // namespace postern::balance
