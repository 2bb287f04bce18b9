// weigher_test: factors, ratios and reasons of one pool.
// SPDX-License-Identifier: Apache-2.0
#include "health/weigher.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "lb/base/rng.h"

namespace postern::health {
namespace {

using base::Phase;
using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::HasSubstr;

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

class WeigherTest : public testing::Test {
 protected:
  // A pool of `num` members, all with these milliseconds in a phase, measured for a minute.
  void Make(conf::Protocol protocol, size_t num, double ms = 12, Phase phase = Phase::kLogin) {
    phase_ = phase;
    weigher_.emplace(weights_, WeigherTimes{}, protocol);
    for (size_t i = 0; i < num; ++i) (void)weigher_->Add("b" + std::to_string(i), 100);
    ms_.assign(num, ms);
    Pass(12);
  }
  void Observe(MemberId id, Phase phase, double ms, uint32_t count = 20) {
    weigher_->Observe(
        id, phase,
        std::chrono::duration_cast<base::Duration>(std::chrono::duration<double, std::milli>(ms)),
        count, now_);
  }
  // Check intervals, in each of which every member is measured and all is weighed.
  void Pass(int intervals) {
    for (int i = 0; i < intervals; ++i) {
      now_ += seconds(5);
      for (MemberId id = 0; id < ms_.size(); ++id)
        if (ms_[id] > 0) Observe(id, phase_, ms_[id]);
      weigher_->Tick(now_);
    }
  }
  const Verdict& verdict(MemberId id) { return weigher_->verdict(id); }

