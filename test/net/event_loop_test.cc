// event_loop_test: time, timers, tasks and signals on a real loop.
// SPDX-License-Identifier: Apache-2.0
#include "lb/net/event_loop.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/eventfd.h>

#include <thread>
#include <vector>

#include "lb/net/signal_watcher.h"

namespace postern::net {
namespace {

using std::chrono::milliseconds;
using ::testing::ElementsAre;

// Moves only when it is told to, and counts how often it is asked.
class FakeClock final : public base::Clock {
 public:
  base::MonoTime Now() const override {
    ++num_reads;
    return now;
  }
  base::WallTime WallNow() const override { return wall; }
  base::MonoTime now{std::chrono::seconds(1000)};
  base::WallTime wall{std::chrono::seconds(1)};
  mutable int num_reads = 0;
};

struct Shot {
  Shot(io::Loop& loop, std::vector<int>& fired, int number)
      : timer(loop.timers(), &io::Timer::Invoke<&Shot::Fire, Shot>, this), log(fired), id(number) {}
  void Fire() {
    log.push_back(id);
    if (then) then();
  }
  io::Timer timer;
  std::vector<int>& log;
  int id;
  std::function<void()> then;
};

TEST(EventLoopTest, RunsPostedTasksInOrder) {
  EventLoop loop;
  std::vector<int> log;
  for (int i = 0; i < 3; ++i) loop.Post([&log, i] { log.push_back(i); });
  loop.Stop();
  loop.Run();
  EXPECT_THAT(log, ElementsAre(0, 1, 2));
}

TEST(EventLoopTest, TasksPostedByATaskRunLater) {
  EventLoop loop;
  std::vector<int> log;
  loop.Post([&] {
    loop.Post([&] {
      log.push_back(2);
      loop.Stop();
    });
    log.push_back(1);
  });
  loop.Run();
  EXPECT_THAT(log, ElementsAre(1, 2));
}

TEST(EventLoopTest, TakesTasksOfOtherThreadsWithoutLosingOrderOrAny) {
  EventLoop loop;
  constexpr int kThreads = 4;
  constexpr int kTasks = 5000;
  std::vector<int> last(kThreads, -1);
  int num_run = 0;
  bool is_in_order = true;
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < kTasks; ++i) {
        loop.Post([&, t, i] {
          is_in_order = is_in_order && last[t] == i - 1;
          last[t] = i;
          if (++num_run == kThreads * kTasks) loop.Stop();
        });
      }
    });
  }
  loop.Run();
  for (std::thread& thread : threads) thread.join();
  EXPECT_TRUE(is_in_order);
  EXPECT_EQ(num_run, kThreads * kTasks);
}

TEST(EventLoopTest, CanBeStoppedFromAnotherThreadAndRunAgain) {
  EventLoop loop;
  for (int round = 0; round < 2; ++round) {
    std::thread other([&] { loop.Stop(); });
    loop.Run();
    other.join();
  }
  bool has_run = false;
  loop.Post([&] { has_run = true; });
  loop.RunOnce();
  EXPECT_TRUE(has_run);
}

TEST(EventLoopTest, FiresTimersInTheOrderOfTheirDeadlines) {
  EventLoop loop;
  std::vector<int> log;
  Shot late(loop, log, 3);
  Shot early(loop, log, 1);
  Shot middle(loop, log, 2);
  const base::MonoTime now = loop.Now();
  late.timer.ArmAt(now + milliseconds(12));
  early.timer.ArmAt(now + milliseconds(2));
  middle.timer.ArmAt(now + milliseconds(6));
  late.then = [&] { loop.Stop(); };
  loop.Run();
  EXPECT_THAT(log, ElementsAre(1, 2, 3));
  EXPECT_GE(loop.Now(), now + milliseconds(12));
}

TEST(EventLoopTest, NeverFiresATimerEarly) {
  EventLoop loop;
  std::vector<int> log;
  Shot shot(loop, log, 1);
  const base::MonoTime due = loop.Now() + milliseconds(5);
  base::MonoTime fired_at{};
  shot.then = [&] {
    fired_at = loop.Now();
    loop.Stop();
  };
  shot.timer.ArmAt(due);
  loop.Run();
  EXPECT_GE(fired_at, due);
}

TEST(EventLoopTest, ACancelledTimerIsSilent) {
  EventLoop loop;
  std::vector<int> log;
  Shot cancelled(loop, log, 1);
  Shot kept(loop, log, 2);
  cancelled.timer.ArmAt(loop.Now() + milliseconds(1));
  kept.timer.ArmAt(loop.Now() + milliseconds(3));
  kept.then = [&] { loop.Stop(); };
  cancelled.timer.Cancel();
  loop.Run();
  EXPECT_THAT(log, ElementsAre(2));
}

