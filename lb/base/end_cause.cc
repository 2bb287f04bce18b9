// end_cause: the words as they stand in logs and metric labels.
// SPDX-License-Identifier: Apache-2.0
#include "lb/base/end_cause.h"

namespace postern::base {

std::string_view Name(Side side) {
  switch (side) {
    case Side::kNone:
      return "none";
    case Side::kFront:
      return "front";
    case Side::kBack:
      return "back";
  }
  return "?";
}

std::string_view Name(Phase phase) {
  switch (phase) {
    case Phase::kAccept:
      return "accept";
    case Phase::kTls:
      return "tls";
    case Phase::kGreeting:
      return "greeting";
    case Phase::kHello:
      return "hello";
    case Phase::kLogin:
      return "login";
    case Phase::kRoute:
      return "route";
    case Phase::kConnect:
      return "connect";
    case Phase::kMail:
      return "mail";
    case Phase::kRcpt:
      return "rcpt";
    case Phase::kData:
      return "data";
    case Phase::kDataReply:
      return "data_reply";
    case Phase::kCommand:
      return "command";
    case Phase::kRelay:
      return "relay";
  }
  return "?";
}

std::string_view Name(FaultKind kind) {
  switch (kind) {
    case FaultKind::kRefused:
      return "refused";
    case FaultKind::kTimeout:
      return "timeout";
    case FaultKind::kTlsVerify:
      return "tls_verify";
    case FaultKind::kTempfail:
      return "tempfail";
    case FaultKind::kProtocol:
      return "protocol";
    case FaultKind::kLost:
      return "lost";
  }
  return "?";
}

std::string_view Name(SessionResult result) {
  switch (result) {
    case SessionResult::kClientQuit:
      return "client_quit";
    case SessionResult::kClientLost:
      return "client_lost";
    case SessionResult::kBackendLost:
      return "backend_lost";
    case SessionResult::kIdle:
      return "idle";
    case SessionResult::kKicked:
      return "kicked";
    case SessionResult::kDrained:
      return "drained";
    case SessionResult::kProtocolError:
      return "protocol_error";
    case SessionResult::kLimit:
      return "limit";
    case SessionResult::kShutdown:
      return "shutdown";
  }
  return "?";
}

}  // namespace postern::base
