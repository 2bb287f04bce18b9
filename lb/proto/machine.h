// machine: the words that the protocol machines of IMAP and POP3 and their driver have in common.
//
// A machine is pure: bytes and answers in, events out. Its driver calls Next with all the input
// there is, consumes what the step says, does what the event says, and calls again until the event
// is one that waits (NeedBytes, Wait, StartTls, Login, SaslResponse, HandOver, Ended). An
// unconsumed tail stays with the driver and is seen again in front of new bytes. What an event
// points to belongs to the machine, never to the input, and lives until the next call. Laws: any
// cut of the same bytes gives the same events; memory stays under the limits; after
//           Ended or HandOver nothing changes; no clock, chance, log or socket; Next never calls
//           out; nothing that came before TLS acts inside it; what is announced can be parsed;
//           secrets leave as bytes of Send or as Secret only.
// Tests:    test/proto/ (each machine whole, byte by byte and in seeded cuts), test/dialogue/,
//           test/fuzz/
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>

#include "conf/config.h"
#include "lb/base/address.h"
#include "lb/base/bytes.h"
#include "lb/base/end_cause.h"
#include "lb/base/secret.h"
#include "lb/proto/capability.h"
#include "lb/proto/sasl.h"

namespace postern::proto {

enum class MailProtocol : uint8_t { kImap, kPop3 };
// None for a protocol that has no machines of this kind.
[[nodiscard]] std::optional<MailProtocol> MailProtocolOf(conf::Protocol protocol);

// When may a goodbye be said?
enum class DrainPoint : uint8_t {
  kNow,    // between two commands: the protocol's goodbye is understood here
  kLater,  // something is running: at the next kNow
  kNever,  // over, or handed over: whoever follows the relay knows
};

// --- events -----------------------------------------------------------------------------------

struct NeedBytes {};  // Next again when more has come
struct Wait {};       // an answer of the driver's is due; input is left alone
struct Send {
  base::ByteView bytes;  // may hold credentials (towards a backend): not for logs
};
struct StartTls {};  // after what was sent: handshake, then TlsUp. There is no input left.
struct Ended {
  base::EndCause cause;
};

// Of the front machine.
struct Login {
  const LoginRequest* request = nullptr;  // lives until LoginOk, LoginRefused or LoginUnavailable
  // False: nothing that may reach a backend (CR, LF, NUL, a foreign authorization identity). It is
  // to be refused as a wrong password would be; the request holds what may be logged.
  bool is_usable = true;
};
struct LoginAborted {
  Mechanism mechanism = Mechanism::kPlain;  // the client cancelled the exchange; goes on at once
};
struct SaslResponse {
  const base::Secret* line = nullptr;  // base64 or "*": the client's answer to Challenge
};
struct HandOver {};  // from here on the session is a relay; the machine can go

// Of the back machine.
struct Challenge {
  base::ByteView base64;  // to be passed on; the client's answer goes to Respond
};
struct LoggedIn {
  base::ByteView capabilities;  // "IMAP4rev1 IDLE ...", empty: the backend gave none
  base::ByteView text;          // of its OK, without the code of the capabilities; one line
};
// The backend's no to these credentials.
struct Refusal {
  base::ByteView code;  // "AUTHENTICATIONFAILED"; empty: none
  base::ByteView text;  // one line
  // Says something about user and password (counts against who guesses), rather than about an
  // account that is in use, over a limit or the like.
  bool is_bad_credentials = true;
};
// The work may be tried at another endpoint.
struct Failed {
  base::FaultKind kind = base::FaultKind::kProtocol;
  base::Phase phase = base::Phase::kGreeting;
  base::ByteView text;  // for logs; may hold the backend's words
};

using FrontEvent = std::variant<NeedBytes, Wait, Send, StartTls, Login, LoginAborted, SaslResponse,
                                HandOver, Ended>;
using BackEvent =
    std::variant<NeedBytes, Wait, Send, StartTls, Challenge, LoggedIn, Refusal, Failed, Ended>;

struct FrontStep {
  size_t consumed = 0;
  FrontEvent event;
};
struct BackStep {
  size_t consumed = 0;
  BackEvent event;
};

// --- the client's side ------------------------------------------------------------------------

struct FrontLimits {
  size_t line = 8 << 10;
  size_t sasl_line = 16 << 10;
  size_t literal = 8 << 10;
  uint64_t bad_commands = 10;
  uint64_t auth_failures = 3;
};

// Views live as long as the machine.
struct FrontPlan {
  std::string_view hostname;
  std::span<const std::string> capabilities;  // what the listener announces (AnnounceFor)
  bool offers_xoauth2 = false;
  bool offers_oauthbearer = false;
  bool has_starttls = false;  // the listener can do TLS in the dialogue
  bool is_in_tls = false;     // it is in TLS from the start
  bool auth_requires_tls = true;
  bool pass_refusal_text = false;
  FrontLimits limits;
};

// Server role towards the client, from the greeting to the login.
class FrontMachine {
 public:
  virtual ~FrontMachine() = default;
  [[nodiscard]] virtual FrontStep Next(base::ByteView input) = 0;

