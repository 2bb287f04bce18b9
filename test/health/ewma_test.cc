// ewma_test: a mean that forgets by time, and what it makes of samples far from it.
// SPDX-License-Identifier: Apache-2.0
#include "health/ewma.h"

#include <gtest/gtest.h>

#include <limits>

namespace postern::health {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

class EwmaTest : public testing::Test {
 protected:
  bool Add(double sample, uint32_t count = 1) {
    now_ += seconds(5);
    return ewma_.Add(sample, count, now_, seconds(5));
  }
  void Settle(double sample, int times = 20) {
    for (int i = 0; i < times; ++i) Add(sample);
  }
  base::MonoTime now_{std::chrono::hours(1)};
  Ewma ewma_;
};

TEST_F(EwmaTest, TooFewSamplesAreNoMean) {
  Add(0.1);
  Add(0.1);
  EXPECT_FALSE(ewma_.value().has_value());
  Add(0.1);
  ASSERT_TRUE(ewma_.value().has_value());
  EXPECT_NEAR(*ewma_.value(), 0.1, 1e-9);
}

TEST_F(EwmaTest, ABatchOfThreeIsEnough) {
  Add(0.2, 3);
  ASSERT_TRUE(ewma_.value().has_value());
  EXPECT_NEAR(*ewma_.value(), 0.2, 1e-9);
}

TEST_F(EwmaTest, ForgetsByTimeAndNotByNumber) {
  Settle(0.100);
  Ewma slow = ewma_;
  Add(0.150);                                          // after one half-life
  slow.Add(0.150, 1, now_ + seconds(15), seconds(5));  // after three
  EXPECT_NEAR(*ewma_.value(), 0.125, 0.002);
  EXPECT_NEAR(*slow.value(), 0.133, 0.002);
}

TEST_F(EwmaTest, ASingleOutlierIsLeftOut) {
  Settle(0.100);
  EXPECT_FALSE(Add(6.0));
  EXPECT_NEAR(*ewma_.value(), 0.100, 1e-6);
  EXPECT_TRUE(ewma_.is_in_doubt());
  Add(0.100);
  EXPECT_FALSE(ewma_.is_in_doubt());
  EXPECT_FALSE(Add(6.0));
  EXPECT_NEAR(*ewma_.value(), 0.100, 1e-6);
}

TEST_F(EwmaTest, ThreeInARowAreTheNewTruth) {
  Settle(0.100);
  EXPECT_FALSE(Add(1.0));
  EXPECT_FALSE(Add(1.1));
  EXPECT_TRUE(Add(0.9));
  EXPECT_NEAR(*ewma_.value(), 1.0, 0.01);
}

TEST_F(EwmaTest, ThreeInARowBelowAreTheNewTruthToo) {
  Settle(1.0);
  Add(0.1);
  Add(0.1);
  Add(0.1);
  EXPECT_NEAR(*ewma_.value(), 0.1, 0.001);
}

TEST_F(EwmaTest, AQuickAnswerCountsAtOnce) {
  Settle(1.0);
  EXPECT_TRUE(Add(0.1));
  EXPECT_LT(*ewma_.value(), 0.6);
}

TEST_F(EwmaTest, LateOnesWithOthersBetweenAreNoRow) {
  Settle(0.2);
  for (int i = 0; i < 4; ++i) {
    EXPECT_FALSE(Add(2.0));
    EXPECT_TRUE(Add(0.2));
  }
  EXPECT_NEAR(*ewma_.value(), 0.2, 1e-6);
}

TEST_F(EwmaTest, ABatchNeedsOneWitness) {
  Settle(0.1);
  EXPECT_FALSE(Add(1.0, 50));
  EXPECT_TRUE(Add(1.0, 1));
  EXPECT_NEAR(*ewma_.value(), 1.0, 0.01);
}

TEST_F(EwmaTest, SmallDifferencesAreNeverOutliers) {
  Settle(0.0005);
  EXPECT_TRUE(Add(0.005));
}

TEST_F(EwmaTest, ScatterWidensTheBound) {
  for (int i = 0; i < 20; ++i) Add(i % 2 == 0 ? 0.08 : 0.2);
  EXPECT_TRUE(Add(0.5));
}

TEST_F(EwmaTest, AfterALongSilenceTheNextSampleSaysMost) {
  Settle(0.1);
  now_ += std::chrono::minutes(60);
  Add(0.2);
  EXPECT_NEAR(*ewma_.value(), 0.167, 0.001);
}

TEST_F(EwmaTest, AfterALongSilenceOneOutlierIsLeftOutToo) {
  Settle(0.1);
  now_ += std::chrono::minutes(60);
  EXPECT_FALSE(Add(3.0));
  Add(3.0);
  EXPECT_TRUE(Add(3.0));
  EXPECT_NEAR(*ewma_.value(), 3.0, 1e-6);
}

TEST_F(EwmaTest, AbsurdSamplesAreIgnored) {
  Settle(0.1);
  for (const double absurd : {std::numeric_limits<double>::quiet_NaN(), -1.0, 1e30,
                              std::numeric_limits<double>::infinity()})
    for (int i = 0; i < 5; ++i) EXPECT_FALSE(Add(absurd));
  EXPECT_FALSE(Add(0.2, 0));
  EXPECT_NEAR(*ewma_.value(), 0.1, 1e-6);
  EXPECT_FALSE(ewma_.is_in_doubt());
}

TEST_F(EwmaTest, SamplesOfOneInstantBothCount) {
  for (int i = 0; i < 3; ++i) ewma_.Add(0.1, 1, now_, seconds(5));
  ewma_.Add(0.2, 3, now_, seconds(5));
  EXPECT_GT(*ewma_.value(), 0.13);
  EXPECT_LT(*ewma_.value(), 0.18);
}

TEST_F(EwmaTest, TheErrorShrinksWithSamplesAndGrowsWithScatter) {
  Add(0.1, 3);
  const double first = ewma_.variance();
  Settle(0.1);
  EXPECT_LT(ewma_.variance(), first / 4);
  Ewma restless;
  for (int i = 0; i < 20; ++i)
    restless.Add(i % 2 == 0 ? 0.06 : 0.14, 1, now_ + seconds(5 * i), seconds(5));
  EXPECT_GT(restless.variance(), 4 * ewma_.variance());
}

}  // namespace
}  // namespace postern::health
