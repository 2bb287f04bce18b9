// pop3_back: POP3's client role towards a backend, from its greeting to the login.
// SPDX-License-Identifier: Apache-2.0
#include "lb/proto/pop3_back.h"

#include <algorithm>
#include <iterator>
#include <string>
#include <utility>

#include "lb/base/check.h"
#include "lb/proto/state_bits.h"

namespace postern::proto {

using base::ByteView;
using base::FaultKind;
using base::Phase;
using base::Secret;

struct Pop3Back::StateRow {
  State state;
  std::string_view name;
  Phase phase;
  uint16_t next;
};

constexpr Pop3Back::StateRow Pop3Back::kStates[] = {
    {State::kGreeting, "greeting", Phase::kGreeting,
     StateBits({State::kCapa, State::kXclient, State::kUser, State::kAuth})},
    {State::kCapa, "capa", Phase::kHello,
     StateBits({State::kCapaList, State::kXclient, State::kUser, State::kQuit, State::kAuth})},
    {State::kCapaList, "capa-list", Phase::kHello,
     StateBits({State::kStls, State::kXclient, State::kUser, State::kAuth, State::kQuit})},
    {State::kStls, "stls", Phase::kHello, StateBits({State::kHandshake})},
    {State::kHandshake, "handshake", Phase::kTls, StateBits({State::kCapa})},
    {State::kXclient, "xclient", Phase::kHello, StateBits({State::kUser, State::kAuth})},
    {State::kUser, "user", Phase::kLogin, StateBits({State::kPass})},
    {State::kPass, "pass", Phase::kLogin, StateBits({State::kStat})},
    {State::kAuth, "auth", Phase::kLogin, StateBits({State::kStat})},
    {State::kStat, "stat", Phase::kRelay, StateBits({State::kQuit})},
    {State::kQuit, "quit", Phase::kCommand, 0},
};

void Pop3Back::SetState(State state) {
  POSTERN_DCHECK((kStates[static_cast<size_t>(state_)].next & StateBits({state})) != 0);
  POSTERN_DCHECK(kStates[static_cast<size_t>(state)].state == state);
  state_ = state;
}

namespace {

constexpr size_t kMaxCommandBytes = 255;  // RFC 2449 4, with its line end

// A name that "USER name" carries without doubt about where it ends.
bool IsPlainName(ByteView user) {
  return std::all_of(user.begin(), user.end(), [](char c) {
    return static_cast<unsigned char>(c) > 0x20 && static_cast<unsigned char>(c) < 0x7f;
  });
}

bool IsPrintable(ByteView line) {
  return std::all_of(line.begin(), line.end(), [](char c) {
    return static_cast<unsigned char>(c) >= 0x20 && static_cast<unsigned char>(c) < 0x7f;
  });
}

}  // namespace

Phase Pop3Back::phase() const {
  static_assert(std::size(kStates) == size_t(State::kQuit) + 1);
  return kStates[static_cast<size_t>(state_)].phase;
}

BackBase::Maybe Pop3Back::TakeLine(ByteView line, ByteView behind) {
  // A server speaks only when it is asked (RFC 1939 3): what was there before is no answer, and
  // whose answer the next one is nobody can tell.
  if (is_early()) return FailOutOfTurn();
  if (state_ == State::kCapaList) return TakeCapaLine(line);
  const Pop3Reply reply = ParsePop3Reply(line);
  const bool is_ok = reply.kind == Pop3Reply::Kind::kOk;
  if (reply.kind == Pop3Reply::Kind::kGarbage)
    return Fail(FaultKind::kProtocol, "no POP3 reply", line);
  if (reply.kind == Pop3Reply::Kind::kContinue) {
    if (state_ == State::kAuth) return TakeChallenge(reply);
    return Fail(FaultKind::kProtocol, "unasked continuation");
  }
  switch (state_) {
    case State::kGreeting:
      return TakeGreeting(reply);
    case State::kCapa:
      if (is_ok) {
        SetState(State::kCapaList);
        return std::nullopt;
      }
      Learn({});  // a server older than CAPA
      return Climb();
    case State::kStls:
      if (!is_ok) return Fail(FaultKind::kTempfail, "STLS refused", reply.text);
      SetState(State::kHandshake);
      return AskTls(behind);
    case State::kXclient:
      if (!is_ok) return Fail(FaultKind::kProtocol, "XCLIENT refused", reply.text);
      return Climb();
    case State::kUser:
      if (!is_ok) return TakeRefusal(reply);
      return Command(State::kPass, JoinSecret({"PASS ", plan_.login->password.Reveal(), "\r\n"}));
    case State::kPass:
    case State::kAuth:
      // Of two answers the second may be the true one.
      if (is_ok && !behind.empty()) return FailOutOfTurn();
      return TakeLoginResult(reply);
    case State::kStat:
      if (!is_ok) return Fail(FaultKind::kTempfail, "STAT", reply.text);
      return Command(State::kQuit, Secret("QUIT\r\n"));
    case State::kQuit:
      return End();
    case State::kCapaList:
    case State::kHandshake:
      break;
  }
  return Fail(FaultKind::kProtocol, "unasked reply", line);
}

BackBase::Maybe Pop3Back::TakeGreeting(const Pop3Reply& reply) {
  if (reply.kind != Pop3Reply::Kind::kOk)
    return Fail(FaultKind::kTempfail, "-ERR for a greeting", reply.text);
  has_xclient_ = reply.text.find("[XCLIENT]") != ByteView::npos;
  return Climb();
}

BackBase::Maybe Pop3Back::TakeCapaLine(ByteView line) {
  if (line == ".") {
    Learn(std::exchange(gathered_, {}));
    return Climb();
  }
  if (line.starts_with('.')) line.remove_prefix(1);
  if (!line.empty() && line.size() <= 512 && IsPrintable(line)) gathered_.emplace_back(line);
  return std::nullopt;
}

BackEvent Pop3Back::TakeChallenge(const Pop3Reply& reply) {
  SaslClient::Step step = sasl_->Next(reply.text);
  switch (step.outcome) {
    case SaslClient::Outcome::kRespond:
      return Say(JoinSecret({step.response.Reveal(), "\r\n"}));
    case SaslClient::Outcome::kPassOn:
      is_cancelled_ = true;
      return AskClient(reply.text);
    case SaslClient::Outcome::kUnexpected:
      break;
  }
  return Fail(FaultKind::kProtocol, "unexpected challenge");
}

BackEvent Pop3Back::TakeLoginResult(const Pop3Reply& reply) {
  if (reply.kind != Pop3Reply::Kind::kOk) return TakeRefusal(reply);
  if (state_ == State::kAuth && !sasl_->has_sent_all())
    return Fail(FaultKind::kProtocol, "+OK before the login was complete");
  if (plan_.is_check) return Command(State::kStat, Secret("STAT\r\n"));
  return Succeed({}, reply.text);
}

BackEvent Pop3Back::TakeRefusal(const Pop3Reply& reply) {
  if (base::EqualsIgnoreCase(reply.code, "SYS/TEMP"))
    return Fail(FaultKind::kTempfail, "login", reply.text);
  const bool is_bad = reply.code.empty() || base::EqualsIgnoreCase(reply.code, "AUTH");
  return Refuse(reply.code, reply.text, is_bad);
}

BackEvent Pop3Back::ContinueInTls() {
  has_asked_ = false;
  return Climb();
}

BackEvent Pop3Back::Climb() {
  const bool is_probe = plan_.login == nullptr;
  if (!has_learned_capabilities() && !is_probe && plan_.tls != conf::TlsMode::kStartTls &&
      plan_.known != nullptr)
    Learn(*plan_.known);
  if (!has_learned_capabilities() && !std::exchange(has_asked_, true))
    return Command(State::kCapa, Secret("CAPA\r\n"));
  if (needs_starttls()) {
    if (!HasCapability(capabilities(), "STLS"))
      return Fail(FaultKind::kProtocol, "STLS is not announced");
    return Command(State::kStls, Secret("STLS\r\n"));
  }
  if (is_probe) return Command(State::kQuit, Secret("QUIT\r\n"));
  if (plan_.identity && has_xclient_ && !std::exchange(is_xclient_done_, true))
    return SendXclient();
  return StartLogin();
}

BackEvent Pop3Back::Command(State state, Secret line) {
  SetState(state);
  return Say(std::move(line));
}

BackEvent Pop3Back::SendXclient() {
  const ClientIdentity& identity = *plan_.identity;
  has_sent_client_bytes_ = true;
  return Command(State::kXclient, Secret("XCLIENT ADDR=" + identity.client.ip.ToString() +
                                         " PORT=" + std::to_string(identity.client.port) + "\r\n"));
}

BackEvent Pop3Back::StartLogin() {
  const MechanismSet offered = OfferedMechanisms(CapabilityKind::kPop3, capabilities());
  const auto mechanism = ChooseMechanism(*plan_.login, offered);
  if (IsToken(plan_.login->mechanism)) {
    if (mechanism) return StartAuth(*mechanism);
    SetState(State::kAuth);  // nothing was sent, but this is where it ends
    return Refuse("", "mechanism not offered", /*is_bad_credentials=*/true);
  }
  const bool has_user = capabilities().empty() || HasCapability(capabilities(), "USER");
  // USER is what every server understands best; a name that it could garble goes by AUTH if it can.
  if (has_user && (IsPlainName(plan_.user) || !mechanism)) {
    has_sent_client_bytes_ = true;
    return Command(State::kUser, JoinSecret({"USER ", plan_.user, "\r\n"}));
  }
  if (mechanism) return StartAuth(*mechanism);
  return Fail(FaultKind::kProtocol, "no way to log in is offered");
}

BackEvent Pop3Back::StartAuth(Mechanism mechanism) {
  has_sent_client_bytes_ = true;
  sasl_.emplace(mechanism, *plan_.login, plan_.user);
  if (sasl_->has_initial()) {
    const Secret initial = sasl_->TakeInitial();
    Secret line = JoinSecret({"AUTH ", Name(mechanism), " ", initial.Reveal(), "\r\n"});
    if (line.size() <= kMaxCommandBytes && !initial.empty())
      return Command(State::kAuth, std::move(line));
    sasl_.emplace(mechanism, *plan_.login, plan_.user);
  }
  return Command(State::kAuth, JoinSecret({"AUTH ", Name(mechanism), "\r\n"}));
}

}  // namespace postern::proto