  // Answers to StartTls and Login; each is followed by Next.
  virtual void TlsUp() = 0;
  virtual void LoginOk(const LoggedIn& answer) = 0;
  // When its time has come (the delay of refusals is the driver's).
  virtual void LoginRefused(const Refusal& refusal) = 0;
  virtual void LoginUnavailable() = 0;
  // The backend asks the client something on its way to a refusal.
  virtual void PassChallenge(base::ByteView base64) = 0;

  // Goodbyes: the next steps are the protocol's word for it, then Ended. In any state but after
  // Ended and HandOver, where they do nothing.
  virtual void Expire() = 0;  // a deadline of the client's has passed
  virtual void BeginDrain() = 0;
  virtual void Kill(base::SessionResult why) = 0;

  [[nodiscard]] virtual base::Phase phase() const = 0;
  [[nodiscard]] virtual DrainPoint drain_point() const = 0;
  // Complete commands so far.
  [[nodiscard]] virtual uint64_t num_commands() const = 0;
};

// --- a backend's side -------------------------------------------------------------------------

// How the client's address is handed on within the protocol (a PROXY header is the driver's).
struct ClientIdentity {
  base::SocketAddress client;
  base::SocketAddress local;
  uint64_t session_id = 0;
};

// What it points to lives as long as the machine.
struct BackPlan {
  conf::TlsMode tls = conf::TlsMode::kNone;  // kPassthrough is no TLS here
  // IMAP: ID fields; POP3: XCLIENT, where the greeting offers it. Nothing: neither.
  std::optional<ClientIdentity> identity{};
  // Null: learn the capabilities, say goodbye, end (a probe).
  const LoginRequest* login = nullptr;
  std::string_view user{};  // what the backend is told; with login
  // A check: behind the login one look at the mailbox and a goodbye, in place of LoggedIn.
  bool is_check = false;
  // What this endpoint is known to say (inside TLS): saves asking on a leg without STARTTLS. Null:
  // not known.
  const Capabilities* known = nullptr;
  size_t max_line_bytes = 16 << 10;
  size_t max_lines = 128;  // of one answer
};

// Client role towards a backend, from its greeting to the login.
class BackMachine {
 public:
  virtual ~BackMachine() = default;
  // Bytes behind the login's OK are left in the input: they are the client's.
  [[nodiscard]] virtual BackStep Next(base::ByteView input) = 0;
  virtual void TlsUp() = 0;
  // The client's answer to a challenge, base64 or "*".
  virtual void Respond(const base::Secret& line) = 0;

  [[nodiscard]] virtual base::Phase phase() const = 0;
  // Did the backend get anything that the client chose: address, name, password?
  [[nodiscard]] virtual bool has_sent_client_bytes() const = 0;
  // As last learned, of the leg as it is now (inside TLS if there is TLS).
  [[nodiscard]] virtual const Capabilities& capabilities() const = 0;
  [[nodiscard]] virtual bool has_learned_capabilities() const = 0;
};

// Is it the first word of an HTTP request? No mail client begins a line so: it is a browser that
// was made to speak to us.
[[nodiscard]] bool IsHttpVerb(base::ByteView word);

// The one place that knows which protocol has which machines.
[[nodiscard]] std::unique_ptr<FrontMachine> MakeFront(MailProtocol protocol, const FrontPlan& plan);
[[nodiscard]] std::unique_ptr<BackMachine> MakeBack(MailProtocol protocol, const BackPlan& plan);

}  // namespace postern::proto
