// smtp_back: the client role towards one SMTP backend, from connect until mail may begin.
// SPDX-License-Identifier: Apache-2.0
#include "lb/proto/smtp_back.h"

#include <optional>
#include <utility>

#include "lb/proto/proxy_header.h"

namespace postern::proto {
namespace {

using base::ByteView;
using base::FaultKind;
using base::Phase;

// RFC 4954 4: a command line has at most 512 octets; a longer first message waits for a 334.
constexpr size_t kMaxAuthLineBytes = 512;

MechanismSet OfferedBy(const SmtpExtensions& extensions) {
  MechanismSet offered;
  if (extensions.auth_plain) offered.Add(Mechanism::kPlain);
  if (extensions.auth_login) offered.Add(Mechanism::kLogin);
  if (extensions.auth_xoauth2) offered.Add(Mechanism::kXoauth2);
  if (extensions.auth_oauthbearer) offered.Add(Mechanism::kOauthBearer);
  return offered;
}

void AppendLine(std::string& out, ByteView text) {
  out.append(text).append("\r\n");
}

}  // namespace

SmtpBack::SmtpBack(SmtpBackSettings settings)
    : settings_(std::move(settings)), reader_(settings_.limits) {}

Phase SmtpBack::phase() const {
  switch (state_) {
    case State::kConnecting:
      return Phase::kConnect;
    case State::kTls:
    case State::kStartTlsUp:
      return Phase::kTls;
    case State::kGreeting:
      return Phase::kGreeting;
    case State::kHello:
    case State::kStartTls:
    case State::kHelloInTls:
    case State::kPeerName:
    case State::kXclient:
    case State::kHelloAsClient:
      return Phase::kHello;
    case State::kAuth:
      return Phase::kLogin;
    case State::kReady:
      return Phase::kCommand;
    case State::kFailed:
      return fault_.phase;
  }
  return Phase::kCommand;
}

SmtpBack::Step SmtpBack::OnConnected(std::string& out) {
  if (state_ != State::kConnecting) return {};
  if (WantsProxy()) {
    const ProxyVersion version = settings_.client_address == conf::ClientAddress::kProxyV1
                                     ? ProxyVersion::kV1
                                     : ProxyVersion::kV2;
    // Not every server knows the UNKNOWN of version 1: there a probe is its own client.
    out += settings_.is_probe && version == ProxyVersion::kV2
               ? PrintLocalProxyHeader(version)
               : PrintProxyHeader(version, settings_.client, settings_.local);
    has_client_bytes_ = knows_client_ = !settings_.is_probe;
  }
  if (settings_.tls == conf::TlsMode::kImplicit) {
    state_ = State::kTls;
    return {0, Event::kStartTls};
  }
  state_ = State::kGreeting;
  return {};
}

SmtpBack::Step SmtpBack::OnReused(std::string& out) {
  if (state_ == State::kConnecting) SayHello(State::kHelloAsClient, out);
  return {};
}

SmtpBack::Step SmtpBack::OnTls(std::string& out) {
  reader_.Reset();
  if (state_ == State::kTls) {
    state_ = State::kGreeting;
  } else if (state_ == State::kStartTlsUp) {
    extensions_ = {};
    ehlo_lines_.clear();
    SayHello(WantsXclient() ? State::kHelloInTls : State::kHelloAsClient, out);
  }
  return {};
}

SmtpBack::Step SmtpBack::Next(ByteView input, std::string& out) {
  if (state_ == State::kReady || state_ == State::kFailed || state_ == State::kConnecting ||
      state_ == State::kTls || state_ == State::kStartTlsUp)
    return {};
  const SmtpReplyReader::Result result = reader_.Next(input);
  if (result.status == SmtpReplyReader::Status::kNeedBytes) return {};
  if (result.status == SmtpReplyReader::Status::kBad) {
    Fail(FaultKind::kProtocol, "what it says is no SMTP reply");
    return {0, Event::kFailed};
  }
  // A server speaks only when it is asked: what stands behind a reply cannot answer the next
  // command, which nobody has sent yet; and what is behind the go-ahead for TLS is an attack. Behind
  // a refusal it may say goodbye.
  if (result.reply.code < 400 && result.consumed < input.size()) {
    Fail(FaultKind::kProtocol, state_ == State::kStartTls ? "bytes behind the go-ahead for TLS"
                                                          : "a reply that nobody asked for");
    return {result.consumed, Event::kFailed};
  }
  Step step = Take(result.reply, out);
  step.consumed = result.consumed;
  if (state_ == State::kFailed) step.event = Event::kFailed;
  return step;
}

SmtpBack::Step SmtpBack::Take(const SmtpReply& reply, std::string& out) {
  switch (state_) {
    case State::kGreeting:
      if (reply.code != 220) {
        Judge(reply);
      } else if (settings_.tls == conf::TlsMode::kStartTls) {
        SayHello(State::kHello, out);
      } else {
        SayHello(WantsXclient() ? State::kHelloInTls : State::kHelloAsClient, out);
      }
      return {};
    case State::kHello:
    case State::kHelloInTls:
    case State::kHelloAsClient:
      return OnHello(reply, out);
    case State::kStartTls:
      if (reply.code != 220) {
        Judge(reply);
        return {};
      }
      state_ = State::kStartTlsUp;
      return {0, Event::kStartTls};
    case State::kXclient:
      return OnXclient(reply, out);
    case State::kAuth:
      return OnAuth(reply, out);
    case State::kPeerName:  // nothing was asked
      if (reply.is_goodbye()) {
        Judge(reply);
      } else {
        Fail(FaultKind::kProtocol, "a reply that nobody asked for");
      }
      return {};
    case State::kConnecting:
    case State::kTls:
    case State::kStartTlsUp:
    case State::kReady:
    case State::kFailed:
      break;
  }
  return {};
}

void SmtpBack::SayHello(State state, std::string& out) {
  state_ = state;
  const bool is_client = state == State::kHelloAsClient && !settings_.client_name.empty();
  if (is_client) has_client_bytes_ = true;
  out.append(settings_.is_lmtp ? "LHLO " : SaysHelo() ? "HELO " : "EHLO ");
  out.append(is_client ? settings_.client_name : settings_.own_name).append("\r\n");
}

// An EHLO behind XCLIENT would make an ESMTP client of one that is none, whatever PROTO has said. What
// the server can do is known from the EHLO before.
bool SmtpBack::SaysHelo() const {
  return state_ == State::kHelloAsClient && WantsXclient() && !settings_.is_esmtp &&
         !settings_.is_lmtp && settings_.login == nullptr && !settings_.client_name.empty();
}

SmtpBack::Step SmtpBack::OnHello(const SmtpReply& reply, std::string& out) {
  if (reply.code != 250) {
    Judge(reply);
    return {};
  }
  if (SaysHelo()) {
    extensions_.pipelining = false;  // RFC 2920 3.1: it takes an EHLO; servers check that
  } else {
    extensions_ = ParseEhloReply(reply.lines);
    ehlo_lines_ = reply.lines;
  }
  if (state_ == State::kHello) {
    if (!extensions_.starttls) {
      Fail(FaultKind::kProtocol, "STARTTLS is not announced");
      return {};
    }
    state_ = State::kStartTls;
    out += "STARTTLS\r\n";
    return {};
  }
  if (state_ == State::kHelloInTls) {
    if ((extensions_.xclient_attributes & kXclientAddr) == 0) {
      Fail(FaultKind::kProtocol, "XCLIENT is not announced to us");
      return {};
    }
    state_ = State::kPeerName;
    return {0, Event::kNeedName};
  }
  return settings_.login != nullptr ? StartAuth(out) : BecomeReady();
}

SmtpBack::Step SmtpBack::BecomeReady() {
  state_ = State::kReady;
  return {0, Event::kReady};
}

SmtpBack::Step SmtpBack::OnPeerName(const base::PeerName& name, std::string& out) {
  if (state_ != State::kPeerName) return {};
  XclientFacts facts;
  facts.client = settings_.client;
  facts.local = settings_.local;
  facts.name_kind = name.kind;
  facts.name = name.name;
  facts.helo = settings_.client_name;
  facts.is_esmtp = settings_.is_esmtp;
  if (settings_.vouches) facts.login = settings_.login_user;
  xclient_ = BuildXclient(facts, extensions_.xclient_attributes);
  if (settings_.vouches && xclient_.back().find(" LOGIN=") == std::string::npos) {
    Fail(FaultKind::kProtocol, "XCLIENT LOGIN is not announced to us, or takes no such name");
    return {0, Event::kFailed};
  }
  state_ = State::kXclient;
  has_client_bytes_ = true;
  // The last command holds the address; only the answer to that one speaks of the client.
  knows_client_ = xclient_.size() == 1;
  out += xclient_.front();
  return {};
}

SmtpBack::Step SmtpBack::OnXclient(const SmtpReply& reply, std::string& out) {
  if (reply.code != 220 && reply.code != 250) {
    Judge(reply);
    return {};
  }
  xclient_.erase(xclient_.begin());
  if (xclient_.empty()) {
    SayHello(State::kHelloAsClient, out);
  } else {
    knows_client_ = xclient_.size() == 1;
    out += xclient_.front();
  }
  return {};
}

SmtpBack::Step SmtpBack::StartAuth(std::string& out) {
  const std::optional<Mechanism> mechanism =
      ChooseMechanism(*settings_.login, OfferedBy(extensions_));
  if (!mechanism) {
    Fail(FaultKind::kProtocol, "no login mechanism that fits is announced");
    fault_.phase = Phase::kLogin;
    fault_.meaning = SmtpLegFault::Meaning::kRefusal;
    return {};
  }
  state_ = State::kAuth;
  has_client_bytes_ = true;
  sasl_ = std::make_unique<SaslClient>(*mechanism, *settings_.login, settings_.login_user);
  out.append("AUTH ").append(Name(*mechanism));
  if (sasl_->has_initial()) {
    const base::Secret initial = sasl_->TakeInitial();
    if (Name(*mechanism).size() + initial.size() + 8 <= kMaxAuthLineBytes) {
      out.append(" ").append(initial.Reveal());
    } else {
      sasl_ = std::make_unique<SaslClient>(*mechanism, *settings_.login, settings_.login_user);
    }
  }
  out.append("\r\n");
  return {};
}

SmtpBack::Step SmtpBack::OnAuth(const SmtpReply& reply, std::string& out) {
  if (reply.code == 235) return BecomeReady();
  if (reply.code == 334) {
    const SaslClient::Step step = sasl_->Next(reply.FirstText());
    switch (step.outcome) {
      case SaslClient::Outcome::kRespond:
        AppendLine(out, step.response.Reveal());
        return {};
      case SaslClient::Outcome::kPassOn:
        // The exchange has failed; the backend wants a word before it says so (RFC 7628 3.2.3).
        fault_.challenge = reply.FirstText();
        AppendLine(out, sasl_->mechanism() == Mechanism::kOauthBearer ? "AQ==" : "");
        return {};
      case SaslClient::Outcome::kUnexpected:
        break;
    }
    Fail(FaultKind::kProtocol, "a challenge that does not belong to the mechanism");
    return {};
  }
  if (reply.is_5yz()) {
    std::string challenge = std::move(fault_.challenge);
    Fail(FaultKind::kTempfail, "login refused: " + OneLine(reply.lines));
    fault_.meaning = SmtpLegFault::Meaning::kRefusal;
    fault_.reply = reply.lines;
    fault_.challenge = std::move(challenge);
    return {};
  }
  Fail(reply.is_4yz() ? FaultKind::kTempfail : FaultKind::kProtocol, OneLine(reply.lines));
  return {};
}

// 4yz: of the server, unless its subject is 7 (policy). 5yz: of the server as well, as it had no
// reason yet to refuse for good. But once it knows the client, policy and 5yz are its word on the
// client.
void SmtpBack::Judge(const SmtpReply& reply) {
  const bool is_policy = reply.is_4yz() && reply.HasSubject('7');
  const bool is_verdict = knows_client_ && (is_policy || reply.is_5yz());
  Fail(reply.is_4yz() || reply.is_5yz() ? FaultKind::kTempfail : FaultKind::kProtocol,
       OneLine(reply.lines));
  if (is_verdict) {
    fault_.meaning = SmtpLegFault::Meaning::kVerdict;
    fault_.reply = reply.is_goodbye() ? WithCode(reply.lines, 451) : std::string(reply.lines);
  }
  if (is_policy) fault_.is_passive = false;
}

void SmtpBack::Fail(FaultKind kind, std::string why) {
  if (state_ == State::kFailed) return;
  fault_ = SmtpLegFault{};
  fault_.phase = phase();
  fault_.kind = kind;
  fault_.is_passive = !has_client_bytes_;
  fault_.why = std::move(why);
  state_ = State::kFailed;
}

}  // namespace postern::proto
