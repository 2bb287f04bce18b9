// flow: what the followers of a relayed session, IMAP's and POP3's, have in common.
//
// A follower watches the bytes of both sides pass, in the order in which they pass, and knows where
// a goodbye may be said. It changes nothing and holds a few bytes. Does not: allocate, keep lines,
// or parse what a backend answers beyond where an answer ends.
// Tests:    test/proto/imap_flow_test.cc, test/proto/pop3_flow_test.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>

#include "lb/base/bytes.h"
#include "lb/proto/imap_flow.h"
#include "lb/proto/machine.h"
#include "lb/proto/pop3_flow.h"

namespace postern::proto {

// Why Postern ends a session that it relays.
enum class Farewell : uint8_t { kDrain, kShutdown, kKicked, kTimeout, kForbidden, kBackendLost };

// Of either protocol.
class MailFlow {
 public:
  explicit MailFlow(MailProtocol protocol);

  // Bytes on their way to the backend. kForbidden: they may not pass, the session has to end.
  [[nodiscard]] FlowVerdict FromClient(base::ByteView bytes);
  void FromBackend(base::ByteView bytes);

  // No command is running, nothing is half said: the session may end here without loss.
  [[nodiscard]] bool is_safe() const;
  // The line to say to the client now; empty: nothing can be said (or nothing is in this protocol).
  [[nodiscard]] std::string Goodbye(Farewell why) const;
  // The client has said LOGOUT or QUIT.
  [[nodiscard]] bool has_quit() const;
  [[nodiscard]] uint64_t num_commands() const;
  // A command that was running has been answered since the last call.
  [[nodiscard]] std::optional<FlowCommand> TakeCompleted();

 private:
  std::variant<ImapFlow, Pop3Flow> flow_;
};

}  // namespace postern::proto
