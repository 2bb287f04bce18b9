// smtp_driver: what a SmtpRelay and its driver tell each other: settings, the client, endpoints and
// routes on one side, actions and reports on the other.
//
// Owner:    SmtpRelay; whoever drives one: a session, a test, a fuzzer.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "conf/config.h"
#include "lb/base/address.h"
#include "lb/base/bytes.h"
#include "lb/base/clock.h"
#include "lb/base/end_cause.h"
#include "lb/proto/sasl.h"
#include "lb/proto/smtp_back.h"
#include "lb/proto/smtp_extensions.h"
#include "lb/proto/smtp_grammar.h"
#include "lb/proto/smtp_journal.h"

namespace postern::proto {

// --- what a relay is told once ----------------------------------------------------------------

struct SmtpLimits {
  size_t line = 8 << 10;
  size_t sasl_line = 16 << 10;
  size_t reply_lines = 128;
  uint64_t recipients = 1000;
  uint64_t message = 50ULL << 20;  // UINT64_MAX: none, whatever is announced
  uint64_t bad_commands = 10;
  uint64_t auth_failures = 3;
  size_t reply_line = 8 << 10;  // of a backend
};

struct SmtpTimeouts {
  base::Duration tls{}, login{}, command{}, data{}, auth_failure_delay{};
  base::Duration connect{}, greeting{}, auth{}, reply{}, data_start{}, data_block{}, data_done{};
  base::Duration leg_idle{};
};

enum class SmtpFrontTls : uint8_t { kNone, kOffered, kActive };

// Of the listener; outlives its relays, and so does what its views point to.
struct SmtpSettings {
  bool is_submission = false;
  bool is_lmtp = false;                    // the client speaks LMTP
  SmtpFrontTls tls = SmtpFrontTls::kNone;  // kActive: implicit
  bool auth_requires_tls = true;
  bool require_tls = false;
  bool offers_xoauth2 = false;
  bool offers_oauthbearer = false;
  bool pass_refusal_text = false;
  std::string_view hostname;
  std::span<const std::string>
      capabilities;  // EHLO keywords; what Postern cannot parse is left out
  conf::BareNewline bare_newline = conf::BareNewline::kReject;
  conf::Commit commit = conf::Commit::kStreaming;
  uint64_t replay_memory = 256 << 10;
  uint64_t replay_limit = 0;  // of memory and file together; not above replay_memory: no file
  uint32_t retries = 2;
  uint32_t leg_transactions = 100;
  bool passes_legs_on = false;  // the driver takes DropLeg::idle
  base::Duration greet_delay{};
  SmtpLimits limits;
  SmtpTimeouts timeouts;
};

// Of the connection.
struct SmtpClient {
  base::SocketAddress address;
  base::SocketAddress local;
  base::MonoTime accepted;
};

// --- backends, as far as the relay knows them --------------------------------------------------

using EndpointRef = const void*;  // compared only
using LegId = uint32_t;           // never reused within a session; 0: none

// The set of endpoints that can take a recipient; compared by address.
struct HomeRef {
  const void* home = nullptr;
  bool (*contains)(const void* home, EndpointRef endpoint) = nullptr;

