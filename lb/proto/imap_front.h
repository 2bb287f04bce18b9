// imap_front: IMAP's server role towards a client, from the greeting to the login.
//
// Does not: know backends, routes or passwords' truth; after HandOver it is gone.
// Rules:    RFC 9051 6.1-6.2 (commands before login), RFC 4959 (SASL-IR), RFC 7888 (literals),
//           RFC 2971 (ID, answered here: a client's fields go nowhere), RFC 9051 11.1
//           (LOGINDISABLED). Bytes behind STARTTLS in the same read: refused, and the session ends.
//           What was said in clear is forgotten inside TLS. Capabilities after login come once: as
//           an untagged line to a client that has asked for them since (TLS began), else as the
//           code of the tagged OK.
// Owner:    one MailSession.   Thread: its worker's; no locks.
// Limits:   FrontLimits; memory is bounded by line + 2 x literal.
// Tests:    test/proto/imap_front_test.cc, test/dialogue/imap/, test/fuzz/imap_front_fuzz.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "lb/proto/imap_command_reader.h"
#include "lb/proto/imap_grammar.h"
#include "lb/proto/machine.h"
#include "lb/proto/wire_text.h"

namespace postern::proto {

class ImapFront final : public FrontMachine {
 public:
  explicit ImapFront(const FrontPlan& plan);

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
    kSasl,        // reads a line of an AUTHENTICATE
    kStartTls,    // go-ahead said; the event is due
    kHandshake,   // the driver's turn
    kDeciding,    // the driver's turn: does the login hold?
    kChallenged,  // reads the answer to a backend's challenge
    kResponding,  // the driver's turn, with that answer
    kHandOver,    // OK said; the event is due
    kHandedOver,
    kEnding,  // last words said; the event is due
    kEnded,
  };
  struct StateRow;
  static const StateRow kStates[];
  struct VerbRow;
  static const VerbRow kVerbs[];
  [[nodiscard]] static const VerbRow* FindVerb(base::ByteView verb);

  // Input of each reading state.
  FrontStep ReadCommand(base::ByteView input);
  FrontStep ReadSasl(base::ByteView input);
  FrontStep ReadResponse(base::ByteView input);
  FrontStep RunCommand(base::ByteView command, base::ByteView behind);

  // One per verb; what they say is in out_.
  FrontStep RunCapability(const ImapCommandParts& command);
  FrontStep RunNoop(const ImapCommandParts& command);
  FrontStep RunId(const ImapCommandParts& command);
  FrontStep RunLogout(const ImapCommandParts& command);
  FrontStep RunStartTls(const ImapCommandParts& command);
  FrontStep RunLogin(const ImapCommandParts& command);
  FrontStep RunAuthenticate(const ImapCommandParts& command);

  FrontStep TakeSasl(SaslServer::Outcome outcome);
  FrontStep AskLogin(bool is_usable);
  // The refusal of a command that counts against bad_commands.
  FrontStep Bad(base::ByteView tag, ImapText text);
  FrontStep Say(base::ByteView tag, ImapText text);
  FrontStep Speak();  // out_ as a Send
  void Append(base::ByteView tag, base::ByteView text);
  void Goodbye(ImapText text, base::SessionResult result, base::Phase phase);
  void AppendCapabilities();
  [[nodiscard]] bool may_login() const { return is_in_tls_ || !plan_.auth_requires_tls; }
  [[nodiscard]] MechanismSet Offered() const;
  void SetState(State state) { state_ = state; }

  const FrontPlan plan_;
  State state_ = State::kGreeting;
  ImapCommandReader reader_;
  SaslServer sasl_;
  LoginRequest request_;
  base::Secret response_;
  std::string tag_;  // of the command that is being decided
  std::string out_;
  bool is_out_due_ = false;  // out_ was filled by an answer; the next step sends it
  base::EndCause cause_;
  uint64_t num_commands_ = 0;
  uint64_t num_bad_ = 0;
  uint64_t num_refused_ = 0;
  bool is_in_tls_;
  bool has_asked_capability_ = false;
  bool has_bytes_behind_ = false;
};

}  // namespace postern::proto
