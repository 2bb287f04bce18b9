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
  std::string MetricsText() override { return "x 1\n"; }
  std::vector<std::string> NotReadyReasons() const override { return reasons; }
  ReloadReport Reload(DryRun dry) override {
    last_dry = dry;
    ++num_reloads;
    ReloadReport report;
    report.is_accepted = !fails;
    report.generation = 4;
    if (fails) report.errors.push_back({"f.json", 3, 7, "/pools/p", "no such backend", "mail1?"});
    return report;
  }
  std::string token() const override { return its_token; }

  std::vector<std::string> reasons;
  bool fails = false;
  int num_reloads = 0;
  DryRun last_dry = DryRun::kNo;
  std::string its_token = "s3cret";
};

class AdminTest : public testing::Test {
 protected:
  AdminResponse Ask(const std::string& method, const std::string& path, const std::string& peer,
                    const std::string& authorization = "") {
    AdminRequest request;
    request.method = method;
    request.path = path;
    request.authorization = authorization;
    request.is_unix = peer == "unix";
    if (!request.is_unix) request.peer = *base::IpAddress::Parse(peer);
    return admin_.Handle(request);
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
  EXPECT_EQ(admin_.Handle(request).status, 200);
  EXPECT_EQ(backend_.last_dry, DryRun::kYes);
  request.query = {{"dryrun", "1"}};
  EXPECT_EQ(admin_.Handle(request).status, 400);
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

TEST_F(AdminTest, UnknownPagesAreNotFound) {
  EXPECT_EQ(Ask("GET", "/nothing", "unix").status, 404);
}

}  // namespace
}  // namespace postern::daemon
