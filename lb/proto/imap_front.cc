// imap_front: IMAP's server role towards a client, from the greeting to the login.
// SPDX-License-Identifier: Apache-2.0
#include "lb/proto/imap_front.h"

#include <algorithm>
#include <array>
#include <iterator>
#include <utility>

#include "lb/base/check.h"

namespace postern::proto {

using base::ByteView;
using base::EndCause;
using base::Phase;
using base::SessionResult;
using base::Side;

struct ImapFront::StateRow {
  State state;
  std::string_view name;
  Phase phase;
  DrainPoint drain;
};

constexpr ImapFront::StateRow ImapFront::kStates[] = {
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

struct ImapFront::VerbRow {
  std::string_view verb;
  FrontStep (ImapFront::*run)(const ImapCommandParts&);
  enum class Literals : uint8_t { kNo, kYes, kIfMayLogin } literals;
  bool has_arguments;  // must; else must not
};

constexpr ImapFront::VerbRow ImapFront::kVerbs[] = {
    {"CAPABILITY", &ImapFront::RunCapability, VerbRow::Literals::kNo, false},
    {"NOOP", &ImapFront::RunNoop, VerbRow::Literals::kNo, false},
    {"ID", &ImapFront::RunId, VerbRow::Literals::kYes, true},
    {"LOGOUT", &ImapFront::RunLogout, VerbRow::Literals::kNo, false},
    {"STARTTLS", &ImapFront::RunStartTls, VerbRow::Literals::kNo, false},
    {"LOGIN", &ImapFront::RunLogin, VerbRow::Literals::kIfMayLogin, true},
    {"AUTHENTICATE", &ImapFront::RunAuthenticate, VerbRow::Literals::kNo, true},
};

namespace {

// Of a backend's refusal, these are told to the client (design: refusals tell nothing else).
constexpr std::array<std::string_view, 7> kKeptCodes = {"AUTHENTICATIONFAILED",
                                                        "AUTHORIZATIONFAILED",
                                                        "EXPIRED",
                                                        "PRIVACYREQUIRED",
                                                        "CONTACTADMIN",
                                                        "LIMIT",
                                                        "ALERT"};

}  // namespace

ImapFront::ImapFront(const FrontPlan& plan)
    : plan_(plan), reader_(plan_.limits), is_in_tls_(plan.is_in_tls) {
  static_assert(std::size(kStates) == size_t(State::kEnded) + 1);
  for (size_t i = 0; i < std::size(kStates); ++i)
    POSTERN_DCHECK(static_cast<size_t>(kStates[i].state) == i);
}

Phase ImapFront::phase() const {
  return kStates[static_cast<size_t>(state_)].phase;
}

DrainPoint ImapFront::drain_point() const {
  return kStates[static_cast<size_t>(state_)].drain;
}

FrontStep ImapFront::Next(ByteView input) {
  if (std::exchange(is_out_due_, false)) return {0, Send{out_}};
  out_.clear();
  switch (state_) {
    case State::kGreeting:
      out_ = "* OK [CAPABILITY ";
      AppendCapabilities();
      out_ += "] ";
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

FrontStep ImapFront::ReadCommand(ByteView input) {
  using Outcome = ImapCommandReader::Outcome;
  const ImapCommandReader::Result got = reader_.Next(input);
  const ImapCommandParts parts = SplitImapCommand(got.command);
  FrontStep step;
  switch (got.outcome) {
    case Outcome::kNeedBytes:
      return {got.consumed, NeedBytes{}};
    case Outcome::kCommand:
      step = RunCommand(got.command, input.substr(got.consumed));
      break;
    case Outcome::kAskLiteral: {
      const VerbRow* row = IsImapTag(parts.tag) ? FindVerb(parts.verb) : nullptr;
      const bool is_welcome =
          row != nullptr && (row->literals == VerbRow::Literals::kYes ||
                             (row->literals == VerbRow::Literals::kIfMayLogin && may_login()));
      if (is_welcome) {
        out_ = "+ OK\r\n";
        return {got.consumed, Send{out_}};
      }
      // Refused before it is sent: the client goes on with its next command.
      step = RunCommand(got.command, {});
      reader_.Reset();
      break;
    }
    case Outcome::kBadLine:
      step = Bad("*", ImapText::kBadLineEnd);
      break;
    case Outcome::kLineTooLong:
      Goodbye(ImapText::kLineTooLong, SessionResult::kProtocolError, Phase::kCommand);
      step = Speak();
      break;
    case Outcome::kLiteralTooBig:
      step = Bad(IsImapTag(parts.tag) ? parts.tag : "*", ImapText::kLiteralTooBig);
      break;
    case Outcome::kLiteralFlood:
      Append(IsImapTag(parts.tag) ? parts.tag : "*", Text(ImapText::kLiteralTooBig));
      Goodbye(ImapText::kLineTooLong, SessionResult::kProtocolError, Phase::kCommand);
      step = Speak();
      break;
  }
  step.consumed = got.consumed;
  return step;
}

const ImapFront::VerbRow* ImapFront::FindVerb(ByteView verb) {
  for (const VerbRow& row : kVerbs)
    if (base::EqualsIgnoreCase(row.verb, verb)) return &row;
  return nullptr;
}

FrontStep ImapFront::RunCommand(ByteView command, ByteView behind) {
  ++num_commands_;
  const ImapCommandParts parts = SplitImapCommand(command);
  if (IsHttpVerb(parts.tag)) {
    Goodbye(ImapText::kByeHttp, SessionResult::kProtocolError, Phase::kCommand);
    return Speak();
  }
  if (!IsImapTag(parts.tag)) return Bad("*", ImapText::kBadTag);
  const VerbRow* row = FindVerb(parts.verb);
  if (row == nullptr) return Bad(parts.tag, ImapText::kBadCommand);
  if (row->has_arguments == parts.arguments.empty() || parts.has_arguments != row->has_arguments)
    return Bad(parts.tag, ImapText::kBadArguments);
  has_bytes_behind_ = !behind.empty();
  return (this->*row->run)(parts);
}

FrontStep ImapFront::RunCapability(const ImapCommandParts& command) {
  has_asked_capability_ = true;
  out_ = "* CAPABILITY ";
  AppendCapabilities();
  out_ += "\r\n";
  return Say(command.tag, ImapText::kCapabilityDone);
}

FrontStep ImapFront::RunNoop(const ImapCommandParts& command) {
  return Say(command.tag, ImapText::kNoopDone);
}

FrontStep ImapFront::RunId(const ImapCommandParts& command) {
  if (!base::EqualsIgnoreCase(command.arguments, "NIL") && !command.arguments.starts_with('('))
    return Bad(command.tag, ImapText::kBadArguments);
  out_ = "* ID (\"name\" \"Postern\")\r\n";
  return Say(command.tag, ImapText::kIdDone);
}

FrontStep ImapFront::RunLogout(const ImapCommandParts& command) {
  Append("*", Text(ImapText::kBye));
  Append(command.tag, Text(ImapText::kLogoutDone));
  cause_ = EndCause{SessionResult::kClientQuit, Side::kFront, Phase::kCommand, "logout"};
  SetState(State::kEnding);
  return Speak();
}

FrontStep ImapFront::RunStartTls(const ImapCommandParts& command) {
  if (is_in_tls_) return Bad(command.tag, ImapText::kAlreadyTls);
  if (!plan_.has_starttls) return Bad(command.tag, ImapText::kNoTls);
  if (has_bytes_behind_) {
    // Somebody may have put them there to act inside TLS: nothing of this session is to be trusted.
    Append(command.tag, Text(ImapText::kBytesBehindTls));
    cause_ =
        EndCause{SessionResult::kProtocolError, Side::kFront, Phase::kTls, "bytes behind STARTTLS"};
    SetState(State::kEnding);
    return Speak();
  }
  SetState(State::kStartTls);
  return Say(command.tag, ImapText::kBeginTls);
}

void ImapFront::TlsUp() {
  if (state_ != State::kHandshake) return;
  is_in_tls_ = true;
  has_asked_capability_ = false;
  SetState(State::kCommand);
}

FrontStep ImapFront::RunLogin(const ImapCommandParts& command) {
  if (!may_login()) return Bad(command.tag, ImapText::kNeedsTls);
  ImapArguments arguments(command.arguments);
  const auto user = arguments.TakeAstring();
  const bool has_blank = arguments.TakeBlank();
  auto password = arguments.TakeAstring();
  if (!user || !has_blank || !password || !arguments.at_end())
    return Bad(command.tag, ImapText::kBadArguments);
  tag_ = command.tag;
  request_ = {};
  request_.mechanism = Mechanism::kLoginCommand;
  const bool is_usable_user = IsUsableUser(user->Reveal());
  if (is_usable_user) request_.user = user->Reveal();
  request_.password = std::move(*password);
  return AskLogin(is_usable_user && IsUsablePassword(request_.password.Reveal()));
}

FrontStep ImapFront::RunAuthenticate(const ImapCommandParts& command) {
  if (!may_login()) return Bad(command.tag, ImapText::kNeedsTls);
  const size_t end = std::min(command.arguments.find(' '), command.arguments.size());
  const auto mechanism = FindMechanism(command.arguments.substr(0, end));
  if (!mechanism || !Offered().Has(*mechanism)) return Bad(command.tag, ImapText::kBadMechanism);
  std::optional<ByteView> initial;
  if (end < command.arguments.size()) initial = command.arguments.substr(end + 1);
  if (initial && initial->empty()) return Bad(command.tag, ImapText::kBadArguments);
  tag_ = command.tag;
  return TakeSasl(sasl_.Start(*mechanism, initial));
}

FrontStep ImapFront::ReadSasl(ByteView input) {
  const LineRead line = ReadLine(input, plan_.limits.sasl_line);
  if (line.verdict == LineVerdict::kNeedMore) return {0, NeedBytes{}};
  FrontStep step;
  if (line.verdict == LineVerdict::kTooLong) {
    Goodbye(ImapText::kLineTooLong, SessionResult::kProtocolError, Phase::kLogin);
    step = Speak();
  } else if (line.verdict == LineVerdict::kLine) {
    step = TakeSasl(sasl_.Next(line.text));
  } else {
    SetState(State::kCommand);
    step = Bad(tag_, ImapText::kBadLineEnd);
  }
  step.consumed = line.size_bytes;
  return step;
}

FrontStep ImapFront::TakeSasl(SaslServer::Outcome outcome) {
  using Outcome = SaslServer::Outcome;
  SetState(State::kCommand);
  switch (outcome) {
    case Outcome::kChallenge:
      SetState(State::kSasl);
      out_ = "+ ";
      out_ += sasl_.challenge();
      out_ += "\r\n";
      return Speak();
    case Outcome::kDone:
    case Outcome::kRefused:
      request_ = sasl_.TakeRequest();
      return AskLogin(outcome == Outcome::kDone);
    case Outcome::kMalformed:
      return Bad(tag_, ImapText::kBadSasl);
    case Outcome::kCancelled: {
      Append(tag_, Text(ImapText::kCancelled));
      is_out_due_ = true;
      return {0, LoginAborted{sasl_.TakeRequest().mechanism}};
    }
  }
  return Bad(tag_, ImapText::kBadSasl);
}

FrontStep ImapFront::AskLogin(bool is_usable) {
  SetState(State::kDeciding);
  return {0, Login{&request_, is_usable}};
}

void ImapFront::LoginOk(const LoggedIn& answer) {
  if (state_ != State::kDeciding && state_ != State::kResponding) return;
  out_.clear();
  if (!answer.capabilities.empty() && has_asked_capability_) {
    out_ += "* CAPABILITY ";
    out_ += answer.capabilities;
    out_ += "\r\n";
  }
  out_ += tag_;
  if (!answer.capabilities.empty() && !has_asked_capability_) {
    out_ += " OK [CAPABILITY ";
    out_ += answer.capabilities;
    out_ += "] ";
    out_ += answer.text.empty() ? "Logged in" : answer.text;
    out_ += "\r\n";
  } else if (answer.text.empty()) {
    out_ += ' ';
    out_ += Text(ImapText::kLoggedIn);
    out_ += "\r\n";
  } else {
    out_ += " OK ";
    out_ += answer.text;
    out_ += "\r\n";
  }
  is_out_due_ = true;
  request_ = {};
  SetState(State::kHandOver);
}

void ImapFront::LoginRefused(const Refusal& refusal) {
  if (state_ != State::kDeciding && state_ != State::kResponding) return;
  out_.clear();
  std::string_view kept;
  for (const std::string_view code : kKeptCodes)
    if (base::EqualsIgnoreCase(code, refusal.code)) kept = code;
  if (plan_.pass_refusal_text && !refusal.text.empty()) {
    out_ += tag_;
    out_ += " NO ";
    if (!refusal.code.empty()) {
      out_ += '[';
      out_ += refusal.code;
      out_ += "] ";
    }
    out_ += refusal.text;
    out_ += "\r\n";
  } else if (kept.empty()) {
    Append(tag_, Text(ImapText::kRefused));
  } else {
    out_ += tag_;
    out_ += " NO [";
    out_ += kept;
    out_ += "] Authentication failed\r\n";
  }
  request_ = {};
  SetState(State::kCommand);
  if (++num_refused_ >= plan_.limits.auth_failures)
    Goodbye(ImapText::kByeTooManyLogins, SessionResult::kLimit, Phase::kLogin);
  is_out_due_ = true;
}

void ImapFront::LoginUnavailable() {
  if (state_ != State::kDeciding && state_ != State::kResponding) return;
  out_.clear();
  Append(tag_, Text(ImapText::kUnavailable));
  is_out_due_ = true;
  request_ = {};
  SetState(State::kCommand);
}

void ImapFront::PassChallenge(ByteView base64) {
  if (state_ != State::kDeciding && state_ != State::kResponding) return;
  out_ = "+ ";
  out_ += base64;
  out_ += "\r\n";
  is_out_due_ = true;
  SetState(State::kChallenged);
}

FrontStep ImapFront::ReadResponse(ByteView input) {
  const LineRead line = ReadLine(input, plan_.limits.sasl_line);
  if (line.verdict == LineVerdict::kNeedMore) return {0, NeedBytes{}};
  if (line.verdict == LineVerdict::kTooLong) {
    Goodbye(ImapText::kLineTooLong, SessionResult::kProtocolError, Phase::kLogin);
    return Speak();
  }
  // What is no answer cancels: the backend's exchange has to end either way.
  const bool is_answer = line.verdict == LineVerdict::kLine && IsSaslResponse(line.text);
  response_ = base::Secret(is_answer ? line.text : "*");
  SetState(State::kResponding);
  return {line.size_bytes, SaslResponse{&response_}};
}

void ImapFront::Expire() {
  if (drain_point() == DrainPoint::kNever) return;
  out_.clear();
  Goodbye(ImapText::kByeTimeout, SessionResult::kIdle, phase());
  is_out_due_ = true;
}

void ImapFront::BeginDrain() {
  if (drain_point() == DrainPoint::kNever) return;
  out_.clear();
  Goodbye(ImapText::kByeDrain, SessionResult::kDrained, phase());
  is_out_due_ = true;
}

void ImapFront::Kill(SessionResult why) {
  if (drain_point() == DrainPoint::kNever) return;
  out_.clear();
  Goodbye(why == SessionResult::kKicked ? ImapText::kByeKicked : ImapText::kByeShutdown, why,
          phase());
  is_out_due_ = true;
}

FrontStep ImapFront::Bad(ByteView tag, ImapText text) {
  Append(tag, Text(text));
  if (++num_bad_ >= plan_.limits.bad_commands)
    Goodbye(ImapText::kByeTooManyBad, SessionResult::kLimit, Phase::kCommand);
  return Speak();
}

FrontStep ImapFront::Say(ByteView tag, ImapText text) {
  Append(tag, Text(text));
  return Speak();
}

FrontStep ImapFront::Speak() {
  return {0, Send{out_}};
}

void ImapFront::Append(ByteView tag, ByteView text) {
  out_ += tag;
  out_ += ' ';
  out_ += text;
  out_ += "\r\n";
}

void ImapFront::Goodbye(ImapText text, SessionResult result, Phase phase) {
  Append("*", Text(text));
  cause_ = EndCause{result, Side::kFront, phase, std::string(Text(text).substr(4))};
  request_ = {};
  SetState(State::kEnding);
}

MechanismSet ImapFront::Offered() const {
  MechanismSet offered;
  offered.Add(Mechanism::kPlain);
  offered.Add(Mechanism::kLogin);
  if (plan_.offers_xoauth2) offered.Add(Mechanism::kXoauth2);
  if (plan_.offers_oauthbearer) offered.Add(Mechanism::kOauthBearer);
  return offered;
}

void ImapFront::AppendCapabilities() {
  if (!HasCapability(plan_.capabilities, "IMAP4rev1")) out_ += "IMAP4rev1 ";
  for (const std::string& capability : plan_.capabilities) {
    out_ += capability;
    out_ += ' ';
  }
  if (plan_.has_starttls && !is_in_tls_) out_ += "STARTTLS ";
  if (may_login()) {
    const MechanismSet offered = Offered();
    for (const Mechanism mechanism :
         {Mechanism::kPlain, Mechanism::kLogin, Mechanism::kXoauth2, Mechanism::kOauthBearer}) {
      if (!offered.Has(mechanism)) continue;
      out_ += "AUTH=";
      out_ += Name(mechanism);
      out_ += ' ';
    }
  } else {
    out_ += "LOGINDISABLED ";
  }
  out_.pop_back();
}

}  // namespace postern::proto
