// probe: drives a machine over one stream.
// SPDX-License-Identifier: Apache-2.0
#include "health/probe.h"

#include <optional>
#include <utility>
#include <variant>

#include "lb/base/escape.h"
#include "lb/proto/proxy_header.h"
#include "lb/proto/smtp_extensions.h"

namespace postern::health {
namespace {

bool IsSmtp(conf::Protocol protocol) {
  return protocol == conf::Protocol::kSmtp || protocol == conf::Protocol::kSubmission;
}

proto::LegTls LegTlsOf(conf::TlsMode mode) {
  switch (mode) {
    case conf::TlsMode::kStartTls:
      return proto::LegTls::kStartTls;
    case conf::TlsMode::kImplicit:
      return proto::LegTls::kImplicit;
    case conf::TlsMode::kNone:
    case conf::TlsMode::kPassthrough:
      break;
  }
  return proto::LegTls::kNone;
}

// XCLIENT speaks for a client: a probe has none.
proto::LegAddress LegAddressOf(conf::ClientAddress mode) {
  if (mode == conf::ClientAddress::kProxyV1) return proto::LegAddress::kProxyV1;
  if (mode == conf::ClientAddress::kProxyV2) return proto::LegAddress::kProxyV2;
  return proto::LegAddress::kNone;
}

std::optional<proto::MailProtocol> MachineOf(conf::Protocol protocol) {
  switch (protocol) {
    case conf::Protocol::kImap:
      return proto::MailProtocol::kImap;
    case conf::Protocol::kPop3:
      return proto::MailProtocol::kPop3;
    case conf::Protocol::kSmtp:
    case conf::Protocol::kSubmission:
    case conf::Protocol::kLmtp:
    case conf::Protocol::kSieve:
    case conf::Protocol::kTcp:
      break;
  }
  return std::nullopt;
}

proto::BackTls TlsOf(conf::TlsMode mode) {
  switch (mode) {
    case conf::TlsMode::kStartTls:
      return proto::BackTls::kStartTls;
    case conf::TlsMode::kImplicit:
      return proto::BackTls::kImplicit;
    case conf::TlsMode::kNone:
    case conf::TlsMode::kPassthrough:
      break;
  }
  return proto::BackTls::kNone;
}

std::string WordsFor(io::StreamEnd end) {
  switch (end) {
    case io::StreamEnd::kRefused:
      return "connection refused";
    case io::StreamEnd::kLocal:
      return "no descriptor, port or memory of our own";
    case io::StreamEnd::kNone:
    case io::StreamEnd::kEof:
    case io::StreamEnd::kReset:
    case io::StreamEnd::kTlsFailed:
    case io::StreamEnd::kTlsVerify:
      break;
  }
  return "connection lost";
}

}  // namespace

bool Probe::Speaks(conf::Protocol protocol) {
  return IsSmtp(protocol) || MachineOf(protocol).has_value();
}

Probe::Probe(io::Loop& loop, io::Dialer& dialer, ProbeTarget target, Done done)
    : loop_(loop),
      dialer_(dialer),
      target_(std::move(target)),
      done_(std::move(done)),
      deadline_(loop.timers(), io::Timer::Invoke<&Probe::OnDeadline, Probe>, this) {}

Probe::~Probe() = default;

void Probe::Start() {
  deadline_.ArmAt(loop_.Now() + kTimeout);
  const conf::Endpoint& endpoint = *target_.endpoint->conf;
  if (IsSmtp(endpoint.protocol)) {
    proto::SmtpBackSettings settings;
    settings.tls = LegTlsOf(endpoint.tls);
    settings.client_address = LegAddressOf(endpoint.client_address);
    settings.own_name = target_.hello;
    settings.is_probe = true;
    smtp_ = std::make_unique<proto::SmtpBack>(std::move(settings));
  } else {
    proto::BackPlan plan;
    plan.tls = TlsOf(endpoint.tls);
    machine_ = proto::MakeBack(*MachineOf(endpoint.protocol), plan);
  }
  io::DialOptions dial;
  dial.address = target_.address;
  if (!target_.endpoint->backend->source_addresses.empty())
    dial.source = target_.endpoint->backend->source_addresses.front();
  stream_ = dialer_.Connect(dial, *this);
}

void Probe::OnStream(io::Stream& stream, io::Stream::Event event) {
  if (done_ == nullptr) return;
  switch (event) {
    case io::Stream::Event::kConnected:
      OnConnected();
      return;
    case io::Stream::Event::kTlsUp:
      phase_ = base::Phase::kGreeting;
      if (smtp_ != nullptr) {
        DriveSmtp([this](std::string& out) { return smtp_->OnTls(out); });
      } else if (target_.endpoint->conf->tls == conf::TlsMode::kStartTls) {
        // Implicit TLS is the machine's ground from the start; after STARTTLS it waits for this.
        machine_->TlsUp();
        Drive();
      }
      return;
    case io::Stream::Event::kReadable:
      if (smtp_ != nullptr) {
        DriveSmtp([this](std::string& out) { return smtp_->Next(stream_->Input(), out); });
      } else {
        Drive();
      }
      return;
    case io::Stream::Event::kEnd:
      if (learned_.is_ok) {
        Finish(std::move(learned_));
      } else {
        Fail(stream.tls_error().empty() ? WordsFor(stream.end()) : stream.tls_error());
      }
      return;
    case io::Stream::Event::kDrained:
      return;
  }
}

void Probe::OnConnected() {
  phase_ = base::Phase::kGreeting;
  if (smtp_ != nullptr) {
    DriveSmtp([this](std::string& out) { return smtp_->OnConnected(out); });
    return;
  }
  const conf::ClientAddress mode = target_.endpoint->conf->client_address;
  if (mode == conf::ClientAddress::kProxyV1 || mode == conf::ClientAddress::kProxyV2)
    stream_->Write(proto::PrintLocalProxyHeader(mode == conf::ClientAddress::kProxyV1
                                                    ? proto::ProxyVersion::kV1
                                                    : proto::ProxyVersion::kV2));
  if (target_.endpoint->conf->tls == conf::TlsMode::kImplicit) StartTls();
}

void Probe::StartTls() {
  phase_ = base::Phase::kTls;
  if (target_.tls == nullptr) {
    Fail("there are no TLS settings for it");
    return;
  }
  io::TlsRequest request;
  request.role = io::TlsRole::kClient;
  request.settings = target_.tls;
  const conf::Backend& backend = *target_.endpoint->backend;
  request.server_name = backend.verify.name.empty() ? backend.host : backend.verify.name;
  stream_->StartTls(request);
}

void Probe::Drive() {
  while (done_ != nullptr) {
    proto::BackStep step = machine_->Next(stream_->Input());
    phase_ = machine_->phase();
    stream_->Consume(step.consumed);
    if (std::holds_alternative<proto::NeedBytes>(step.event) ||
        std::holds_alternative<proto::Wait>(step.event))
      return;
    if (const auto* send = std::get_if<proto::Send>(&step.event)) {
      stream_->Write(send->bytes);
    } else if (std::holds_alternative<proto::StartTls>(step.event)) {
      StartTls();
      return;
    } else if (const auto* failed = std::get_if<proto::Failed>(&step.event)) {
      phase_ = failed->phase;
      Fail(base::Printable(failed->text, 200));
    } else if (std::holds_alternative<proto::Ended>(step.event)) {
      ProbeResult result;
      result.is_ok = machine_->has_learned_capabilities();
      result.capabilities = machine_->capabilities();
      result.phase = phase_;
      if (!result.is_ok) result.why = "ended before it told its capabilities";
      Finish(std::move(result));
    } else {
      Fail("a login that nobody asked for");
    }
  }
}

// Takes one step, then all that the input allows.
void Probe::DriveSmtp(const std::function<proto::SmtpBack::Step(std::string&)>& first) {
  if (learned_.is_ok) {  // the answer to QUIT
    stream_->Consume(stream_->Input().size());
    Finish(std::move(learned_));
    return;
  }
  std::string out;
  proto::SmtpBack::Step step = first(out);
  while (true) {
    stream_->Consume(step.consumed);
    phase_ = smtp_->phase();
    if (!out.empty()) stream_->Write(out);
    out.clear();
    switch (step.event) {
      case proto::SmtpBack::Event::kWait:
        if (step.consumed == 0) return;
        break;
      case proto::SmtpBack::Event::kStartTls:
        StartTls();
        return;
      case proto::SmtpBack::Event::kReady:
        learned_.is_ok = true;
        learned_.phase = phase_;
        learned_.capabilities = proto::EhloKeywords(smtp_->ehlo_lines());
        stream_->Write("QUIT\r\n");
        return;
      case proto::SmtpBack::Event::kFailed:
        phase_ = smtp_->fault().phase;
        Fail(base::Printable(smtp_->fault().why, 200));
        return;
      case proto::SmtpBack::Event::kNeedName:
        Fail("it wants to know a client");
        return;
    }
    step = smtp_->Next(stream_->Input(), out);
  }
}

void Probe::OnDeadline() {
  if (learned_.is_ok) {
    Finish(std::move(learned_));
  } else {
    Fail("timeout");
  }
}

void Probe::Fail(std::string why) {
  ProbeResult result;
  result.phase = phase_;
  result.why = std::move(why);
  Finish(std::move(result));
}

void Probe::Finish(ProbeResult result) {
  const Done done = std::exchange(done_, nullptr);
  if (done == nullptr) return;
  deadline_.Cancel();
  stream_->CloseGently();
  done(result);
}

}  // namespace postern::health
