// share_test: does the share of the work follow the weight, when idle and when busy?
//
// A pool whose members serve with any number at once, on virtual time: Poisson arrivals,
// exponential service. Each test prints no more than it claims; POSTERN_SHARES=1 prints the table.
// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>
#include <functional>
#include <queue>

#include "lb/balance/picker.h"

namespace postern::balance {
namespace {

class ShareTest : public testing::Test {
 protected:
  void Make(size_t num, conf::Balance balance) {
    config_ = {};
    conf::Pool pool;
    pool.name = "p";
    pool.balance = balance;
    for (size_t i = 0; i < num; ++i) {
      conf::Backend backend;
      backend.name = std::string("b") + std::to_string(i);
      backend.endpoints.emplace_back().protocol = conf::Protocol::kImap;
      pool.backends.push_back(backend.name);
      config_.backends.push_back(backend);
    }
    config_.pools.push_back(pool);
    book_ = std::make_unique<EndpointBook>(1);
    table_ = std::make_unique<EndpointTable>(config_, *book_);
    home_ = table_->PoolHome(0, conf::Protocol::kImap);
  }
  // Shares of the members when `open` sessions are under way on average; member 0 takes `slow`
  // times longer for each.
  std::vector<double> Shares(double open, double slow = 1) {
    constexpr int kArrivals = 40000;
    struct End {
      double at;
      size_t member;
      bool operator>(const End& other) const { return at > other.at; }
    };
    std::priority_queue<End, std::vector<End>, std::greater<>> ends;
    std::vector<double> shares(home_->members.size());
    double now = 0;
    const auto exponential = [&] { return -std::log(1 - rng_.Unit()); };
    for (int i = 0; i < kArrivals; ++i) {
      now += exponential() / open;
      while (!ends.empty() && ends.top().at <= now) {
        picker_.Ended(*home_->members[ends.top().member]->state);
        ends.pop();
      }
      const base::MonoTime time(std::chrono::hours(1) +
                                std::chrono::milliseconds(static_cast<int64_t>(now * 1000)));
      const Endpoint* endpoint = picker_.Pick(*home_, "", {}, time);
      const size_t member = endpoint->backend_index;
      picker_.Started(*endpoint->state);
      ends.push({now + exponential() * (member == 0 ? slow : 1), member});
      shares[member] += 1.0 / kArrivals;
    }
    for (; !ends.empty(); ends.pop()) picker_.Ended(*home_->members[ends.top().member]->state);
    if (std::getenv("POSTERN_SHARES") != nullptr) {
      std::printf("%6.1f open, x%.0f:", open, slow);
      for (const double share : shares) std::printf(" %5.1f %%", share * 100);
      std::printf("\n");
    }
    return shares;
  }
  void SetRatio(size_t member, float ratio) { home_->members[member]->state->weight_ratio = ratio; }

  conf::Config config_;
  std::unique_ptr<EndpointBook> book_;
  std::unique_ptr<EndpointTable> table_;
  const Home* home_ = nullptr;
  base::SeededRng rng_{7};
  Picker picker_{0, rng_};
};

constexpr double kLoads[] = {0.1, 1, 3, 10, 50, 300};

TEST_F(ShareTest, ALightMemberGetsItsShareUnderAnyLoad) {
  for (const size_t num : {2U, 5U, 40U}) {
    Make(num, conf::Balance::kLeastLoad);
    SetRatio(0, 0.05F);
    const double wanted = 0.05 / (static_cast<double>(num) - 0.95);
    for (const double open : kLoads) {
      const double share = Shares(open)[0];
      EXPECT_GT(share, wanted * 0.4) << num << " members, " << open;
      EXPECT_LT(share, wanted * 1.5) << num << " members, " << open;
    }
  }
}

TEST_F(ShareTest, ALightMemberThatIsSlowGetsNoMoreThanItsShare) {
  Make(5, conf::Balance::kLeastLoad);
  SetRatio(0, 0.05F);
  for (const double open : kLoads) EXPECT_LT(Shares(open, 10)[0], 0.0123 * 1.5) << open;
}

TEST_F(ShareTest, UnequalWeightsAreKept) {
  Make(4, conf::Balance::kLeastLoad);
  SetRatio(0, 0.5F);
  SetRatio(1, 0.25F);
  for (const double open : kLoads) {
    const std::vector<double> shares = Shares(open);
    EXPECT_NEAR(shares[0], 0.5 / 2.75, 0.06) << open;
    EXPECT_NEAR(shares[1], 0.25 / 2.75, 0.05) << open;
  }
}

TEST_F(ShareTest, AmongEqualsASlowOneGetsLess) {
  Make(5, conf::Balance::kLeastLoad);
  EXPECT_LT(Shares(50, 10)[0], 0.06);
}

TEST_F(ShareTest, RoundRobinKeepsWeightsExactly) {
  Make(5, conf::Balance::kRoundRobin);
  SetRatio(0, 0.05F);
  SetRatio(1, 0.5F);
  const std::vector<double> shares = Shares(10);
  EXPECT_NEAR(shares[0], 0.05 / 3.55, 0.001);
  EXPECT_NEAR(shares[1], 0.5 / 3.55, 0.001);
}

TEST_F(ShareTest, OfATenthOfAThousandNobodyIsForgotten) {
  Make(1000, conf::Balance::kRoundRobin);
  for (const double share : Shares(100)) EXPECT_NEAR(share, 0.001, 1e-6);
}

TEST_F(ShareTest, AMemberThatWasAwayDoesNotMakeUpForIt) {
  Make(4, conf::Balance::kRoundRobin);
  home_->members[0]->state->health = Health::kDown;
  EXPECT_EQ(Shares(10)[0], 0);
  home_->members[0]->state->health = Health::kUp;
  int turns = 0;
  for (int i = 0; i < 8; ++i)
    turns +=
        picker_.Pick(*home_, "", {}, base::MonoTime(std::chrono::hours(9)))->backend_index == 0;
  EXPECT_LE(turns, 3);
  EXPECT_GE(turns, 1);
}

TEST_F(ShareTest, OfManyADeadOneIsLeftAtOnceAndOneThatIsBackIsSeenSoon) {
  Make(200, conf::Balance::kLeastLoad);
  base::MonoTime now(std::chrono::hours(1));
  (void)picker_.Pick(*home_, "", {}, now);
  for (size_t i = 1; i < 200; ++i) home_->members[i]->state->health = Health::kDown;
  for (int i = 0; i < 100; ++i) EXPECT_EQ(picker_.Pick(*home_, "", {}, now)->backend_index, 0U);
  for (size_t i = 1; i < 200; ++i) home_->members[i]->state->health = Health::kUp;
  now += std::chrono::milliseconds(25);
  int of_first = 0;
  for (int i = 0; i < 100; ++i) of_first += picker_.Pick(*home_, "", {}, now)->backend_index == 0;
  EXPECT_LT(of_first, 20);
}

}  // namespace
}  // namespace postern::balance
