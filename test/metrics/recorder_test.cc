// recorder_test: what is added by threads is what the scrape shows.
// SPDX-License-Identifier: Apache-2.0
#include "metrics/recorder.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <set>
#include <sstream>
#include <thread>

#include "metrics/catalog.h"

namespace postern::metrics {
namespace {

conf::Config MakeConfig() {
  conf::Config config;
  conf::Listener listener;
  listener.name = "imaps";
  listener.protocol = conf::Protocol::kImap;
  config.listeners.push_back(listener);
  listener.name = "mx";
  listener.protocol = conf::Protocol::kSmtp;
  config.listeners.push_back(listener);
  conf::Backend backend;
  backend.name = "mail1";
  backend.endpoints.resize(1);
  backend.endpoints[0].protocol = conf::Protocol::kImap;
  config.backends.push_back(backend);
  conf::Route route;
  route.name = "users";
  route.rules.resize(1);
  route.rules[0].name = "rest";
  route.rules[0].action = conf::Rule::ToBackend{"mail1"};
  config.routes.push_back(route);
  return config;
}

class RecorderTest : public testing::Test {
 protected:
  Registry registry_;
  Registry::Slots slots_ = registry_.Configure(MakeConfig());
  double Value(const char* series) { return registry_.Value(series); }
};

TEST_F(RecorderTest, ConfiguredCountersExistFromTheStart) {
  const std::string text = registry_.Text();
  for (const char* line :
       {"postern_sessions_active{listener=\"imaps\",protocol=\"imap\"} 0",
        "postern_sessions_total{listener=\"mx\",protocol=\"smtp\",result=\"client_quit\"} 0",
        "postern_backend_up{backend=\"mail1\",protocol=\"imap\"} 1",
        "postern_backend_admin_state{backend=\"mail1\",protocol=\"imap\",state=\"ready\"} 1",
        "postern_connections_rejected_total{listener=\"imaps\",reason=\"tls\"} 0",
        "postern_route_decisions_total{route=\"users\",rule=\"rest\",pool=\"mail1\"} 0",
        "postern_smtp_transactions_total{listener=\"mx\",reply=\"lost\"} 0",
        "postern_backend_failures_total{backend=\"mail1\",protocol=\"imap\",phase=\"connect\",kind="
        "\"refused\"} 0",
        "postern_retries_total{protocol=\"imap\",reason=\"timeout\"} 0",
        "postern_plaintext_sessions_total{side=\"back\",protocol=\"pop3\"} 0"}) {
    EXPECT_NE(text.find(std::string(line) + "\n"), std::string::npos) << line;
  }
  EXPECT_EQ(text.find("postern_session_duration_seconds"), std::string::npos)
      << "histograms appear with their first observation";
  EXPECT_NE(text.find("process_resident_memory_bytes"), std::string::npos);
}

// Whatever can be counted once a mail comes is there before it comes.
TEST_F(RecorderTest, ClosedSetsOfLabelsAreWholeFromTheStart) {
  conf::Config config = MakeConfig();
  config.listeners[0].tls = conf::TlsMode::kImplicit;
  (void)registry_.Configure(config, {"X25519", "P-256"});
  const std::string text = registry_.Text();
  for (const char* line :
       {"postern_auth_attempts_total{protocol=\"imap\",mechanism=\"login_command\",result=\"ok\"} "
        "0",
        "postern_auth_attempts_total{protocol=\"imap\",mechanism=\"plain\",result=\"blocked\"} 0",
        "postern_tls_handshakes_total{side=\"front\",version=\"\",group=\"\",resumed=\"false\","
        "result=\"failed\"} 0",
        "postern_tls_handshakes_total{side=\"front\",version=\"TLSv1.3\",group=\"P-256\","
        "resumed=\"true\",result=\"ok\"} 0",
        "postern_tls_handshakes_total{side=\"front\",version=\"TLSv1.2\",group=\"\","
        "resumed=\"true\",result=\"ok\"} 0",
        "postern_tls_handshakes_total{side=\"front\",version=\"TLSv1.2\",group=\"X25519\","
        "resumed=\"false\",result=\"ok\"} 0",
        "postern_smtp_recipients_total{listener=\"mx\",result=\"deferred_other_home\"} 0",
        "postern_smtp_replays_total{reason=\"tempfail\"} 0",
        "postern_smtp_copies_lost_total{reason=\"too_long\"} 0", "postern_smtp_spool_bytes 0",
        "postern_smtp_bare_newlines_total{listener=\"mx\"} 0",
        "postern_backend_sessions_total{backend=\"mail1\",protocol=\"imap\",result=\"limit\"} 0",
        "postern_bytes_total{listener=\"mx\",side=\"back\",direction=\"in\"} 0",
        "postern_config_reloads_total{result=\"rejected\"} 0",
        "postern_session_log_dropped_total 0"}) {
    EXPECT_NE(text.find(std::string(line) + "\n"), std::string::npos) << line;
  }
  for (const char* absent :
       {"postern_auth_attempts_total{protocol=\"smtp\"",  // AUTH is never offered there
        "postern_auth_attempts_total{protocol=\"pop3\"",  // no such listener
        "mechanism=\"user_pass\"", "postern_tls_handshakes_total{side=\"back\""}) {
    EXPECT_EQ(text.find(absent), std::string::npos) << absent;
  }
}

TEST_F(RecorderTest, CountsSessions) {
  Recorder recorder(registry_);
  recorder.SessionStarted(slots_.listeners[0]);
  EXPECT_EQ(Value("postern_sessions_active{listener=\"imaps\",protocol=\"imap\"}"), 1);
  recorder.SessionEnded(slots_.listeners[0], base::SessionResult::kIdle, std::chrono::seconds(70));
  EXPECT_EQ(Value("postern_sessions_active{listener=\"imaps\",protocol=\"imap\"}"), 0);
  EXPECT_EQ(Value("postern_sessions_total{listener=\"imaps\",protocol=\"imap\",result=\"idle\"}"),
            1);
  EXPECT_EQ(Value("postern_session_duration_seconds_bucket{protocol=\"imap\",le=\"60\"}"), 0);
  EXPECT_EQ(Value("postern_session_duration_seconds_bucket{protocol=\"imap\",le=\"300\"}"), 1);
  EXPECT_EQ(Value("postern_session_duration_seconds_sum{protocol=\"imap\"}"), 70);
}

TEST_F(RecorderTest, ABucketHoldsItsOwnBound) {
  Recorder recorder(registry_);
  recorder.BackendPhase(slots_.endpoints[0][0], base::Phase::kLogin, std::chrono::milliseconds(5));
  EXPECT_EQ(Value("postern_backend_phase_duration_seconds_bucket{backend=\"mail1\",protocol="
                  "\"imap\",phase=\"login\",le=\"0.0025\"}"),
            0);
  EXPECT_EQ(Value("postern_backend_phase_duration_seconds_bucket{backend=\"mail1\",protocol="
                  "\"imap\",phase=\"login\",le=\"0.005\"}"),
            1);
}

TEST_F(RecorderTest, CountsByLabel) {
  Recorder recorder(registry_);
  recorder.Handshake(base::Side::kFront, "TLSv1.3", "X25519", true, true);
  recorder.Auth(conf::Protocol::kImap, Mechanism::kXoauth2, AuthResult::kBadCredentials);
  recorder.BackendFailure(slots_.endpoints[0][0], base::Phase::kGreeting,
                          base::FaultKind::kTimeout);
  recorder.Bytes(slots_.listeners[1], base::Side::kBack, Direction::kOut, 42);
  recorder.SmtpReplay(base::FaultKind::kLost);
  recorder.SmtpCopyLost(CopyLoss::kFull);
  registry_.SetSpoolBytes(4711);
  EXPECT_EQ(Value("postern_tls_handshakes_total{side=\"front\",version=\"TLSv1.3\",group=\"X25519\""
                  ",resumed=\"true\",result=\"ok\"}"),
            1);
  EXPECT_EQ(Value("postern_auth_attempts_total{protocol=\"imap\",mechanism=\"xoauth2\",result="
                  "\"bad_credentials\"}"),
            1);
  EXPECT_EQ(Value("postern_backend_failures_total{backend=\"mail1\",protocol=\"imap\",phase="
                  "\"greeting\",kind=\"timeout\"}"),
            1);
  EXPECT_EQ(Value("postern_bytes_total{listener=\"mx\",side=\"back\",direction=\"out\"}"), 42);
  EXPECT_EQ(Value("postern_smtp_replays_total{reason=\"lost\"}"), 1);
  EXPECT_EQ(Value("postern_smtp_copies_lost_total{reason=\"full\"}"), 1);
  EXPECT_EQ(Value("postern_smtp_spool_bytes"), 4711);
}

TEST_F(RecorderTest, AReloadKeepsTheStatesOfEndpoints) {
  registry_.SetEndpoint("mail1", conf::Protocol::kImap, Registry::EndpointGauge::kUp, 0);
  registry_.SetEndpointAdmin("mail1", conf::Protocol::kImap, Registry::AdminState::kDrain);
  conf::Config config = MakeConfig();
  config.backends.push_back(config.backends[0]);
  config.backends[1].name = "mail2";
  (void)registry_.Configure(config);
  EXPECT_EQ(Value("postern_backend_up{backend=\"mail1\",protocol=\"imap\"}"), 0);
  EXPECT_EQ(Value("postern_backend_up{backend=\"mail2\",protocol=\"imap\"}"), 1);
  const char* drain =
      "postern_backend_admin_state{backend=\"mail1\",protocol=\"imap\",state=\"drain\"}";
  EXPECT_EQ(Value(drain), 1);
  config.backends.erase(config.backends.begin());
  (void)registry_.Configure(config);
  EXPECT_EQ(registry_.Text().find("backend=\"mail1\""), std::string::npos);
}

TEST_F(RecorderTest, AReloadKeepsCountersAndHidesWhatIsGone) {
  Recorder recorder(registry_);
  recorder.Rejected(slots_.listeners[0], RejectReason::kTls);
  conf::Config config = MakeConfig();
  config.listeners.erase(config.listeners.begin() + 1);
  const Registry::Slots after = registry_.Configure(config);
  EXPECT_EQ(after.listeners[0].rejected, slots_.listeners[0].rejected);
  EXPECT_EQ(Value("postern_connections_rejected_total{listener=\"imaps\",reason=\"tls\"}"), 1);
  EXPECT_EQ(registry_.Text().find("listener=\"mx\""), std::string::npos);
  (void)registry_.Configure(MakeConfig());
  EXPECT_NE(registry_.Text().find("listener=\"mx\""), std::string::npos);
}

// --- decisions of rules that ask a directory ---------------------------------------------------

size_t NumDecisions(const std::string& text) {
  size_t count = 0;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);)
    count += line.starts_with("postern_route_decisions_total{") ? 1 : 0;
  return count;
}