  [[nodiscard]] bool Contains(EndpointRef endpoint) const {
    return contains != nullptr && contains(home, endpoint);
  }
  bool operator==(const HomeRef& other) const { return home == other.home; }
};

// How to speak to the endpoint that was picked.
struct SmtpLegFacts {
  EndpointRef endpoint = nullptr;
  bool is_lmtp = false;
  conf::TlsMode tls = conf::TlsMode::kNone;
  conf::ClientAddress client_address = conf::ClientAddress::kNone;
  std::string_view login_user;  // as this backend is told; copied
  conf::Reauth reauth = conf::Reauth::kReplay;
  bool keeps_credentials = true;  // after a login here there may be another with the same
};

// A leg that waits for a transaction, as it passes from one client's relay to another's.
struct SmtpIdleLeg {
  SmtpExtensions extensions;
  std::string hello;  // the name that was said there
  uint32_t num_transactions = 0;
  base::MonoTime idle_until;
};

// How a client of a backend takes leave.
inline constexpr std::string_view kSmtpQuit = "QUIT\r\n";

struct RouteAnswer {
  enum class Kind : uint8_t {
    kHome,
    kReject,    // text, or the relay's own words
    kTempFail,  // likewise
    kRefused,   // by a directory that has judged the login, or the recipient: text, refusal_wait
    kUnknown,   // no such user or recipient
    kBlocked,   // this client may not try to log in as this user now
  };
  Kind kind = Kind::kUnknown;
  HomeRef home;
  HomeRef relay;              // of kHome: takes a transaction of several homes; null: none does
  bool has_common = false;    // an SMTP endpoint of this home and of all homes() can take work now
  bool takes_several = true;  // the home has an SMTP endpoint
  bool takes_one = false;     // by LMTP: a transaction with this recipient has no other
  std::string_view text;      // one reply without its line end
  base::Duration refusal_wait{};  // from the password to its refusal, at least
  bool is_idle_leg_good = false;  // the leg there is may be used for this home
};

// --- actions ------------------------------------------------------------------------------------
// Done in order by the driver, after the call that made them; the bytes of the two output buffers
// go out before kToBack, kStartTls and kDropLeg.

struct AskRoute {
  enum class By : uint8_t { kUser, kRecipient };
  By by = By::kRecipient;
  std::string_view name;  // valid until the answer
};
struct ToBack {
  base::ByteView bytes;  // of the message: a slice, for now; empty: its leg is gone
};
// The journal's file, made by its first append. Reads come one at a time.
struct SpoolAppend {
  base::ByteView bytes;  // a slice of the input
};
struct SpoolRead {
  uint64_t offset = 0;
  size_t num_bytes = 0;
};
struct SpoolClose {};  // nothing is to be told of it any more
struct OpenLeg {
  // The driver picks among homes() but tried(), no LMTP endpoint if has_several(), then calls
  // OnLegPicked or OnNobody.
  LegId leg = 0;
};
struct DropLeg {
  enum class How : uint8_t { kGently, kAtOnce };
  LegId leg = 0;
  How how = How::kAtOnce;
  // Another client may have the leg; QUIT was not said. Null: nobody may.
  std::unique_ptr<SmtpIdleLeg> idle{};
};
struct StartTlsOn {
  base::Side side = base::Side::kFront;
  LegId leg = 0;
};
struct EndSession {
  base::EndCause cause;  // front output goes out, then both sides close
};
using SmtpAction = std::variant<AskRoute, ToBack, SpoolAppend, SpoolRead, SpoolClose, OpenLeg,
                                DropLeg, StartTlsOn, EndSession>;

// --- reports ------------------------------------------------------------------------------------

struct SmtpOutcome {
  uint64_t number = 0;  // counts from 1 within the session
  std::string from;
  std::vector<std::string> to;       // accepted
  std::vector<std::string> refused;  // of those, behind the text (LMTP)
  uint64_t size = 0;                 // bytes of the message as relayed
  std::string reply;                 // one line: what the client got last for it
  std::string queue_id;
  int code = 0;          // of the reply; 0: the client left, or gave up, without one
  bool is_lost = false;  // ended without a reply, and not by the client's own will
  base::EndCause cause;
  std::array<double, base::kNumPhases> phases_ms{};  // negative: did not happen
};

// Refusals of recipients that were told 250, as their backend was not chosen yet (kAfterData). The
// client heard of another reply to its message; the next time it hears of this one. Never calls
// back.
class RefusalMemory {
 public:
  virtual void Remember(std::string_view from, std::string_view to, base::ByteView reply) = 0;
  // The reply, whole lines, once; empty: nothing is remembered.
  [[nodiscard]] virtual std::string Recall(std::string_view from, std::string_view to) = 0;

 protected:
  ~RefusalMemory() = default;
};

// Told of what happened, for metrics, logs, load and health. Must not call back.
class SmtpReports {
 public:
  enum class Recipient : uint8_t { kAccepted, kRejected, kDeferred };
  enum class Login : uint8_t { kOk, kBadCredentials, kTempFailure, kAborted, kBlocked };
  enum class Moved : uint8_t { kBeforeEnvelope, kAfterEnvelope };

  virtual void OnCommand(SmtpVerb verb, base::Duration took) = 0;
  virtual void OnRecipient(Recipient result) = 0;
  virtual void OnBareNewline() = 0;
  virtual void OnEarlyTalker() = 0;
  virtual void OnLogin(Mechanism mechanism, const std::string& user, Login result) = 0;
  virtual void OnTransaction(const SmtpOutcome& outcome) = 0;
  virtual void OnPhase(LegId leg, base::Phase phase, base::Duration took) = 0;
  virtual void OnLegFault(LegId leg, const SmtpLegFault& fault) = 0;
  virtual void OnLegReady(LegId leg, base::ByteView ehlo_lines) = 0;
  virtual void OnLegBusy(LegId leg) = 0;  // it begins to serve; a new leg is busy
  virtual void OnLegIdle(LegId leg) = 0;
  virtual void OnMoved(Moved moved, base::FaultKind why) = 0;
  // The message under way is not kept any more: it can no longer move.
  virtual void OnJournalLost(JournalLoss why) = 0;

 protected:
  ~SmtpReports() = default;
};

}  // namespace postern::proto
