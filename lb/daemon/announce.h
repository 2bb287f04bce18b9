// announce: what a listener may say: what every eligible endpoint can do, and Postern can relay.
//
// Tests:    test/daemon/announce_test.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "conf/config.h"
#include "lb/balance/endpoint.h"

namespace postern::daemon {

struct Announcement {
  // Without STARTTLS, AUTH, LOGINDISABLED: these hang on the session's state.
  std::vector<std::string> capabilities;
  bool offers_xoauth2 = false;  // some eligible endpoint has it
  bool offers_oauthbearer = false;
};

[[nodiscard]] Announcement AnnouncementOf(const conf::Listener& listener,
                                          const std::vector<const balance::Endpoint*>& eligible);

}  // namespace postern::daemon
