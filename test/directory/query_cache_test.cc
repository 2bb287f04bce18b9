// query_cache_test: who is answered from memory, and who waits for whom, in virtual time.
// SPDX-License-Identifier: Apache-2.0
#include "lb/directory/query_cache.h"

#include <memory>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "test/directory/query_cache_fixture.h"

namespace postern::directory {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;
using testing::ElementsAre;
using testing::IsEmpty;

TEST_F(CachedDirectoryTest, TheFirstAsksTheSecondRemembers) {
  Asker& first = Ask("alice@x");
  EXPECT_THAT(first.told, IsEmpty());
  io::LookupAnswer answer = Found("store-a");
  answer.user = "alice";
  AnswerLast(answer);
  EXPECT_EQ(first.answer().value, "store-a");
  EXPECT_FALSE(first.answer().is_cached);
  loop_.RunFor(seconds(59));
  Asker& second = Ask("alice@x");
  EXPECT_TRUE(second.is_at_once);
  EXPECT_EQ(second.answer().kind, Kind::kFound);
  EXPECT_EQ(second.answer().value, "store-a");
  EXPECT_EQ(second.answer().user, "alice");
  EXPECT_EQ(second.answer().age, seconds(59));
  EXPECT_FALSE(second.answer().is_stale);
  EXPECT_TRUE(second.answer().is_cached);
  EXPECT_THAT(inner_->asked, ElementsAre("alice@x"));
  EXPECT_EQ(cache_->counters().hits, 1u);
  EXPECT_EQ(cache_->counters().misses, 1u);
}

TEST_F(CachedDirectoryTest, AnAnswerAtOnceIsPassedOnAtOnce) {
  inner_->at_once = [](std::string_view) { return Found("store-a"); };
  EXPECT_TRUE(Ask("alice@x").is_at_once);
  EXPECT_TRUE(Ask("alice@x").is_at_once);
  EXPECT_EQ(num_asked(), 1u);
  EXPECT_EQ(cache_->num_under_way(), 0u);
}

TEST_F(CachedDirectoryTest, LifetimesEnd) {
  Teach("alice@x", Found("store-a"));
  Teach("nobody@x", Of(Kind::kUnknown));
  loop_.RunFor(seconds(10) - milliseconds(1));
  EXPECT_EQ(Ask("nobody@x").answer().kind, Kind::kUnknown);
  EXPECT_EQ(num_asked(), 2u);
  loop_.RunFor(milliseconds(1));
  Ask("nobody@x");
  EXPECT_EQ(num_asked(), 3u);
  loop_.RunFor(seconds(50) - milliseconds(1));
  EXPECT_TRUE(Ask("alice@x").is_at_once);
  loop_.RunFor(milliseconds(1));
  EXPECT_FALSE(Ask("alice@x").is_at_once);
  EXPECT_EQ(num_asked(), 4u);
}

TEST_F(CachedDirectoryTest, UnknownAndFoundTakeEachOthersPlace) {
  Teach("alice@x", Of(Kind::kUnknown));
  loop_.RunFor(seconds(10));
  Teach("alice@x", Found("store-a"));
  loop_.RunFor(seconds(59));
  EXPECT_EQ(Ask("alice@x").answer().value, "store-a");
  EXPECT_EQ(cache_->num_entries(), 1u);
}

TEST_F(CachedDirectoryTest, AgeCountsFromWhenTheDirectorySaidSo) {
  io::LookupAnswer answer = Found("store-a");
  answer.age = seconds(20);
  Teach("alice@x", answer);
  loop_.RunFor(seconds(10));
  EXPECT_EQ(Ask("alice@x").answer().age, seconds(30));
  loop_.RunFor(seconds(30));
  EXPECT_FALSE(Ask("alice@x").is_at_once);
}

TEST_F(CachedDirectoryTest, RefusalsAreNeverRemembered) {
  Teach("alice@x", Of(Kind::kRefused));
  EXPECT_EQ(cache_->num_entries(), 0u);
  Teach("alice@x", Found("store-a"));
  loop_.RunFor(seconds(60));
  Teach("alice@x", Of(Kind::kRefused));  // the last word; what was said before is void
  Break();
  EXPECT_EQ(Ask("alice@x").answer().kind, Kind::kFailed);
}

TEST_F(CachedDirectoryTest, AnswersThatAreStaleAlreadyAreNotRemembered) {
  io::LookupAnswer answer = Found("store-a");
  answer.is_stale = true;
  Teach("alice@x", answer);
  EXPECT_EQ(cache_->num_entries(), 0u);
}

TEST_F(CachedDirectoryTest, FailuresAreNotRemembered) {
  Teach("alice@x", Failed());
  EXPECT_EQ(cache_->num_entries(), 0u);
  Teach("alice@x", Found("store-a"));
  EXPECT_EQ(cache_->counters().failures, 1u);
}

TEST_F(CachedDirectoryTest, WithoutLifetimesEverybodyAsks) {
  CacheSettings settings;
  settings.hit = settings.miss = settings.stale = base::Duration(0);
  Make(settings);
  Teach("alice@x", Found("store-a"));
  EXPECT_FALSE(Ask("alice@x").is_at_once);
  EXPECT_EQ(cache_->num_entries(), 0u);
}

TEST_F(CachedDirectoryTest, ManyAskersOneQuestion) {
  for (int i = 0; i < 5000; ++i) Ask("alice@x");
  Ask("bob@x");
  EXPECT_THAT(inner_->asked, ElementsAre("alice@x", "bob@x"));
  Answer(0, Found("store-a"));
  for (int i = 0; i < 5000; ++i)
    EXPECT_EQ(askers_[static_cast<size_t>(i)]->answer().value, "store-a");
  EXPECT_THAT(askers_.back()->told, IsEmpty());
  EXPECT_EQ(cache_->counters().coalesced, 4999u);
  EXPECT_EQ(cache_->counters().misses, 2u);
}

TEST_F(CachedDirectoryTest, AllShareAFailureAndEachItsStaleAnswer) {
  Teach("alice@x", Found("store-a"));
  loop_.RunFor(minutes(2));
  for (int i = 0; i < 3; ++i) Ask("alice@x");
  AnswerLast(Failed());
  for (const auto& asker : askers_) EXPECT_TRUE(asker->answer().is_stale);
  EXPECT_EQ(cache_->counters().stale, 3u);
  EXPECT_EQ(cache_->counters().failures, 1u);
}

TEST_F(CachedDirectoryTest, OneWhoLeavesLeavesTheOthers) {
  Asker& first = Ask("alice@x");
  Asker& second = Ask("alice@x");
  first.pending.reset();
  EXPECT_THAT(inner_->cancelled, IsEmpty());
  AnswerLast(Found("store-a"));
  EXPECT_THAT(first.told, IsEmpty());
  EXPECT_EQ(second.answer().value, "store-a");
}

TEST_F(CachedDirectoryTest, TheLastWhoLeavesEndsTheQuestion) {
  Asker& first = Ask("alice@x");
  Asker& second = Ask("alice@x");
  second.pending.reset();
  first.pending.reset();
  EXPECT_THAT(inner_->cancelled, ElementsAre(0u));
  EXPECT_EQ(cache_->num_under_way(), 0u);
  Asker& third = Ask("alice@x");
  EXPECT_EQ(num_asked(), 2u);
  AnswerLast(Found("store-a"));
  EXPECT_EQ(third.answer().value, "store-a");
}

TEST_F(CachedDirectoryTest, DoneMayDestroyItsLookupAndThoseOfOthers) {
  Asker& first = Ask("alice@x");
  Asker& second = Ask("alice@x");
  Asker& third = Ask("alice@x");
  first.then = [&] {
    first.pending.reset();
    second.pending.reset();
  };
  third.then = [&] { third.pending.reset(); };
  AnswerLast(Found("store-a"));
  EXPECT_EQ(first.told.size(), 1u);
  EXPECT_THAT(second.told, IsEmpty());
  EXPECT_EQ(third.told.size(), 1u);
}

TEST_F(CachedDirectoryTest, DoneMayDestroyAllThatWaitBehindIt) {
  Asker& first = Ask("alice@x");
  Asker& second = Ask("alice@x");
  first.then = [&] { second.pending.reset(); };
  AnswerLast(Failed());
  EXPECT_EQ(first.told.size(), 1u);
  EXPECT_THAT(second.told, IsEmpty());
  EXPECT_THAT(inner_->cancelled, IsEmpty());
}

TEST_F(CachedDirectoryTest, DoneMayAskAgainAndIsRemembered) {
  Asker& first = Ask("alice@x");
  Asker again;
  first.then = [&] { AskInto(again, "alice@x"); };
  AnswerLast(Found("store-a"));
  EXPECT_TRUE(again.is_at_once);
  EXPECT_EQ(num_asked(), 1u);
}

TEST_F(CachedDirectoryTest, DoneMayAskAgainAfterAFailure) {
  Asker& first = Ask("alice@x");
  Asker& second = Ask("alice@x");
  Asker again;
  first.then = [&] { AskInto(again, "alice@x"); };
  AnswerLast(Failed());
  EXPECT_EQ(second.answer().kind, Kind::kFailed);
  EXPECT_THAT(again.told, IsEmpty());
  AnswerLast(Found("store-a"));
  EXPECT_EQ(again.answer().value, "store-a");
}

TEST_F(CachedDirectoryTest, LookupsMayOutliveTheDirectory) {
  Asker& first = Ask("alice@x");
  Asker& second = Ask("alice@x");
  cache_.reset();
  EXPECT_THAT(inner_->cancelled, ElementsAre(0u));
  first.pending.reset();
  loop_.RunFor(hours(1));
  EXPECT_THAT(first.told, IsEmpty());
  EXPECT_THAT(second.told, IsEmpty());
}

TEST_F(CachedDirectoryTest, DoneMayDestroyTheDirectory) {
  Asker& first = Ask("alice@x");
  Asker& second = Ask("alice@x");
  Asker& other = Ask("bob@x");
  first.then = [&] { cache_.reset(); };
  Answer(0, Found("store-a"));
  EXPECT_EQ(first.told.size(), 1u);
  EXPECT_EQ(second.told.size(), 1u);
  EXPECT_THAT(other.told, IsEmpty());
}

TEST_F(CachedDirectoryTest, LoginsAreNeitherRememberedNorShared) {
  const io::LoginFacts login;
  Teach("alice@x", Found("remembered"));
  Asker& first = Ask("alice@x", &login);
  Asker& second = Ask("alice@x", &login);
  EXPECT_EQ(num_asked(), 3u);
  Answer(1, Found("one"));
  Answer(2, Found("two"));
  EXPECT_EQ(first.answer().value, "one");
  EXPECT_EQ(second.answer().value, "two");
  EXPECT_EQ(Ask("alice@x").answer().value, "remembered");
  EXPECT_EQ(cache_->num_entries(), 1u);
}

TEST_F(CachedDirectoryTest, ALoginThatIsNotAwaitedIsEnded) {
  const io::LoginFacts login;
  Ask("alice@x", &login).pending.reset();
  EXPECT_THAT(inner_->cancelled, ElementsAre(0u));
  EXPECT_EQ(cache_->num_under_way(), 0u);
}

TEST_F(CachedDirectoryTest, ALoginHasNoStaleAnswer) {
  const io::LoginFacts login;
  Teach("alice@x", Found("store-a"));
  loop_.RunFor(minutes(2));
  Break();
  for (int i = 0; i < 10; ++i) EXPECT_EQ(Ask("alice@x", &login).answer().kind, Kind::kFailed);
  EXPECT_EQ(num_asked(), 6u);  // five of them, then the breaker
}

TEST_F(CachedDirectoryTest, LongKeysAreNotRemembered) {
  const std::string longest(512, 'k');
  Teach(longest, Found("store-a"));
  EXPECT_EQ(cache_->num_entries(), 1u);
  Teach(longest + "k", Found("store-a"));
  EXPECT_EQ(cache_->num_entries(), 1u);
  EXPECT_FALSE(Ask(longest + "k").is_at_once);
}

TEST_F(CachedDirectoryTest, LongAnswersAreNotRemembered) {
  Teach("alice@x", Found(std::string(1024, 'a')));
  EXPECT_EQ(cache_->num_entries(), 1u);
  loop_.RunFor(minutes(1));
  Teach("alice@x", Found(std::string(1025, 'a')));
  EXPECT_EQ(cache_->num_entries(), 0u);
}

TEST_F(CachedDirectoryTest, TheOneNotUsedForLongestGoes) {
  CacheSettings settings;
  settings.max_entries = 3;
  Make(settings);
  for (const char* key : {"a", "b", "c"}) Teach(key, Found("1"));
  EXPECT_TRUE(Ask("a").is_at_once);
  Teach("d", Found("1"));
  EXPECT_EQ(cache_->num_entries(), 3u);
  for (const char* key : {"a", "c", "d"}) EXPECT_TRUE(Ask(key).is_at_once) << key;
  EXPECT_FALSE(Ask("b").is_at_once);
  EXPECT_EQ(cache_->counters().evicted, 1u);
}

TEST_F(CachedDirectoryTest, NothingIsRememberedWhereNothingMayBe) {
  CacheSettings settings;
  settings.max_entries = 0;
  Make(settings);
  Teach("a", Found("1"));
  EXPECT_FALSE(Ask("a").is_at_once);
  EXPECT_EQ(cache_->num_entries(), 0u);
}

}  // namespace
}  // namespace postern::directory
