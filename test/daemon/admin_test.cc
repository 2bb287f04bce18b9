// admin_test: who may ask what, and the shape of the answers.
// SPDX-License-Identifier: Apache-2.0
#include "lb/daemon/admin.h"

#include <gtest/gtest.h>

namespace postern::daemon {
namespace {

class FakeBackend final : public AdminBackend {
 public:
  StatusReport Status() const override {
    StatusReport report;
    report.version = "1.0";
    report.generation = 3;
    report.listeners = {{"imaps", "imap", {"127.0.0.1:993"}}};
    report.problems = {"a \"problem\""};
    return report;
  }
  ConfigReport Configuration() const override {
    return {"/etc/p.json", 3, {}, R"({"hostname":"a.example"})"};
  }
  std::string MetricsText() override { return "x 1\n"; }
  std::vector<std::string> NotReadyReasons() const override { return reasons; }
  void Reload(DryRun dry, ReloadDone done) override {
    last_dry = dry;
    ++num_reloads;
    ReloadReport report;
    report.is_accepted = !fails;
    report.generation = 4;
    if (fails) report.errors.push_back({"f.json", 3, 7, "/pools/p", "no such backend", "mail1?"});
    done(report);
  }
  std::shared_ptr<const health::HealthReport> Health() const override { return health; }
  const EventList& Events() const override { return events; }
  bool SetAdmin(const std::string& backend, std::optional<conf::Protocol> protocol,
                balance::AdminState state) override {
    if (backend != "mail/1" || (protocol && *protocol != conf::Protocol::kImap)) return false;
    said = std::string(health::Name(state)) + (protocol ? " imap" : "");
    return true;
  }
  bool SetWeight(const std::string& backend, uint32_t weight) override {
    if (backend != "mail/1") return false;
    said = std::to_string(weight);
    return true;
  }
  void Explain(const RouteQuestion& question, Explainer::Done done) override {
    asked = question;
    asker = std::move(done);
  }
  std::string token() const override { return its_token; }

  RouteQuestion asked;
  Explainer::Done asker;  // who asks waits
  std::shared_ptr<health::HealthReport> health = std::make_shared<health::HealthReport>();
  EventList events;
  std::string said;

