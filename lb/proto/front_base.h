// front_base: what the server roles towards IMAP and POP3 clients have in common: the states, SASL
// exchanges, the driver's answers, and the ways to an end. What is said is the protocol's own.
//
// Rules:    front_base.cc has the table of states: legal order, phase, and where a goodbye may be
//           said. Everything but kCommand's input is read here.
// Limits:   FrontLimits.
// Tests:    test/proto/front_base_test.cc, test/dialogue/
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "lb/proto/line_reader.h"
#include "lb/proto/machine.h"

namespace postern::proto {

enum class FrontState : uint8_t {
  kGreeting,    // not said yet
  kCommand,     // reads a command
  kSasl,        // reads a line of a SASL exchange
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
inline constexpr int kNumFrontStates = 12;

struct FrontStateRow {
  FrontState state;
  std::string_view name;
  base::Phase phase;
  DrainPoint drain;
  uint16_t next;  // bits of the states that may follow
};
[[nodiscard]] const FrontStateRow& RowOf(FrontState state);
[[nodiscard]] bool MayFollow(FrontState from, FrontState to);

class FrontBase : public FrontMachine {
 public:
  [[nodiscard]] FrontStep Next(base::ByteView input) final;
  void TlsUp() final;
  void LoginOk(const LoggedIn& answer) final;
  void LoginRefused(const Refusal& refusal) final;
  void LoginUnavailable() final;
  void PassChallenge(base::ByteView base64) final;
  void Expire() final;
  void BeginDrain() final;
  void Kill(base::SessionResult why) final;
  [[nodiscard]] base::Phase phase() const final { return RowOf(state_).phase; }
  [[nodiscard]] DrainPoint drain_point() const final { return RowOf(state_).drain; }
  [[nodiscard]] uint64_t num_commands() const final { return num_commands_; }

 protected:
  // What both protocols say in words of their own.
  enum class Utterance : uint8_t {
    kBadLineEnd,  // these are errors of the client's, counted
    kBadSasl,
    kCancelled,
    kUnavailable,
    kLineTooLong,  // these are last words
    kTooManyLogins,
    kTimeout,
    kDrain,
    kShutdown,
    kKicked,
  };

  explicit FrontBase(const FrontPlan& plan) : plan_(plan), is_in_tls_(plan.is_in_tls) {}

  virtual FrontStep ReadCommand(base::ByteView input) = 0;
  // TLS is up: what was said in clear is to be forgotten.
  virtual void ForgetClear() = 0;
  // Each appends to what is sent next.
  virtual void AppendGreeting() = 0;
  virtual void AppendLoginOk(const LoggedIn& answer) = 0;
  virtual void AppendRefusal(const Refusal& refusal) = 0;
  // Returns the text as a reason for the log; empty where the protocol has nothing to say there.
  virtual std::string_view Append(Utterance what) = 0;
  // An error of the client's that is counted: says so, and ends the session when it was one too
  // many.
  virtual FrontStep Bad(Utterance what) = 0;
  // Of a line that is no SASL response: may bytes follow it that must not run as commands? Then
  // the session ends here.
  [[nodiscard]] virtual bool MayHideCommands(base::ByteView /*line*/) const { return false; }
  virtual FrontStep EndAtHidden() { return Speak(); }

  // Of a command: starts an exchange, asks for a login, ends.
  FrontStep StartSasl(Mechanism mechanism, std::optional<base::ByteView> initial);
  FrontStep AskLogin(LoginRequest request, bool is_usable);
  // Says the words and ends the session.
  FrontStep EndSaying(Utterance what, base::SessionResult result);
  // The words are in out_ already.
  FrontStep End(base::SessionResult result, base::Phase phase, std::string_view why);
  FrontStep Speak() { return {0, Send{out_}}; }  // out_

  [[nodiscard]] bool may_login() const { return is_in_tls_ || !plan_.auth_requires_tls; }
  [[nodiscard]] bool Offers(Mechanism mechanism) const;
  // Counts a bad command; true: it was one too many.
  [[nodiscard]] bool IsOneTooMany() { return ++num_bad_ >= plan_.limits.bad_commands; }
  [[nodiscard]] bool is_in_tls() const { return is_in_tls_; }
  void SetState(FrontState state);

  const FrontPlan plan_;
  std::string out_;
  uint64_t num_commands_ = 0;

 private:
  FrontStep ReadSasl(base::ByteView input);
  FrontStep TakeSasl(SaslServer::Outcome outcome);
  FrontStep ReadResponse(base::ByteView input);
  // Is a login waiting for its answer? Then what is said next begins anew.
  [[nodiscard]] bool BeginAnswer();
  void Answered(FrontState next);
  void Goodbye(Utterance what, base::SessionResult result);

  FrontState state_ = FrontState::kGreeting;
  SaslServer sasl_;
  LoginRequest request_;
  base::Secret response_;
  bool is_out_due_ = false;  // out_ was filled by an answer; the next step sends it
  base::EndCause cause_;
  uint64_t num_bad_ = 0;
  uint64_t num_refused_ = 0;
  bool is_in_tls_;
};

}  // namespace postern::proto
