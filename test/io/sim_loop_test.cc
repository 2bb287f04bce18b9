// sim_loop_test: virtual time moves only as it should, and in the same order every time.
// SPDX-License-Identifier: Apache-2.0
#include "test/support/sim_loop.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

namespace postern::test {
namespace {

using ::testing::ElementsAre;
using ::testing::UnorderedElementsAre;
using namespace std::chrono_literals;  // NOLINT: literals only

class SimLoopTest : public ::testing::Test {
 protected:
  [[nodiscard]] std::function<void()> Say(std::string word) {
    return [this, word] { said_.push_back(word); };
  }

  struct Alarm {
    std::function<void()> action;
    void Fire() { action(); }
  };
  SimLoop loop_;
  std::vector<std::string> said_;
  Alarm alarm_{Say("timer")};
  io::Timer timer_{loop_.timers(), io::Timer::Invoke<&Alarm::Fire, Alarm>, &alarm_};
  const base::MonoTime start_ = loop_.Now();
};

TEST_F(SimLoopTest, DisorderMixesWhatIsDueAtTheSameTimeAndLetsTimersBeLate) {
  base::SeededRng rng(7);
  loop_.SetDisorder(rng, 5ms);
  bool is_mixed = false, is_late = false;
  for (int i = 0; i < 20; ++i) {
    said_.clear();
    const base::MonoTime due = loop_.Now() + 10ms;
    timer_.ArmAt(due);
    base::MonoTime fired{};
    alarm_.action = [&] { fired = loop_.Now(); };
    for (const char* word : {"a", "b", "c"}) loop_.Schedule(10ms, Say(word));
    loop_.RunFor(20ms);
    EXPECT_THAT(said_, UnorderedElementsAre("a", "b", "c"));
    is_mixed = is_mixed || said_ != std::vector<std::string>{"a", "b", "c"};
    EXPECT_GE(fired, due);
    EXPECT_LE(fired, due + 5ms);
    is_late = is_late || fired > due;
  }
  EXPECT_TRUE(is_mixed);
  EXPECT_TRUE(is_late);
}

TEST_F(SimLoopTest, NothingRunsFromWithinPost) {
  loop_.Post(Say("task"));
  EXPECT_TRUE(said_.empty());
  loop_.RunReady();
  EXPECT_THAT(said_, ElementsAre("task"));
}

TEST_F(SimLoopTest, TasksRunInTheOrderOfPosting) {
  loop_.Post([this] {
    said_.push_back("1");
    loop_.Post(Say("3"));
  });
  loop_.Post(Say("2"));
  loop_.RunReady();
  EXPECT_THAT(said_, ElementsAre("1", "2", "3"));
  EXPECT_EQ(loop_.Now(), start_);
}

TEST_F(SimLoopTest, TasksComeBeforeEventsAndEventsBeforeTimers) {
  timer_.ArmAt(loop_.Now());
  loop_.Schedule(0s, Say("event"));
  loop_.Post(Say("task"));
  loop_.RunReady();
  EXPECT_THAT(said_, ElementsAre("task", "event", "timer"));
}

TEST_F(SimLoopTest, TimeJumpsToWhatIsNext) {
  loop_.Schedule(3h, Say("later"));
  timer_.ArmAt(start_ + 1h);
  EXPECT_TRUE(loop_.Step());
  EXPECT_EQ(loop_.Now(), start_ + 1h);
  EXPECT_TRUE(loop_.Step());
  EXPECT_EQ(loop_.Now(), start_ + 3h);
  EXPECT_FALSE(loop_.Step());
  EXPECT_THAT(said_, ElementsAre("timer", "later"));
}

TEST_F(SimLoopTest, EqualEventsKeepTheirOrder) {
  loop_.Schedule(1s, Say("1"));
  loop_.Schedule(1s, Say("2"));
  loop_.Schedule(1s, Say("3"));
  loop_.Schedule(1ms, Say("0"));
  EXPECT_TRUE(loop_.RunUntilIdle());
  EXPECT_THAT(said_, ElementsAre("0", "1", "2", "3"));
}

TEST_F(SimLoopTest, RunForStopsExactlyThere) {
  loop_.Schedule(1s, Say("in"));
  loop_.Schedule(1s + 1ns, Say("out"));
  loop_.RunFor(1s);
  EXPECT_THAT(said_, ElementsAre("in"));
  EXPECT_EQ(loop_.Now(), start_ + 1s);
}

TEST_F(SimLoopTest, RunReadyLeavesTheFutureAlone) {
  timer_.ArmAt(start_ + 1ns);
  loop_.RunReady();
  EXPECT_TRUE(timer_.armed());
  EXPECT_EQ(loop_.Now(), start_);
}

TEST_F(SimLoopTest, ATimerForThePastDoesNotTurnTimeBack) {
  timer_.ArmAt(start_ - 1s);
  EXPECT_TRUE(loop_.RunUntilIdle());
  EXPECT_EQ(loop_.Now(), start_);
  EXPECT_THAT(said_, ElementsAre("timer"));
}

TEST_F(SimLoopTest, RunUntilIdleGivesUp) {
  alarm_.action = [this] { timer_.ArmAt(loop_.Now() + 1s); };
  timer_.ArmAt(start_ + 1s);
  EXPECT_FALSE(loop_.RunUntilIdle(10));
  EXPECT_EQ(loop_.Now(), start_ + 10s);
  EXPECT_EQ(loop_.num_steps(), 10u);
}

TEST_F(SimLoopTest, RunUntilTellsWhetherItBecameTrue) {
  loop_.Schedule(1s, Say("x"));
  EXPECT_TRUE(loop_.RunUntil([this] { return said_.size() == 1; }));
  EXPECT_FALSE(loop_.RunUntil([this] { return said_.size() == 2; }));
}

TEST_F(SimLoopTest, BothClocksGoTogether) {
  const base::WallTime before = loop_.WallNow();
  loop_.RunFor(90s);
  EXPECT_EQ(loop_.WallNow() - before, 90s);
}

}  // namespace
}  // namespace postern::test
