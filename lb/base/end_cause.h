// end_cause: the words of failure, shared by machines, sessions, health, metrics and logs.
//
// A kind exists only if the retry policy, the judge of health or an operator treats it differently.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace postern::base {

enum class Side : uint8_t { kNone, kFront, kBack };

// Where a session is. Back phases are the labels of backend_phase_duration_seconds (design:
// connect, tls, greeting, hello, login, mail, rcpt, data_reply); the others are only words in logs.
enum class Phase : uint8_t {
  kAccept,    // PROXY header, early talkers
  kTls,       // handshake, implicit or after STARTTLS, either side
  kGreeting,  // our greeting to the client, a backend's to us
  kHello,     // EHLO, CAPABILITY, CAPA, XCLIENT
  kLogin,     // credentials
  kRoute,     // looking for the home
  kConnect,   // TCP connect to a backend
  kMail,
  kRcpt,
  kData,       // message text
  kDataReply,  // from the final dot to its reply
  kCommand,    // any other command of a dialogue
  kRelay,      // after login, both streams joined
};
inline constexpr int kNumPhases = 13;

// What a backend did wrong: the label "kind" of backend_failures_total, "reason" of retries_total.
enum class FaultKind : uint8_t { kRefused, kTimeout, kTlsVerify, kTempfail, kProtocol, kLost };
inline constexpr int kNumFaultKinds = 6;

// How a session ended: the label "result" of sessions_total.
enum class SessionResult : uint8_t {
  kClientQuit,
  kClientLost,
  kBackendLost,
  kIdle,
  kKicked,
  kDrained,
  kProtocolError,
  kLimit,
  kShutdown,
};
inline constexpr int kNumSessionResults = 9;

struct EndCause {
  SessionResult result = SessionResult::kClientQuit;
  Side side = Side::kNone;
  Phase phase = Phase::kAccept;
  std::string why;  // a short text for the log; peers' text is escaped when it is printed
};

[[nodiscard]] std::string_view Name(Side side);
[[nodiscard]] std::string_view Name(Phase phase);
[[nodiscard]] std::string_view Name(FaultKind kind);
[[nodiscard]] std::string_view Name(SessionResult result);

}  // namespace postern::base
