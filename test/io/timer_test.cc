// timer_test: order, cancelling and re-arming, also from within what fires.
// SPDX-License-Identifier: Apache-2.0
#include "lb/io/timer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "lb/base/rng.h"

namespace postern::io {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

base::MonoTime At(int ms) {
  return base::MonoTime(std::chrono::milliseconds(ms));
}

// A timer that writes its name when it fires, and then does what it is told.
struct Alarm {
  Alarm(TimerHeap& heap, std::vector<std::string>& into, std::string its_name)
      : timer(heap, Timer::Invoke<&Alarm::Fire, Alarm>, this),
        fired(into),
        name(std::move(its_name)) {}
  void Fire() {
    fired.push_back(name);
    // Moved out: what follows may destroy this.
    const auto then = std::move(action);
    action = nullptr;
    if (then) then();
  }
  Timer timer;
  std::vector<std::string>& fired;
  std::string name;
  std::function<void()> action;
};

class TimerTest : public ::testing::Test {
 protected:
  static void CountRearm(void* self) { ++static_cast<TimerTest*>(self)->num_rearms_; }

  TimerHeap heap_;
  std::vector<std::string> fired_;
  int num_rearms_ = 0;
  Alarm a_{heap_, fired_, "a"};
  Alarm b_{heap_, fired_, "b"};
  Alarm c_{heap_, fired_, "c"};
};

TEST_F(TimerTest, FiresInOrderOfTime) {
  a_.timer.ArmAt(At(30));
  b_.timer.ArmAt(At(10));
  c_.timer.ArmAt(At(20));
  EXPECT_EQ(heap_.RunDue(At(30)), 3u);
  EXPECT_THAT(fired_, ElementsAre("b", "c", "a"));
}

TEST_F(TimerTest, EqualTimesFireInOrderOfArming) {
  c_.timer.ArmAt(At(10));
  a_.timer.ArmAt(At(10));
  b_.timer.ArmAt(At(10));
  (void)heap_.RunDue(At(10));
  EXPECT_THAT(fired_, ElementsAre("c", "a", "b"));
}

TEST_F(TimerTest, RearmingForTheSameTimeGoesToTheEnd) {
  a_.timer.ArmAt(At(10));
  b_.timer.ArmAt(At(10));
  a_.timer.ArmAt(At(10));
  (void)heap_.RunDue(At(10));
  EXPECT_THAT(fired_, ElementsAre("b", "a"));
}

TEST_F(TimerTest, FiresAtItsTimeAndNotBefore) {
  a_.timer.ArmAt(At(10));
  EXPECT_EQ(heap_.RunDue(At(10) - base::Duration(1)), 0u);
  EXPECT_TRUE(a_.timer.armed());
  EXPECT_EQ(heap_.RunDue(At(10)), 1u);
  EXPECT_FALSE(a_.timer.armed());
}

TEST_F(TimerTest, NextIsTheEarliest) {
  EXPECT_EQ(heap_.Next(), std::nullopt);
  a_.timer.ArmAt(At(20));
  b_.timer.ArmAt(At(10));
  EXPECT_EQ(heap_.Next(), At(10));
  b_.timer.Cancel();
  EXPECT_EQ(heap_.Next(), At(20));
  a_.timer.Cancel();
  EXPECT_EQ(heap_.Next(), std::nullopt);
  EXPECT_EQ(heap_.size(), 0u);
}

TEST_F(TimerTest, CancelledNeverFires) {
  a_.timer.ArmAt(At(10));
  a_.timer.Cancel();
  a_.timer.Cancel();
  EXPECT_EQ(heap_.RunDue(At(100)), 0u);
  EXPECT_THAT(fired_, IsEmpty());
}

TEST_F(TimerTest, DestroyedNeverFires) {
  auto gone = std::make_unique<Alarm>(heap_, fired_, "gone");
  gone->timer.ArmAt(At(10));
  gone.reset();
  EXPECT_EQ(heap_.RunDue(At(100)), 0u);
}

TEST_F(TimerTest, CancelledByAnEarlierOneOfTheSameRound) {
  a_.timer.ArmAt(At(10));
  b_.timer.ArmAt(At(10));
  c_.timer.ArmAt(At(11));
  a_.action = [this] {
    b_.timer.Cancel();
    EXPECT_FALSE(b_.timer.armed());
    c_.timer.Cancel();
  };
  EXPECT_EQ(heap_.RunDue(At(20)), 1u);
  EXPECT_THAT(fired_, ElementsAre("a"));
}

TEST_F(TimerTest, DestroyedByAnEarlierOneOfTheSameRound) {
  auto victim = std::make_unique<Alarm>(heap_, fired_, "victim");
  a_.timer.ArmAt(At(10));
  victim->timer.ArmAt(At(10));
  a_.action = [&victim] { victim.reset(); };
  EXPECT_EQ(heap_.RunDue(At(20)), 1u);
  EXPECT_EQ(heap_.size(), 0u);
}

TEST_F(TimerTest, MayDestroyItself) {
  auto self = std::make_unique<Alarm>(heap_, fired_, "self");
  self->timer.ArmAt(At(10));
  self->action = [&self] { self.reset(); };
  b_.timer.ArmAt(At(10));
  EXPECT_EQ(heap_.RunDue(At(10)), 2u);
  EXPECT_THAT(fired_, ElementsAre("self", "b"));
}

TEST_F(TimerTest, IsIdleWhileItFires) {
  a_.timer.ArmAt(At(10));
  a_.action = [this] { EXPECT_FALSE(a_.timer.armed()); };
  EXPECT_EQ(heap_.RunDue(At(10)), 1u);
}

TEST_F(TimerTest, RearmedForThePastWaitsForTheNextRound) {
  a_.timer.ArmAt(At(10));
  a_.action = [this] { a_.timer.ArmAt(At(1)); };
  EXPECT_EQ(heap_.RunDue(At(20)), 1u);
  EXPECT_TRUE(a_.timer.armed());
  EXPECT_EQ(heap_.Next(), At(1));
  EXPECT_EQ(heap_.RunDue(At(20)), 1u);
}

TEST_F(TimerTest, OneArmedForThePastDoesNotHoldUpTheOthers) {
  a_.timer.ArmAt(At(10));
  b_.timer.ArmAt(At(12));
  a_.action = [this] { c_.timer.ArmAt(At(1)); };
  EXPECT_EQ(heap_.RunDue(At(20)), 2u);
  EXPECT_THAT(fired_, ElementsAre("a", "b"));
  EXPECT_EQ(heap_.RunDue(At(20)), 1u);
  EXPECT_THAT(fired_, ElementsAre("a", "b", "c"));
}

TEST_F(TimerTest, OneDueThatIsRearmedByAnotherFiresOnceAndLater) {
  a_.timer.ArmAt(At(10));
  b_.timer.ArmAt(At(10));
  a_.action = [this] { b_.timer.ArmAt(At(15)); };
  EXPECT_EQ(heap_.RunDue(At(20)), 1u);
  EXPECT_EQ(heap_.RunDue(At(20)), 1u);
  EXPECT_THAT(fired_, ElementsAre("a", "b"));
}

TEST_F(TimerTest, OneDueIsArmedUntilItFires) {
  a_.timer.ArmAt(At(10));
  b_.timer.ArmAt(At(10));
  a_.action = [this] {
    EXPECT_TRUE(b_.timer.armed());
    EXPECT_EQ(heap_.size(), 1u);
    EXPECT_EQ(heap_.Next(), std::nullopt);
  };
  EXPECT_EQ(heap_.RunDue(At(20)), 2u);
  EXPECT_EQ(heap_.size(), 0u);
}

// All of a crowd that is due re-arm themselves for the past: linear, in the same order every round.
TEST_F(TimerTest, ACrowdThatRearmsForThePast) {
  constexpr int kCrowd = 20000;
  std::vector<std::unique_ptr<Alarm>> crowd;
  for (int i = 0; i < kCrowd; ++i) {
    crowd.push_back(std::make_unique<Alarm>(heap_, fired_, std::to_string(i)));
    crowd.back()->timer.ArmAt(At(10));
    crowd.back()->action = [timer = &crowd.back()->timer] { timer->ArmAt(At(1)); };
  }
  EXPECT_EQ(heap_.RunDue(At(20)), static_cast<size_t>(kCrowd));
  const std::vector<std::string> first = std::exchange(fired_, {});
  EXPECT_EQ(heap_.RunDue(At(20)), static_cast<size_t>(kCrowd));
  EXPECT_EQ(fired_, first);
}

TEST_F(TimerTest, TellsTheLoopOnceARound) {
  heap_.SetRearm(&TimerTest::CountRearm, this);
  a_.timer.ArmAt(At(10));
  num_rearms_ = 0;
  a_.action = [this] {
    b_.timer.ArmAt(At(50));
    c_.timer.ArmAt(At(40));
    EXPECT_EQ(num_rearms_, 0);
  };
  (void)heap_.RunDue(At(10));
  EXPECT_EQ(num_rearms_, 1);
}

TEST_F(TimerTest, TellsTheLoopOnlyOfAChangedDeadline) {
  heap_.SetRearm(&TimerTest::CountRearm, this);
  a_.timer.ArmAt(At(20));
  EXPECT_EQ(num_rearms_, 1);
  b_.timer.ArmAt(At(30));  // later than the earliest
  EXPECT_EQ(num_rearms_, 1);
  c_.timer.ArmAt(At(10));
  EXPECT_EQ(num_rearms_, 2);
  b_.timer.Cancel();
  EXPECT_EQ(num_rearms_, 2);
  c_.timer.Cancel();
  EXPECT_EQ(num_rearms_, 3);
}

TEST_F(TimerTest, TellsTheLoopAfterARound) {
  a_.timer.ArmAt(At(10));
  b_.timer.ArmAt(At(30));
  heap_.SetRearm(&TimerTest::CountRearm, this);
  (void)heap_.RunDue(At(10));
  EXPECT_EQ(heap_.Next(), At(30));
  EXPECT_GE(num_rearms_, 1);
}

// Against a plain sorted list, over many random operations.
TEST_F(TimerTest, AgreesWithAModel) {
  struct Row {
    base::MonoTime when;
    uint64_t order;
    std::string name;
  };
  base::SeededRng rng(7);
  std::vector<std::unique_ptr<Alarm>> alarms;
  for (int i = 0; i < 60; ++i)
    alarms.push_back(std::make_unique<Alarm>(heap_, fired_, std::to_string(i)));
  std::vector<Row> model;
  uint64_t order = 0;
  int now = 0;
  for (int step = 0; step < 5000; ++step) {
    Alarm& alarm = *alarms[rng.Below(alarms.size())];
    std::erase_if(model, [&](const Row& row) { return row.name == alarm.name; });
    if (rng.Below(4) == 0) {
      alarm.timer.Cancel();
    } else {
      const base::MonoTime when = At(now + static_cast<int>(rng.Below(40)));
      alarm.timer.ArmAt(when);
      model.push_back({when, order++, alarm.name});
    }
    if (rng.Below(3) != 0) continue;
    now += static_cast<int>(rng.Below(10));
    std::sort(model.begin(), model.end(), [](const Row& x, const Row& y) {
      return x.when != y.when ? x.when < y.when : x.order < y.order;
    });
    std::vector<std::string> expected;
    for (const Row& row : model)
      if (row.when <= At(now)) expected.push_back(row.name);
    model.erase(model.begin(), model.begin() + static_cast<std::ptrdiff_t>(expected.size()));
    fired_.clear();
    ASSERT_EQ(heap_.RunDue(At(now)), expected.size());
    ASSERT_EQ(fired_, expected) << "step " << step;
    ASSERT_EQ(heap_.size(), model.size());
  }
}

}  // namespace
}  // namespace postern::io
