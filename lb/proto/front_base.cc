// front_base: what the server roles towards IMAP and POP3 clients have in common.
// SPDX-License-Identifier: Apache-2.0
#include "lb/proto/front_base.h"

#include <array>
#include <utility>

#include "lb/base/check.h"
#include "lb/proto/state_bits.h"

namespace postern::proto {
namespace {

using base::ByteView;
using base::EndCause;
using base::Phase;
using base::SessionResult;
using base::Side;
using State = FrontState;

// A session may end wherever the driver may end it: kEnding follows all but the last.
constexpr std::array<FrontStateRow, kNumFrontStates> kStates = {{
    {State::kGreeting, "greeting", Phase::kGreeting, DrainPoint::kNow,
     StateBits({State::kCommand, State::kEnding})},
    {State::kCommand, "command", Phase::kCommand, DrainPoint::kNow,
     StateBits({State::kSasl, State::kStartTls, State::kDeciding, State::kEnding})},
    {State::kSasl, "sasl", Phase::kLogin, DrainPoint::kNow,
     StateBits({State::kSasl, State::kCommand, State::kDeciding, State::kEnding})},
    {State::kStartTls, "starttls", Phase::kTls, DrainPoint::kLater,
     StateBits({State::kHandshake, State::kEnding})},
    {State::kHandshake, "handshake", Phase::kTls, DrainPoint::kLater,
     StateBits({State::kCommand, State::kEnding})},
    {State::kDeciding, "deciding", Phase::kLogin, DrainPoint::kLater,
     StateBits({State::kCommand, State::kChallenged, State::kHandOver, State::kEnding})},
    {State::kChallenged, "challenged", Phase::kLogin, DrainPoint::kLater,
     StateBits({State::kResponding, State::kEnding})},
    {State::kResponding, "responding", Phase::kLogin, DrainPoint::kLater,
     StateBits({State::kCommand, State::kChallenged, State::kHandOver, State::kEnding})},
    {State::kHandOver, "hand-over", Phase::kLogin, DrainPoint::kNever,
     StateBits({State::kHandedOver})},
    {State::kHandedOver, "handed-over", Phase::kRelay, DrainPoint::kNever, 0},
    {State::kEnding, "ending", Phase::kCommand, DrainPoint::kNever, StateBits({State::kEnded})},
    {State::kEnded, "ended", Phase::kCommand, DrainPoint::kNever, 0},
}};

constexpr bool IsInOrder() {
  for (size_t i = 0; i < kStates.size(); ++i)
    if (static_cast<size_t>(kStates[i].state) != i) return false;
  return true;
}
static_assert(IsInOrder() && static_cast<int>(State::kEnded) + 1 == kNumFrontStates);

}  // namespace

const FrontStateRow& RowOf(FrontState state) {
  return kStates[static_cast<size_t>(state)];
}

bool MayFollow(FrontState from, FrontState to) {
  return (RowOf(from).next & StateBits({to})) != 0;
}

void FrontBase::SetState(FrontState state) {
  POSTERN_DCHECK(MayFollow(state_, state));
  state_ = state;
}

FrontStep FrontBase::Next(ByteView input) {
  if (std::exchange(is_out_due_, false)) return Speak();
  out_.clear();
  switch (state_) {
    case State::kGreeting:
      AppendGreeting();
      SetState(State::kCommand);
      return Speak();
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
      break;
  }
  return {0, Ended{cause_}};
}

void FrontBase::TlsUp() {
  if (state_ != State::kHandshake) return;
  is_in_tls_ = true;
  ForgetClear();
  SetState(State::kCommand);
}

// --- SASL and the login -------------------------------------------------------------------------

bool FrontBase::Offers(Mechanism mechanism) const {
  switch (mechanism) {
    case Mechanism::kPlain:
    case Mechanism::kLogin:
      return true;
    case Mechanism::kXoauth2:
      return plan_.offers_xoauth2;
    case Mechanism::kOauthBearer:
      return plan_.offers_oauthbearer;
    case Mechanism::kLoginCommand:
    case Mechanism::kUserPass:
      break;
  }
  return false;
}

FrontStep FrontBase::StartSasl(Mechanism mechanism, std::optional<ByteView> initial) {
  SetState(State::kSasl);
  return TakeSasl(sasl_.Start(mechanism, initial));
}

FrontStep FrontBase::ReadSasl(ByteView input) {
  const LineRead line = ReadLine(input, plan_.limits.sasl_line);
  if (line.verdict == LineVerdict::kNeedMore) return {0, NeedBytes{}};
  FrontStep step;
  if (line.verdict == LineVerdict::kTooLong) {
    step = EndSaying(Utterance::kLineTooLong, SessionResult::kProtocolError);
  } else if (MayHideCommands(line.text)) {
    step = EndAtHidden();
  } else if (line.verdict == LineVerdict::kLine) {
    step = TakeSasl(sasl_.Next(line.text));
  } else {
    SetState(State::kCommand);
    step = Bad(Utterance::kBadLineEnd);
  }
  step.consumed = line.size_bytes;
  return step;
}

FrontStep FrontBase::TakeSasl(SaslServer::Outcome outcome) {
  using Outcome = SaslServer::Outcome;
  switch (outcome) {
    case Outcome::kChallenge:
      out_ = "+ ";
      out_ += sasl_.challenge();
      out_ += "\r\n";
      return Speak();
    case Outcome::kDone:
    case Outcome::kRefused:
      return AskLogin(sasl_.TakeRequest(), outcome == Outcome::kDone);
    case Outcome::kCancelled:
      SetState(State::kCommand);
      (void)Append(Utterance::kCancelled);
      is_out_due_ = true;
      return {0, LoginAborted{sasl_.TakeRequest().mechanism}};
    case Outcome::kMalformed:
      break;
  }
  SetState(State::kCommand);
  return Bad(Utterance::kBadSasl);
}

FrontStep FrontBase::AskLogin(LoginRequest request, bool is_usable) {
  request_ = std::move(request);
  // For the log, a name that may not be said is none.
  if (!IsUsableUser(request_.user)) request_.user.clear();
  SetState(State::kDeciding);
  return {0, Login{&request_, is_usable}};
}

FrontStep FrontBase::ReadResponse(ByteView input) {
  const LineRead line = ReadLine(input, plan_.limits.sasl_line);
  if (line.verdict == LineVerdict::kNeedMore) return {0, NeedBytes{}};
  if (line.verdict == LineVerdict::kTooLong)
    return EndSaying(Utterance::kLineTooLong, SessionResult::kProtocolError);
  if (MayHideCommands(line.text)) {
    FrontStep step = EndAtHidden();
    step.consumed = line.size_bytes;
    return step;
  }
  // What is no answer cancels: the backend's exchange has to end either way.
  const bool is_answer = line.verdict == LineVerdict::kLine && IsSaslResponse(line.text);
  response_ = base::Secret(is_answer ? line.text : "*");
  SetState(State::kResponding);
  return {line.size_bytes, SaslResponse{&response_}};
}

bool FrontBase::BeginAnswer() {
  if (state_ != State::kDeciding && state_ != State::kResponding) return false;
  out_.clear();
  return true;
}

void FrontBase::Answered(FrontState next) {
  is_out_due_ = true;
  if (next != State::kChallenged) request_ = {};
  SetState(next);
}

void FrontBase::LoginOk(const LoggedIn& answer) {
  if (!BeginAnswer()) return;
  AppendLoginOk(answer);
  Answered(State::kHandOver);
}

void FrontBase::LoginRefused(const Refusal& refusal) {
  if (!BeginAnswer()) return;
  AppendRefusal(refusal);
  Answered(State::kCommand);
  if (++num_refused_ < plan_.limits.auth_failures) return;
  (void)Append(Utterance::kTooManyLogins);
  (void)End(SessionResult::kLimit, Phase::kLogin, "too many failed logins");
}

void FrontBase::LoginUnavailable() {
  if (!BeginAnswer()) return;
  (void)Append(Utterance::kUnavailable);
  Answered(State::kCommand);
}

void FrontBase::PassChallenge(ByteView base64) {
  if (!BeginAnswer()) return;
  out_ = "+ ";
  out_ += base64;
  out_ += "\r\n";
  Answered(State::kChallenged);
}

// --- ends ---------------------------------------------------------------------------------------

FrontStep FrontBase::End(SessionResult result, Phase phase, std::string_view why) {
  cause_ = EndCause{result, Side::kFront, phase, std::string(why)};
  request_ = {};
  SetState(State::kEnding);
  return Speak();
}

FrontStep FrontBase::EndSaying(Utterance what, SessionResult result) {
  const Phase phase = this->phase();
  return End(result, phase, Append(what));
}

void FrontBase::Goodbye(Utterance what, SessionResult result) {
  if (drain_point() == DrainPoint::kNever) return;
  out_.clear();
  (void)EndSaying(what, result);
  is_out_due_ = true;
}

void FrontBase::Expire() {
  Goodbye(Utterance::kTimeout, SessionResult::kIdle);
}

void FrontBase::BeginDrain() {
  Goodbye(Utterance::kDrain, SessionResult::kDrained);
}

void FrontBase::Kill(SessionResult why) {
  Goodbye(why == SessionResult::kKicked ? Utterance::kKicked : Utterance::kShutdown, why);
}

}  // namespace postern::proto
