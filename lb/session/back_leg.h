// back_leg: one try of an endpoint by a session of IMAP, POP3 or tcp: from the dial to a connection
// that is up (PROXY header written, implicit TLS done), its phases, deadlines, faults and books.
//
// Rules:    the time for connecting is shared by the addresses that are left. What hangs for longer
//           than its like mostly do is suspected, once a phase: somebody looks at it, and whoever
//           comes now is better off elsewhere. A PROXY header tells of the client: what fails
//           behind it is not held against the endpoint at once.
// Limits:   timeouts connect (all addresses), greeting (from connect on), auth (of a login).
// Owner:    a MailDialogue or TcpSession, until its session is handed over.   Thread: its worker's.
// Tests:    test/session/back_leg_test.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>

#include "lb/balance/endpoint.h"
#include "lb/balance/picker.h"
#include "lb/base/clock.h"
#include "lb/base/end_cause.h"
#include "lb/io/stream.h"
#include "lb/session/accounting.h"
#include "lb/session/dial.h"
#include "lb/session/session_env.h"

namespace postern::session {

class BackLeg {
 public:
  static constexpr base::MonoTime kNever = base::MonoTime::max();
  using Blame = balance::Picker::Blame;

  // What has come of a call.
  enum class Came : uint8_t {
    kNothing,
    kUp,      // SetPhase says what is next
    kTlsUp,   // what StartTls began is done
    kBytes,   // stream().Input() has more
    kFailed,  // fault() tells; Fail ends it
    kShort,   // we have no descriptor, port or memory: says nothing about the endpoint; Drop it
  };
  struct Fault {
    base::FaultKind kind = base::FaultKind::kLost;
    std::string why;
  };

  // All outlive this. observer: of its streams.
  struct Around {
    SessionEnv& env;
    const ListenerSettings& listener;
    const ClientFacts& client;
    const Parts& parts;
    Accounting& accounting;
    io::Stream::Observer& observer;
  };
  BackLeg(const Around& around, const balance::Endpoint& endpoint);

  [[nodiscard]] Came Start();
  [[nodiscard]] Came OnStream(io::Stream::Event event);
  // blame: whether hanging is held against it.
  [[nodiscard]] Came OnTimer(Blame blame);
  [[nodiscard]] base::MonoTime NextDeadline() const;

  // STARTTLS; implicit TLS starts by itself.
  [[nodiscard]] Came StartTls();
  // What it does from now on.
  void SetPhase(base::Phase phase);
  // Of what it does now; kNever: it is somebody else's turn.
  void set_deadline(base::MonoTime deadline) { deadline_ = deadline; }
  [[nodiscard]] base::MonoTime deadline() const { return deadline_; }

  [[nodiscard]] const balance::Endpoint& endpoint() const { return dial_.endpoint(); }
  [[nodiscard]] const balance::EndpointFacts* facts() const { return dial_.facts(); }
  [[nodiscard]] base::Phase phase() const { return phase_; }
  [[nodiscard]] const Fault& fault() const { return fault_; }
  [[nodiscard]] io::Stream& stream() { return *stream_; }
  // kNone: what it knows of the client may be why it fails.
  [[nodiscard]] Blame blame() const { return has_sent_header_ ? Blame::kNone : Blame::kPassive; }

  // --- its end, one of these ---
  // All went well: the session goes on with the stream.
  [[nodiscard]] std::unique_ptr<io::Stream> TakeStream() { return std::move(stream_); }
  // Its phases are done, and it did well in them.
  void Succeeded();
  // Logs, counts and blames; returns it in words.
  [[nodiscard]] std::string Fail(const Fault& fault, Blame blame);
  void Drop(base::SessionResult result);
  // As Drop, of a leg that has judged the client: the time it took counts.
  void Answered();

 private:
  [[nodiscard]] Came Connected();
  [[nodiscard]] Came Lost();
  [[nodiscard]] Came FailWith(base::FaultKind kind, std::string why);
  void Connect();
  void PhaseDone();
  [[nodiscard]] base::MonoTime Patience() const;
  void Suspect(Blame blame);

  const Around its_;
  Dial dial_;
  std::unique_ptr<io::Stream> stream_;
  base::Phase phase_ = base::Phase::kConnect;
  base::MonoTime phase_began_;
  base::MonoTime connect_deadline_;  // of all its addresses
  base::MonoTime deadline_ = kNever;
  Fault fault_;
  bool has_sent_header_ = false;
  bool is_suspected_ = false;
};

}  // namespace postern::session
