// probe: drives a machine over one stream, with a stopwatch.
// SPDX-License-Identifier: Apache-2.0
#include "health/probe.h"

#include <algorithm>
#include <utility>
#include <variant>

#include "lb/base/escape.h"
#include "lb/io/stream_end.h"
#include "lb/proto/proxy_header.h"
#include "lb/proto/smtp_extensions.h"

namespace postern::health {
namespace {

using base::FaultKind;
using base::Phase;
using io::Stream;
using io::StreamEnd;

constexpr size_t kMaxWhyBytes = 200;

// Whom the relay check plays: RFC 5737 keeps this address from ever being anybody's.
constexpr std::string_view kStranger = "192.0.2.1";

bool IsSmtp(conf::Protocol protocol) {
  return protocol == conf::Protocol::kSmtp || protocol == conf::Protocol::kSubmission ||
         protocol == conf::Protocol::kLmtp;
}

std::string InAngles(const std::string& address) {
  return address.starts_with('<') ? address : '<' + address + '>';
}

}  // namespace

bool Probe::Speaks(conf::Protocol protocol) {
  return IsSmtp(protocol) || proto::MailProtocolOf(protocol).has_value();
}

Probe::Probe(io::Loop& loop, io::Dialer& dialer, ProbePlan plan, Done done)
    : loop_(loop),
      dialer_(dialer),
      plan_(std::move(plan)),
      conf_(*plan_.endpoint->conf),
      done_(std::move(done)),
      deadline_(loop.timers(), io::Timer::Invoke<&Probe::OnDeadline, Probe>, this),
      dial_deadline_(loop.timers(), io::Timer::Invoke<&Probe::OnDialDeadline, Probe>, this) {
  if (plan_.login != nullptr) {
    login_.user = plan_.login->user;
    login_.password = plan_.login->password;
  }
}

Probe::~Probe() = default;

void Probe::Start() {
  began_ = phase_began_ = loop_.Now();
  deadline_.ArmAt(began_ + plan_.timeout);
  connect_until_ = began_ + std::min(plan_.connect, plan_.timeout);
  if (plan_.addresses.empty()) {
    // Told later, like everything else.
    dial_deadline_.ArmAt(began_);
    return;
  }
  Dial();
}

// The time for connecting is shared by the addresses that are left.
void Probe::Dial() {
  const base::MonoTime now = loop_.Now();
  const auto num_left = static_cast<int64_t>(plan_.addresses.size() - num_dialled_);
  dial_deadline_.ArmAt(now + (connect_until_ - now) / num_left);
  io::DialOptions options;
  options.address = {plan_.addresses[num_dialled_++], conf_.port};
  for (const base::IpAddress& source : plan_.endpoint->backend->source_addresses)
    if (!options.source && source.family() == options.address.ip.family()) options.source = source;
  CloseLater();
  stream_ = dialer_.Connect(options, *this);
}

void Probe::OnDialDeadline() {
  if (plan_.addresses.empty()) return Fail(FaultKind::kRefused, "the host has no address");
  if (num_dialled_ < plan_.addresses.size()) {
    Dial();
  } else {
    Fail(FaultKind::kTimeout, "no connection in time");
  }
}

void Probe::OnStream(Stream& stream, Stream::Event event) {
  if (done_ == nullptr || &stream != stream_.get()) return;
  switch (event) {
    case Stream::Event::kConnected:
      return OnConnected();
    case Stream::Event::kTlsUp:
      return OnTlsUp();
    case Stream::Event::kReadable:
      return OnReadable();
    case Stream::Event::kEnd:
      return OnEnd();
    case Stream::Event::kDrained:
      return;
  }
}

void Probe::MakeMachine() {
  if (IsSmtp(conf_.protocol)) {
    proto::SmtpBackSettings settings;
    settings.tls = conf_.tls;
    settings.is_lmtp = conf_.protocol == conf::Protocol::kLmtp;
    settings.client_address = conf_.client_address;
    settings.own_name = plan_.hello;
    settings.is_probe = !plan_.is_relay_check;
    settings.client = stream_->local_address();
    settings.local = stream_->peer_address();
    if (plan_.is_relay_check)
      settings.client = {*base::IpAddress::Parse(kStranger), settings.client.port};
    if (plan_.login != nullptr && conf_.protocol == conf::Protocol::kSubmission) {
      settings.login = &login_;
      settings.login_user = login_.user;
    }
    smtp_ = std::make_unique<proto::SmtpBack>(std::move(settings));
  } else if (const auto protocol = proto::MailProtocolOf(conf_.protocol)) {
    proto::BackPlan plan;
    plan.tls = conf_.tls;
    if (plan_.login != nullptr) {
      plan.login = &login_;
      plan.user = login_.user;
      plan.is_check = true;
    }
    machine_ = proto::MakeBack(*protocol, plan);
  }
}

void Probe::OnConnected() {
  dial_deadline_.Cancel();
  is_connected_ = true;
  SetPhase(Phase::kGreeting);
  MakeMachine();
  if (smtp_ != nullptr) {
    DriveSmtp([this](std::string& out) { return smtp_->OnConnected(out); });
    return;
  }
  // Not every server knows the UNKNOWN of version 1: there a check is its own client.
  if (conf_.client_address == conf::ClientAddress::kProxyV1)
    stream_->Write(proto::PrintProxyHeader(proto::ProxyVersion::kV1, stream_->local_address(),
                                           stream_->peer_address()));
  if (conf_.client_address == conf::ClientAddress::kProxyV2)
    stream_->Write(proto::PrintLocalProxyHeader(proto::ProxyVersion::kV2));
  if (conf_.tls == conf::TlsMode::kImplicit) {
    StartTls();
  } else if (machine_ == nullptr) {
    Passed();
    Finish();
  }
}

void Probe::StartTls() {
  SetPhase(Phase::kTls);
  if (plan_.tls == nullptr) return Fail(FaultKind::kProtocol, "there are no TLS settings for it");
  if (!stream_->Input().empty()) return Fail(FaultKind::kProtocol, "bytes before TLS");
  io::TlsRequest request;
  request.role = io::TlsRole::kClient;
  request.settings = plan_.tls;
  const conf::Backend& backend = *plan_.endpoint->backend;
  request.server_name = backend.verify.name.empty() ? backend.host : backend.verify.name;
  is_handshaking_ = true;
  stream_->StartTls(request);
}

void Probe::OnTlsUp() {
  is_handshaking_ = false;
  seen_.certificate_not_after = plan_.tls->peer_not_after();
  SetPhase(Phase::kGreeting);
  if (smtp_ != nullptr) {
    DriveSmtp([this](std::string& out) { return smtp_->OnTls(out); });
  } else if (machine_ == nullptr) {
    Passed();
    Finish();
  } else if (conf_.tls == conf::TlsMode::kStartTls) {
    // Implicit TLS is the machine's ground from the start; after STARTTLS it waits for this.
    machine_->TlsUp();
    Drive();
  }
}

void Probe::OnReadable() {
  // A server that lets its clients wait in the middle of a greeting has answered with its first
  // octet; the pause is its policy, not its load.
  if (phase_ == Phase::kGreeting && !first_octet_ && !stream_->Input().empty())
    first_octet_ = loop_.Now() - phase_began_;
  if (machine_ != nullptr) {
    Drive();
  } else if (smtp_ == nullptr) {
    stream_->Consume(stream_->Input().size());
  } else if (!steps_.empty()) {
    ReadSmtpReplies();
  } else {
    DriveSmtp([this](std::string& out) { return smtp_->Next(stream_->Input(), out); });
  }
}

void Probe::OnEnd() {
  if (has_left_) return Finish();
  if (!is_connected_ && stream_->end() == StreamEnd::kRefused &&
      num_dialled_ < plan_.addresses.size() && loop_.Now() < connect_until_)
    return Dial();
  if (is_handshaking_ && plan_.tls != nullptr && stream_->end() == StreamEnd::kTlsVerify)
    seen_.certificate_not_after = plan_.tls->peer_not_after();
  seen_.is_own_shortage = stream_->end() == StreamEnd::kLocal;
  Fail(io::FaultOf(stream_->end()), io::EndInWords(*stream_));
}

// --- imap, pop3 -------------------------------------------------------------------------------

void Probe::Drive() {
  while (done_ != nullptr) {
    proto::BackStep step = machine_->Next(stream_->Input());
    stream_->Consume(step.consumed);
    if (phase_ != Phase::kTls || machine_->phase() != Phase::kGreeting) SetPhase(machine_->phase());
    // The last command of all is the goodbye.
    if (phase_ == Phase::kCommand && !has_left_) Passed();
    if (std::holds_alternative<proto::NeedBytes>(step.event) ||
        std::holds_alternative<proto::Wait>(step.event))
      return;
    if (const auto* send = std::get_if<proto::Send>(&step.event)) {
      stream_->Write(send->bytes);
    } else if (std::holds_alternative<proto::StartTls>(step.event)) {
      return StartTls();
    } else if (const auto* failed = std::get_if<proto::Failed>(&step.event)) {
      if (has_left_) return Finish();
      SetPhase(failed->phase);
      Fail(failed->kind, std::string(failed->text));
    } else if (const auto* refusal = std::get_if<proto::Refusal>(&step.event)) {
      Fail(FaultKind::kTempfail,
           "the login of the check is refused: " + std::string(refusal->code) +
               (refusal->code.empty() ? "" : " ") + std::string(refusal->text));
    } else if (std::holds_alternative<proto::Ended>(step.event)) {
      return Finish();
    } else {
      Fail(FaultKind::kProtocol, "a login that nobody asked for");
    }
  }
}

// --- smtp, submission, lmtp -------------------------------------------------------------------------

// Takes one step, then all that the input allows.
void Probe::DriveSmtp(const std::function<proto::SmtpBack::Step(std::string&)>& first) {
  std::string out;
  proto::SmtpBack::Step step = first(out);
  while (done_ != nullptr) {
    stream_->Consume(step.consumed);
    SetPhase(smtp_->phase());
    if (!out.empty()) stream_->Write(out);
    out.clear();
    switch (step.event) {
      case proto::SmtpBack::Event::kWait:
        if (step.consumed == 0) return;
        break;
      case proto::SmtpBack::Event::kStartTls:
        return StartTls();
      case proto::SmtpBack::Event::kReady:
        seen_.has_capabilities = true;
        seen_.capabilities = proto::EhloKeywords(smtp_->ehlo_lines());
        PlanSmtpSteps();
        return NextSmtpStep();
      case proto::SmtpBack::Event::kFailed:
        SetPhase(smtp_->fault().phase);
        return Fail(smtp_->fault().kind, smtp_->fault().why);
      case proto::SmtpBack::Event::kNeedName:
        step = smtp_->OnPeerName({base::PeerName::Kind::kUnavailable, ""}, out);
        continue;
    }
    step = smtp_->Next(stream_->Input(), out);
  }
}

void Probe::PlanSmtpSteps() {
  if (plan_.is_relay_check) {
    steps_.push_back({"MAIL FROM:<>\r\n", Phase::kMail});
    steps_.push_back({"RCPT TO:<" + std::string(kForeignRecipient) + ">\r\n", Phase::kRcpt,
                      /*is_question=*/true});
    steps_.push_back({"RSET\r\n"});
  } else if (plan_.mail != nullptr) {
    steps_.push_back({"MAIL FROM:" + InAngles(plan_.mail->from) + "\r\n", Phase::kMail});
    steps_.push_back({"RCPT TO:" + InAngles(plan_.mail->to) + "\r\n", Phase::kRcpt});
    steps_.push_back({"RSET\r\n"});
  }
  steps_.push_back({"QUIT\r\n"});
}

void Probe::NextSmtpStep() {
  const SmtpStep& step = steps_.front();
  SetPhase(step.phase);
  stream_->Write(step.line);
  if (steps_.size() == 1) Passed();
  ReadSmtpReplies();
}

void Probe::ReadSmtpReplies() {
  while (done_ != nullptr && !steps_.empty()) {
    const proto::SmtpReplyReader::Result result = replies_.Next(stream_->Input());
    if (result.status == proto::SmtpReplyReader::Status::kNeedBytes) return;
    if (has_left_) return Finish();
    if (result.status == proto::SmtpReplyReader::Status::kBad)
      return Fail(FaultKind::kProtocol, "what it says is no SMTP reply");
    const SmtpStep step = std::move(steps_.front());
    steps_.pop_front();
    const std::string text = base::Printable(proto::OneLine(result.reply.lines), kMaxWhyBytes);
    if (step.is_question) {
      seen_.relays = result.reply.is_2yz();
      seen_.relay_reply = text;
    } else if (!result.reply.is_ok()) {
      return Fail(FaultKind::kTempfail, text);
    }
    stream_->Consume(result.consumed);
    NextSmtpStep();
  }
}

// --- the end ----------------------------------------------------------------------------------

void Probe::SetPhase(Phase phase) {
  if (phase == phase_) return;
  TakePhase();
  phase_ = phase;
}

// The present phase is done; a phase that comes twice (hello, behind STARTTLS) adds up.
void Probe::TakePhase() {
  const base::MonoTime now = loop_.Now();
  base::Duration took = now - phase_began_;
  if (phase_ == Phase::kGreeting && first_octet_) took = *first_octet_;
  const auto known = std::find_if(seen_.phases.begin(), seen_.phases.end(),
                                  [this](const PhaseTime& time) { return time.phase == phase_; });
  if (known != seen_.phases.end()) {
    known->took += took;
  } else {
    seen_.phases.push_back({phase_, took});
  }
  phase_began_ = now;
}

void Probe::Passed() {
  seen_.is_ok = true;
  seen_.phase = phase_;
  seen_.took = loop_.Now() - began_;
  if (machine_ != nullptr && machine_->has_learned_capabilities()) {
    seen_.has_capabilities = true;
    seen_.capabilities = machine_->capabilities();
  }
  has_left_ = true;
  deadline_.ArmAt(std::min(loop_.Now() + kGoodbye, began_ + plan_.timeout));
}

void Probe::Fail(FaultKind kind, std::string why) {
  if (has_left_) return Finish();
  seen_.is_ok = false;
  seen_.phase = phase_;
  seen_.kind = kind;
  seen_.why = base::Printable(why, kMaxWhyBytes);
  seen_.took = loop_.Now() - began_;
  const bool can_hear = is_connected_ && !is_handshaking_ && stream_->end() == StreamEnd::kNone &&
                        (conf_.tls != conf::TlsMode::kImplicit || stream_->in_tls());
  if (can_hear && (IsSmtp(conf_.protocol) || conf_.protocol == conf::Protocol::kPop3)) {
    stream_->Write("QUIT\r\n");
  } else if (can_hear && machine_ != nullptr) {
    stream_->Write("P0 LOGOUT\r\n");
  }
  Finish();
}

void Probe::OnDeadline() {
  if (has_left_) return Finish();
  Fail(FaultKind::kTimeout, "no answer in time");
}

void Probe::Finish() {
  const Done done = std::exchange(done_, nullptr);
  if (done == nullptr) return;
  deadline_.Cancel();
  dial_deadline_.Cancel();
  if (stream_ != nullptr) stream_->CloseGently();
  seen_.at = loop_.Now();
  done(seen_);
}

// It may be the stream whose event brought us here.
void Probe::CloseLater() {
  if (stream_ == nullptr) return;
  stream_->Close();
  loop_.Post([stream = std::shared_ptr<Stream>(std::move(stream_))] {});
}

}  // namespace postern::health
