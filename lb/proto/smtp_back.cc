// smtp_back: the ladder.
// SPDX-License-Identifier: Apache-2.0
#include "lb/proto/smtp_back.h"

#include <utility>

#include "lb/base/escape.h"
#include "lb/proto/capability.h"

namespace postern::proto {
namespace {

std::string LineOf(base::ByteView command, base::ByteView secret) {
  std::string line;
  line.reserve(command.size() + secret.size() + 2);
  line += command;
  line += secret;
  line += "\r\n";
  return line;
}

}  // namespace

base::Phase SmtpBack::phase() const {
  switch (state_) {
    case State::kGreeting: return base::Phase::kGreeting;
    case State::kEhlo:
    case State::kEhloInTls:
    case State::kXclient:
    case State::kEhloAsClient: return base::Phase::kHello;
    case State::kStartTls:
    case State::kTls: return base::Phase::kTls;
    case State::kAuth: return base::Phase::kLogin;
    case State::kReady:
    case State::kOver: return base::Phase::kCommand;
  }
  return base::Phase::kHello;
}

std::string SmtpBack::Ehlo() { return "EHLO " + plan_.hello + "\r\n"; }

SmtpBack::Step SmtpBack::Next(base::ByteView input) {
  if (state_ == State::kReady || state_ == State::kOver || state_ == State::kTls) return {};
  const SmtpReply reply = ReadSmtpReply(input, plan_.reply_lines);
  switch (reply.status) {
    case SmtpReply::Status::kNeedMore: return {};
    case SmtpReply::Status::kMalformed:
      return Fail(base::FaultKind::kProtocol,
                  "not an SMTP reply: " + base::Printable(input, 80));
    case SmtpReply::Status::kDone: break;
  }
  Step step = TakeReply(reply);
  step.consumed = reply.size_bytes;
  if (step.outcome == Outcome::kStartTls && input.size() > reply.size_bytes)
    return Fail(base::FaultKind::kProtocol, "bytes behind the reply to STARTTLS");
  return step;
}

SmtpBack::Step SmtpBack::TakeReply(const SmtpReply& reply) {
  // A 421 may stand in for any reply.
  if (reply.code == 421 && state_ != State::kAuth) return Judge(reply);
  switch (state_) {
    case State::kGreeting:
      if (reply.klass() != 2) return Judge(reply);
      state_ = State::kEhlo;
      is_before_client_ = false;
      return {0, Outcome::kGoOn, Ehlo()};
    case State::kEhlo:
    case State::kEhloInTls:
    case State::kEhloAsClient:
      if (reply.klass() != 2) return Judge(reply);
      capabilities_ = EhloCapabilities(reply.raw);
      return AfterEhlo();
    case State::kStartTls:
      if (reply.klass() != 2) return Judge(reply);
      state_ = State::kTls;
      capabilities_.clear();
      return {0, Outcome::kStartTls, {}};
    case State::kXclient:
      if (reply.klass() == 5) {
        // "no" to the client whom we named.
        knows_client_ = true;
        return Judge(reply);
      }
      if (reply.klass() != 2) return Judge(reply);
      if (!xclient_left_.empty()) {
        std::string next = std::move(xclient_left_.front());
        xclient_left_.erase(xclient_left_.begin());
        return {0, Outcome::kGoOn, std::move(next)};
      }
      knows_client_ = true;
      state_ = State::kEhloAsClient;
      return {0, Outcome::kGoOn, Ehlo()};
    case State::kAuth: return TakeAuthReply(reply);
    case State::kTls:
    case State::kReady:
    case State::kOver: break;
  }
  return Fail(base::FaultKind::kProtocol, "a reply that nobody asked for");
}

SmtpBack::Step SmtpBack::AfterEhlo() {
  if (plan_.wants_starttls && !is_in_tls_) {
    if (!HasCapability(capabilities_, "STARTTLS"))
      return Fail(base::FaultKind::kProtocol, "STARTTLS is not announced");
    state_ = State::kStartTls;
    return {0, Outcome::kGoOn, "STARTTLS\r\n"};
  }
  if (plan_.xclient && !has_xclient_gone_) {
    has_xclient_gone_ = true;
    const std::string* announced = FindCapability(capabilities_, "XCLIENT");
    if (announced == nullptr)
      return Fail(base::FaultKind::kProtocol, "XCLIENT is not announced to us");
    xclient_left_ = XclientCommands(*announced, *plan_.xclient);
    if (xclient_left_.empty())
      return Fail(base::FaultKind::kProtocol, "XCLIENT without ADDR is of no use");
    std::string first = std::move(xclient_left_.front());
    xclient_left_.erase(xclient_left_.begin());
    state_ = State::kXclient;
    return {0, Outcome::kGoOn, std::move(first)};
  }
  if (plan_.login != nullptr) return StartAuth();
  state_ = State::kReady;
  return {0, Outcome::kReady, {}};
}

SmtpBack::Step SmtpBack::StartAuth() {
  const MechanismSet offered = OfferedMechanisms(CapabilityKind::kSmtp, capabilities_);
  const std::optional<Mechanism> mechanism = ChooseMechanism(*plan_.login, offered);
  if (!mechanism) {
    if (IsToken(plan_.login->mechanism) && !offered.empty()) {
      state_ = State::kOver;
      reply_ = "535 5.7.8 Authentication mechanism not available\r\n";
      return {0, Outcome::kRefused, {}};
    }
    return Fail(base::FaultKind::kProtocol, "no AUTH mechanism that fits is announced");
  }
  sasl_.emplace(*mechanism, *plan_.login, plan_.user_for_backend);
  state_ = State::kAuth;
  const std::string command = "AUTH " + std::string(Name(*mechanism));
  if (!sasl_->has_initial()) return {0, Outcome::kGoOn, command + "\r\n"};
  const base::Secret initial = sasl_->TakeInitial();
  // RFC 4954 4: a line of 512 bytes at most, so a long token waits for the 334.
  if (command.size() + 3 + initial.size() > 512) {
    sasl_.emplace(*mechanism, *plan_.login, plan_.user_for_backend);
    return {0, Outcome::kGoOn, command + "\r\n"};
  }
  return {0, Outcome::kGoOn, LineOf(command + " ", initial.Reveal())};
}

SmtpBack::Step SmtpBack::TakeAuthReply(const SmtpReply& reply) {
  if (reply.code == 334) {
    SaslClient::Step next = sasl_->Next(reply.text);
    switch (next.outcome) {
      case SaslClient::Outcome::kRespond:
        return {0, Outcome::kGoOn, LineOf("", next.response.Reveal())};
      case SaslClient::Outcome::kPassOn:
        challenge_ = std::string(reply.text);
        return {0, Outcome::kChallenge, {}};
      case SaslClient::Outcome::kUnexpected:
        return Fail(base::FaultKind::kProtocol, "unexpected challenge to AUTH");
    }
  }
  if (reply.klass() == 2) {
    state_ = State::kReady;
    return {0, Outcome::kReady, {}};
  }
  if (reply.klass() == 4) return Fail(base::FaultKind::kTempfail, std::string(reply.text));
  reply_ = std::string(reply.raw);
  state_ = State::kOver;
  return {0, Outcome::kRefused, {}};
}

std::string SmtpBack::TlsUp() {
  is_in_tls_ = true;
  state_ = State::kEhloInTls;
  return Ehlo();
}

std::string SmtpBack::Respond(base::ByteView line) { return LineOf("", line); }

// Not 2xx before a transaction: whose fault is it? 4.7.x and 5xx are said of the client, but not while the backend knows our
// address alone: then what it says of "the client" is said of us.
SmtpBack::Step SmtpBack::Judge(const SmtpReply& reply) {
  const bool is_of_policy = reply.enhanced().substr(0, 4) == "4.7." || reply.klass() == 5;
  if (is_of_policy && knows_client_) {
    reply_ = std::string(reply.raw);
    state_ = State::kOver;
    return {0, Outcome::kVerdict, {}};
  }
  return Fail(base::FaultKind::kTempfail,
              std::to_string(reply.code) + " " + base::Printable(reply.text, 120));
}

SmtpBack::Step SmtpBack::Fail(base::FaultKind kind, std::string why) {
  fault_ = kind;
  why_ = std::move(why);
  return {0, Outcome::kFailed, {}};
}

}  // namespace postern::proto
