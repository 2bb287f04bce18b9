// imap_front: IMAP's server role towards a client, from the greeting to the login.
// SPDX-License-Identifier: Apache-2.0
#include "lb/proto/imap_front.h"

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

namespace postern::proto {

using base::ByteView;
using base::Phase;
using base::SessionResult;

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

ImapFront::ImapFront(const FrontPlan& plan) : FrontBase(plan), reader_(plan_.limits) {}

void ImapFront::AppendGreeting() {
  out_ = "* OK [CAPABILITY ";
  AppendCapabilities();
  out_ += "] ";
  out_ += plan_.hostname;
  out_ += " ready\r\n";
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
      step = EndSaying(Utterance::kLineTooLong, SessionResult::kProtocolError);
      break;
    case Outcome::kStrayLiteral:
      step = EndAtStrayLiteral("*");
      break;
    case Outcome::kLiteralTooBig:
      step = Bad(IsImapTag(parts.tag) ? parts.tag : "*", ImapText::kLiteralTooBig);
      break;
    case Outcome::kLiteralFlood:
      AppendLine(IsImapTag(parts.tag) ? parts.tag : "*", Text(ImapText::kLiteralTooBig));
      step = EndSaying(Utterance::kLineTooLong, SessionResult::kProtocolError);
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
    AppendLine("*", Text(ImapText::kByeHttp));
    return End(SessionResult::kProtocolError, Phase::kCommand, "HTTP");
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
  AppendLine("*", Text(ImapText::kBye));
  AppendLine(command.tag, Text(ImapText::kLogoutDone));
  return End(SessionResult::kClientQuit, Phase::kCommand, "logout");
}

FrontStep ImapFront::RunStartTls(const ImapCommandParts& command) {
  if (is_in_tls()) return Bad(command.tag, ImapText::kAlreadyTls);
  if (!plan_.has_starttls) return Bad(command.tag, ImapText::kNoTls);
  if (has_bytes_behind_) {
    // Somebody may have put them there to act inside TLS: nothing of this session is to be trusted.
    AppendLine(command.tag, Text(ImapText::kBytesBehindTls));
    return End(SessionResult::kProtocolError, Phase::kTls, "bytes behind STARTTLS");
  }
  SetState(FrontState::kStartTls);
  return Say(command.tag, ImapText::kBeginTls);
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
  LoginRequest request;
  request.mechanism = Mechanism::kLoginCommand;
  request.user = user->Reveal();
  request.password = std::move(*password);
  const bool is_usable = IsUsableUser(request.user) && IsUsablePassword(request.password.Reveal());
  return AskLogin(std::move(request), is_usable);
}

FrontStep ImapFront::RunAuthenticate(const ImapCommandParts& command) {
  if (!may_login()) return Bad(command.tag, ImapText::kNeedsTls);
  const size_t end = std::min(command.arguments.find(' '), command.arguments.size());
  const auto mechanism = FindMechanism(command.arguments.substr(0, end));
  if (!mechanism || !Offers(*mechanism)) return Bad(command.tag, ImapText::kBadMechanism);
  std::optional<ByteView> initial;
  if (end < command.arguments.size()) initial = command.arguments.substr(end + 1);
  if (initial && initial->empty()) return Bad(command.tag, ImapText::kBadArguments);
  tag_ = command.tag;
  return StartSasl(*mechanism, initial);
}

void ImapFront::AppendLoginOk(const LoggedIn& answer) {
  const bool has_any = !answer.capabilities.empty();
  if (has_any && has_asked_capability_) {
    out_ += "* CAPABILITY ";
    out_ += answer.capabilities;
    out_ += "\r\n";
  }
  if (!has_any && answer.text.empty()) {
    AppendLine(tag_, Text(ImapText::kLoggedIn));
    return;
  }
  out_ += tag_;
  out_ += " OK ";
  if (has_any && !has_asked_capability_) {
    out_ += "[CAPABILITY ";
    out_ += answer.capabilities;
    out_ += "] ";
  }
  out_ += answer.text.empty() ? Text(ImapText::kLoggedIn).substr(3) : answer.text;
  out_ += "\r\n";
}

void ImapFront::AppendRefusal(const Refusal& refusal) {
  std::string_view kept;
  for (const std::string_view code : kKeptCodes)
    if (base::EqualsIgnoreCase(code, refusal.code)) kept = code;
  const bool is_passed = plan_.pass_refusal_text && !refusal.text.empty();
  if (!is_passed && kept.empty()) {
    AppendLine(tag_, Text(ImapText::kRefused));
    return;
  }
  const ByteView code = is_passed ? refusal.code : kept;
  out_ += tag_;
  out_ += " NO ";
  if (!code.empty()) {
    out_ += '[';
    out_ += code;
    out_ += "] ";
  }
  out_ += is_passed ? refusal.text : Text(ImapText::kRefusedText);
  out_ += "\r\n";
}

std::string_view ImapFront::Append(Utterance what) {
  const auto say = [this](std::string_view tag, ImapText text) {
    AppendLine(tag, Text(text));
    return Text(text);
  };
  switch (what) {
    case Utterance::kBadLineEnd:
      return say(tag_, ImapText::kBadLineEnd);
    case Utterance::kBadSasl:
      return say(tag_, ImapText::kBadSasl);
    case Utterance::kCancelled:
      return say(tag_, ImapText::kCancelled);
    case Utterance::kUnavailable:
      return say(tag_, ImapText::kUnavailable);
    case Utterance::kLineTooLong:
      return say("*", ImapText::kLineTooLong);
    case Utterance::kTooManyLogins:
      return say("*", ImapText::kByeTooManyLogins);
    case Utterance::kTimeout:
      return say("*", ImapText::kByeTimeout);
    case Utterance::kDrain:
      return say("*", ImapText::kByeDrain);
    case Utterance::kShutdown:
      return say("*", ImapText::kByeShutdown);
    case Utterance::kKicked:
      return say("*", ImapText::kByeKicked);
  }
  return {};
}

// Its bytes would be taken for commands: who has put them there may be somebody else.
FrontStep ImapFront::EndAtStrayLiteral(ByteView tag) {
  AppendLine(tag, Text(ImapText::kStrayLiteral));
  AppendLine("*", Text(ImapText::kByeStrayLiteral));
  return End(SessionResult::kProtocolError, phase(), "a literal where none may stand");
}

FrontStep ImapFront::Bad(Utterance what) {
  (void)Append(what);
  return CountBad();
}

FrontStep ImapFront::Bad(ByteView tag, ImapText text) {
  AppendLine(tag, Text(text));
  return CountBad();
}

FrontStep ImapFront::CountBad() {
  if (!IsOneTooMany()) return Speak();
  AppendLine("*", Text(ImapText::kByeTooManyBad));
  return End(SessionResult::kLimit, Phase::kCommand, "too many invalid commands");
}

FrontStep ImapFront::Say(ByteView tag, ImapText text) {
  AppendLine(tag, Text(text));
  return Speak();
}

void ImapFront::AppendLine(ByteView tag, ByteView text) {
  out_ += tag;
  out_ += ' ';
  out_ += text;
  out_ += "\r\n";
}

void ImapFront::AppendCapabilities() {
  if (!HasCapability(plan_.capabilities, "IMAP4rev1")) out_ += "IMAP4rev1 ";
  for (const std::string& capability : plan_.capabilities) {
    out_ += capability;
    out_ += ' ';
  }
  if (plan_.has_starttls && !is_in_tls()) out_ += "STARTTLS ";
  if (may_login()) {
    for (const Mechanism mechanism : kSaslMechanisms) {
      if (!Offers(mechanism)) continue;
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
