// endpoint_gauges_test: what an endpoint is shows in the next scrape, and a reload changes nothing.
// SPDX-License-Identifier: Apache-2.0
#include "lb/daemon/endpoint_gauges.h"

#include <gtest/gtest.h>

namespace postern::daemon {
namespace {

class EndpointGaugesTest : public testing::Test {
 protected:
  EndpointGaugesTest() {
    conf::Backend backend;
    backend.name = "mail1";
    backend.endpoints = {{.protocol = conf::Protocol::kSmtp}, {.protocol = conf::Protocol::kImap}};
    config_.backends.push_back(backend);
    (void)registry_.Configure(config_);
  }
  balance::EndpointState& imap() { return *book_.Get("mail1", conf::Protocol::kImap); }
  void Scrape() { ShowEndpoints(balance::EndpointTable(config_, book_), registry_); }
  double Value(const std::string& family, const std::string& more = "",
               const std::string& protocol = "imap") {
    return registry_.Value("postern_" + family + "{backend=\"mail1\",protocol=\"" + protocol +
                           "\"" + more + "}");
  }

  conf::Config config_;
  balance::EndpointBook book_{1};
  metrics::Registry registry_;
};

TEST_F(EndpointGaugesTest, HealthShows) {
  imap().health = balance::Health::kDown;
  imap().weight_ratio = 0.25F;
  Scrape();
  EXPECT_EQ(Value("backend_up"), 0);
  EXPECT_EQ(Value("backend_up", "", "smtp"), 1);
  EXPECT_EQ(Value("backend_degraded"), 0);
  EXPECT_EQ(Value("backend_weight_ratio"), 0.25);
  imap().health = balance::Health::kDegraded;
  Scrape();
  EXPECT_EQ(Value("backend_up"), 1);
  EXPECT_EQ(Value("backend_degraded"), 1);
}

TEST_F(EndpointGaugesTest, AdminStateShowsAsOneOfThree) {
  const auto states = [&] {
    return std::vector<double>{Value("backend_admin_state", ",state=\"ready\""),
                               Value("backend_admin_state", ",state=\"drain\""),
                               Value("backend_admin_state", ",state=\"maintenance\"")};
  };
  Scrape();
  EXPECT_EQ(states(), (std::vector<double>{1, 0, 0}));
  imap().admin = balance::AdminState::kDrain;
  Scrape();
  EXPECT_EQ(states(), (std::vector<double>{0, 1, 0}));
  imap().admin = balance::AdminState::kMaintenance;
  Scrape();
  EXPECT_EQ(states(), (std::vector<double>{0, 0, 1}));
}

TEST_F(EndpointGaugesTest, AReloadKeepsThem) {
  imap().health = balance::Health::kDown;
  Scrape();
  (void)registry_.Configure(config_);
  EXPECT_EQ(Value("backend_up"), 0);
  Scrape();
  EXPECT_EQ(Value("backend_up"), 0);
}

}  // namespace
}  // namespace postern::daemon
