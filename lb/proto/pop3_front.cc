// pop3_front: POP3's server role towards a client, from the greeting to the login.
// SPDX-License-Identifier: Apache-2.0
#include "lb/proto/pop3_front.h"

#include <algorithm>
#include <array>
#include <iterator>
#include <optional>
#include <utility>

#include "lb/base/check.h"

namespace postern::proto {

using base::ByteView;
using base::EndCause;
using base::Phase;
using base::SessionResult;
using base::Side;

struct Pop3Front::StateRow {
  State state;
  std::string_view name;
  Phase phase;
  DrainPoint drain;
};

constexpr Pop3Front::StateRow Pop3Front::kStates[] = {
    {State::kGreeting, "greeting", Phase::kGreeting, DrainPoint::kNow},
    {State::kCommand, "command", Phase::kCommand, DrainPoint::kNow},
    {State::kSasl, "sasl", Phase::kLogin, DrainPoint::kNow},
    {State::kStartTls, "starttls", Phase::kTls, DrainPoint::kLater},
    {State::kHandshake, "handshake", Phase::kTls, DrainPoint::kLater},
    {State::kDeciding, "deciding", Phase::kLogin, DrainPoint::kLater},
    {State::kChallenged, "challenged", Phase::kLogin, DrainPoint::kLater},
    {State::kResponding, "responding", Phase::kLogin, DrainPoint::kLater},
    {State::kHandOver, "hand-over", Phase::kLogin, DrainPoint::kNever},
    {State::kHandedOver, "handed-over", Phase::kRelay, DrainPoint::kNever},
    {State::kEnding, "ending", Phase::kCommand, DrainPoint::kNever},
    {State::kEnded, "ended", Phase::kCommand, DrainPoint::kNever},
};

struct Pop3Front::VerbRow {
  std::string_view verb;
  FrontStep (Pop3Front::*run)(const Pop3Command&);
  enum class Argument : uint8_t { kNone, kOne, kMaybe } argument;
};

constexpr Pop3Front::VerbRow Pop3Front::kVerbs[] = {
    {"CAPA", &Pop3Front::RunCapa, VerbRow::Argument::kNone},
    {"USER", &Pop3Front::RunUser, VerbRow::Argument::kOne},
    {"PASS", &Pop3Front::RunPass, VerbRow::Argument::kOne},
    {"AUTH", &Pop3Front::RunAuth, VerbRow::Argument::kMaybe},
    {"STLS", &Pop3Front::RunStls, VerbRow::Argument::kNone},
    {"NOOP", &Pop3Front::RunNoop, VerbRow::Argument::kNone},
    {"QUIT", &Pop3Front::RunQuit, VerbRow::Argument::kNone},
};

namespace {

// Of a backend's refusal, these are told to the client; anything else reads as a wrong password.
constexpr std::array<std::string_view, 2> kKeptCodes = {"IN-USE", "LOGIN-DELAY"};

}  // namespace

Pop3Front::Pop3Front(const FrontPlan& plan) : plan_(plan), is_in_tls_(plan.is_in_tls) {
  static_assert(std::size(kStates) == size_t(State::kEnded) + 1);
  for (size_t i = 0; i < std::size(kStates); ++i)
    POSTERN_DCHECK(static_cast<size_t>(kStates[i].state) == i);
}

Phase Pop3Front::phase() const {
  return kStates[static_cast<size_t>(state_)].phase;
}

DrainPoint Pop3Front::drain_point() const {
  return kStates[static_cast<size_t>(state_)].drain;
}

FrontStep Pop3Front::Next(ByteView input) {
  if (std::exchange(is_out_due_, false)) return {0, Send{out_}};
  out_.clear();
  switch (state_) {
    case State::kGreeting:
      out_ = "+OK ";
      out_ += plan_.hostname;
      out_ += " ready\r\n";
      SetState(State::kCommand);
      return {0, Send{out_}};
    case State::kCommand:
      return ReadCommand(input);
    case State::kSasl:
      return ReadSasl(input);
    case State::kStartTls:
      SetState(State::kHandshake);
      return {0, StartTls{}};
    case State::kHandshake:
    case State::kDeciding:
    case State::kResponding:
      return {0, Wait{}};
    case State::kChallenged:
      return ReadResponse(input);
    case State::kHandOver:
      SetState(State::kHandedOver);
      return {0, HandOver{}};
    case State::kHandedOver:
      return {0, HandOver{}};
    case State::kEnding:
      SetState(State::kEnded);
      return {0, Ended{cause_}};
    case State::kEnded:
      return {0, Ended{cause_}};
  }
  return {0, Ended{cause_}};
}

FrontStep Pop3Front::ReadCommand(ByteView input) {
  const bool is_auth = base::StartsWithIgnoreCase(input, "AUTH ");
  const LineRead line = ReadLine(
      input, is_auth ? std::max(plan_.limits.line, plan_.limits.sasl_line) : plan_.limits.line);
  FrontStep step;
  switch (line.verdict) {
    case LineVerdict::kNeedMore:
      return {0, NeedBytes{}};
    case LineVerdict::kTooLong:
      Goodbye(Pop3Text::kLineTooLong, SessionResult::kProtocolError, Phase::kCommand);
      step = Speak();
      break;
    case LineVerdict::kBareLf:
    case LineVerdict::kBareCr:
    case LineVerdict::kNul:
      step = Bad(Pop3Text::kBadLineEnd);
      break;
    case LineVerdict::kLine:
      step = RunCommand(SplitPop3Command(line.text), input.size() > line.size_bytes);
      break;
  }
  step.consumed = line.size_bytes;
  return step;
}

FrontStep Pop3Front::RunCommand(const Pop3Command& command, bool has_bytes_behind) {
  ++num_commands_;
  if (IsHttpVerb(command.verb)) {
    Goodbye(Pop3Text::kHttp, SessionResult::kProtocolError, Phase::kCommand);
    return Speak();
  }
  const auto* row = std::find_if(std::begin(kVerbs), std::end(kVerbs), [&](const VerbRow& each) {
    return base::EqualsIgnoreCase(each.verb, command.verb);
  });
  if (row == std::end(kVerbs)) return Bad(Pop3Text::kBadCommand);
  const bool is_given = !command.argument.empty();
  const bool is_fine = row->argument == VerbRow::Argument::kMaybe ||
                       is_given == (row->argument == VerbRow::Argument::kOne);
  if (!is_fine) return Bad(Pop3Text::kBadArguments);
  has_bytes_behind_ = has_bytes_behind;
  return (this->*row->run)(command);
}

FrontStep Pop3Front::RunCapa(const Pop3Command&) {
  Append(Text(Pop3Text::kCapaFollows));
  for (const std::string& capability : plan_.capabilities) Append(capability);
  if (may_login()) {
    Append("USER");
    out_ += "SASL";
    for (const Mechanism mechanism : kSaslMechanisms) {
      if (!Offered().Has(mechanism)) continue;
      out_ += ' ';
      out_ += Name(mechanism);
    }
    Append("");
  }
  if (plan_.has_starttls && !is_in_tls_) Append("STLS");
  Append(".");
  return Speak();
}

FrontStep Pop3Front::RunUser(const Pop3Command& command) {
  if (!may_login()) return Bad(Pop3Text::kNeedsTls);
  user_ = command.argument;
  return Say(Pop3Text::kUserOk);
}

FrontStep Pop3Front::RunPass(const Pop3Command& command) {
  if (!may_login()) return Bad(Pop3Text::kNeedsTls);
  if (user_.empty()) return Bad(Pop3Text::kNoUser);
  request_ = {};
  request_.mechanism = Mechanism::kUserPass;
  const bool is_usable_user = IsUsableUser(user_);
  if (is_usable_user) request_.user = user_;
  user_.clear();
  request_.password = base::Secret(command.argument);
  return AskLogin(is_usable_user && IsUsablePassword(command.argument));
}

FrontStep Pop3Front::RunAuth(const Pop3Command& command) {
  if (!may_login()) return Bad(Pop3Text::kNeedsTls);
  if (command.argument.empty()) {
    Append(Text(Pop3Text::kMechanismsFollow));
    for (const Mechanism mechanism : kSaslMechanisms)
      if (Offered().Has(mechanism)) Append(Name(mechanism));
    Append(".");
    return Speak();
  }
  const size_t end = std::min(command.argument.find(' '), command.argument.size());
  const auto mechanism = FindMechanism(command.argument.substr(0, end));
  if (!mechanism || !Offered().Has(*mechanism)) return Bad(Pop3Text::kBadMechanism);
  std::optional<ByteView> initial;
  if (end < command.argument.size()) initial = command.argument.substr(end + 1);
  if (initial && initial->empty()) return Bad(Pop3Text::kBadArguments);
  user_.clear();
  return TakeSasl(sasl_.Start(*mechanism, initial));
}

FrontStep Pop3Front::RunStls(const Pop3Command&) {
  if (is_in_tls_) return Bad(Pop3Text::kAlreadyTls);
  if (!plan_.has_starttls) return Bad(Pop3Text::kNoTls);
  if (has_bytes_behind_) {
    // Somebody may have put them there to act inside TLS: nothing of this session is to be trusted.
    Append(Text(Pop3Text::kBytesBehindTls));
    EndWith(SessionResult::kProtocolError, Phase::kTls, "bytes behind STLS");
    return Speak();
  }
  SetState(State::kStartTls);
  return Say(Pop3Text::kBeginTls);
}

void Pop3Front::TlsUp() {
  if (state_ != State::kHandshake) return;
  is_in_tls_ = true;
  user_.clear();
  SetState(State::kCommand);
}

FrontStep Pop3Front::RunNoop(const Pop3Command&) {
  return Say(Pop3Text::kNoop);
}

FrontStep Pop3Front::RunQuit(const Pop3Command&) {
  Append(Text(Pop3Text::kBye));
  EndWith(SessionResult::kClientQuit, Phase::kCommand, "quit");
  return Speak();
}

FrontStep Pop3Front::ReadSasl(ByteView input) {
  const LineRead line = ReadLine(input, plan_.limits.sasl_line);
  if (line.verdict == LineVerdict::kNeedMore) return {0, NeedBytes{}};
  FrontStep step;
  if (line.verdict == LineVerdict::kTooLong) {
    Goodbye(Pop3Text::kLineTooLong, SessionResult::kProtocolError, Phase::kLogin);
    step = Speak();
  } else if (line.verdict == LineVerdict::kLine) {
    step = TakeSasl(sasl_.Next(line.text));
  } else {
    SetState(State::kCommand);
    step = Bad(Pop3Text::kBadLineEnd);
  }
  step.consumed = line.size_bytes;
  return step;
}

FrontStep Pop3Front::TakeSasl(SaslServer::Outcome outcome) {
  using Outcome = SaslServer::Outcome;
  SetState(State::kCommand);
  switch (outcome) {
    case Outcome::kChallenge:
      SetState(State::kSasl);
      out_ = "+ ";
      Append(sasl_.challenge());
      return Speak();
    case Outcome::kDone:
    case Outcome::kRefused:
      request_ = sasl_.TakeRequest();
      return AskLogin(outcome == Outcome::kDone);
    case Outcome::kMalformed:
      return Bad(Pop3Text::kBadSasl);
    case Outcome::kCancelled:
      Append(Text(Pop3Text::kCancelled));
      is_out_due_ = true;
      return {0, LoginAborted{sasl_.TakeRequest().mechanism}};
  }
  return Bad(Pop3Text::kBadSasl);
}

FrontStep Pop3Front::AskLogin(bool is_usable) {
  SetState(State::kDeciding);
  return {0, Login{&request_, is_usable}};
}

void Pop3Front::LoginOk(const LoggedIn& answer) {
  if (state_ != State::kDeciding && state_ != State::kResponding) return;
  out_.clear();
  if (answer.text.empty()) {
    Append(Text(Pop3Text::kLoggedIn));
  } else {
    out_ += "+OK ";
    Append(answer.text);
  }
  is_out_due_ = true;
  request_ = {};
  SetState(State::kHandOver);
}

void Pop3Front::LoginRefused(const Refusal& refusal) {
  if (state_ != State::kDeciding && state_ != State::kResponding) return;
  out_.clear();
  std::string_view kept;
  for (const std::string_view code : kKeptCodes)
    if (base::EqualsIgnoreCase(code, refusal.code)) kept = code;
  if (plan_.pass_refusal_text && !refusal.text.empty()) {
    out_ += "-ERR ";
    if (!refusal.code.empty()) {
      out_ += '[';
      out_ += refusal.code;
      out_ += "] ";
    }
    Append(refusal.text);
  } else if (kept.empty()) {
    Append(Text(Pop3Text::kRefused));
  } else {
    out_ += "-ERR [";
    out_ += kept;
    Append("] Cannot log in now");
  }
  is_out_due_ = true;
  request_ = {};
  SetState(State::kCommand);
  // POP3 has no farewell that follows an answer: the refusal is the last word.
  if (++num_refused_ >= plan_.limits.auth_failures)
    EndWith(SessionResult::kLimit, Phase::kLogin, Text(Pop3Text::kTooManyLogins).substr(5));
}

void Pop3Front::LoginUnavailable() {
  if (state_ != State::kDeciding && state_ != State::kResponding) return;
  out_.clear();
  Append(Text(Pop3Text::kUnavailable));
  is_out_due_ = true;
  request_ = {};
  SetState(State::kCommand);
}

void Pop3Front::PassChallenge(ByteView base64) {
  if (state_ != State::kDeciding && state_ != State::kResponding) return;
  out_ = "+ ";
  Append(base64);
  is_out_due_ = true;
  SetState(State::kChallenged);
}

FrontStep Pop3Front::ReadResponse(ByteView input) {
  const LineRead line = ReadLine(input, plan_.limits.sasl_line);
  if (line.verdict == LineVerdict::kNeedMore) return {0, NeedBytes{}};
  if (line.verdict == LineVerdict::kTooLong) {
    Goodbye(Pop3Text::kLineTooLong, SessionResult::kProtocolError, Phase::kLogin);
    return Speak();
  }
  // What is no answer cancels: the backend's exchange has to end either way.
  const bool is_answer = line.verdict == LineVerdict::kLine && IsSaslResponse(line.text);
  response_ = base::Secret(is_answer ? line.text : "*");
  SetState(State::kResponding);
  return {line.size_bytes, SaslResponse{&response_}};
}

void Pop3Front::Expire() {
  if (drain_point() == DrainPoint::kNever) return;
  out_.clear();
  Goodbye(Pop3Text::kTimeout, SessionResult::kIdle, phase());
  is_out_due_ = true;
}

void Pop3Front::BeginDrain() {
  if (drain_point() == DrainPoint::kNever) return;
  out_.clear();
  Goodbye(Pop3Text::kDrain, SessionResult::kDrained, phase());
  is_out_due_ = true;
}

void Pop3Front::Kill(SessionResult why) {
  if (drain_point() == DrainPoint::kNever) return;
  out_.clear();
  Goodbye(why == SessionResult::kKicked ? Pop3Text::kKicked : Pop3Text::kShutdown, why, phase());
  is_out_due_ = true;
}

FrontStep Pop3Front::Bad(Pop3Text text) {
  if (++num_bad_ >= plan_.limits.bad_commands) {
    Goodbye(Pop3Text::kTooManyBad, SessionResult::kLimit, Phase::kCommand);
    return Speak();
  }
  return Say(text);
}

FrontStep Pop3Front::Say(Pop3Text text) {
  Append(Text(text));
  return Speak();
}

FrontStep Pop3Front::Speak() {
  return {0, Send{out_}};
}

void Pop3Front::Append(ByteView text) {
  out_ += text;
  out_ += "\r\n";
}

void Pop3Front::Goodbye(Pop3Text text, SessionResult result, Phase phase) {
  Append(Text(text));
  EndWith(result, phase, Text(text).substr(5));
}

void Pop3Front::EndWith(SessionResult result, Phase phase, ByteView why) {
  cause_ = EndCause{result, Side::kFront, phase, std::string(why)};
  request_ = {};
  SetState(State::kEnding);
}

MechanismSet Pop3Front::Offered() const {
  MechanismSet offered;
  offered.Add(Mechanism::kPlain);
  offered.Add(Mechanism::kLogin);
  if (plan_.offers_xoauth2) offered.Add(Mechanism::kXoauth2);
  if (plan_.offers_oauthbearer) offered.Add(Mechanism::kOauthBearer);
  return offered;
}

}  // namespace postern::proto