  std::vector<std::string> reasons;
  bool fails = false;
  int num_reloads = 0;
  DryRun last_dry = DryRun::kNo;
  std::string its_token = "s3cret";
};

class AdminTest : public testing::Test {
 protected:
  AdminResponse Handle(const AdminRequest& request) {
    std::optional<AdminResponse> answer;
    admin_.Handle(request, [&answer](const AdminResponse& response) { answer = response; });
    EXPECT_TRUE(answer) << "it waits";
    return answer.value_or(AdminResponse());
  }
  AdminResponse Ask(const std::string& method, const std::string& path, const std::string& peer,
                    const std::string& authorization = "") {
    AdminRequest request;
    request.method = method;
    request.path = path;
    request.authorization = authorization;
    request.is_unix = peer == "unix";
    if (!request.is_unix) request.peer = *base::IpAddress::Parse(peer);
    return Handle(request);
  }
  // of: what stands behind /api/v1/backends/, segment by segment.
  AdminResponse Change(const std::string& method, std::vector<std::string> of,
                       const std::string& body = "", const std::string& peer = "unix") {
    AdminRequest request;
    request.method = method;
    request.path = "/api/v1/backends";
    request.segments = {"api", "v1", "backends"};
    for (std::string& segment : of) {
      request.path += "/" + segment;
      request.segments.push_back(std::move(segment));
    }
    request.body = body;
    request.is_unix = peer == "unix";
    if (!request.is_unix) request.peer = *base::IpAddress::Parse(peer);
    return Handle(request);
  }
  FakeBackend backend_;
  Admin admin_{backend_};
};

TEST_F(AdminTest, MetricsAndHealthAreOpenEverywhere) {
  for (const char* path : {"/metrics", "/livez", "/readyz"})
    EXPECT_EQ(Ask("GET", path, "192.0.2.9").status, 200) << path;
  EXPECT_EQ(Ask("GET", "/metrics", "192.0.2.9").content_type,
            "text/plain; version=0.0.4; charset=utf-8");
}

TEST_F(AdminTest, ReadsAreOpenOnLoopbackAlone) {
  EXPECT_EQ(Ask("GET", "/api/v1/status", "127.0.0.1").status, 200);
  EXPECT_EQ(Ask("GET", "/api/v1/status", "::1").status, 200);
  EXPECT_EQ(Ask("GET", "/api/v1/status", "unix").status, 200);
  EXPECT_EQ(Ask("GET", "/api/v1/status", "192.0.2.9").status, 401);
  EXPECT_EQ(Ask("GET", "/api/v1/status", "192.0.2.9", "Bearer s3cret").status, 200);
}

TEST_F(AdminTest, ChangesNeedTheTokenOrTheSocket) {
  EXPECT_EQ(Ask("POST", "/api/v1/reload", "127.0.0.1").status, 401);
  EXPECT_EQ(Ask("POST", "/api/v1/reload", "127.0.0.1", "Bearer wrong!").status, 401);
  EXPECT_EQ(Ask("POST", "/api/v1/reload", "127.0.0.1", "Basic s3cret").status, 401);
  EXPECT_EQ(backend_.num_reloads, 0);
  EXPECT_EQ(Ask("POST", "/api/v1/reload", "127.0.0.1", "Bearer s3cret").status, 200);
  EXPECT_EQ(Ask("POST", "/api/v1/reload", "unix").status, 200);
  EXPECT_EQ(backend_.num_reloads, 2);
}

TEST_F(AdminTest, WithoutATokenNoTokenOpens) {
  backend_.its_token.clear();
  EXPECT_EQ(Ask("POST", "/api/v1/reload", "127.0.0.1", "Bearer ").status, 401);
}

TEST_F(AdminTest, NoChangeByGet) {
  const AdminResponse response = Ask("GET", "/api/v1/reload", "unix");
  EXPECT_EQ(response.status, 405);
  EXPECT_EQ(response.allow, "POST");
  EXPECT_EQ(backend_.num_reloads, 0);
}

TEST_F(AdminTest, DryRunAndBadQueries) {
  AdminRequest request;
  request.method = "POST";
  request.path = "/api/v1/reload";
  request.is_unix = true;
  request.query = {{"dry_run", "1"}};
  EXPECT_EQ(Handle(request).status, 200);
  EXPECT_EQ(backend_.last_dry, DryRun::kYes);
  request.query = {{"dryrun", "1"}};
  EXPECT_EQ(Handle(request).status, 400);
}

TEST_F(AdminTest, ARejectedReloadSaysWhere) {
  backend_.fails = true;
  const AdminResponse response = Ask("POST", "/api/v1/reload", "unix");
  EXPECT_EQ(response.status, 422);
  EXPECT_EQ(
      response.body,
      "{\"error\":{\"code\":\"configuration_rejected\",\"message\":\"f.json:3:7: /pools/p: no "
      "such backend (mail1?)\",\"path\":\"/pools/p\"},\"errors\":[{\"file\":\"f.json\","
      "\"line\":3,\"column\":7,\"path\":\"/pools/p\",\"message\":\"no such backend\",\"hint\":"
      "\"mail1?\"}],\"generation\":4,\"warnings\":[]}\n");
}

TEST_F(AdminTest, ReadyzTellsTheReasons) {
  backend_.reasons = {"draining"};
  const AdminResponse response = Ask("GET", "/readyz", "192.0.2.9");
  EXPECT_EQ(response.status, 503);
  EXPECT_EQ(response.body, "{\"reasons\":[\"draining\"]}\n");
}

TEST_F(AdminTest, StatusIsEscapedJson) {
  EXPECT_EQ(Ask("GET", "/api/v1/status", "unix").body,
            "{\"version\":\"1.0\",\"generation\":3,\"started\":\"1970-01-01T00:00:00.000Z\","
            "\"listeners\":[{\"name\":\"imaps\",\"protocol\":\"imap\",\"addresses\":[\"127.0.0.1:"
            "993\"]}],\"sessions\":0,\"problems\":[\"a \\\"problem\\\"\"]}\n");
}

TEST_F(AdminTest, TheConfigurationIsForReaders) {
  EXPECT_EQ(Ask("GET", "/api/v1/config", "127.0.0.1").body,
            "{\"path\":\"/etc/p.json\",\"generation\":3,\"loaded\":\"1970-01-01T00:00:00.000Z\","
            "\"configuration\":{\"hostname\":\"a.example\"}}\n");
  EXPECT_EQ(Ask("GET", "/api/v1/config", "192.0.2.9").status, 401);
}

TEST_F(AdminTest, UnknownPagesAreNotFound) {
  EXPECT_EQ(Ask("GET", "/nothing", "unix").status, 404);
}

TEST_F(AdminTest, BackendsAreShownAsTheyAreNow) {
  auto state = std::make_shared<balance::EndpointState>(1);
  health::EndpointReport endpoint;
  endpoint.state = state;
  endpoint.address = "10.0.0.1:143";
  endpoint.configured_weight = 100;
  endpoint.factors.latency = 0.5;
  endpoint.reason = "login 41 ms";
  endpoint.capabilities = {"IDLE"};
  backend_.health->backends = {{"mail1", "tokyo", 1, {endpoint}, std::nullopt}};
  state->weight_ratio = 0.5F;
  state->admin = balance::AdminState::kDrain;
  state->health = balance::Health::kDegraded;
  state->load[0].active = 3;
  const std::string body = Ask("GET", "/api/v1/backends", "127.0.0.1").body;
  EXPECT_EQ(body.substr(0, 16), R"({"backends":[{"n)");
  for (const char* part :
       {R"("name":"mail1","site":"tokyo","priority":1)", R"("protocol":"imap")",
        R"("state":"degraded","admin_state":"drain","weight":50,"configured_weight":100)",
        R"("factors":{"latency":0.5,"queue":1,"slow_start":1,"agent":1})",
        R"("reason":"drain by an operator; login 41 ms","sessions":3,"capabilities":["IDLE"])",
        R"("queue":{"depth":null,"source":null,"age_seconds":null,"time_to_hard_seconds":null)"})
    EXPECT_NE(body.find(part), std::string::npos) << part << " in " << body;
}

TEST_F(AdminTest, AnOperatorSaysWhatABackendMayDo) {
  EXPECT_EQ(Change("POST", {"mail/1", "drain"}).status, 200);
  EXPECT_EQ(backend_.said, "drain");
  EXPECT_EQ(Change("POST", {"mail/1", "imap", "maintenance"}).body,
            R"({"backend":"mail/1","protocol":"imap","admin_state":"maintenance"})"
            "\n");
  EXPECT_EQ(backend_.said, "maintenance imap");
  EXPECT_EQ(Change("POST", {"mail/1", "resume"}).status, 200);
  EXPECT_EQ(backend_.said, "ready");
  EXPECT_EQ(Change("PUT", {"mail/1", "weight"}, R"({"weight":50})").status, 200);
  EXPECT_EQ(backend_.said, "50");
}

TEST_F(AdminTest, WhatAnOperatorCannotSayIsNamed) {
  EXPECT_EQ(Change("POST", {"mail9", "drain"}).status, 404);
  EXPECT_NE(Change("POST", {"mail9", "drain"}).body.find("no_such_backend"), std::string::npos);
  EXPECT_NE(Change("POST", {"mail/1", "pop3", "drain"}).body.find("no_such_endpoint"),
            std::string::npos);
  EXPECT_EQ(Change("POST", {"mail/1", "http", "drain"}).status, 404);
  EXPECT_EQ(Change("POST", {"mail/1", "explode"}).status, 404);
  EXPECT_EQ(Change("GET", {"mail/1", "drain"}).status, 405);
  EXPECT_EQ(Change("POST", {"mail/1", "weight"}).status, 405);
  for (const char* body : {"", "{}", "[1]", R"({"weight":-1})", R"({"weight":1.5})",
                           R"({"weight":10001})", R"({"weight":1,"x":2})", R"({"weight":"1"})"})
    EXPECT_EQ(Change("PUT", {"mail/1", "weight"}, body).status, 400) << body;
  EXPECT_EQ(Change("POST", {"mail/1", "drain"}, "", "127.0.0.1").status, 401)
      << "a change from loopback needs the token";
  EXPECT_EQ(backend_.said, "");
}

TEST_F(AdminTest, EventsAreTheLatestFromTheOldestOn) {
  EXPECT_EQ(Ask("GET", "/api/v1/events", "127.0.0.1").body, "{\"events\":[]}\n");
  backend_.events.Add({base::WallTime(std::chrono::seconds(0)), "k", "o", "a \"text\""});
  EXPECT_EQ(Ask("GET", "/api/v1/events", "127.0.0.1").body,
            R"({"events":[{"time":"1970-01-01T00:00:00.000Z","kind":"k","object":"o",)"
            R"("text":"a \"text\""}]})"
            "\n");
  EXPECT_EQ(Ask("GET", "/api/v1/events", "192.0.2.1").status, 401);
  for (size_t i = 0; i < 2 * EventList::kMaxEvents; ++i)
    backend_.events.Add({{}, "k", std::to_string(i), ""});
  EXPECT_EQ(backend_.events.events().size(), EventList::kMaxEvents);
  EXPECT_EQ(backend_.events.events().back().object, std::to_string(2 * EventList::kMaxEvents - 1));
}

