// queue_monitor_test: schedules, staleness, agents' words, reloads; in virtual time.
// SPDX-License-Identifier: Apache-2.0
#include "health/queue_monitor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "test/health/queue_world.h"

namespace postern::health {
namespace {

using Kind = conf::QueueSource::Kind;
using Then = SourceServer::Then;
using balance::AdminState;
using testing::AllOf;
using testing::Each;
using testing::ElementsAre;
using testing::Ge;
using testing::HasSubstr;
using testing::Le;
using testing::StartsWith;
using namespace std::chrono_literals;  // NOLINT: literals only

class QueueMonitorTest : public testing::Test {
 protected:
  QueueMonitorTest() {
    resolver_.answer.addresses = {address_.ip};
    resolver_.answer.ttl = 10min;
    net_.Listen(address_, server_.Door());
    config_.backends.resize(2);
    config_.backends[0].name = "plain";
    config_.backends[1].name = "mail1";
    config_.backends[1].host = "mail1.example";
    conf::QueueSource& source = config_.backends[1].queue.emplace();
    source.kind = Kind::kAgent;
    source.address = "10.0.0.1:9154";
    source.soft = 100;
    source.hard = 1000;
    source.interval = 15s;
    source.stale_after = 2min;
  }
  conf::QueueSource& source() { return *config_.backends[1].queue; }
  void Watch(std::vector<std::shared_ptr<const io::TlsSettings>> tls = {}) {
    (void)registry_.Configure(config_);
    monitor_.Watch(std::make_shared<conf::Config>(config_), std::move(tls));
  }
  void Say(std::string line) { server_.answer = line + "\n"; }
  // To a moment at which the next read has surely ended.
  void RunToNextRead() { loop_.RunFor(18s); }
  QueueStanding Now(uint32_t index = 1) {
    const auto standing = monitor_.Of(index);
    EXPECT_TRUE(standing.has_value());
    return standing.value_or(QueueStanding());
  }
  double Metric(const std::string& name) {
    return registry_.Value("postern_backend_queue_" + name + "{backend=\"mail1\"}");
  }

