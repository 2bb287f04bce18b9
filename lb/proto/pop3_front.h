// pop3_front: POP3's server role towards a client, from the greeting to the login.
//
// Does not: know backends, routes or passwords' truth; after HandOver it is gone. Offers no APOP:
// its digest needs the clear password here. Rules:    RFC 1939 4 (AUTHORIZATION), RFC 2449 (CAPA,
// at any point), RFC 2595 4 (STLS), RFC 5034
//           (AUTH, initial responses), RFC 3206 (codes). Bytes behind STLS in the same read:
//           refused, and the session ends. The USER given in clear is forgotten inside TLS.
// Owner:    one MailSession.   Thread: its worker's; no locks.
// Limits:   FrontLimits; memory is bounded by them.
// Tests:    test/proto/pop3_front_test.cc, test/dialogue/pop3/, test/fuzz/pop3_front_fuzz.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "lb/proto/line_reader.h"
#include "lb/proto/machine.h"
#include "lb/proto/pop3_grammar.h"
#include "lb/proto/wire_text.h"

namespace postern::proto {

class Pop3Front final : public FrontMachine {
 public:
  explicit Pop3Front(const FrontPlan& plan);

  [[nodiscard]] FrontStep Next(base::ByteView input) override;
  void TlsUp() override;
  void LoginOk(const LoggedIn& answer) override;
  void LoginRefused(const Refusal& refusal) override;
  void LoginUnavailable() override;
  void PassChallenge(base::ByteView base64) override;
  void Expire() override;
  void BeginDrain() override;
  void Kill(base::SessionResult why) override;
  [[nodiscard]] base::Phase phase() const override;
  [[nodiscard]] DrainPoint drain_point() const override;
  [[nodiscard]] uint64_t num_commands() const override { return num_commands_; }

 private:
  enum class State : uint8_t {
    kGreeting,    // not said yet
    kCommand,     // reads a command
    kSasl,        // reads a line of an AUTH
    kStartTls,    // go-ahead said; the event is due
    kHandshake,   // the driver's turn
    kDeciding,    // the driver's turn: does the login hold?
    kChallenged,  // reads the answer to a backend's challenge
    kResponding,  // the driver's turn, with that answer
    kHandOver,    // +OK said; the event is due
    kHandedOver,
    kEnding,  // last words said; the event is due
    kEnded,
  };
  struct StateRow;
  static const StateRow kStates[];
  struct VerbRow;
  static const VerbRow kVerbs[];

  FrontStep ReadCommand(base::ByteView input);
  FrontStep ReadSasl(base::ByteView input);
  FrontStep ReadResponse(base::ByteView input);
  FrontStep RunCommand(const Pop3Command& command, bool has_bytes_behind);

  // One per verb; what they say is in out_.
  FrontStep RunCapa(const Pop3Command& command);
  FrontStep RunUser(const Pop3Command& command);
  FrontStep RunPass(const Pop3Command& command);
  FrontStep RunAuth(const Pop3Command& command);
  FrontStep RunStls(const Pop3Command& command);
  FrontStep RunNoop(const Pop3Command& command);
  FrontStep RunQuit(const Pop3Command& command);

  FrontStep TakeSasl(SaslServer::Outcome outcome);
  FrontStep AskLogin(bool is_usable);
  FrontStep Bad(Pop3Text text);  // counts against bad_commands
  FrontStep Say(Pop3Text text);
  FrontStep Speak();  // out_ as a Send
  void Append(base::ByteView text);
  void Goodbye(Pop3Text text, base::SessionResult result, base::Phase phase);
  void EndWith(base::SessionResult result, base::Phase phase, base::ByteView why);
  [[nodiscard]] bool may_login() const { return is_in_tls_ || !plan_.auth_requires_tls; }
  [[nodiscard]] MechanismSet Offered() const;
  void SetState(State state) { state_ = state; }

  const FrontPlan plan_;
  State state_ = State::kGreeting;
  SaslServer sasl_;
  LoginRequest request_;
  base::Secret response_;
  std::string user_;  // of USER; empty: none
  std::string out_;
  bool is_out_due_ = false;  // out_ was filled by an answer; the next step sends it
  base::EndCause cause_;
  uint64_t num_commands_ = 0;
  uint64_t num_bad_ = 0;
  uint64_t num_refused_ = 0;
  bool is_in_tls_;
  bool has_bytes_behind_ = false;
};

}  // namespace postern::proto