conf::Config ThousandBackends() {
  conf::Config config;
  for (int i = 0; i < 1000; ++i) config.backends.emplace_back().name = "mail" + std::to_string(i);
  config.pools.emplace_back().name = "store";
  conf::Directory& people = config.directories.emplace_back();
  people.name = "people";
  people.type = conf::Directory::Type::kRedis;
  conf::Directory& old = config.directories.emplace_back();
  old.name = "old";
  old.type = conf::Directory::Type::kLdap;
  old.table = {{"a*", "mail1"}, {"b*", "store"}, {"*", "mail1"}};
  conf::Directory& map = config.directories.emplace_back();
  map.name = "map";
  map.type = conf::Directory::Type::kFile;
  conf::Route& route = config.routes.emplace_back();
  route.name = "users";
  for (int i = 0; i < 50; ++i) {
    conf::Rule& rule = route.rules.emplace_back();
    rule.name = "rule" + std::to_string(i);
    rule.directory = i == 0 ? "old" : i == 1 ? "map" : "people";
  }
  return config;
}

TEST(RouteDecisionsTest, OnlyAnswersThatAreKnownBeforehandAreThereFromTheStart) {
  Registry registry;
  const Registry::Slots slots =
      registry.Configure(ThousandBackends(), {}, {{"mail5"}, {}, {"mail7", "mail8"}});
  // A refusal each; what the table, and what the map can answer.
  EXPECT_EQ(NumDecisions(registry.Text()), 50U + 2 + 2);
  EXPECT_EQ(registry.Value(
                "postern_route_decisions_total{route=\"users\",rule=\"rule1\",pool=\"mail8\"}"),
            0);
  Recorder recorder(registry);
  recorder.RouteDecision(slots.rules[0][9].answers[1 + 77]);
  EXPECT_EQ(NumDecisions(registry.Text()), 50U + 2 + 2 + 1);
  EXPECT_EQ(registry.Value(
                "postern_route_decisions_total{route=\"users\",rule=\"rule9\",pool=\"mail77\"}"),
            1);
}

