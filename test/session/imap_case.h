// imap_case: a session of IMAP in memory, as its tests begin it, and what they ask of its books.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "test/support/mail_world.h"

namespace postern::test {

inline constexpr char kRefused[] = "NO [AUTHENTICATIONFAILED] Authentication failed\r\n";
inline constexpr char kUnavailable[] =
    "NO [UNAVAILABLE] Temporarily unavailable, try again later\r\n";

class ImapSessionTest : public testing::Test {
 protected:
  // Begins, and reads the greeting.
  void Begin() {
    world_.Begin();
    ASSERT_THAT(world_.Read(), testing::StartsWith("* OK "));
  }
  void BeginLoggedIn() {
    Begin();
    ASSERT_THAT(world_.LogIn(), testing::HasSubstr(" OK "));
  }
  const metrics::SessionAccount& account() {
    EXPECT_EQ(world_.accounts.size(), 1U);
    static const metrics::SessionAccount kNone;
    return world_.accounts.empty() ? kNone : world_.accounts[0];
  }
  double Failures(const std::string& backend, base::Phase phase, base::FaultKind kind) {
    return world_.Metric("postern_backend_failures_total{backend=\"" + backend +
                         "\",protocol=\"imap\",phase=\"" + std::string(Name(phase)) + "\",kind=\"" +
                         std::string(Name(kind)) + "\"}");
  }
  double Auth(const std::string& mechanism, const std::string& result) {
    return world_.Metric("postern_auth_attempts_total{protocol=\"imap\",mechanism=\"" + mechanism +
                         "\",result=\"" + result + "\"}");
  }

  MailWorld world_{conf::Protocol::kImap};
};

}  // namespace postern::test
