// tls_policy_test: which key exchange two sides agree on, of those that the library inside has.
// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>
#include <openssl/ssl.h>

#include "lb/tls/tls_library.h"
#include "test/tls/tls_fixture.h"

namespace postern::tls {
namespace {

// The best group, asked of the library itself and not of our own tables.
std::string BestGroup() {
  const bssl::UniquePtr<SSL_CTX> context(SSL_CTX_new(TLS_method()));
  for (const char* group : {"X25519MLKEM768", "X25519"})
    if (SSL_CTX_set1_curves_list(context.get(), group) == 1) return group;
  return "none";
}

class TlsPolicyTest : public TlsTest {
 protected:
  void SetUp() override { files_ = Issue("a", {.dns = {"a.example"}}); }

  // What a client and a server with these groups agree on; none: the defaults.
  std::string Agreed(const std::vector<std::string>& of_client,
                     const std::vector<std::string>& of_server) {
    client_tls_.groups = of_client;
    server_tls_.groups = of_server;
    const Meeting meeting = Meet(*Server({files_}), *Client("a.example"), "a.example");
    EXPECT_TRUE(meeting.is_up) << meeting.client_error << meeting.server_error;
    EXPECT_EQ(meeting.client.group, meeting.server.group);
    return meeting.server.group;
  }
  conf::Certificate files_;
};

TEST_F(TlsPolicyTest, BothLegsUseTheBestGroupThatTheLibraryHas) {
  const std::string best = BestGroup();
  EXPECT_EQ(GroupsInUse({}).front(), best);
  EXPECT_EQ(Agreed({}, {}), best);
  EXPECT_EQ(Agreed({best}, {}), best);
  EXPECT_EQ(Agreed({}, {best}), best);
}

TEST_F(TlsPolicyTest, TheServersOrderDecides) {
  const std::string best = BestGroup();
  EXPECT_EQ(Agreed({"P-384", "P-256", best}, {}), best);  // asked again, for a key it did not send
  EXPECT_EQ(Agreed({}, {"P-256", best}), "P-256");
}

TEST_F(TlsPolicyTest, WhoLacksTheBestIsServedWithTheNext) {
  EXPECT_EQ(Agreed({"P-256", "X25519"}, {}), "X25519");
  EXPECT_EQ(Agreed({"P-384", "P-256"}, {}), "P-256");
  EXPECT_EQ(Agreed({}, {"P-384"}), "P-384");
}

}  // namespace
}  // namespace postern::tls
