// forecast_test: trends on uneven samples, and when a limit will be reached.
// SPDX-License-Identifier: Apache-2.0
#include "health/forecast.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "lb/base/rng.h"

namespace postern::health {
namespace {

using std::chrono::seconds;

class ForecastTest : public testing::Test {
 protected:
  void Add(double value, int after_seconds = 15) {
    now_ += seconds(after_seconds);
    forecast_.Add(value, now_);
  }
  double SecondsTo(double limit) {
    const std::optional<base::Duration> time = forecast_.TimeTo(limit, now_);
    return time.has_value() ? base::Seconds(*time) : -1;
  }
  base::MonoTime now_{std::chrono::hours(1)};
  Forecast forecast_{seconds(60)};
};

TEST_F(ForecastTest, ARisingLineReachesItsLimitInTime) {
  for (int i = 0; i <= 20; ++i) Add(100 + 30 * i);  // 2 a second
  EXPECT_NEAR(SecondsTo(1700), 500, 25);
  EXPECT_NEAR(*forecast_.trend(), 2, 0.1);
  EXPECT_NEAR(*forecast_.At(now_ + seconds(100)), 900, 20);
}

TEST_F(ForecastTest, UnevenSpacingMakesNoDifference) {
  double at = 0;
  for (int i = 0; i < 40; ++i) {
    const int step = 1 + (i * 7) % 29;
    at += step;
    Add(100 + 2 * at, step);
  }
  EXPECT_NEAR(SecondsTo(100 + 2 * at + 1000), 500, 25);
}

TEST_F(ForecastTest, AboveTheLimitIsNow) {
  for (int i = 0; i < 5; ++i) Add(600);
  EXPECT_EQ(SecondsTo(500), 0);
}

TEST_F(ForecastTest, LevelAndFallingNeverReachIt) {
  for (int i = 0; i < 20; ++i) Add(300);
  EXPECT_EQ(SecondsTo(500), -1);
  for (int i = 0; i < 10; ++i) Add(300 - 20 * i);
  EXPECT_EQ(SecondsTo(500), -1);
}

TEST_F(ForecastTest, NoiseIsNoTrend) {
  base::SeededRng rng(3);
  int alarms = 0;
  for (int i = 0; i < 1000; ++i) {
    Add(300 + 100 * (rng.Unit() - 0.5));
    alarms += SecondsTo(500) >= 0 && SecondsTo(500) < 600;
  }
  EXPECT_LE(alarms, 10);
}

TEST_F(ForecastTest, ATurnIsFollowed) {
  for (int i = 0; i < 20; ++i) Add(100 + 30 * i);
  for (int i = 0; i < 30; ++i) Add(700 - 20 * i);
  EXPECT_EQ(SecondsTo(2000), -1);
  EXPECT_LT(*forecast_.trend(), 0);
}

TEST_F(ForecastTest, TooLittleKnownIsNoAnswer) {
  EXPECT_EQ(SecondsTo(500), -1);
  Add(100);
  Add(200);
  EXPECT_EQ(SecondsTo(500), -1);
  EXPECT_FALSE(forecast_.At(now_).has_value());
}

TEST_F(ForecastTest, SilenceEndsAForecast) {
  for (int i = 0; i <= 20; ++i) Add(100 + 30 * i);
  now_ += seconds(60 * 11);
  EXPECT_EQ(SecondsTo(10000), -1);
}

TEST_F(ForecastTest, MoreThanADayAheadIsNotSaid) {
  for (int i = 0; i <= 40; ++i) Add(100 + i);
  EXPECT_EQ(SecondsTo(1e9), -1);
}

TEST_F(ForecastTest, AbsurdValuesAndTimesAreIgnored) {
  for (int i = 0; i <= 20; ++i) Add(100 + 30 * i);
  const double before = SecondsTo(1700);
  for (const double absurd : {std::numeric_limits<double>::quiet_NaN(), -5.0, 1e30,
                              std::numeric_limits<double>::infinity()})
    forecast_.Add(absurd, now_ + seconds(1));
  forecast_.Add(5, now_ - seconds(30));
  forecast_.Add(5, now_);
  EXPECT_EQ(SecondsTo(1700), before);
  EXPECT_EQ(SecondsTo(std::numeric_limits<double>::quiet_NaN()), -1);
}

}  // namespace
}  // namespace postern::health