  test::SimLoop loop_;
  base::SeededRng rng_{1};
  test::SimNet net_{loop_, rng_};
  const base::SocketAddress address_ = *base::SocketAddress::Parse("10.0.0.1:9154");
  SourceServer server_{loop_};
  ToldResolver resolver_{loop_};
  metrics::Registry registry_;
  metrics::Recorder recorder_{registry_};
  conf::Config config_;
  std::vector<uint32_t> changes_;
  QueueMonitor monitor_{loop_, net_, resolver_, rng_, registry_, recorder_, [this](uint32_t index) {
                          changes_.push_back(index);
                        }};
};

TEST_F(QueueMonitorTest, ReadsSoonAndThenOnSchedule) {
  Say("queue:812");
  Watch();
  EXPECT_EQ(monitor_.Of(0), std::nullopt);
  EXPECT_EQ(monitor_.Of(2), std::nullopt);
  EXPECT_EQ(Now().depth, std::nullopt);
  EXPECT_EQ(Now().why_neutral, "not read yet");
  loop_.RunFor(1100ms);
  EXPECT_EQ(Now().depth, 812);
  EXPECT_EQ(Now().source, "agent");
  EXPECT_LT(*Now().age, 1100ms);
  EXPECT_EQ(Now().why_neutral, "");
  EXPECT_EQ(server_.num_connections, 1);
  loop_.RunFor(10min);
  EXPECT_THAT(server_.num_connections, AllOf(Ge(36), Le(45)));
}

TEST_F(QueueMonitorTest, FiguresAreExported) {
  Watch();
  EXPECT_EQ(Metric("depth"), 0);
  EXPECT_EQ(Metric("read_errors_total"), 0);
  EXPECT_TRUE(std::isinf(Metric("time_to_hard_seconds")));
  EXPECT_THAT(registry_.Text(), HasSubstr("postern_backend_queue_depth{backend=\"mail1\"} 0"));
  Say("queue:7");
  loop_.RunFor(2s);
  EXPECT_EQ(Metric("depth"), 7);
  EXPECT_NEAR(Metric("read_timestamp_seconds"), base::Seconds(loop_.WallNow().time_since_epoch()),
              2);
  Say("nonsense");
  RunToNextRead();
  EXPECT_EQ(Metric("read_errors_total"), 1);
  EXPECT_EQ(Metric("depth"), 7);
}

TEST_F(QueueMonitorTest, AFailingSourceIsNeutralOnlyOnceItIsStale) {
  Say("queue:812");
  Watch();
  loop_.RunFor(2s);
  net_.SetDoor(address_, test::SimNet::Door::kRefuses);
  loop_.RunFor(110s);
  EXPECT_EQ(Now().depth, 812);
  loop_.RunFor(30s);
  EXPECT_EQ(Now().depth, std::nullopt);
  EXPECT_EQ(Now().why_neutral, "connection refused");
  EXPECT_GT(*Now().age, 2min);
  EXPECT_GE(Metric("read_errors_total"), 5);
  net_.SetDoor(address_, test::SimNet::Door::kOpen);
  RunToNextRead();
  EXPECT_EQ(Now().depth, 812);
  EXPECT_THAT(changes_, testing::IsEmpty());
}

TEST_F(QueueMonitorTest, NonsenseIsAnErrorAndNeverADepth) {
  Watch();
  for (const char* line : {"queue:-1", "queue:nan", "queue:1e30", "HTTP/1.1 400 Bad Request", ""}) {
    Say(line);
    RunToNextRead();
    EXPECT_EQ(Now().depth, std::nullopt) << line;
  }
  EXPECT_GE(Metric("read_errors_total"), 5);
  EXPECT_EQ(Metric("depth"), 0);
}

TEST_F(QueueMonitorTest, AHostileSourceCostsTwoSecondsAReadAndDelaysNobody) {
  config_.backends.push_back(config_.backends[1]);
  config_.backends[2].name = "mail2";
  config_.backends[2].queue->address = "10.0.0.2:1";
  SourceServer good(loop_);
  good.answer = "queue:5\n";
  net_.Listen(*base::SocketAddress::Parse("10.0.0.2:1"), good.Door());
  server_.answer = "";
  server_.then = Then::kStays;
  Watch();
  loop_.RunFor(10min);
  EXPECT_THAT(good.num_connections, AllOf(Ge(36), Le(45)));
  EXPECT_THAT(server_.num_connections, AllOf(Ge(36), Le(45)));
  EXPECT_EQ(Now(2).depth, 5);
  EXPECT_EQ(Now(1).why_neutral, "no whole answer in time");
  EXPECT_GE(server_.num_ends, server_.num_connections - 1);
}

TEST_F(QueueMonitorTest, AnIntervalShorterThanAReadIsKeptByOneAtATime) {
  source().interval = 100ms;
  server_.then = Then::kStays;
  Watch();
  loop_.RunFor(20s);
  EXPECT_THAT(server_.num_connections, AllOf(Ge(9), Le(11)));
}

// --- agents -------------------------------------------------------------------------------------

TEST_F(QueueMonitorTest, AnAgentsPercentageIsAFactor) {
  Say("75%");
  Watch();
  loop_.RunFor(2s);
  EXPECT_EQ(Now().agent.factor, 0.75);
  EXPECT_EQ(Now().agent.state, std::nullopt);
  EXPECT_EQ(Now().agent.admin, std::nullopt);
  EXPECT_EQ(Now().depth, std::nullopt);
  EXPECT_EQ(Now().why_neutral, "the agent tells no queue");
  EXPECT_EQ(Metric("read_errors_total"), 0);
  Say("9999%");
  RunToNextRead();
  EXPECT_EQ(Now().agent.factor, 2.56);
  Say("weight:50");
  RunToNextRead();
  EXPECT_EQ(Now().agent.factor, 0.5);
}

TEST_F(QueueMonitorTest, AnAgentsWordsStayUntilItSaysOtherwise) {
  Say("down drain # disk full");
  Watch();
  loop_.RunFor(2s);
  EXPECT_EQ(Now().agent.state, balance::Health::kDown);
  EXPECT_EQ(Now().agent.admin, AdminState::kDrain);
  EXPECT_EQ(Now().agent.words, "down drain # disk full");
  const size_t num_changes = changes_.size();
  Say("50%");
  RunToNextRead();
  EXPECT_EQ(Now().agent.state, balance::Health::kDown);
  net_.SetDoor(address_, test::SimNet::Door::kRefuses);
  loop_.RunFor(1h);
  EXPECT_EQ(Now().agent.state, balance::Health::kDown);
  EXPECT_EQ(Now().agent.admin, AdminState::kDrain);
  EXPECT_EQ(changes_.size(), num_changes);
  net_.SetDoor(address_, test::SimNet::Door::kOpen);
  Say("up ready");
  RunToNextRead();
  EXPECT_EQ(Now().agent.state, balance::Health::kUp);
  EXPECT_EQ(Now().agent.admin, AdminState::kReady);
  EXPECT_EQ(changes_.size(), num_changes + 1);
  Say("maint");
  RunToNextRead();
  EXPECT_EQ(Now().agent.admin, AdminState::kMaintenance);
}

TEST_F(QueueMonitorTest, AnAgentsPercentageGetsOld) {
  Say("50%");
  Watch();
  loop_.RunFor(2s);
  net_.SetDoor(address_, test::SimNet::Door::kRefuses);
  loop_.RunFor(110s);
  EXPECT_EQ(Now().agent.factor, 0.5);
  loop_.RunFor(20s);
  EXPECT_EQ(Now().agent.factor, std::nullopt);
}

TEST_F(QueueMonitorTest, NoughtPerCentIsDrain) {
  Say("0%");
  Watch();
  loop_.RunFor(2s);
  EXPECT_EQ(Now().agent.factor, std::nullopt);
  EXPECT_EQ(Now().agent.admin, AdminState::kDrain);
  Say("ready 0%");
  RunToNextRead();
  EXPECT_EQ(Now().agent.admin, AdminState::kDrain);
  Say("maint 0%");
  RunToNextRead();
  EXPECT_EQ(Now().agent.admin, AdminState::kMaintenance);
  Say("ready 10%");
  RunToNextRead();
  EXPECT_EQ(Now().agent.admin, AdminState::kReady);
  EXPECT_EQ(Now().agent.factor, 0.1);
}

TEST_F(QueueMonitorTest, NoughtPerCentEndsWithTheAgent) {
  Say("0%");
  Watch();
  loop_.RunFor(2s);
  ASSERT_EQ(Now().agent.admin, AdminState::kDrain);
  net_.SetDoor(address_, test::SimNet::Door::kRefuses);
  const size_t num_changes = changes_.size();
  loop_.RunFor(3min);
  EXPECT_EQ(Now().agent.admin, std::nullopt);
  EXPECT_EQ(changes_.size(), num_changes + 1);
}

// --- places ---------------------------------------------------------------------------------

TEST_F(QueueMonitorTest, NamesAreResolvedAndKeptForTheirTtl) {
  source().address = "mail1.example:9154";
  Say("queue:5");
  Watch();
  loop_.RunFor(5min);
  EXPECT_EQ(Now().depth, 5);
  EXPECT_THAT(resolver_.asked, ElementsAre("mail1.example"));
  loop_.RunFor(6min);
  EXPECT_THAT(resolver_.asked, ElementsAre("mail1.example", "mail1.example"));
}

TEST_F(QueueMonitorTest, OldAddressesAreBetterThanNone) {
  source().address = "mail1.example:9154";
  resolver_.answer.ttl = 10s;
  Say("queue:5");
  Watch();
  loop_.RunFor(2s);
  resolver_.is_silent = true;
  loop_.RunFor(10min);
  EXPECT_EQ(Now().depth, 5);
  EXPECT_LT(*Now().age, 20s);
  EXPECT_EQ(Metric("read_errors_total"), 0);
}

TEST_F(QueueMonitorTest, ANameWithoutAddressIsAnError) {
  source().address = "mail1.example:9154";
  resolver_.answer = {};
  resolver_.answer.error = "no such host";
  Watch();
  loop_.RunFor(2s);
  EXPECT_EQ(Now().why_neutral, "mail1.example has no address: no such host");
}

TEST_F(QueueMonitorTest, AResolverThatNeverAnswersCostsNoMoreThanARead) {
  source().address = "mail1.example:9154";
  resolver_.is_silent = true;
  Watch();
  loop_.RunFor(3100ms);
  EXPECT_EQ(Now().why_neutral, "mail1.example could not be resolved in time");
  loop_.RunFor(5min);
  EXPECT_EQ(resolver_.asked.size(), 1u);
  // An answer that comes late serves the next read.
  Say("queue:5");
  resolver_.held[0](resolver_.answer);
  RunToNextRead();
  EXPECT_EQ(Now().depth, 5);
}

TEST_F(QueueMonitorTest, AnAnswerOfTheResolverAfterItsSourceIsGoneDoesNoHarm) {
  source().address = "mail1.example:9154";
  resolver_.is_silent = true;
  Watch();
  loop_.RunFor(1100ms);
  ASSERT_EQ(resolver_.held.size(), 1u);
  config_.backends[1].queue.reset();
  Watch();
  resolver_.held[0](resolver_.answer);
  EXPECT_EQ(monitor_.Of(1), std::nullopt);
}

TEST_F(QueueMonitorTest, AfterAFailureTheNextAddressIsTried) {
  source().address = "mail1.example:9154";
  resolver_.answer.addresses = {base::IpAddress::V4({10, 0, 0, 9}), address_.ip};
  Say("queue:5");
  Watch();
  loop_.RunFor(2s);
  EXPECT_EQ(Now().why_neutral, "connection refused");
  RunToNextRead();
  EXPECT_EQ(Now().depth, 5);
  loop_.RunFor(5min);
  EXPECT_EQ(Metric("read_errors_total"), 1);
}

TEST_F(QueueMonitorTest, LocalSocketsNeedNoResolver) {
  source().kind = Kind::kShowq;
  source().queues = {"active"};
  source().address = "unix:/run/showq";
  net_.Listen("/run/showq", server_.Door());
  server_.answer = std::string(1, '\0');
  Watch();
  loop_.RunFor(2s);
  EXPECT_EQ(Now().depth, 0);
  EXPECT_THAT(resolver_.asked, testing::IsEmpty());
}

TEST_F(QueueMonitorTest, TheBackendsSourceAddressOfTheSameFamilyIsUsed) {
  config_.backends[1].source_addresses = {*base::IpAddress::Parse("2001:db8::5"),
                                          *base::IpAddress::Parse("10.0.0.77")};
  base::SocketAddress seen;
  std::unique_ptr<test::SimStream> kept;
  net_.Listen(address_, [&](auto stream) {
    seen = stream->peer_address();
    kept = std::move(stream);
  });
  Watch();
  loop_.RunFor(2s);
  EXPECT_EQ(seen.ip.ToString(), "10.0.0.77");
}

// --- TLS ------------------------------------------------------------------------------------

TEST(QueueTlsTest, TheBackendsVerifyHoldsForItsSourceToo) {
  conf::Backend backend;
  backend.host = "10.0.0.11";
  backend.verify.name = "mail1.internal";
  backend.verify.ca = "ca.pem";
  EXPECT_FALSE(QueueTlsOf(backend).has_value());
  backend.queue.emplace().url = "http://10.0.0.11/";
  EXPECT_FALSE(QueueTlsOf(backend).has_value());
  backend.queue->url = "https://10.0.0.11/";
  ASSERT_TRUE(QueueTlsOf(backend).has_value());
  EXPECT_EQ(QueueTlsOf(backend)->verify.name, "mail1.internal");
  EXPECT_EQ(QueueTlsOf(backend)->verify.ca, "ca.pem");
  backend.queue->url = "https://monitor.internal/";
  EXPECT_EQ(QueueTlsOf(backend)->verify.name, "");
  EXPECT_EQ(QueueTlsOf(backend)->host, "monitor.internal");
}

TEST_F(QueueMonitorTest, HttpsWithoutSettingsIsAnErrorNotClearText) {
  source().kind = Kind::kPrometheus;
  source().url = "https://10.0.0.1:9154/metrics";
  source().metric = "q";
  server_.has_tls = true;
  server_.request_end = "\r\n\r\n";
  server_.answer = "HTTP/1.1 200 OK\r\n\r\nq 5\n";
  Watch();
  loop_.RunFor(2s);
  EXPECT_EQ(Now().why_neutral, "there are no TLS settings for it");
  EXPECT_EQ(server_.num_connections, 0);
  Watch({nullptr, std::make_shared<AnyTls>()});
  RunToNextRead();
  EXPECT_EQ(Now().depth, 5);
}

// --- reloads --------------------------------------------------------------------------------

TEST_F(QueueMonitorTest, AReloadKeepsReadingsWhoseSourceIsTheSame) {
  Say("drain queue:812");
  Watch();
  loop_.RunFor(2s);
  config_.backends.erase(config_.backends.begin());  // other indices
  config_.backends[0].queue->soft = 5;
  Watch();
  EXPECT_EQ(Now(0).depth, 812);
  EXPECT_EQ(Now(0).agent.admin, AdminState::kDrain);
  EXPECT_EQ(monitor_.Of(1), std::nullopt);
  EXPECT_EQ(Metric("depth"), 812);
  EXPECT_EQ(server_.num_connections, 1);
}

TEST_F(QueueMonitorTest, AReloadForgetsReadingsOfAnotherSource) {
  Say("queue:812");
  Watch();
  loop_.RunFor(2s);
  source().send = "other\n";
  Watch();
  EXPECT_EQ(Now().depth, std::nullopt);
  loop_.RunFor(2s);
  EXPECT_EQ(Now().depth, 812);
}

TEST_F(QueueMonitorTest, AReloadInTheMiddleOfAReadIsNoHarm) {
  Say("queue:812");
  net_.options.latency = 200ms;
  source().interval = 100ms;
  Watch();
  for (int i = 0; i < 50; ++i) {
    loop_.RunFor(130ms);
    source().soft += 1;
    if (i % 3 == 0) source().send += "x";
    Watch();
  }
  loop_.RunFor(3s);
  EXPECT_EQ(Now().depth, 812);
}

TEST_F(QueueMonitorTest, AShorterIntervalActsAtOnce) {
  source().interval = 1h;
  source().stale_after = 2h;
  Say("queue:1");
  Watch();
  loop_.RunFor(2s);
  Say("queue:2");
  source().interval = 10s;
  Watch();
  loop_.RunFor(12s);
  EXPECT_EQ(Now().depth, 2);
}

TEST_F(QueueMonitorTest, AShorterStaleAfterActsAtOnce) {
  Say("queue:1");
  Watch();
  loop_.RunFor(2s);
  net_.SetDoor(address_, test::SimNet::Door::kRefuses);
  loop_.RunFor(60s);
  source().stale_after = 20s;
  Watch();
  EXPECT_EQ(Now().depth, std::nullopt);
}

TEST_F(QueueMonitorTest, AThousandSourcesAreSpreadOverTheFirstSecond) {
  const conf::Backend model = config_.backends[1];
  config_.backends.clear();
  for (int i = 0; i < 1000; ++i) {
    config_.backends.push_back(model);
    config_.backends.back().name = "mail" + std::to_string(i);
  }
  Say("queue:1");
  Watch();
  std::vector<int> per_slice;
  for (int slice = 0; slice < 10; ++slice) {
    const int before = server_.num_connections;
    loop_.RunFor(100ms);
    per_slice.push_back(server_.num_connections - before);
  }
  EXPECT_THAT(per_slice, Each(AllOf(Ge(50), Le(150))));
}

// --- the log --------------------------------------------------------------------------------

int CountLines(const std::string& log, const std::string& event) {
  int count = 0;
  for (size_t at = log.find(event); at != std::string::npos; at = log.find(event, at + 1)) ++count;
  return count;
}

TEST_F(QueueMonitorTest, TheLogHasOneLineAChangeNotOneARead) {
  testing::internal::CaptureStderr();
  Say("queue:812");
  Watch();
  loop_.RunFor(10min);
  net_.SetDoor(address_, test::SimNet::Door::kRefuses);
  loop_.RunFor(1h);
  net_.SetDoor(address_, test::SimNet::Door::kOpen);
  loop_.RunFor(1h);
  Say("drain queue:812");
  loop_.RunFor(10min);
  const std::string log = testing::internal::GetCapturedStderr();
  EXPECT_EQ(CountLines(log, "queue_source_failing"), 1) << log;
  EXPECT_EQ(CountLines(log, "queue_unknown"), 1) << log;
  EXPECT_EQ(CountLines(log, "queue_source_works"), 1) << log;
  EXPECT_EQ(CountLines(log, "agent_says"), 1) << log;
  EXPECT_EQ(CountLines(log, "\n"), 4) << log;
}

TEST_F(QueueMonitorTest, ASourceThatFailsEveryOtherTimeIsNotTalkedAbout) {
  testing::internal::CaptureStderr();
  Say("queue:812");
  Watch();
  loop_.RunFor(2s);
  for (int i = 0; i < 50; ++i) {
    Say(i % 2 == 0 ? "nonsense" : "queue:812");
    loop_.RunFor(15s);
  }
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
  EXPECT_EQ(Now().depth, 812);
}

}  // namespace
}  // namespace postern::health