TEST(RouteDecisionsTest, AReloadThatLearnsMoreAnswersShowsThem) {
  Registry registry;
  conf::Config config = ThousandBackends();
  (void)registry.Configure(config);
  EXPECT_EQ(NumDecisions(registry.Text()), 50U + 2);
  (void)registry.Configure(config, {}, {{}, {}, {"mail3"}});
  EXPECT_EQ(NumDecisions(registry.Text()), 50U + 2 + 1);
  config.routes[0].rules[0].value = "mail1";
  (void)registry.Configure(config);
  EXPECT_EQ(NumDecisions(registry.Text()), 50U + 1);
}

TEST_F(RecorderTest, CountsOfAThreadOutliveIt) {
  {
    Recorder recorder(registry_);
    recorder.SmtpBareNewline(slots_.listeners[1]);
  }
  EXPECT_EQ(Value("postern_smtp_bare_newlines_total{listener=\"mx\"}"), 1);
}

TEST_F(RecorderTest, ThreadsAddWhileOthersRead) {
  constexpr int kThreads = 4;
  constexpr int kEach = 20000;
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i)
    threads.emplace_back([this] {
      Recorder recorder(registry_);
      for (int k = 0; k < kEach; ++k)
        recorder.Rejected(slots_.listeners[0], RejectReason::kLimitSessions);
    });
  for (int i = 0; i < 20; ++i) EXPECT_FALSE(registry_.Text().empty());
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(
      Value("postern_connections_rejected_total{listener=\"imaps\",reason=\"limit_sessions\"}"),
      kThreads * kEach);
}

