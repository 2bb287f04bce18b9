// pop3_front: POP3's server role towards a client, from the greeting to the login.
// SPDX-License-Identifier: Apache-2.0
#include "lb/proto/pop3_front.h"

#include <algorithm>
#include <array>
#include <iterator>
#include <optional>
#include <utility>

#include "lb/proto/line_reader.h"

namespace postern::proto {

using base::ByteView;
using base::Phase;
using base::SessionResult;

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

void Pop3Front::AppendGreeting() {
  out_ = "+OK ";
  out_ += plan_.hostname;
  AppendLine(" ready");
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
      step = EndSaying(Utterance::kLineTooLong, SessionResult::kProtocolError);
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
    AppendLine(Text(Pop3Text::kHttp));
    return End(SessionResult::kProtocolError, Phase::kCommand, "HTTP");
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
  AppendLine(Text(Pop3Text::kCapaFollows));
  for (const std::string& capability : plan_.capabilities) AppendLine(capability);
  if (may_login()) {
    AppendLine("USER");
    out_ += "SASL";
    for (const Mechanism mechanism : kSaslMechanisms) {
      if (!Offers(mechanism)) continue;
      out_ += ' ';
      out_ += Name(mechanism);
    }
    AppendLine("");
  }
  if (plan_.has_starttls && !is_in_tls()) AppendLine("STLS");
  AppendLine(".");
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
  LoginRequest request;
  request.mechanism = Mechanism::kUserPass;
  request.user = std::exchange(user_, {});
  request.password = base::Secret(command.argument);
  const bool is_usable = IsUsableUser(request.user) && IsUsablePassword(command.argument);
  return AskLogin(std::move(request), is_usable);
}

FrontStep Pop3Front::RunAuth(const Pop3Command& command) {
  if (!may_login()) return Bad(Pop3Text::kNeedsTls);
  if (command.argument.empty()) {
    AppendLine(Text(Pop3Text::kMechanismsFollow));
    for (const Mechanism mechanism : kSaslMechanisms)
      if (Offers(mechanism)) AppendLine(Name(mechanism));
    AppendLine(".");
    return Speak();
  }
  const size_t end = std::min(command.argument.find(' '), command.argument.size());
  const auto mechanism = FindMechanism(command.argument.substr(0, end));
  if (!mechanism || !Offers(*mechanism)) return Bad(Pop3Text::kBadMechanism);
  std::optional<ByteView> initial;
  if (end < command.argument.size()) initial = command.argument.substr(end + 1);
  if (initial && initial->empty()) return Bad(Pop3Text::kBadArguments);
  user_.clear();
  return StartSasl(*mechanism, initial);
}

FrontStep Pop3Front::RunStls(const Pop3Command&) {
  if (is_in_tls()) return Bad(Pop3Text::kAlreadyTls);
  if (!plan_.has_starttls) return Bad(Pop3Text::kNoTls);
  if (has_bytes_behind_) {
    // Somebody may have put them there to act inside TLS: nothing of this session is to be trusted.
    AppendLine(Text(Pop3Text::kBytesBehindTls));
    return End(SessionResult::kProtocolError, Phase::kTls, "bytes behind STLS");
  }
  SetState(FrontState::kStartTls);
  return Say(Pop3Text::kBeginTls);
}

FrontStep Pop3Front::RunNoop(const Pop3Command&) {
  return Say(Pop3Text::kNoop);
}

FrontStep Pop3Front::RunQuit(const Pop3Command&) {
  AppendLine(Text(Pop3Text::kBye));
  return End(SessionResult::kClientQuit, Phase::kCommand, "quit");
}

void Pop3Front::AppendLoginOk(const LoggedIn& answer) {
  if (answer.text.empty()) {
    AppendLine(Text(Pop3Text::kLoggedIn));
  } else {
    out_ += "+OK ";
    AppendLine(answer.text);
  }
}

void Pop3Front::AppendRefusal(const Refusal& refusal) {
  std::string_view kept;
  for (const std::string_view code : kKeptCodes)
    if (base::EqualsIgnoreCase(code, refusal.code)) kept = code;
  const bool is_passed = plan_.pass_refusal_text && !refusal.text.empty();
  if (!is_passed && kept.empty()) {
    AppendLine(Text(Pop3Text::kRefused));
    return;
  }
  const ByteView code = is_passed ? refusal.code : kept;
  out_ += "-ERR ";
  if (!code.empty()) {
    out_ += '[';
    out_ += code;
    out_ += "] ";
  }
  AppendLine(is_passed ? refusal.text : Text(Pop3Text::kNotNowText));
}

std::string_view Pop3Front::Append(Utterance what) {
  const auto say = [this](Pop3Text text) {
    AppendLine(Text(text));
    return Text(text);
  };
  switch (what) {
    case Utterance::kBadLineEnd:
      return say(Pop3Text::kBadLineEnd);
    case Utterance::kBadSasl:
      return say(Pop3Text::kBadSasl);
    case Utterance::kCancelled:
      return say(Pop3Text::kCancelled);
    case Utterance::kUnavailable:
      return say(Pop3Text::kUnavailable);
    case Utterance::kLineTooLong:
      return say(Pop3Text::kLineTooLong);
    case Utterance::kTooManyLogins:
      return {};  // no farewell follows an answer: it was the last word
    case Utterance::kTimeout:
      return say(Pop3Text::kTimeout);
    case Utterance::kDrain:
      return say(Pop3Text::kDrain);
    case Utterance::kShutdown:
      return say(Pop3Text::kShutdown);
    case Utterance::kKicked:
      return say(Pop3Text::kKicked);
  }
  return {};
}

FrontStep Pop3Front::Bad(Utterance what) {
  return Bad(what == Utterance::kBadSasl ? Pop3Text::kBadSasl : Pop3Text::kBadLineEnd);
}

FrontStep Pop3Front::Bad(Pop3Text text) {
  if (!IsOneTooMany()) return Say(text);
  AppendLine(Text(Pop3Text::kTooManyBad));
  return End(SessionResult::kLimit, Phase::kCommand, "too many invalid commands");
}

FrontStep Pop3Front::Say(Pop3Text text) {
  AppendLine(Text(text));
  return Speak();
}

void Pop3Front::AppendLine(ByteView text) {
  out_ += text;
  out_ += "\r\n";
}

}  // namespace postern::proto