TEST(EventLoopTest, ATimerArmedForThePastFiresInALaterRound) {
  EventLoop loop;
  std::vector<int> log;
  Shot first(loop, log, 1);
  Shot second(loop, log, 2);
  first.then = [&] {
    second.timer.ArmAt(loop.Now() - milliseconds(1));
    log.push_back(10);
  };
  second.then = [&] { loop.Stop(); };
  first.timer.ArmAt(loop.Now());
  loop.Run();
  EXPECT_THAT(log, ElementsAre(1, 10, 2));
}

TEST(EventLoopTest, ReadsTheClockOncePerIteration) {
  FakeClock clock;
  EventLoop loop(clock);
  base::MonoTime first{};
  base::MonoTime second{};
  loop.Post([&] {
    first = loop.Now();
    clock.now += std::chrono::seconds(5);
    clock.wall += std::chrono::seconds(5);
  });
  loop.Post([&] { second = loop.Now(); });
  loop.RunOnce();
  EXPECT_EQ(first, second);
  EXPECT_EQ(loop.Now(), first + std::chrono::seconds(5));
  EXPECT_EQ(loop.WallNow(), base::WallTime(std::chrono::seconds(6)));
}

TEST(EventLoopTest, AnIterationThatAsksForNoTimeReadsNoClock) {
  FakeClock clock;
  EventLoop loop(clock);
  loop.Post([] {});
  const int before = clock.num_reads;
  loop.RunOnce();
  EXPECT_EQ(clock.num_reads, before);
}

TEST(EventLoopTest, TellsHowLongEventsMayHaveWaited) {
  FakeClock clock;
  EventLoop loop(clock);
  loop.Post([&] {
    (void)loop.Now();
    clock.now += milliseconds(70);  // a task that takes its time
  });
  loop.RunOnce();
  EXPECT_EQ(loop.TakeLag(), base::Duration(milliseconds(70)));
  EXPECT_EQ(loop.TakeLag(), base::Duration{});
}

TEST(EventLoopTest, DropsTasksThatNeverRan) {
  auto witness = std::make_shared<int>(1);
  {
    EventLoop loop;
    loop.Post([witness] {});
    EXPECT_EQ(witness.use_count(), 2);
  }
  EXPECT_EQ(witness.use_count(), 1);
}

struct EventLog {
  FdEvent event;
  std::vector<int> seen;
  std::function<void()> then;
  static void On(void* self, uint8_t what) {
    auto* log = static_cast<EventLog*>(self);
    log->seen.push_back(what);
    if (log->then) log->then();
  }
};

TEST(FdEventTest, IsLevelTriggeredAndStopsWhenTold) {
  EventLoop loop;
  const OwnedFd fd(::eventfd(1, EFD_NONBLOCK));
  EventLog log;
  log.event.Init(loop, fd.get(), &EventLog::On, &log);
  log.event.Watch(FdEvent::kRead);
  loop.RunOnce();
  loop.RunOnce();
  EXPECT_THAT(log.seen, ElementsAre(FdEvent::kRead, FdEvent::kRead));
  log.event.Watch(0);
  loop.Post([] {});
  loop.RunOnce();
  EXPECT_EQ(log.seen.size(), 2u);
}

TEST(FdEventTest, ADeferredCallSurvivesAChangeOfInterest) {
  EventLoop loop;
  const OwnedFd fd(::eventfd(0, EFD_NONBLOCK));
  EventLog log;
  log.event.Init(loop, fd.get(), &EventLog::On, &log);
  log.event.Defer();
  log.event.Watch(FdEvent::kRead);
  loop.RunOnce();
  EXPECT_THAT(log.seen, ElementsAre(FdEvent::kDeferred));
}

TEST(FdEventTest, ADeferredCallIsGoneAfterClear) {
  EventLoop loop;
  EventLog log;
  log.event.Init(loop, -1, &EventLog::On, &log);
  log.event.Defer();
  log.event.Clear();
  loop.Post([] {});
  loop.RunOnce();
  EXPECT_TRUE(log.seen.empty());
}

TEST(SignalWatcherTest, TellsOfSignalsOnTheLoop) {
  SignalWatcher::Block({SIGUSR1, SIGHUP});
  EventLoop loop;
  std::vector<int> seen;
  SignalWatcher watcher(loop, {SIGUSR1, SIGHUP}, [&](int signal) {
    seen.push_back(signal);
    if (seen.size() == 2) loop.Stop();
  });
  ::raise(SIGUSR1);
  ::raise(SIGHUP);
  loop.Run();
  EXPECT_THAT(seen, ::testing::UnorderedElementsAre(SIGUSR1, SIGHUP));
}

}  // namespace
}  // namespace postern::net