TEST_F(RecorderTest, TheTextIsWellFormed) {
  Recorder recorder(registry_);
  recorder.SessionStarted(slots_.listeners[0]);
  recorder.CommandDone(conf::Protocol::kSmtp, Command::kMail, std::chrono::milliseconds(3));
  std::istringstream lines(registry_.Text());
  std::set<std::string> typed;
  std::set<std::string> series;
  for (std::string line; std::getline(lines, line);) {
    if (line.rfind("# TYPE ", 0) == 0) {
      const std::string name = line.substr(7, line.find(' ', 7) - 7);
      EXPECT_TRUE(typed.insert(name).second) << name << " twice";
      continue;
    }
    if (line.rfind('#', 0) == 0) continue;
    EXPECT_TRUE(series.insert(line.substr(0, line.rfind(' '))).second) << line;
    std::string name = line.substr(0, line.find_first_of("{ "));
    for (const char* suffix : {"_bucket", "_count", "_sum"})
      if (!typed.contains(name) && name.size() > std::string(suffix).size() &&
          name.compare(name.size() - std::string(suffix).size(), std::string::npos, suffix) == 0)
        name.resize(name.size() - std::string(suffix).size());
    EXPECT_TRUE(typed.contains(name)) << line;
  }
}

TEST(CatalogTest, ReadmeIsCurrent) {
  const std::string path = std::string(POSTERN_SOURCE_DIR) + "/metrics/README.md";
  if (std::getenv("POSTERN_WRITE_REFERENCE") != nullptr) std::ofstream(path) << CatalogAsMarkdown();
  std::ifstream file(path);
  const std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  EXPECT_EQ(text, CatalogAsMarkdown())
      << "metrics/README.md is stale: run metrics_test --gtest_filter='CatalogTest.*' once with "
         "POSTERN_WRITE_REFERENCE=1 in the environment";
}

}  // namespace
}  // namespace postern::metrics
