// query_cache_faults_test: what a directory that fails does to those who ask: answers past their
// lifetime, the breaker, and everything at random, in virtual time.
// SPDX-License-Identifier: Apache-2.0
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "lb/base/rng.h"
#include "lb/directory/query_cache.h"
#include "test/directory/query_cache_fixture.h"

namespace postern::directory {
namespace {

using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;
using testing::HasSubstr;
using testing::IsEmpty;

TEST_F(CachedDirectoryTest, AnExpiredAnswerServesWhileTheDirectoryFails) {
  Teach("alice@x", Found("store-a"));
  loop_.RunFor(minutes(10));
  Asker& asker = Ask("alice@x");
  EXPECT_THAT(asker.told, IsEmpty());
  loop_.RunFor(seconds(2));
  AnswerLast(Failed());
  EXPECT_EQ(asker.answer().kind, Kind::kFound);
  EXPECT_EQ(asker.answer().value, "store-a");
  EXPECT_TRUE(asker.answer().is_stale);
  EXPECT_EQ(asker.answer().age, minutes(10) + seconds(2));
  EXPECT_EQ(asker.answer().why, "timeout");
  EXPECT_EQ(cache_->counters().stale, 1u);
  EXPECT_EQ(cache_->counters().failures, 1u);
}

TEST_F(CachedDirectoryTest, StaleAnswersEndTooAndOnceTheDirectoryAnswersAreNoMore) {
  Teach("alice@x", Found("store-a"));
  Teach("bob@x", Found("store-a"));
  Break();
  loop_.RunFor(minutes(61) - milliseconds(1));
  EXPECT_EQ(Ask("alice@x").answer().kind, Kind::kFound);
  loop_.RunFor(milliseconds(1));
  EXPECT_EQ(Ask("alice@x").answer().kind, Kind::kFailed);
  EXPECT_EQ(Ask("bob@x").answer().kind, Kind::kFailed);
  EXPECT_EQ(cache_->num_entries(), 0u);
  Repair();
  Teach("alice@x", Found("store-b"));
  EXPECT_EQ(Ask("alice@x").answer().value, "store-b");
  EXPECT_FALSE(askers_.back()->answer().is_stale);
}

TEST_F(CachedDirectoryTest, AnAnswerWhoseTimeEndsWhileTheQuestionIsUnderWayServesNoMore) {
  Teach("alice@x", Found("store-a"));
  loop_.RunFor(minutes(61) - milliseconds(1));
  Asker& asker = Ask("alice@x");
  loop_.RunFor(milliseconds(1));  // its time is over before the failure comes
  AnswerLast(Failed());
  EXPECT_EQ(asker.answer().kind, Kind::kFailed);
}

TEST_F(CachedDirectoryTest, NobodyIsUnknownForLongerThanWasSaid) {
  io::LookupAnswer unknown;
  unknown.kind = Kind::kUnknown;
  Teach("alice@x", unknown);
  loop_.RunFor(seconds(10));
  Break();
  EXPECT_EQ(Ask("alice@x").answer().kind, Kind::kFailed);
}

TEST_F(CachedDirectoryTest, WhatIsWrongWithOneQuestionIsNobodyElsesAffair) {
  io::LookupAnswer bad = Failed();
  bad.is_of_question = true;
  for (int i = 0; i < 50; ++i) {
    Asker& asker = Ask("bad@x");
    AnswerLast(bad);
    EXPECT_EQ(asker.answer().kind, Kind::kFailed);
  }
  EXPECT_FALSE(cache_->counters().is_breaker_open);
  EXPECT_EQ(cache_->counters().failures, 50u);
}

TEST_F(CachedDirectoryTest, WithoutStaleAFailureIsAFailure) {
  CacheSettings settings;
  settings.stale = base::Duration(0);
  Make(settings);
  Teach("alice@x", Found("store-a"));
  loop_.RunFor(seconds(60));
  Break();
  EXPECT_EQ(Ask("alice@x").answer().kind, Kind::kFailed);
}

TEST_F(CachedDirectoryTest, WithoutALifetimeAnAnswerStillServesAFailure) {
  CacheSettings settings;
  settings.hit = base::Duration(0);
  Make(settings);
  Teach("alice@x", Found("store-a"));
  Asker& asker = Ask("alice@x");
  AnswerLast(Failed());
  EXPECT_EQ(asker.answer().value, "store-a");
  EXPECT_TRUE(asker.answer().is_stale);
}

class CacheBreakerTest : public CachedDirectoryTest {
 protected:
  void SetUp() override {
    Make({});
    Teach("old@x", Found("store-a"));
    loop_.RunFor(minutes(2));
    Break();
    for (int i = 0; i < 5; ++i) Ask("u" + std::to_string(i));
    EXPECT_TRUE(cache_->counters().is_breaker_open);
    Repair();
    num_asked_ = num_asked();
  }
  [[nodiscard]] size_t num_new() const { return num_asked() - num_asked_; }
  size_t num_asked_ = 0;
};

TEST_F(CacheBreakerTest, OthersFailAtOnceWithoutAQuestion) {
  const io::LoginFacts login;
  Asker& asker = Ask("alice@x");
  EXPECT_TRUE(asker.is_at_once);
  EXPECT_EQ(asker.answer().kind, Kind::kFailed);
  EXPECT_EQ(asker.answer().why, "not asked for 1 s more, since it fails: timeout");
  EXPECT_EQ(Ask("alice@x", &login).answer().kind, Kind::kFailed);
  EXPECT_EQ(num_new(), 0u);
  EXPECT_EQ(cache_->counters().cut_short, 2u);
  EXPECT_EQ(cache_->counters().failures, 5u);
  EXPECT_EQ(cache_->counters().breaker_opened, 1u);
}

TEST_F(CacheBreakerTest, StaleAnswersComeAtOnce) {
  Asker& asker = Ask("old@x");
  EXPECT_TRUE(asker.is_at_once);
  EXPECT_EQ(asker.answer().value, "store-a");
  EXPECT_TRUE(asker.answer().is_stale);
  EXPECT_THAT(asker.answer().why, HasSubstr("timeout"));
  EXPECT_EQ(num_new(), 0u);
  EXPECT_EQ(cache_->counters().stale, 1u);
}

TEST_F(CacheBreakerTest, OneTrialAndAnAnswerClosesIt) {
  loop_.RunFor(seconds(1));
  Asker& trial = Ask("alice@x");
  EXPECT_THAT(trial.told, IsEmpty());
  EXPECT_EQ(Ask("bob@x").answer().why, "not asked until it answers, since it fails: timeout");
  EXPECT_TRUE(Ask("old@x").answer().is_stale);
  EXPECT_EQ(num_new(), 1u);
  AnswerLast(Of(Kind::kUnknown));
  EXPECT_EQ(trial.answer().kind, Kind::kUnknown);
  EXPECT_FALSE(cache_->counters().is_breaker_open);
  Ask("bob@x");
  Ask("old@x");
  EXPECT_EQ(num_new(), 3u);
}

TEST_F(CacheBreakerTest, ATrialThatFailsDoublesThePause) {
  loop_.RunFor(seconds(1));
  Ask("alice@x");
  AnswerLast(Failed());
  loop_.RunFor(seconds(2) - milliseconds(1));
  EXPECT_TRUE(Ask("alice@x").is_at_once);
  loop_.RunFor(milliseconds(1));
  EXPECT_FALSE(Ask("alice@x").is_at_once);
}

TEST_F(CacheBreakerTest, ATrialNobodyAwaitsIsFollowedByTheNext) {
  loop_.RunFor(seconds(1));
  Ask("alice@x").pending.reset();
  EXPECT_FALSE(Ask("bob@x").is_at_once);
  EXPECT_EQ(num_new(), 2u);
}

TEST_F(CacheBreakerTest, WhoAsksTheTrialsKeyWaitsForItUnlessAStaleAnswerIsThere) {
  loop_.RunFor(seconds(1));
  Asker& trial = Ask("old@x");
  EXPECT_FALSE(trial.is_at_once);
  EXPECT_TRUE(Ask("old@x").is_at_once);
  AnswerLast(Failed());
  EXPECT_TRUE(trial.answer().is_stale);
  loop_.RunFor(seconds(2));
  Asker& other = Ask("new@x");
  Asker& same = Ask("new@x");
  EXPECT_EQ(num_new(), 2u);
  AnswerLast(Found("store-b"));
  EXPECT_EQ(other.answer().value, "store-b");
  EXPECT_EQ(same.answer().value, "store-b");
}

TEST_F(CacheBreakerTest, ARefusedLoginIsAnAnswer) {
  const io::LoginFacts login;
  loop_.RunFor(seconds(1));
  Ask("alice@x", &login);
  AnswerLast(Of(Kind::kRefused));
  EXPECT_FALSE(cache_->counters().is_breaker_open);
}

// Thousands of questions under way at once fail together: the pause is that of one opening.
TEST_F(CachedDirectoryTest, ACrowdOfFailuresOpensTheBreakerOnce) {
  for (int i = 0; i < 3000; ++i) Ask("u" + std::to_string(i));
  for (size_t i = 0; i < 3000; ++i) Answer(i, Failed());
  EXPECT_EQ(cache_->counters().failures, 3000u);
  EXPECT_EQ(cache_->counters().breaker_opened, 1u);
  loop_.RunFor(seconds(1));
  EXPECT_FALSE(Ask("alice@x").is_at_once);
}

// Askers, leavers, answers, failures and time at random: everybody who stays is told once, nobody
// who left is, what is told is what the directory last said of that key, and memory is bounded.
TEST_F(CachedDirectoryTest, WantOfSomethingOfOurOwnOpensNothing) {
  inner_->at_once = [](std::string_view) {
    io::LookupAnswer answer = Failed();
    answer.was_not_asked = true;
    return answer;
  };
  for (int i = 0; i < 10; ++i) EXPECT_EQ(Ask("a" + std::to_string(i)).answer().why, "timeout");
  EXPECT_FALSE(cache_->counters().is_breaker_open);
}

TEST_F(CachedDirectoryTest, ManyKeysAtRandom) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    base::SeededRng rng(seed);
    *inner_ = {};
    CacheSettings settings;
    settings.max_entries = 40;
    settings.hit = seconds(5);
    settings.stale = seconds(30);
    Make(settings);
    std::map<std::string, std::set<std::string>, std::less<>> ever_said;
    struct Live {
      std::string key;
      std::unique_ptr<Asker> asker;
    };
    std::vector<Live> live;
    const auto settle = [&](std::vector<size_t> numbers) {
      for (const size_t number : numbers) {
        const std::string key = inner_->asked[number];
        if (rng.Below(4) == 0) {
          Answer(number, Failed());
        } else {
          const std::string value = "v" + std::to_string(rng.Below(1000));
          ever_said[key].insert(value);
          Answer(number, Found(value));
        }
      }
    };
    for (int step = 0; step < 4000; ++step) {
      switch (rng.Below(5)) {
        case 0:
        case 1:
        case 2: {
          Live& one = live.emplace_back();
          one.key = "u" + std::to_string(rng.Below(60));
          one.asker = std::make_unique<Asker>();
          AskInto(*one.asker, one.key);
          break;
        }
        case 3:
          for (int i = 0; i < 3; ++i)
            if (!inner_->open.empty()) settle({inner_->open.begin()->first});
          loop_.RunFor(milliseconds(rng.Below(500)));
          break;
        case 4:
          if (live.empty()) break;
          live[rng.Below(live.size())].asker->pending.reset();
          break;
      }
      ASSERT_LE(cache_->num_entries(), 40u);
      ASSERT_EQ(cache_->num_under_way(), inner_->open.size());
    }
    std::vector<size_t> rest;
    for (const auto& [number, done] : inner_->open) rest.push_back(number);
    settle(rest);
    ASSERT_EQ(cache_->num_under_way(), 0u) << "seed " << seed;
    uint64_t num_told = 0;
    for (const Live& one : live) {
      ASSERT_LE(one.asker->told.size(), 1u) << "seed " << seed;
      // Who was not told has left.
      ASSERT_TRUE(!one.asker->told.empty() || one.asker->pending == nullptr) << "seed " << seed;
      for (const io::LookupAnswer& answer : one.asker->told) {
        ++num_told;
        if (answer.kind == Kind::kFound) {
          ASSERT_EQ(ever_said[one.key].count(answer.value), 1u) << "seed " << seed;
        }
      }
    }
    const CacheCounters counters = cache_->counters();
    ASSERT_GT(counters.hits, 0u);
    ASSERT_GT(counters.coalesced, 0u);
    ASSERT_GT(counters.stale, 0u);
    ASSERT_GT(counters.evicted, 0u);
    ASSERT_LE(num_told, counters.hits + counters.misses + counters.coalesced + counters.cut_short);
  }
}

}  // namespace
}  // namespace postern::directory
