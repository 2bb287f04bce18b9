// pins_test: one member for a user at a time, from the first session to the last.
// SPDX-License-Identifier: Apache-2.0
#include "lb/balance/pins.h"

#include <gtest/gtest.h>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

namespace postern::balance {
namespace {

TEST(PinsTest, TheFirstSessionDecidesForTheNext) {
  Pins pins;
  EXPECT_EQ(pins.HolderOf("store", "alice"), "");
  const auto first = pins.Take("store", "alice", "mail1");
  ASSERT_NE(first, nullptr);
  EXPECT_EQ(pins.HolderOf("store", "alice"), "mail1");
  EXPECT_EQ(pins.Take("store", "alice", "mail2"), nullptr);
  EXPECT_NE(pins.Take("store", "alice", "mail1"), nullptr);
}

TEST(PinsTest, TheLastSessionLetsGo) {
  Pins pins;
  auto first = pins.Take("store", "alice", "mail1");
  auto second = pins.Take("store", "alice", "mail1");
  first.reset();
  EXPECT_EQ(pins.HolderOf("store", "alice"), "mail1");
  second.reset();
  EXPECT_EQ(pins.HolderOf("store", "alice"), "");
  EXPECT_EQ(pins.size(), 0U);
  EXPECT_NE(pins.Take("store", "alice", "mail2"), nullptr);
}

TEST(PinsTest, UsersAndPoolsAreApart) {
  Pins pins;
  const auto alice = pins.Take("store", "alice", "mail1");
  const auto bob = pins.Take("store", "bob", "mail2");
  const auto elsewhere = pins.Take("archive", "alice", "mail2");
  EXPECT_NE(bob, nullptr);
  EXPECT_NE(elsewhere, nullptr);
  EXPECT_EQ(pins.size(), 3U);
}

TEST(PinsTest, AMemberThatIsLostHoldsNobody) {
  Pins pins;
  auto stuck = pins.Take("store", "alice", "mail1");
  auto moved = pins.Take("store", "alice", "mail2", "mail1");
  ASSERT_NE(moved, nullptr);
  EXPECT_EQ(pins.HolderOf("store", "alice"), "mail2");
  stuck.reset();  // of a hold that is no more
  EXPECT_EQ(pins.HolderOf("store", "alice"), "mail2");
  moved.reset();
  EXPECT_EQ(pins.HolderOf("store", "alice"), "");
}

TEST(PinsTest, ManyThreadsAgreeOnOneMember) {
  Pins pins;
  std::atomic<int> inside[2] = {0, 0};
  std::atomic<int> num_together{0}, num_held{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      for (int i = 0; i < 2000; ++i) {
        const int wanted = (t + i) % 2;
        const auto pin = pins.Take("store", "alice", wanted == 0 ? "mail1" : "mail2");
        if (pin == nullptr) continue;
        ++num_held;
        ++inside[wanted];
        if (inside[1 - wanted] > 0) ++num_together;
        --inside[wanted];
      }
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_GT(num_held, 0);
  EXPECT_EQ(num_together, 0);
  EXPECT_EQ(pins.size(), 0U);
}

}  // namespace
}  // namespace postern::balance
