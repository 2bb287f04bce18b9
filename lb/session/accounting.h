// accounting: what is counted and written down of one session of IMAP, POP3 or tcp: metrics as
// they happen, one SessionAccount at the end.
//
// Owner:    one MailSession or TcpSession.   Thread: its worker's.
// Tests:    test/session/mail_session_test.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "lb/balance/endpoint.h"
#include "lb/base/clock.h"
#include "lb/base/end_cause.h"
#include "lb/session/session_env.h"
#include "metrics/account.h"
#include "metrics/recorder.h"

namespace postern::session {

class Accounting {
 public:
  // Both outlive this.
  Accounting(SessionEnv& env, const ListenerSettings& listener) : env_(env), listener_(listener) {}

  void Started() { env_.recorder.SessionStarted(listener_.slots); }
  // Bytes of a leg, as Postern sees them.
  void Bytes(base::Side side, metrics::Direction direction, size_t num_bytes);
  // Bytes that `from` has said and the other leg was told.
  void Relayed(base::Side from, size_t num_bytes);

  // The session holds a leg on the endpoint, until LegEnded.
  void LegStarted(const balance::Endpoint& endpoint, const metrics::EndpointSlots& slots);
  // A phase of the leg took so long; more of the same phase adds up.
  void PhaseDone(base::Phase phase, base::Duration duration);
  // The leg has done all its phases well: health hears how long they took.
  void LoggedIn();
  void LegFailed(base::Phase phase, base::FaultKind kind);
  void LegEnded(base::SessionResult result);
  [[nodiscard]] bool has_leg() const { return has_leg_; }
  // Name of the backend reached last; empty: none.
  [[nodiscard]] std::string_view backend() const {
    return state_ == nullptr ? std::string_view() : std::string_view(state_->backend);
  }

  // Ends the leg too, and writes the account.
  void Finished(const ClientFacts& client, const io::Stream& front, uint64_t num_commands,
                base::EndCause cause);

  std::string user;  // as the client gave it

 private:
  // connect, tls, greeting, hello, login
  static constexpr size_t kNumKept = 5;

  void FlushPhases();

  SessionEnv& env_;
  const ListenerSettings& listener_;
  std::shared_ptr<balance::EndpointState> state_;
  metrics::EndpointSlots slots_;
  bool has_leg_ = false;
  std::array<float, kNumKept> phases_ms_ = {-1, -1, -1, -1, -1};
  uint64_t bytes_in_ = 0;   // front
  uint64_t bytes_out_ = 0;  // front
};

}  // namespace postern::session