  conf::Weights weights_;
  std::optional<PoolWeigher> weigher_;
  Phase phase_ = Phase::kLogin;
  std::vector<double> ms_;
  base::MonoTime now_{std::chrono::hours(1)};
};

TEST_F(WeigherTest, EqualsKeepTheirWholeWeight) {
  Make(conf::Protocol::kImap, 4);
  for (MemberId id = 0; id < 4; ++id) {
    EXPECT_EQ(verdict(id).ratio, 1);
    EXPECT_EQ(verdict(id).reason, "");
  }
}

TEST_F(WeigherTest, MembersWithoutSamplesAreNeutral) {
  Make(conf::Protocol::kImap, 3);
  ms_[2] = 0;
  Make(conf::Protocol::kImap, 3, 0);
  EXPECT_EQ(verdict(0).ratio, 1);
  ms_[0] = 10;
  ms_[1] = 200;
  Pass(12);
  EXPECT_EQ(verdict(2).ratio, 1);
  EXPECT_LT(verdict(1).ratio, 0.1);
}

TEST_F(WeigherTest, LatencyCountsSquaredAgainstTheLowerQuartile) {
  Make(conf::Protocol::kImap, 5, 100);
  ms_ = {100, 100, 100, 200, 100};
  Pass(20);
  // Steady samples leave no doubt but the guess of a first one: a little above (100/200)^2.
  EXPECT_NEAR(verdict(3).factors.latency, 0.27, 0.04);
  EXPECT_EQ(verdict(3).factors.queue, 1);
  EXPECT_EQ(verdict(0).ratio, 1);
}

TEST_F(WeigherTest, TheReasonSaysItInWords) {
  Make(conf::Protocol::kImap, 4);
  ms_[1] = 41;
  Pass(20);
  EXPECT_THAT(
      verdict(1).reason,
      testing::MatchesRegex(
          "login 41 ms against pool 12 ms \\(all phases 41 against 12\\): factor 0\\.1[0-9]"));
}

TEST_F(WeigherTest, DifferencesUnderFiveMillisecondsDoNotCount) {
  Make(conf::Protocol::kImap, 4, 0.5);
  ms_[1] = 5.4;
  Pass(20);
  EXPECT_EQ(verdict(1).ratio, 1);
}

TEST_F(WeigherTest, TenTimesSlowerIsNearTheFloorWithinThreeIntervals) {
  for (const double ms : {2.0, 12.0, 300.0}) {
    Make(conf::Protocol::kImap, 5, ms);
    ms_[3] = 10 * ms;
    Pass(3);
    EXPECT_LT(verdict(3).ratio, 0.1) << ms;
    EXPECT_EQ(verdict(0).ratio, 1);
    Pass(100);
    EXPECT_GE(verdict(3).ratio, weights_.min_factor);
  }
}

TEST_F(WeigherTest, ComesBackWithinAMinuteOfBeingWell) {
  Make(conf::Protocol::kImap, 5);
  ms_[3] = 500;
  Pass(20);
  ms_[3] = 12;
  Pass(12);
  EXPECT_EQ(verdict(3).ratio, 1);
}

TEST_F(WeigherTest, AllSlowIsNobodysFault) {
  Make(conf::Protocol::kImap, 4);
  ms_.assign(4, 900);
  Pass(20);
  for (MemberId id = 0; id < 4; ++id) EXPECT_EQ(verdict(id).ratio, 1);
}

TEST_F(WeigherTest, OneSlowSessionMovesNothing) {
  Make(conf::Protocol::kImap, 4);
  Observe(2, Phase::kLogin, 9000, 1);
  Pass(1);
  EXPECT_EQ(verdict(2).ratio, 1);
}

TEST_F(WeigherTest, PhasesCountByHowLongTheyLast) {
  Make(conf::Protocol::kImap, 4, 200);
  // A connect that takes ten times longer is lost in a login of 200 ms.
  for (int i = 0; i < 20; ++i) {
    for (MemberId id = 0; id < 4; ++id) Observe(id, Phase::kConnect, id == 1 ? 4 : 0.4);
    Pass(1);
  }
  EXPECT_EQ(verdict(1).ratio, 1);
}

TEST_F(WeigherTest, AMemberIsComparedInThePhasesThatItHas) {
  Make(conf::Protocol::kImap, 4, 10, Phase::kHello);
  // Only one has logins, slow as they may be: nobody can say that they are slow.
  for (int i = 0; i < 20; ++i) {
    Observe(0, Phase::kLogin, 300);
    Pass(1);
  }
  for (MemberId id = 0; id < 4; ++id) EXPECT_EQ(verdict(id).ratio, 1) << id;
}

TEST_F(WeigherTest, MessageTextAndRelayedBytesDoNotCount) {
  Make(conf::Protocol::kSmtp, 4, 10, Phase::kMail);
  for (int i = 0; i < 20; ++i) {
    for (const Phase phase : {Phase::kData, Phase::kRelay, Phase::kRoute, Phase::kAccept})
      Observe(1, phase, 60000);
    Pass(1);
  }
  EXPECT_EQ(verdict(1).ratio, 1);
}

TEST_F(WeigherTest, APhaseWithoutNewsIsForgotten) {
  Make(conf::Protocol::kImap, 4);
  ms_[1] = 500;
  Pass(20);
  EXPECT_LT(verdict(1).ratio, 0.1);
  ms_[1] = 0;  // nobody goes there any more
  Pass(60);
  EXPECT_EQ(verdict(1).ratio, 1);
}

TEST_F(WeigherTest, LatencyMayBeSwitchedOff) {
  weights_.latency = false;
  Make(conf::Protocol::kImap, 4);
  ms_[1] = 500;
  Pass(20);
  EXPECT_EQ(verdict(1).ratio, 1);
}

// The greeting of smtp.

TEST_F(WeigherTest, AConstantGreetPauseIsNotLatency) {
  Make(conf::Protocol::kSmtp, 4, 20, Phase::kGreeting);
  ms_[2] = 6012;  // one of them runs postscreen and lets nobody off
  Pass(40);
  EXPECT_EQ(verdict(2).ratio, 1);
}

TEST_F(WeigherTest, AGreetPauseNowAndThenIsNotLatency) {
  Make(conf::Protocol::kSmtp, 4, 20, Phase::kGreeting);
  for (int i = 0; i < 40; ++i) {
    if (i % 9 == 0) Observe(2, Phase::kGreeting, 6003, 1);
    if (i % 9 == 1) Observe(2, Phase::kGreeting, 6001, 5);
    Pass(1);
    EXPECT_EQ(verdict(2).ratio, 1) << i;
  }
}

TEST_F(WeigherTest, BehindThePauseLatencyCounts) {
  Make(conf::Protocol::kSmtp, 4, 20, Phase::kGreeting);
  ms_[2] = 6140;
  Pass(40);
  EXPECT_LT(verdict(2).ratio, 0.1);
}

TEST_F(WeigherTest, ALateGreetingOfNoConstantLengthIsLatency) {
  Make(conf::Protocol::kSmtp, 4, 20, Phase::kGreeting);
  for (int i = 0; i < 12; ++i) {
    ms_[2] = 1500 + 370 * (i % 5);
    Pass(1);
  }
  EXPECT_LT(verdict(2).ratio, 0.1);
}

TEST_F(WeigherTest, ElsewhereALateGreetingIsLatency) {
  Make(conf::Protocol::kImap, 4, 20, Phase::kGreeting);
  ms_[2] = 6012;
  Pass(12);
  EXPECT_LT(verdict(2).ratio, 0.1);
}

// Queues.

TEST_F(WeigherTest, TheQueueFactorFallsFromSoftToHard) {
  Make(conf::Protocol::kSmtp, 3, 10, Phase::kMail);
  weigher_->SetQueue(0, 400, 500, 5000);
  weigher_->SetQueue(1, 812, 500, 5000);
  weigher_->SetQueue(2, 5000, 500, 5000);
  Pass(1);
  EXPECT_EQ(verdict(0).factors.queue, 1);
  EXPECT_NEAR(verdict(1).factors.queue, 0.93, 0.005);
  EXPECT_EQ(verdict(1).reason, "queue 812 of soft 500: factor 0.93");
  EXPECT_NEAR(verdict(2).factors.queue, 0.05, 1e-9);
  EXPECT_FALSE(verdict(2).is_above_hard);
}

TEST_F(WeigherTest, AboveHardIsSaidAndLeftALittleLower) {
  Make(conf::Protocol::kSmtp, 3, 10, Phase::kMail);
  weigher_->SetQueue(2, 5001, 500, 5000);
  Pass(1);
  EXPECT_TRUE(verdict(2).is_above_hard);
  EXPECT_THAT(verdict(2).reason, HasSubstr("queue 5001 above hard 5000"));
  weigher_->SetQueue(2, 4900, 500, 5000);
  Pass(1);
  EXPECT_TRUE(verdict(2).is_above_hard);
  weigher_->SetQueue(2, 4700, 500, 5000);
  Pass(1);
  EXPECT_FALSE(verdict(2).is_above_hard);
}

TEST_F(WeigherTest, QueuesCountForMailOnly) {
  for (const auto& [protocol, counts] : {std::pair{conf::Protocol::kSmtp, true},
                                         {conf::Protocol::kSubmission, true},
                                         {conf::Protocol::kLmtp, true},
                                         {conf::Protocol::kImap, false},
                                         {conf::Protocol::kPop3, false},
                                         {conf::Protocol::kSieve, false},
                                         {conf::Protocol::kTcp, false}}) {
    Make(protocol, 2, 10, Phase::kConnect);
    weigher_->SetQueue(0, 9000, 500, 5000);
    Pass(1);
    EXPECT_EQ(verdict(0).ratio < 1, counts) << conf::Name(protocol);
    EXPECT_EQ(verdict(0).is_above_hard, counts) << conf::Name(protocol);
  }
}

TEST_F(WeigherTest, AnUnknownOrAbsurdQueueIsNeutral) {
  Make(conf::Protocol::kSmtp, 2, 10, Phase::kMail);
  for (const double absurd : {kNan, -1.0, 1e30, kInfinity}) {
    weigher_->SetQueue(0, absurd, 500, 5000);
    Pass(1);
    EXPECT_EQ(verdict(0).ratio, 1) << absurd;
    EXPECT_FALSE(verdict(0).is_above_hard) << absurd;
  }
  weigher_->SetQueue(0, 9000, 500, 5000);
  Pass(3);
  weigher_->SetQueue(0, std::nullopt, 500, 5000);
  Pass(1);
  EXPECT_FALSE(verdict(0).is_above_hard);
  EXPECT_THAT(verdict(0).reason, HasSubstr("queue not known"));
  Pass(12);
  EXPECT_EQ(verdict(0).ratio, 1);
}

TEST_F(WeigherTest, LimitsThatMakeNoSenseAreNeutral) {
  Make(conf::Protocol::kSmtp, 2, 10, Phase::kMail);
  for (const auto& [soft, hard] :
       {std::pair{kNan, 5000.0}, {500.0, kNan}, {0.0, 0.0}, {-1.0, -1.0}}) {
    weigher_->SetQueue(0, 100, soft, hard);
    Pass(1);
    EXPECT_EQ(verdict(0).ratio, 1) << soft << " " << hard;
  }
  weigher_->SetQueue(0, 600, 500, 500);  // no room between: a step
  Pass(1);
  EXPECT_NEAR(verdict(0).ratio, 0.05, 1e-9);
}

TEST_F(WeigherTest, AQueueThatComesAndGoesTurnsTheWeightTwice) {
  Make(conf::Protocol::kSmtp, 4, 10, Phase::kMail);
  base::SeededRng rng(5);
  int turns = 0, direction = 0;
  double last = 1;
  for (int i = 0; i < 200; ++i) {
    const double depth = i < 100 ? 60 * i : 60 * (200 - i);
    weigher_->SetQueue(1, depth * (0.98 + 0.04 * rng.Unit()), 500, 5000);
    Pass(1);
    const double ratio = verdict(1).ratio;
    if (ratio == last) continue;
    const int now = ratio > last ? 1 : -1;
    turns += direction != 0 && now != direction;
    direction = now;
    last = ratio;
  }
  EXPECT_LE(turns, 2);
  EXPECT_EQ(last, 1);
}

// Agents, ramps, states.

TEST_F(WeigherTest, AnAgentsWordMultiplies) {
  Make(conf::Protocol::kImap, 2);
  weigher_->SetAgent(0, 0.75);
  Pass(1);
  EXPECT_NEAR(verdict(0).ratio, 0.75, 1e-9);
  EXPECT_EQ(verdict(0).reason, "agent asks for 75 %: factor 0.75");
  for (const double absurd : {kNan, -0.5, 1e30, kInfinity}) {
    weigher_->SetAgent(0, absurd);
    Pass(1);
    EXPECT_EQ(verdict(0).ratio, 1) << absurd;
  }
}

TEST_F(WeigherTest, TheRampBeginsWhenAMemberIsBack) {
  Make(conf::Protocol::kImap, 2);
  weigher_->SetServing(0, true, now_);
  Pass(1);
  EXPECT_EQ(verdict(0).ratio, 1) << "not at the very first";
  weigher_->SetServing(0, false, now_);
  Pass(2);
  weigher_->SetServing(0, true, now_);
  weigher_->Tick(now_);
  EXPECT_NEAR(verdict(0).factors.slow_start, 0.05, 1e-9);
  Pass(3);
  EXPECT_NEAR(verdict(0).factors.slow_start, 0.5, 0.01);
  EXPECT_THAT(verdict(0).reason, HasSubstr("slow start of 30 s after recovery: factor 0.50"));
  Pass(3);
  EXPECT_EQ(verdict(0).ratio, 1);
}

TEST_F(WeigherTest, WhatWasLearnedBeforeAnOutageIsForgotten) {
  Make(conf::Protocol::kImap, 3);
  ms_[0] = 800;
  Pass(12);
  weigher_->SetServing(0, false, now_);
  ms_[0] = 0;
  Pass(1);
  weigher_->SetServing(0, true, now_);
  ms_[0] = 12;
  Pass(8);
  EXPECT_EQ(verdict(0).ratio, 1);
}

TEST_F(WeigherTest, ADegradedMemberHasTheLeastWeight) {
  Make(conf::Protocol::kImap, 2);
  weigher_->SetDegraded(0, true);
  Pass(1);
  EXPECT_NEAR(verdict(0).ratio, 0.05, 1e-9);
  EXPECT_THAT(verdict(0).reason, HasSubstr("degraded"));
  weigher_->SetDegraded(0, false);
  Pass(1);
  EXPECT_EQ(verdict(0).ratio, 1);
}

TEST_F(WeigherTest, TheRatioIsTheProductOfTheFactors) {
  Make(conf::Protocol::kSmtp, 4, 10, Phase::kMail);
  ms_[1] = 25;
  weigher_->SetAgent(1, 0.5);
  weigher_->SetQueue(1, 2000, 500, 5000);
  Pass(12);
  const Factors& factors = verdict(1).factors;
  EXPECT_LT(factors.latency, 1);
  EXPECT_LT(factors.queue, 1);
  EXPECT_NEAR(verdict(1).ratio,
              factors.latency * factors.queue * factors.slow_start * factors.agent, 1e-9);
}

TEST_F(WeigherTest, MemorySurvivesByValue) {
  Make(conf::Protocol::kSmtp, 4, 10, Phase::kMail);
  ms_[1] = 100;
  weigher_->SetQueue(1, 6000, 500, 5000);
  Pass(12);
  PoolWeigher next(weights_, WeigherTimes{}, conf::Protocol::kSmtp);
  for (MemberId id = 0; id < 4; ++id) {
    (void)next.Add("b" + std::to_string(id), 100);
    next.Import(id, weigher_->Export(id));
  }
  next.SetQueue(1, 6000, 500, 5000);
  next.Tick(now_ + seconds(5));
  EXPECT_NEAR(next.verdict(1).ratio, verdict(1).ratio, 0.01);
  EXPECT_TRUE(next.verdict(1).is_above_hard);
}

TEST_F(WeigherTest, ALatencyThatRisesIsForetold) {
  Make(conf::Protocol::kImap, 4, 100);
  EXPECT_FALSE(weigher_->TimeToMinFactor(1, now_).has_value());
  for (int i = 0; i < 40; ++i) {
    ms_[1] += 2;
    Pass(1);
  }
  ASSERT_TRUE(weigher_->TimeToMinFactor(1, now_).has_value());
  // Near the floor at 100 / sqrt(0.05) = 447 ms: 0.4 ms a second make ten minutes.
  EXPECT_NEAR(base::Seconds(*weigher_->TimeToMinFactor(1, now_)), 670, 70);
}

TEST_F(WeigherTest, DoubtIsToldSoThatChecksComeSooner) {
  Make(conf::Protocol::kImap, 4);
  EXPECT_FALSE(weigher_->IsInDoubt(1));
  Observe(1, Phase::kLogin, 900, 1);
  EXPECT_TRUE(weigher_->IsInDoubt(1));
}

TEST_F(WeigherTest, AbsurdLatenciesAndLateNewsAreNeutral) {
  Make(conf::Protocol::kImap, 4);
  for (int i = 0; i < 10; ++i) {
    weigher_->Observe(1, Phase::kLogin, -seconds(5), 50, now_);
    weigher_->Observe(1, Phase::kLogin, base::Duration::max(), 50, now_);
    weigher_->Observe(1, Phase::kLogin, seconds(5), 0, now_);
    Pass(1);
  }
  EXPECT_EQ(verdict(1).ratio, 1);
  weigher_->Tick(now_ - seconds(60));  // time that runs back is no time
  EXPECT_EQ(verdict(1).ratio, 1);
}

TEST_F(WeigherTest, WhateverComesTheRatioStaysWithinBounds) {
  base::SeededRng rng(11);
  const double odd[] = {0, 1, -1, 1e30, 1e-30, kNan, kInfinity, -kInfinity, 500, 5000, 1e12};
  const auto any = [&] { return odd[rng.Below(std::size(odd))]; };
  weights_.min_factor = kNan;
  for (int round = 0; round < 200; ++round) {
    const auto protocol = static_cast<conf::Protocol>(rng.Below(conf::kNumProtocols));
    weigher_.emplace(weights_, WeigherTimes{seconds(5), seconds(0), seconds(0)}, protocol);
    for (int i = 0; i < 3; ++i) (void)weigher_->Add("b", any());
    for (int step = 0; step < 100; ++step) {
      const auto id = static_cast<MemberId>(rng.Below(3));
      now_ += base::Duration(static_cast<int64_t>(rng.Next() % 10000000000) - 1000000000);
      switch (rng.Below(6)) {
        case 0:
          weigher_->Observe(id, static_cast<Phase>(rng.Below(base::kNumPhases)),
                            base::Duration(static_cast<int64_t>(rng.Next() >> rng.Below(60))),
                            static_cast<uint32_t>(rng.Next() >> rng.Below(60)), now_);
          break;
        case 1:
          weigher_->SetQueue(id, any(), any(), any());
          break;
        case 2:
          weigher_->SetAgent(id, any());
          break;
        case 3:
          weigher_->SetServing(id, rng.Below(2) == 0, now_);
          break;
        case 4:
          weigher_->SetDegraded(id, rng.Below(2) == 0);
          break;
        default:
          weigher_->Tick(now_);
      }
      const Verdict& it = weigher_->verdict(id);
      ASSERT_TRUE(it.ratio >= 0 && it.ratio <= 10) << it.ratio;
      ASSERT_LT(it.reason.size(), 1000U);
    }
  }
}

}  // namespace
}  // namespace postern::health
