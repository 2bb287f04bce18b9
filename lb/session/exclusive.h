// exclusive: the choice of a member in an exclusive pool: where the user is, as long as that member
// is not down; who comes first decides for the others.
//
// For every session that comes to mailboxes: of clients who read, and of mail that is delivered.
// Owner:    the session holds the pin as long as it has to do with the user there.
// Thread:   any worker's.
// Tests:    test/session/exclusive_session_test.cc, test/session/lmtp_backend_session_test.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string_view>

#include "lb/balance/endpoint.h"
#include "lb/balance/pins.h"

namespace postern::session {

struct HeldMember {
  const balance::Endpoint* endpoint = nullptr;  // null: nobody may have the user now
  std::unique_ptr<balance::Pins::Pin> pin;
};

// user: canonical. pick: any member but those tried, for a user whom nobody holds; may be null.
[[nodiscard]] HeldMember PickForOne(balance::Pins& pins, const balance::Home& home,
                                    std::string_view user,
                                    std::span<const balance::EndpointId> tried,
                                    const std::function<const balance::Endpoint*()>& pick);

}  // namespace postern::session
