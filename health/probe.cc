// probe: drives a machine over one stream.
// SPDX-License-Identifier: Apache-2.0
#include "health/probe.h"

#include <optional>
#include <utility>
#include <variant>

#include "lb/base/escape.h"
#include "lb/proto/proxy_header.h"

namespace postern::health {
namespace {

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

}  // namespace

bool Probe::Speaks(conf::Protocol protocol) {
  return MachineOf(protocol).has_value();
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
  proto::BackPlan plan;
  plan.tls = TlsOf(target_.endpoint->conf->tls);
  machine_ = proto::MakeBack(*MachineOf(target_.endpoint->conf->protocol), plan);
  io::DialOptions dial;
  dial.address = target_.address;
  if (!target_.endpoint->backend->source_addresses.empty())
    dial.source = target_.endpoint->backend->source_addresses.front();
  stream_ = dialer_.Connect(dial, *this);
}

void Probe::OnStream(io::Stream& stream, io::Stream::Event event) {
  if (done_ == nullptr) return;
  switch (event) {
    case io::Stream::Event::kConnected: {
      const conf::ClientAddress mode = target_.endpoint->conf->client_address;
      if (mode == conf::ClientAddress::kProxyV1 || mode == conf::ClientAddress::kProxyV2)
        stream.Write(proto::PrintLocalProxyHeader(mode == conf::ClientAddress::kProxyV1
                                                      ? proto::ProxyVersion::kV1
                                                      : proto::ProxyVersion::kV2));
      phase_ = base::Phase::kGreeting;
      if (target_.endpoint->conf->tls == conf::TlsMode::kImplicit) StartTls();
      return;
    }
    case io::Stream::Event::kTlsUp:
      phase_ = base::Phase::kGreeting;
      // Implicit TLS is the machine's ground from the start; after STARTTLS it waits for this.
      if (target_.endpoint->conf->tls == conf::TlsMode::kStartTls) {
        machine_->TlsUp();
        Drive();
      }
      return;
    case io::Stream::Event::kReadable:
      Drive();
      return;
    case io::Stream::Event::kEnd:
      Fail(stream.tls_error().empty() ? "connection refused or lost" : stream.tls_error());
      return;
    case io::Stream::Event::kDrained:
      return;
  }
}

void Probe::StartTls() {
  phase_ = base::Phase::kTls;
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
