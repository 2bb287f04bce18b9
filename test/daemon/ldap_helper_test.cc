// ldap_helper_test: the helper is started, started again, reached and ended.
// SPDX-License-Identifier: Apache-2.0
#include "lb/daemon/ldap_helper.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <string>
#include <thread>

#include "lb/directory/ldap_wire.h"

namespace postern::daemon {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::HasSubstr;
using namespace std::chrono_literals;  // NOLINT: literals only

constexpr base::MonoTime kStart{std::chrono::hours(1)};

// What comes next; empty: it is over.
std::string Receive(const net::OwnedFd& fd) {
  pollfd waits{fd.get(), POLLIN, 0};
  EXPECT_EQ(poll(&waits, 1, 30'000), 1);
  std::array<char, 4096> bytes{};
  const ssize_t num_bytes = recv(fd.get(), bytes.data(), bytes.size(), 0);
  return num_bytes <= 0 ? std::string() : std::string(bytes.data(), static_cast<size_t>(num_bytes));
}

// Looks until the process is another one, or none; time stands still.
pid_t LookUntilChanged(LdapHelper& helper, base::MonoTime now) {
  const pid_t before = helper.pid();
  while (helper.pid() == before) {
    helper.Look(now);
    std::this_thread::yield();
  }
  return helper.pid();
}

TEST(LdapHelperTest, NobodyWantsItNobodyHasIt) {
  LdapHelper helper(POSTERN_LDAP_BINARY);
  helper.Look(kStart);
  EXPECT_EQ(helper.pid(), 0);
  EXPECT_FALSE(helper.Connect().fd.valid());
}

TEST(LdapHelperTest, OneThatIsNotThereIsNoConnection) {
  LdapHelper helper("/nonexistent/postern-ldap");
  helper.Want(true, kStart);
  EXPECT_EQ(helper.pid(), 0);
  EXPECT_FALSE(helper.Connect().fd.valid());
}

TEST(LdapHelperTest, OneThatEndsIsStartedAgainAfterAPauseThatGrows) {
  LdapHelper helper("/bin/false");
  helper.Want(true, kStart);
  ASSERT_NE(helper.pid(), 0);
  ASSERT_NE(LookUntilChanged(helper, kStart), 0);  // at once the first time
  base::MonoTime now = kStart;
  for (const seconds pause : {1s, 2s, 4s, 8s, 16s, 30s, 30s}) {
    ASSERT_EQ(LookUntilChanged(helper, now), 0);
    helper.Look(now + pause - milliseconds(1));
    EXPECT_EQ(helper.pid(), 0);
    now += pause;
    helper.Look(now);
    ASSERT_NE(helper.pid(), 0);
  }
}

TEST(LdapHelperTest, ConnectionsReachIt) {
  LdapHelper helper(POSTERN_LDAP_BINARY);
  helper.Want(true, kStart);
  const net::OwnedFd fd = helper.Connect().fd;
  ASSERT_TRUE(fd.valid());
  directory::LdapSettings settings;
  settings.urls = {"ldap://127.0.0.1:1"};
  settings.ca = "/etc/ssl/certs/ca-certificates.crt";
  settings.base = "dc=example";
  settings.attribute = "home";
  settings.timeout = seconds(20);
  const std::string said =
      directory::ToFrame(settings) + directory::ToFrame(directory::LdapQuestion{7, "(mail=a)"});
  ASSERT_EQ(send(fd.get(), said.data(), said.size(), 0), static_cast<ssize_t>(said.size()));
  directory::LdapFrames frames;
  frames.Feed(Receive(fd));
  const auto content = frames.Next();
  ASSERT_TRUE(content);
  const auto reply = directory::ParseLdapReply(*content);
  ASSERT_TRUE(reply);
  EXPECT_EQ(reply->id, 7U);
  EXPECT_EQ(reply->kind, directory::LdapReply::Kind::kNoServer);
  EXPECT_THAT(reply->text, HasSubstr("ldap://127.0.0.1:1: "));
}

TEST(LdapHelperTest, NonsenseEndsAConnectionAndNoOther) {
  LdapHelper helper(POSTERN_LDAP_BINARY);
  helper.Want(true, kStart);
  const net::OwnedFd fd = helper.Connect().fd;
  ASSERT_EQ(send(fd.get(), "GET / HTTP/1.0\r\n", 16, 0), 16);
  EXPECT_EQ(Receive(fd), "");
  EXPECT_TRUE(helper.Connect().fd.valid());
}

TEST(LdapHelperTest, ItsConnectionsEndWithIt) {
  LdapHelper helper(POSTERN_LDAP_BINARY);
  helper.Want(true, kStart);
  const net::OwnedFd fd = helper.Connect().fd;
  ASSERT_TRUE(fd.valid());
  helper.Want(false, kStart);
  helper.Look(kStart + LdapHelper::kLinger - 1ms);
  EXPECT_NE(helper.pid(), 0);
  helper.Look(kStart + LdapHelper::kLinger);
  EXPECT_EQ(helper.pid(), 0);
  EXPECT_EQ(Receive(fd), "");
  EXPECT_FALSE(helper.Connect().fd.valid());
}

}  // namespace
}  // namespace postern::daemon
