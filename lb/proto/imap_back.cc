// imap_back: IMAP's client role towards a backend, from its greeting to the login.
// SPDX-License-Identifier: Apache-2.0
#include "lb/proto/imap_back.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <iterator>
#include <utility>

#include "lb/base/check.h"
#include "lb/proto/state_bits.h"

namespace postern::proto {

using base::ByteView;
using base::FaultKind;
using base::Phase;
using base::Secret;
using Condition = ImapReply::Condition;

struct ImapBack::StateRow {
  State state;
  std::string_view name;
  Phase phase;
  uint16_t next;
};

constexpr ImapBack::StateRow ImapBack::kStates[] = {
    {State::kGreeting, "greeting", Phase::kGreeting,
     StateBits(
         {State::kCapability, State::kStartTls, State::kId, State::kAuthenticate, State::kLogin})},
    {State::kCapability, "capability", Phase::kHello,
     StateBits(
         {State::kStartTls, State::kId, State::kAuthenticate, State::kLogin, State::kLogout})},
    {State::kStartTls, "starttls", Phase::kHello, StateBits({State::kHandshake})},
    {State::kHandshake, "handshake", Phase::kTls, StateBits({State::kCapability})},
    {State::kId, "id", Phase::kHello, StateBits({State::kAuthenticate, State::kLogin})},
    {State::kAuthenticate, "authenticate", Phase::kLogin, StateBits({State::kSelect})},
    {State::kLogin, "login", Phase::kLogin, StateBits({State::kSelect})},
    {State::kSelect, "select", Phase::kRelay, StateBits({State::kLogout})},
    {State::kLogout, "logout", Phase::kCommand, 0},
};

void ImapBack::SetState(State state) {
  POSTERN_DCHECK((kStates[static_cast<size_t>(state_)].next & StateBits({state})) != 0);
  POSTERN_DCHECK(kStates[static_cast<size_t>(state)].state == state);
  state_ = state;
}

namespace {

constexpr size_t kMaxSkippedLiteral = 64 << 10;
// An AUTHENTICATE line with more than this goes without its initial response: some servers bound
// it.
constexpr size_t kMaxInitialBytes = 8000;

constexpr std::array<std::string_view, 3> kFaultCodes = {"UNAVAILABLE", "SERVERBUG", "INUSE"};
// Codes of a NO that say something about user and password. (ALERT: one large provider refuses
// wrong passwords so.)
constexpr std::array<std::string_view, 4> kCredentialCodes = {"", "AUTHENTICATIONFAILED",
                                                              "AUTHORIZATIONFAILED", "ALERT"};

template <typename Codes>
bool IsOneOf(const Codes& codes, ByteView code) {
  return std::any_of(codes.begin(), codes.end(),
                     [code](std::string_view each) { return base::EqualsIgnoreCase(each, code); });
}

// "CAPABILITY a b": what follows; nothing: another code.
std::optional<ByteView> CapabilitiesOf(ByteView code) {
  constexpr std::string_view kWord = "CAPABILITY ";
  if (!base::StartsWithIgnoreCase(code, kWord)) return std::nullopt;
  return code.substr(kWord.size());
}

}  // namespace

Phase ImapBack::phase() const {
  static_assert(std::size(kStates) == size_t(State::kLogout) + 1);
  return kStates[static_cast<size_t>(state_)].phase;
}

BackBase::Maybe ImapBack::TakeLine(ByteView line, ByteView behind) {
  const auto literal = FindImapLiteral(line);
  if (literal && literal->size_bytes > kMaxSkippedLiteral)
    return Fail(FaultKind::kProtocol, "literal too large");
  if (literal) Skip(static_cast<size_t>(literal->size_bytes));
  // No reply with a literal says anything that is wanted before the login.
  if (std::exchange(is_tail_, literal.has_value())) return std::nullopt;
  const ImapReply reply = ParseImapReply(line);
  if (literal && reply.kind == ImapReply::Kind::kUntagged) return std::nullopt;
  // News may come at any time, but an answer only behind its command.
  const bool is_news = reply.kind == ImapReply::Kind::kUntagged;
  if (is_early() && !is_news) return FailOutOfTurn();
  if (is_early() && reply.condition != Condition::kBye) return std::nullopt;
  switch (reply.kind) {
    case ImapReply::Kind::kUntagged:
      return TakeUntagged(reply);
    case ImapReply::Kind::kContinue:
      return TakeContinue(reply);
    case ImapReply::Kind::kTagged:
      if (reply.tag == tag_) return TakeTagged(reply, behind);
      break;
    case ImapReply::Kind::kGarbage:
      break;
  }
  return Fail(FaultKind::kProtocol, "no IMAP reply", line);
}

BackBase::Maybe ImapBack::TakeUntagged(const ImapReply& reply) {
  if (reply.condition == Condition::kBye) {
    if (state_ == State::kLogout) return std::nullopt;
    return Fail(FaultKind::kTempfail, "BYE", reply.code_and_text);
  }
  if (state_ == State::kGreeting) {
    if (reply.condition != Condition::kOk)
      return Fail(FaultKind::kProtocol, "no greeting", reply.word);
    if (const auto capabilities = CapabilitiesOf(reply.code)) Learn(SplitAtoms(*capabilities));
    return Climb();
  }
  if (reply.condition == Condition::kPreauth) return Fail(FaultKind::kProtocol, "PREAUTH");
  if (!base::EqualsIgnoreCase(reply.word, "CAPABILITY")) return std::nullopt;
  if (state_ == State::kCapability) Learn(SplitAtoms(reply.text));
  if (phase() == Phase::kLogin) login_capabilities_ = reply.text;
  return std::nullopt;
}

BackBase::Maybe ImapBack::TakeContinue(const ImapReply& reply) {
  if (state_ == State::kLogin) {
    // With "{n+}" nobody has to ask, but some do.
    if (pieces_.empty()) return std::nullopt;
    Secret piece = std::move(pieces_.back());
    pieces_.pop_back();
    return Say(std::move(piece));
  }
  if (state_ != State::kAuthenticate) return Fail(FaultKind::kProtocol, "unasked continuation");
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

BackBase::Maybe ImapBack::TakeTagged(const ImapReply& reply, ByteView behind) {
  const bool is_ok = reply.condition == Condition::kOk;
  switch (state_) {
    case State::kCapability:
      if (!is_ok || !has_learned_capabilities())
        return Fail(FaultKind::kProtocol, "no capabilities", reply.code_and_text);
      return Climb();
    case State::kStartTls:
      if (!is_ok) return Fail(FaultKind::kTempfail, "STARTTLS refused", reply.code_and_text);
      SetState(State::kHandshake);
      return AskTls(behind);
    case State::kId:
      // Refused or not understood: the backend does without; only its own trouble is a reason to
      // go.
      if (base::EqualsIgnoreCase(reply.code, "SERVERBUG"))
        return Fail(FaultKind::kTempfail, "ID", reply.code_and_text);
      return Climb();
    case State::kAuthenticate:
    case State::kLogin:
      return TakeLoginResult(reply);
    case State::kSelect:
      if (!is_ok) return Fail(FaultKind::kTempfail, "SELECT", reply.code_and_text);
      return Command(State::kLogout, {"LOGOUT"});
    case State::kLogout:
      return End();
    case State::kGreeting:
    case State::kHandshake:
      break;
  }
  return Fail(FaultKind::kProtocol, "unasked reply", reply.word);
}

BackEvent ImapBack::TakeLoginResult(const ImapReply& reply) {
  if (reply.condition == Condition::kOk) {
    const bool is_due = state_ == State::kLogin ? pieces_.empty() : sasl_->has_sent_all();
    if (!is_due) return Fail(FaultKind::kProtocol, "OK before the login was complete");
    if (plan_.is_check) return Command(State::kSelect, {"SELECT INBOX"});
    if (const auto capabilities = CapabilitiesOf(reply.code))
      return Succeed(*capabilities, reply.text);
    return Succeed(login_capabilities_, reply.code_and_text);
  }
  // BAD is the answer to a client that gave up.
  if (reply.condition == Condition::kNo || is_cancelled_) {
    if (IsOneOf(kFaultCodes, reply.code))
      return Fail(FaultKind::kTempfail, "login", reply.code_and_text);
    return Refuse(reply.code, reply.text, IsOneOf(kCredentialCodes, reply.code));
  }
  return Fail(FaultKind::kProtocol, "login", reply.code_and_text);
}

BackEvent ImapBack::ContinueInTls() {
  has_asked_ = false;
  return Climb();
}

BackEvent ImapBack::Climb() {
  const bool is_probe = plan_.login == nullptr;
  if (!has_learned_capabilities() && !is_probe && plan_.tls != conf::TlsMode::kStartTls &&
      plan_.known != nullptr)
    Learn(*plan_.known);
  // A probe asks in any case: a greeting may tell less.
  const bool must_ask =
      !has_learned_capabilities() || ((is_probe || plan_.is_check) && !needs_starttls());
  if (must_ask && !std::exchange(has_asked_, true)) {
    ForgetCapabilities();
    return Command(State::kCapability, {"CAPABILITY"});
  }
  if (needs_starttls()) {
    if (!HasCapability(capabilities(), "STARTTLS"))
      return Fail(FaultKind::kProtocol, "STARTTLS is not announced");
    return Command(State::kStartTls, {"STARTTLS"});
  }
  if (is_probe) return Command(State::kLogout, {"LOGOUT"});
  if (plan_.identity && !std::exchange(is_id_done_, true) && HasCapability(capabilities(), "ID"))
    return SendId();
  return StartLogin();
}

BackEvent ImapBack::Command(State state, std::initializer_list<ByteView> parts) {
  SetState(state);
  tag_ = 'P' + std::to_string(++num_commands_);
  const Secret command = JoinSecret(parts);
  return Say(JoinSecret({tag_, " ", command.Reveal(), "\r\n"}));
}

BackEvent ImapBack::SendId() {
  const ClientIdentity& identity = *plan_.identity;
  char id[17];
  std::snprintf(id, sizeof id, "%016llx", static_cast<unsigned long long>(identity.session_id));
  std::string fields = "ID (";
  const auto add = [&fields](std::string_view name, const std::string& value) {
    if (fields.back() != '(') fields += ' ';
    AppendQuoted(fields, name);
    fields += ' ';
    AppendQuoted(fields, value);
  };
  add("x-originating-ip", identity.client.ip.ToString());
  add("x-originating-port", std::to_string(identity.client.port));
  add("x-connected-ip", identity.local.ip.ToString());
  add("x-connected-port", std::to_string(identity.local.port));
  add("x-session-id", id);
  fields += ')';
  has_sent_client_bytes_ = true;
  return Command(State::kId, {fields});
}

BackEvent ImapBack::StartLogin() {
  const MechanismSet offered = OfferedMechanisms(CapabilityKind::kImap, capabilities());
  const bool is_disabled = HasCapability(capabilities(), "LOGINDISABLED");
  if (is_disabled && !is_in_tls())
    return Fail(FaultKind::kProtocol, "LOGINDISABLED on a leg without TLS");
  const auto mechanism = ChooseMechanism(*plan_.login, offered);
  if (mechanism && (*mechanism != Mechanism::kLogin || is_disabled))
    return StartAuthenticate(*mechanism);
  if (IsToken(plan_.login->mechanism)) {
    // Nothing was sent, but the state is the login's: that is where it ends.
    SetState(State::kAuthenticate);
    return Refuse("", "mechanism not offered", /*is_bad_credentials=*/true);
  }
  if (!is_disabled) return StartLoginCommand();
  return Fail(FaultKind::kProtocol, "no way to log in is offered");
}

BackEvent ImapBack::StartAuthenticate(Mechanism mechanism) {
  has_sent_client_bytes_ = true;
  sasl_.emplace(mechanism, *plan_.login, plan_.user);
  if (sasl_->has_initial() && HasCapability(capabilities(), "SASL-IR")) {
    const Secret initial = sasl_->TakeInitial();
    if (initial.size() <= kMaxInitialBytes)
      return Command(State::kAuthenticate, {"AUTHENTICATE ", Name(mechanism), " ",
                                            initial.empty() ? "=" : initial.Reveal()});
    sasl_.emplace(mechanism, *plan_.login, plan_.user);
  }
  return Command(State::kAuthenticate, {"AUTHENTICATE ", Name(mechanism)});
}

BackEvent ImapBack::StartLoginCommand() {
  has_sent_client_bytes_ = true;
  const ByteView arguments[] = {plan_.user, plan_.login->password.Reveal()};
  const bool has_plus = HasCapability(capabilities(), "LITERAL+");
  const bool has_minus = HasCapability(capabilities(), "LITERAL-");
  std::vector<Secret> pieces;
  Secret piece("LOGIN");
  for (const ByteView argument : arguments) {
    if (IsQuotable(argument)) {
      std::string quoted;
      quoted.reserve(2 * argument.size() + 2);
      AppendQuoted(quoted, argument);
      piece = JoinSecret({piece.Reveal(), " ", quoted});
      base::WipeString(quoted);
      continue;
    }
    const std::string size = std::to_string(argument.size());
    if (has_plus || (has_minus && argument.size() <= 4096)) {
      piece = JoinSecret({piece.Reveal(), " {", size, "+}\r\n", argument});
    } else {
      pieces.push_back(JoinSecret({piece.Reveal(), " {", size, "}\r\n"}));
      piece = Secret(argument);
    }
  }
  if (pieces.empty()) return Command(State::kLogin, {piece.Reveal()});
  pieces.push_back(JoinSecret({piece.Reveal(), "\r\n"}));
  // The first goes out now; it brings its line end with it.
  const ByteView first = pieces.front().Reveal();
  const BackEvent event = Command(State::kLogin, {first.substr(0, first.size() - 2)});
  pieces_.assign(std::make_move_iterator(pieces.rbegin()),
                 std::make_move_iterator(pieces.rend() - 1));
  return event;
}

}  // namespace postern::proto