TEST_F(AdminTest, WhoGoesWhereMayBeAnsweredLater) {
  AdminRequest request;
  request.method = "GET";
  request.path = "/api/v1/route";
  request.peer = *base::IpAddress::Parse("127.0.0.1");
  request.query = {{"listener", "imaps"},
                   {"user", "alice"},
                   {"recipient", ""},
                   {"client", "192.0.2.7"},
                   {"sni", "mail.example.com"}};
  std::vector<AdminResponse> answers;
  admin_.Handle(request, [&](const AdminResponse& response) { answers.push_back(response); });
  EXPECT_TRUE(answers.empty());
  EXPECT_EQ(backend_.asked.listener, "imaps");
  EXPECT_EQ(backend_.asked.user, "alice");
  EXPECT_EQ(backend_.asked.recipient, "");
  EXPECT_EQ(backend_.asked.client, base::IpAddress::Parse("192.0.2.7"));
  EXPECT_EQ(backend_.asked.sni, "mail.example.com");
  Explanation made;
  made.key = "alice";
  made.rules = {{"users", "rest", "every \"condition\" holds", true}};
  made.pool = "store";
  made.candidates = {{"mail1", 1, 50, balance::Health::kDegraded, "slow"}};
  made.choice = "mail1";
  backend_.asker(made);
  ASSERT_EQ(answers.size(), 1U);
  EXPECT_EQ(answers[0].status, 200);
  EXPECT_EQ(answers[0].body,
            R"({"key":"alice","rules":[{"route":"users","rule":"rest","matched":true,)"
            R"("why":"every \"condition\" holds"}],"directory":null,"pool":"store","candidates":)"
            R"([{"backend":"mail1","tier":1,"weight":50,"state":"degraded","reason":"slow"}],)"
            R"("choice":"mail1","answer":null})"
            "\n");
  admin_.Handle(request, [&](const AdminResponse& response) { answers.push_back(response); });
  backend_.asker(base::Error{"there is no listener \"imaps\""});
  ASSERT_EQ(answers.size(), 2U);
  EXPECT_EQ(answers[1].status, 400);
  EXPECT_NE(answers[1].body.find(R"({"error":{"code":"bad_query","message":"there is no)"),
            std::string::npos);
}

TEST_F(AdminTest, WhoGoesWhereIsAReadOfItsOwnParameters) {
  EXPECT_EQ(Ask("GET", "/api/v1/route", "192.0.2.9").status, 401);
  EXPECT_EQ(Ask("POST", "/api/v1/route", "127.0.0.1").status, 405);
  EXPECT_EQ(Ask("GET", "/api/v1/route", "127.0.0.1").status, 400) << "no listener";
  AdminRequest request;
  request.method = "GET";
  request.path = "/api/v1/route";
  request.is_unix = true;
  request.query = {{"listener", "imaps"}, {"user", "a"}, {"client", "192.0.2.300"}};
  EXPECT_EQ(Handle(request).status, 400);
  request.query = {{"listener", "imaps"}, {"usr", "a"}};
  EXPECT_EQ(Handle(request).status, 400);
  EXPECT_EQ(backend_.asker, nullptr) << "nobody is asked for nothing";
}

}  // namespace
}  // namespace postern::daemon
