// aside_test: work comes back to the loop, one piece at a time, and can be stopped.
// SPDX-License-Identifier: Apache-2.0
#include "lb/daemon/aside.h"

#include <gtest/gtest.h>

#include <future>
#include <thread>

#include "lb/net/event_loop.h"

namespace postern::daemon {
namespace {

TEST(AsideTest, WhatIsMadeComesBackToTheLoop) {
  net::EventLoop loop;
  std::thread::id worked, finished;
  Aside aside(loop, [&] { loop.Stop(); });
  ASSERT_TRUE(aside.Start([&](const std::atomic<bool>&) -> Aside::Finish {
    worked = std::this_thread::get_id();
    return [&] { finished = std::this_thread::get_id(); };
  }));
  EXPECT_TRUE(aside.is_busy());
  loop.Run();
  EXPECT_FALSE(aside.is_busy());
  EXPECT_NE(worked, finished);
  EXPECT_EQ(finished, std::this_thread::get_id());
}

TEST(AsideTest, OnePieceAtATimeAndTheNextWhenItIsDone) {
  net::EventLoop loop;
  int num_done = 0;
  std::promise<void> may_end;
  Aside aside(loop, [&] { loop.Stop(); });
  const auto second = [&](const std::atomic<bool>&) -> Aside::Finish {
    return [&] { ++num_done; };
  };
  ASSERT_TRUE(aside.Start([&](const std::atomic<bool>&) -> Aside::Finish {
    may_end.get_future().wait();
    return [&] {
      ++num_done;
      EXPECT_TRUE(aside.Start(second));  // so that it is not idle yet
    };
  }));
  EXPECT_FALSE(aside.Start(second));
  may_end.set_value();
  loop.Run();
  EXPECT_EQ(num_done, 2);
}

TEST(AsideTest, WhatIsStoppedEndsAndIsNotFinished) {
  net::EventLoop loop;
  bool is_finished = false;
  {
    Aside aside(loop, nullptr);
    ASSERT_TRUE(aside.Start([&](const std::atomic<bool>& stop) -> Aside::Finish {
      while (!stop) std::this_thread::yield();
      return [&] { is_finished = true; };
    }));
    aside.Stop();
    EXPECT_FALSE(aside.Start([](const std::atomic<bool>&) -> Aside::Finish { return [] {}; }));
  }
  loop.Post([&] { loop.Stop(); });
  loop.Run();
  EXPECT_FALSE(is_finished);
}

}  // namespace
}  // namespace postern::daemon
