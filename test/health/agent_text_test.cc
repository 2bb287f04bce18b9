// agent_text_test: the words of HAProxy's agent-check, and queue:N.
// SPDX-License-Identifier: Apache-2.0
#include "health/agent_text.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>

namespace postern::health {
namespace {

using State = AgentLine::State;
using Admin = AgentLine::Admin;

AgentLine Parse(std::string_view text) {
  const auto line = ParseAgentLine(text);
  EXPECT_TRUE(line.ok()) << text;
  return line.ok() ? *line : AgentLine();
}

TEST(AgentTextTest, APercentageIsAWeight) {
  EXPECT_EQ(Parse("75%").percent, 75u);
  EXPECT_EQ(Parse("0%").percent, 0u);
  EXPECT_EQ(Parse("weight:30%").percent, 30u);
  EXPECT_EQ(Parse("300%").percent, 300u);
  EXPECT_EQ(Parse("99999999999999999999%").percent, 25600u);
  EXPECT_EQ(Parse("75%").state, std::nullopt);
  EXPECT_EQ(Parse("75%").admin, std::nullopt);
}

TEST(AgentTextTest, AnAbsoluteWeightNeedsItsPrefix) {
  EXPECT_EQ(Parse("weight:128").weight, 128u);
  EXPECT_FALSE(ParseAgentLine("128").ok());
  EXPECT_FALSE(ParseAgentLine("weight:257").ok());
  EXPECT_FALSE(ParseAgentLine("weight:").ok());
  EXPECT_FALSE(ParseAgentLine("weight:-1").ok());
  const AgentLine both = Parse("weight:128 50%");
  EXPECT_EQ(both.percent, 50u);
  EXPECT_EQ(both.weight, std::nullopt);
}

TEST(AgentTextTest, KnowsTheWordsInAnyCase) {
  struct Case {
    std::string_view text;
    std::optional<State> state;
    std::optional<Admin> admin;
  };
  constexpr Case kCases[] = {{"up", State::kUp, {}},
                             {"DOWN", State::kDown, {}},
                             {"Fail", State::kDown, {}},
                             {"stopped", State::kDown, {}},
                             {"ready", {}, Admin::kReady},
                             {"DRAIN", {}, Admin::kDrain},
                             {"maint", {}, Admin::kMaint},
                             {"up ready", State::kUp, Admin::kReady},
                             {"ready,up", State::kUp, Admin::kReady}};
  for (const Case& row : kCases) {
    const AgentLine line = Parse(row.text);
    EXPECT_EQ(line.state, row.state) << row.text;
    EXPECT_EQ(line.admin, row.admin) << row.text;
  }
}

TEST(AgentTextTest, OfSeveralWordsOfAKindTheLastCounts) {
  const AgentLine line = Parse("up down drain ready 10% 20% queue:1 queue:2");
  EXPECT_EQ(line.state, State::kDown);
  EXPECT_EQ(line.admin, Admin::kReady);
  EXPECT_EQ(line.percent, 20u);
  EXPECT_EQ(line.queue, 2);
}

TEST(AgentTextTest, BlanksTabsAndCommasSeparate) {
  const AgentLine line = Parse(" \t,up,\t50% ,,queue:7\t");
  EXPECT_EQ(line.state, State::kUp);
  EXPECT_EQ(line.percent, 50u);
  EXPECT_EQ(line.queue, 7);
}

TEST(AgentTextTest, BehindASharpIsADescription) {
  const AgentLine line = Parse("down # 100% full, up soon\x1b");
  EXPECT_EQ(line.state, State::kDown);
  EXPECT_EQ(line.percent, std::nullopt);
  EXPECT_EQ(line.said, "down # 100% full, up soon\\x1b");
  EXPECT_EQ(Parse("50% # busy").said, "");
  // A sharp inside of a word is a part of it, as HAProxy has it.
  EXPECT_FALSE(ParseAgentLine("down#full").ok());
}

TEST(AgentTextTest, WhatItSaidIsShort) {
  EXPECT_LE(Parse("down #" + std::string(5000, 'x')).said.size(), 110u);
}

TEST(AgentTextTest, MaxconnIsKnownAndIgnored) {
  const AgentLine line = Parse("maxconn:30");
  EXPECT_EQ(line.percent, std::nullopt);
  EXPECT_EQ(line.queue, std::nullopt);
}

TEST(AgentTextTest, UnknownWordsAreNoHindrance) {
  EXPECT_EQ(Parse("load=7 up 50%% queue:3").queue, 3);
  EXPECT_EQ(ParseAgentLine("HTTP/1.0 400 Bad request").error(),
            "the agent's words are not understood: HTTP/1.0 400 Bad request");
  EXPECT_EQ(ParseAgentLine("").error(), "the agent said nothing");
  EXPECT_FALSE(ParseAgentLine("%").ok());
  EXPECT_FALSE(ParseAgentLine("-5%").ok());
  EXPECT_FALSE(ParseAgentLine("# up").ok());
}

TEST(AgentTextTest, AQueueIsADepthOrNothing) {
  EXPECT_EQ(Parse("queue:0").queue, 0);
  EXPECT_EQ(Parse("QUEUE:1234").queue, 1234);
  EXPECT_EQ(Parse("queue:12.5").queue, 12.5);
  for (const std::string_view text :
       {"queue:", "queue:-1", "queue:nan", "queue:inf", "queue:1e30", "queue:12x", "queue:x"}) {
    const AgentLine line = Parse(std::string(text) + " up");
    EXPECT_EQ(line.queue, std::nullopt) << text;
    EXPECT_TRUE(line.has_bad_queue) << text;
    EXPECT_EQ(line.state, State::kUp) << text;
  }
}

}  // namespace
}  // namespace postern::health
