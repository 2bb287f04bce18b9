// monitor_test: what is watched over days and reloads: names, checks on schedule, states, weights,
// words.
// SPDX-License-Identifier: Apache-2.0
#include "health/monitor.h"

#include "test/health/check_world.h"
#include "test/health/queue_world.h"

namespace postern::health {
namespace {

using balance::AdminState;
using balance::Health;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;

class MonitorTest : public CheckWorld {
 protected:
  // Two members of a pool, so that there are comparisons.
  void WatchTwo(conf::Protocol protocol) {
    config_->backends.resize(2);
    config_->backends[1].name = "mail2";
    config_->backends[1].host = "10.0.0.2";
    resolver_.own["10.0.0.2"].addresses = {*base::IpAddress::Parse("10.0.0.2")};
    resolver_.own["10.0.0.2"].ttl = std::chrono::hours(1);
    for (auto& backend : config_->backends)
      backend.endpoints = {{.protocol = protocol, .port = address_.port}};
    net_.Listen(*base::SocketAddress::Parse("10.0.0.2:143"),
                [this](auto stream) { second_.Accept(std::move(stream)); });
    second_.greeting = server_.greeting;
    second_.script = server_.script;
    second_.schedule = server_.schedule;
    config_->pools.resize(1);
    config_->pools[0].name = "pool";
    config_->pools[0].backends = {"mail1", "mail2"};
    config_->pools[0].health = config_->health;
    config_->pools[0].weights = config_->weights;
    WatchAgain();
  }
  ScriptedServer second_;
};

// --- names ------------------------------------------------------------------------------------

TEST_F(MonitorTest, AskingTheResolverFollowsTheTtlWithinBounds) {
  ServeImap();
  resolver_.answer.ttl = milliseconds(1);
  Watch(conf::Protocol::kImap);
  loop_.RunFor(seconds(22));
  EXPECT_EQ(resolver_.asked.size(), 5U) << "at 0, 5, 10, 15, 20 s";
}

TEST_F(MonitorTest, AnotherAddressIsNewsAndTheSameInAnotherOrderIsNot) {
  ServeImap();
  const auto other = *base::IpAddress::Parse("10.0.0.2");
  resolver_.answer.ttl = seconds(5);
  Watch(conf::Protocol::kImap);
  loop_.RunFor(seconds(2));
  num_news_ = 0;
  resolver_.answer.addresses = {address_.ip, other};
  loop_.RunFor(seconds(5));
  EXPECT_EQ(num_news_, 1);
  EXPECT_THAT(facts()->addresses, ElementsAre(address_.ip, other));
  EXPECT_TRUE(facts()->has_capabilities) << "what was learned stays";
  resolver_.answer.addresses = {other, address_.ip};
  loop_.RunFor(seconds(5));
  EXPECT_EQ(num_news_, 1);
}

TEST_F(MonitorTest, ANameThatLeadsBackToPosternIsDownUntilItLeadsElsewhere) {
  ServeImap();
  resolver_.answer.ttl = seconds(5);
  own_listeners_ = {{"imap", *base::SocketAddress::Parse("0.0.0.0:143")}};
  own_ = {address_.ip};
  Watch(conf::Protocol::kImap);
  loop_.RunFor(seconds(3));
  EXPECT_EQ(state().health, Health::kDown);
  EXPECT_EQ(server_.num_connections, 0) << "nothing talks to itself";
  EXPECT_THAT(facts()->addresses, IsEmpty());
  const std::string why =
      "a loop: 10.0.0.1:143 of mail1.example.com is postern's own listener imap";
  EXPECT_EQ(report().reason, why);
  EXPECT_THAT(monitor_->Report()->problems, ElementsAre("mail1/imap: " + why));
  EXPECT_THAT(downs_, ElementsAre("mail1"));

  own_.clear();  // the address has moved to another machine
  loop_.RunFor(seconds(10));
  EXPECT_EQ(state().health, Health::kUp);
  EXPECT_THAT(monitor_->Report()->problems, IsEmpty());
  EXPECT_GT(server_.num_connections, 0);
}

TEST_F(MonitorTest, OfSeveralAddressesThoseOfPosternAreLeftOut) {
  ServeImap();
  const auto own = *base::IpAddress::Parse("10.0.0.2");
  resolver_.answer.addresses = {own, address_.ip};
  own_listeners_ = {{"imap", {own, address_.port}}};
  Watch(conf::Protocol::kImap);
  loop_.RunFor(seconds(3));
  EXPECT_EQ(state().health, Health::kUp);
  EXPECT_THAT(facts()->addresses, ElementsAre(address_.ip));
  EXPECT_THAT(monitor_->Report()->problems, ElementsAre(HasSubstr("10.0.0.2:143")));
  own_listeners_.clear();
  WatchAgain();
  loop_.RunFor(seconds(1));
  EXPECT_THAT(facts()->addresses, ElementsAre(own, address_.ip));
  EXPECT_THAT(monitor_->Report()->problems, IsEmpty());
}

TEST_F(MonitorTest, AnAnswerAfterTheEndIsDropped) {
  ServeImap();
  Watch(conf::Protocol::kImap);
  ASSERT_EQ(resolver_.asked.size(), 1U);
  monitor_.reset();
  loop_.RunFor(seconds(1));
  EXPECT_EQ(num_news_, 0);
}

TEST_F(MonitorTest, AFailedLookupKeepsTheAddresses) {
  ServeImap();
  resolver_.answer.ttl = seconds(5);
  Watch(conf::Protocol::kImap);
  loop_.RunFor(seconds(2));
  resolver_.answer = {};
  resolver_.answer.error = "SERVFAIL";
  loop_.RunFor(seconds(20));
  EXPECT_THAT(facts()->addresses, ElementsAre(address_.ip));
  EXPECT_EQ(state().health.load(), Health::kUp);
}

// --- checks -----------------------------------------------------------------------------------

TEST_F(MonitorTest, ChecksComeAtTheIntervalWithSomeJitter) {
  ServeImap();
  Watch(conf::Protocol::kImap);
  loop_.RunFor(seconds(1));
  const int at_first = server_.num_connections;
  EXPECT_EQ(at_first, 1);
  loop_.RunFor(seconds(500));
  EXPECT_NEAR(server_.num_connections - at_first, 100, 3);
  EXPECT_EQ(server_.max_open, 1) << "one at a time";
}

TEST_F(MonitorTest, ADeadServerIsDownWithItsFirstCheckAndComesBackSoon) {
  ServeImap();
  net_.SetDoor(address_, test::SimNet::Door::kRefuses);
  Watch(conf::Protocol::kImap);
  loop_.RunFor(seconds(1));
  EXPECT_EQ(state().health.load(), Health::kDown);
  EXPECT_THAT(downs_, ElementsAre("mail1"));
  EXPECT_THAT(report().Words(), HasSubstr("connect refused: connection refused"));
  net_.SetDoor(address_, test::SimNet::Door::kOpen);
  loop_.RunFor(milliseconds(6700));  // an interval, and one fast interval for the second good check
  EXPECT_EQ(state().health.load(), Health::kUp);
}

TEST_F(MonitorTest, InDoubtChecksComeFast) {
  ServeImap();
  Watch(conf::Protocol::kImap);
  loop_.RunFor(seconds(1));
  net_.SetDoor(address_, test::SimNet::Door::kRefuses);
  loop_.RunFor(milliseconds(5500));
  EXPECT_EQ(state().health.load(), Health::kUp) << "one or two failures are no verdict";
  loop_.RunFor(seconds(2));
  EXPECT_EQ(state().health.load(), Health::kDown);
}

TEST_F(MonitorTest, AWantedCheckComesAtOnceButNobodyMakesItHammer) {
  ServeImap();
  config_->health.interval = std::chrono::minutes(10);
  Watch(conf::Protocol::kImap);
  loop_.RunFor(seconds(5));
  const int before = server_.num_connections;
  state().WantCheck();
  EXPECT_TRUE(state().check_wanted);
  loop_.RunFor(milliseconds(50));
  EXPECT_EQ(server_.num_connections, before + 1);
  EXPECT_FALSE(state().check_wanted) << "the next one may be asked for";
  for (int i = 0; i < 1000; ++i) {
    state().WantCheck();
    loop_.RunFor(milliseconds(10));
  }
  EXPECT_LE(server_.num_connections, before + 12) << "ten seconds, one a second";
  EXPECT_GE(server_.num_connections, before + 9);
}

TEST_F(MonitorTest, APassedCheckEndsACooldown) {
  ServeImap();
  config_->health.interval = std::chrono::minutes(10);
  Watch(conf::Protocol::kImap);
  loop_.RunFor(seconds(5));
  state().cooldown_until_ns = (loop_.Now() + seconds(60)).time_since_epoch().count();
  state().WantCheck();
  loop_.RunFor(milliseconds(100));
  EXPECT_FALSE(state().InCooldown(loop_.Now()));
}

TEST_F(MonitorTest, WithoutChecksItLearnsOnceAndAsksNoMore) {
  ServeImap();
  config_->health.checks = false;
  Watch(conf::Protocol::kImap);
  loop_.RunFor(std::chrono::hours(3));
  WatchAgain();
  state().WantCheck();
  loop_.RunFor(std::chrono::hours(3));
  EXPECT_EQ(server_.num_connections, 1);
  EXPECT_TRUE(facts()->has_capabilities);
}

TEST_F(MonitorTest, WithoutChecksItTriesUntilItHasLearned) {
  ServeImap();
  config_->health.checks = false;
  net_.SetDoor(address_, test::SimNet::Door::kRefuses);
  Watch(conf::Protocol::kImap);
  loop_.RunFor(seconds(100));
  EXPECT_EQ(state().health.load(), Health::kUp) << "its state is the sessions' matter";
  EXPECT_LE(net_.num_dials(), 8U);
  net_.SetDoor(address_, test::SimNet::Door::kOpen);
  loop_.RunFor(seconds(61));
  EXPECT_TRUE(facts()->has_capabilities);
}

TEST_F(MonitorTest, ACheckThatLearnsSomethingNewIsNews) {
  ServeImap();
  Watch(conf::Protocol::kImap);
  loop_.RunFor(seconds(20));
  EXPECT_EQ(num_news_, 2) << "the address, the capabilities";
  server_.script[0].answer = "* CAPABILITY IMAP4rev1 MOVE\r\n% OK done\r\n";
  loop_.RunFor(seconds(20));
  EXPECT_EQ(num_news_, 3);
  EXPECT_THAT(facts()->capabilities, ElementsAre("IMAP4rev1", "MOVE"));
}

TEST_F(MonitorTest, WhatALiveSessionWasToldIsNotTakenBackByEveryCheck) {
  ServeImap();
  Watch(conf::Protocol::kImap);
  loop_.RunFor(seconds(2));
  state().UpdateFacts([](balance::EndpointFacts& facts) { facts.capabilities = {"IMAP4rev1"}; });
  loop_.RunFor(seconds(20));
  EXPECT_THAT(facts()->capabilities, ElementsAre("IMAP4rev1"));
}

// --- reloads ----------------------------------------------------------------------------------

TEST_F(MonitorTest, AReloadResetsNothing) {
  ServeImap();
  net_.SetDoor(address_, test::SimNet::Door::kRefuses);
  Watch(conf::Protocol::kImap);
  loop_.RunFor(seconds(1));
  monitor_->SetAdmin(state(), AdminState::kDrain);
  monitor_->SetWeight(state(), 7);
  WatchAgain();
  EXPECT_EQ(state().health.load(), Health::kDown);
  EXPECT_EQ(state().admin.load(), AdminState::kDrain);
  EXPECT_EQ(table_->endpoints()[0].base_weight(), 7);
  EXPECT_THAT(downs_, ElementsAre("mail1"));
}

TEST_F(MonitorTest, ReloadsInARowDoNotKeepAChecksFromEnding) {
  ServeImap();
  server_.greets_after = seconds(6);
  Watch(conf::Protocol::kImap);
  for (int i = 0; i < 8; ++i) {
    loop_.RunFor(seconds(1));
    WatchAgain();
  }
  EXPECT_TRUE(facts()->has_capabilities);
  EXPECT_EQ(server_.max_open, 1);
}

TEST_F(MonitorTest, AnotherServerUnderTheSameNameIsJudgedAnew) {
  ServeImap();
  net_.SetDoor(address_, test::SimNet::Door::kRefuses);
  Watch(conf::Protocol::kImap);
  loop_.RunFor(seconds(1));
  ASSERT_EQ(state().health.load(), Health::kDown);
  const auto other = *base::SocketAddress::Parse("10.0.0.7:143");
  net_.Listen(other, [this](auto stream) { server_.Accept(std::move(stream)); });
  config_->backends[0].host = "10.0.0.7";
  resolver_.own["10.0.0.7"].addresses = {other.ip};
  resolver_.own["10.0.0.7"].ttl = std::chrono::hours(1);
  WatchAgain();
  EXPECT_EQ(state().health.load(), Health::kUp) << "until its first check has ended";
  loop_.RunFor(seconds(2));
  EXPECT_EQ(state().health.load(), Health::kUp);
  EXPECT_TRUE(facts()->has_capabilities);
}

TEST_F(MonitorTest, WhatIsGoneFromTheConfigurationIsWatchedNoMore) {
  ServeImap();
  Watch(conf::Protocol::kImap);
  loop_.RunFor(seconds(2));
  config_->backends.clear();
  WatchAgain();
  const int before = server_.num_connections;
  loop_.RunFor(seconds(60));
  EXPECT_EQ(server_.num_connections, before);
  EXPECT_THAT(monitor_->Report()->backends, IsEmpty());
}

// --- live work and weights ----------------------------------------------------------------------

TEST_F(MonitorTest, LiveFailuresDegradeAndTheWeightFalls) {
  ServeImap();
  WatchTwo(conf::Protocol::kImap);
  loop_.RunFor(seconds(12));
  EXPECT_FLOAT_EQ(state().weight_ratio.load(), 1);
  for (int i = 0; i < 20; ++i) {
    state().CountAttempt(0);
    if (i % 3 != 0) state().CountFailure(0);
  }
  loop_.RunFor(seconds(6));
  EXPECT_EQ(state().health.load(), Health::kDegraded);
  EXPECT_LE(state().weight_ratio.load(), 0.05F);
  EXPECT_EQ(state(1).health.load(), Health::kUp);
  EXPECT_THAT(report().Words(), HasSubstr("13 of 20 live attempts failed"));
  loop_.RunFor(seconds(60));
  EXPECT_EQ(state().health.load(), Health::kUp);
  EXPECT_THAT(downs_, IsEmpty());
}

TEST_F(MonitorTest, ASlowMemberLosesWeightAndGetsItBack) {
  ServeImap();
  WatchTwo(conf::Protocol::kImap);
  second_.greets_after = milliseconds(200);
  loop_.RunFor(seconds(60));
  EXPECT_LT(state(1).weight_ratio.load(), 0.2F);
  EXPECT_FLOAT_EQ(state(0).weight_ratio.load(), 1);
  EXPECT_THAT(report(1).Words(), HasSubstr("greeting"));
  EXPECT_LT(Metric("postern_backend_weight_factor_ratio{backend=\"mail2\",protocol=\"imap\",factor="
                   "\"latency\"}"),
            0.2);
  second_.greets_after = milliseconds(0);
  loop_.RunFor(seconds(120));
  EXPECT_GT(state(1).weight_ratio.load(), 0.9F);
}

TEST_F(MonitorTest, WhatWasLearnedOfLatencySurvivesAReload) {
  ServeImap();
  WatchTwo(conf::Protocol::kImap);
  second_.greets_after = milliseconds(200);
  loop_.RunFor(seconds(60));
  const float before = state(1).weight_ratio.load();
  ASSERT_LT(before, 0.2F);
  WatchAgain();
  EXPECT_NEAR(state(1).weight_ratio.load(), before, 0.05);
}

TEST_F(MonitorTest, AReturnedMemberBeginsSlowly) {
  ServeImap();
  WatchTwo(conf::Protocol::kImap);
  loop_.RunFor(seconds(10));
  net_.SetDoor(address_, test::SimNet::Door::kRefuses);
  loop_.RunFor(seconds(10));
  ASSERT_EQ(state().health.load(), Health::kDown);
  net_.SetDoor(address_, test::SimNet::Door::kOpen);
  ASSERT_TRUE(loop_.RunUntil([this] { return state().health.load() == Health::kUp; }));
  EXPECT_LT(state().weight_ratio.load(), 0.5F) << "at once, not at the next interval";
  loop_.RunFor(seconds(60));
  EXPECT_FLOAT_EQ(state().weight_ratio.load(), 1);
}

// --- words ------------------------------------------------------------------------------------

TEST_F(MonitorTest, AnOperatorsWordIsInForceAtOnceAndShown) {
  ServeImap();
  Watch(conf::Protocol::kImap);
  loop_.RunFor(seconds(2));
  monitor_->SetAdmin(state(), AdminState::kMaintenance);
  EXPECT_EQ(state().admin.load(), AdminState::kMaintenance);
  EXPECT_EQ(report().admin(), AdminState::kMaintenance);
  EXPECT_EQ(report().Words(), "maintenance by an operator");
  monitor_->SetAdmin(state(), AdminState::kReady);
  EXPECT_EQ(report().Words(), "");
  monitor_->SetWeight(state(), 50);
  EXPECT_EQ(report().weight(), 50);
  EXPECT_EQ(report().configured_weight, 100);
  EXPECT_THAT(report().Words(), HasSubstr("weight 50 by an operator, configured 100"));
}

// --- events -----------------------------------------------------------------------------------

TEST_F(MonitorTest, EachChangeOfHealthIsOneEventWithItsReason) {
  ServeImap();
  Watch(conf::Protocol::kImap);
  loop_.RunFor(seconds(20));
  EXPECT_THAT(events_, IsEmpty()) << "who is up from the start is no news";
  net_.SetDoor(address_, test::SimNet::Door::kRefuses);
  loop_.RunFor(seconds(60));
  EXPECT_THAT(events_, ElementsAre("backend_down mail1/imap: was up: checks fail; "
                                   "connect refused: connection refused"));
  net_.SetDoor(address_, test::SimNet::Door::kOpen);
  loop_.RunFor(seconds(60));
  ASSERT_EQ(events_.size(), 2U);
  EXPECT_THAT(events_[1], StartsWith("backend_up mail1/imap: was down"));
}

TEST_F(MonitorTest, ADegradedEndpointIsAnEventThatSaysHowManyFailed) {
  ServeImap();
  WatchTwo(conf::Protocol::kImap);
  loop_.RunFor(seconds(12));
  for (int i = 0; i < 20; ++i) {
    state().CountAttempt(0);
    state().CountFailure(0);
  }
  loop_.RunFor(seconds(6));
  ASSERT_EQ(events_.size(), 1U);
  EXPECT_THAT(events_[0], StartsWith("backend_degraded mail1/imap: was up: "
                                     "20 of 20 live attempts failed while checks pass"));
}

TEST_F(MonitorTest, AnOperatorsWordIsAnEventWhereItChangesSomething) {
  ServeImap();
  Watch(conf::Protocol::kImap);
  loop_.RunFor(seconds(2));
  monitor_->SetAdmin(state(), AdminState::kReady);
  monitor_->SetAdmin(state(), AdminState::kDrain);
  monitor_->SetAdmin(state(), AdminState::kDrain);
  monitor_->SetAdmin(state(), AdminState::kMaintenance);
  monitor_->SetAdmin(state(), AdminState::kReady);
  monitor_->SetWeight(state(), 50);
  monitor_->SetWeight(state(), 50);
  EXPECT_THAT(events_,
              ElementsAre("backend_admin_state mail1/imap: drain by an operator, was ready",
                          "backend_admin_state mail1/imap: maintenance by an operator, was drain",
                          "backend_admin_state mail1/imap: ready by an operator, was maintenance",
                          "backend_weight mail1/imap: 50 by an operator"));
}

TEST_F(MonitorTest, AnAgentsWordAndAQueueThatCannotBeReadAreEvents) {
  ServeImap();
  const auto place = *base::SocketAddress::Parse("10.0.0.9:9154");
  SourceServer agent(loop_);
  agent.answer = "drain\n";
  net_.Listen(place, agent.Door());
  conf::QueueSource& source = config_->backends[0].queue.emplace();
  source.kind = conf::QueueSource::Kind::kAgent;
  source.address = place.ToString();
  source.soft = 100;
  source.hard = 1000;
  source.interval = seconds(5);
  source.stale_after = seconds(60);
  Watch(conf::Protocol::kImap);
  loop_.RunFor(seconds(20));
  EXPECT_EQ(state().admin.load(), AdminState::kDrain);
  EXPECT_THAT(events_,
              ElementsAre("backend_admin_state mail1/imap: drain by its agent, was ready"));
  net_.SetDoor(place, test::SimNet::Door::kRefuses);
  loop_.RunFor(seconds(60));
  net_.SetDoor(place, test::SimNet::Door::kOpen);
  loop_.RunFor(seconds(60));
  ASSERT_EQ(events_.size(), 3U);
  EXPECT_EQ(events_[1], "queue_source_failing mail1: agent: connection refused");
  EXPECT_EQ(events_[2], "queue_source_works mail1: agent");
}

}  // namespace
}  // namespace postern::health
