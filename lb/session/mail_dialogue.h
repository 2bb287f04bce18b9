// mail_dialogue: a session of IMAP or POP3 from its greeting to its login: the client's dialogue,
// the route, and one backend after the other until one has taken the login.
//
// Drives a FrontMachine and, while a login is under way, a BackMachine; knows no protocol. Freed as
// a whole at hand-over.
// Rules:    a fault of a backend before the login is answered leads to the next endpoint, as far as
//           the home's storage allows; a refusal of the login is final. Every refusal, of a
//           backend's, a route's or our own, comes at max(its answer, password received +
//           auth_failure_delay). Only what went wrong before any byte that a client chose is held
//           against an endpoint at once. A client that closes with nothing left to be run ends
//           everything at once.
// Owner:    one MailSession.   Thread: its worker's.
// Limits:   of the listener; at most kMaxAhead bytes of what a client sends behind its login are
//           kept, and as much of what it does not read.
// Tests:    test/session/mail_login_test.cc, mail_fault_test.cc, mail_client_test.cc, test/sim/
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "lb/balance/endpoint.h"
#include "lb/base/clock.h"
#include "lb/base/end_cause.h"
#include "lb/io/stream.h"
#include "lb/proto/machine.h"
#include "lb/session/accounting.h"
#include "lb/session/back_leg.h"
#include "lb/session/route_query.h"
#include "lb/session/session_env.h"

namespace postern::session {

class MailDialogue {
 public:
  enum class Outcome : uint8_t {
    kGoesOn,
    kHandOver,  // logged in: TakeBack; what both streams hold unread is the relay's
    kEnded,     // cause() says why; the front stream wants closing
  };

  // All references outlive the dialogue. observer: of the streams that it dials. went_on: told when
  // something has happened that was none of the calls below: a directory has answered.
  MailDialogue(SessionEnv& env, const ListenerSettings& listener, const ClientFacts& client,
               io::Stream& front, io::Stream::Observer& observer, Accounting& accounting,
               std::function<void()> went_on);
  ~MailDialogue();

  // After each of these, outcome() says how it stands.
  void Start();
  void OnFront(io::Stream::Event event);
  void OnBack(io::Stream::Event event);
  void OnTimer();
  void BeginDrain();
  void LeaveEndpoint(const balance::EndpointState& endpoint);
  void Kill(base::SessionResult why);

  [[nodiscard]] Outcome outcome() const { return outcome_; }
  [[nodiscard]] const base::EndCause& cause() const { return cause_; }
  [[nodiscard]] base::MonoTime NextDeadline() const;
  [[nodiscard]] uint64_t num_commands() const { return front_machine_->num_commands(); }
  [[nodiscard]] std::unique_ptr<io::Stream> TakeBack();
  // The user's hold on the member of an exclusive pool; may be null.
  [[nodiscard]] std::unique_ptr<balance::Pins::Pin> TakePin() { return std::move(pin_); }
  // The client has closed its side, with commands behind its login.
  [[nodiscard]] bool is_front_at_eof() const { return is_front_at_eof_; }
  [[nodiscard]] bool is_draining() const { return is_draining_; }

 private:
  static constexpr size_t kMaxAhead = 32 << 10;
  static constexpr base::MonoTime kNever = BackLeg::kNever;

  // Front.
  void PumpFront();
  // False: stop pumping.
  bool TakeFrontEvent(const proto::FrontEvent& event);
  void StartFrontTls();
  void FrontTlsDone();
  void FrontTlsFailed(base::SessionResult result, std::string why);
  void ClientGone(std::string why);
  void EndWith(base::EndCause cause);
  void Answered();

  // Login.
  void OnLogin(const proto::Login& login);
  void FindHome();
  void GoBy(const route::Decision& decision);
  void RefuseBy(const io::LookupAnswer& answer);
  // wait: what a directory wants the client to wait at least.
  void Refuse(const proto::Refusal& refusal, metrics::AuthResult result,
              base::Duration wait = base::Duration::zero());
  // By a rule, or a directory, that says "not now" of the user.
  void RefuseForNow(std::string why, base::Duration wait = {});
  void Unavailable(std::string why);
  void CannotLogIn(std::string why);
  // What the client is told of its login, once enough time has gone by since its password.
  enum class Late : uint8_t { kRefused, kUnavailable };
  void AnswerLater(Late what, base::Duration wait);
  void Release();

  // Back.
  void TryNext();
  [[nodiscard]] const balance::Endpoint* Choose(std::span<const balance::EndpointId> excluded,
                                                base::MonoTime now);
  [[nodiscard]] const balance::Endpoint* ChooseForOne(base::MonoTime now);
  void TakeLeg(BackLeg::Came came);
  void LegUp();
  void PumpBack();
  // False: stop pumping.
  bool TakeBackEvent(const proto::BackEvent& event);
  void LegFailed(const BackLeg::Fault& fault);
  void LoginDone(const proto::LoggedIn& answer);
  // Ends the leg, if there is one.
  void DropLeg(base::SessionResult result);
  [[nodiscard]] BackLeg::Blame Blame() const;
  [[nodiscard]] static metrics::Mechanism MetricOf(proto::Mechanism mechanism) {
    static_assert(static_cast<int>(proto::Mechanism::kUserPass) ==
                  static_cast<int>(metrics::Mechanism::kUserPass));
    return static_cast<metrics::Mechanism>(mechanism);
  }

  SessionEnv& env_;
  const ListenerSettings& listener_;
  const ClientFacts& client_;
  io::Stream& front_;
  io::Stream::Observer& observer_;
  Accounting& accounting_;
  const std::function<void()> went_on_;
  const proto::MailProtocol protocol_;
  std::unique_ptr<proto::FrontMachine> front_machine_;
  Outcome outcome_ = Outcome::kGoesOn;
  base::EndCause cause_;

  base::MonoTime login_deadline_;
  base::MonoTime command_deadline_ = kNever;
  base::MonoTime tls_deadline_ = kNever;  // of the front's handshake
  uint64_t num_commands_seen_ = 0;
  bool is_front_at_eof_ = false;
  bool is_front_paused_ = false;
  bool is_stalled_ = false;  // the client does not read its answers
  bool is_waiting_ = false;  // the front machine is, for us
  bool is_draining_ = false;

  // Of the login under way.
  const proto::LoginRequest* request_ = nullptr;
  std::shared_ptr<const Parts> parts_;  // keeps home and endpoints alive
  const balance::Home* home_ = nullptr;
  uint32_t num_lookups_ = 0;
  std::unique_ptr<RouteQuery> query_;  // while a directory is asked
  std::string user_key_, back_user_;
  base::MonoTime password_at_;
  std::vector<balance::EndpointId> tried_;
  std::unique_ptr<BackLeg> leg_;                      // one backend's try
  std::unique_ptr<proto::BackMachine> back_machine_;  // once that is up
  std::unique_ptr<balance::Pins::Pin> pin_;
  // A backend has asked the client something: its answer belongs to that backend alone.
  enum class Challenged : uint8_t { kNo, kClientsTurn, kAnswered };
  Challenged challenged_ = Challenged::kNo;
  base::MonoTime release_at_ = kNever;  // of the answer that is held back
  Late late_ = Late::kRefused;
  std::string refusal_code_, refusal_text_;
  std::string last_fault_;                    // for the account
  std::optional<base::FaultKind> last_kind_;  // of this login's last try
};

}  // namespace postern::session
