// back_leg: one try of an endpoint, from the dial to a connection that is up.
// SPDX-License-Identifier: Apache-2.0
#include "lb/session/back_leg.h"

#include <algorithm>
#include <utility>

#include "lb/io/stream_end.h"
#include "lb/proto/proxy_header.h"

namespace postern::session {

using base::FaultKind;
using base::MonoTime;
using base::Phase;
using base::SessionResult;
using base::Side;

BackLeg::BackLeg(const Around& around, const balance::Endpoint& endpoint)
    : its_(around),
      dial_(endpoint),
      phase_began_(around.env.loop.Now()),
      connect_deadline_(phase_began_ + around.listener.conf.timeouts.connect) {
  its_.accounting.LegStarted(
      endpoint, its_.parts.endpoint_slots[endpoint.backend_index][endpoint.endpoint_index]);
}

BackLeg::Came BackLeg::Start() {
  if (dial_.num_left() == 0) return FailWith(FaultKind::kRefused, "the host has no address (yet)");
  Connect();
  return Came::kNothing;
}

void BackLeg::Connect() {
  const MonoTime now = its_.env.loop.Now();
  deadline_ = now + (connect_deadline_ - now) / static_cast<int64_t>(dial_.num_left());
  CloseLater(its_.env.loop, std::move(stream_));
  stream_ = dial_.Next(its_.env, its_.observer);
}

BackLeg::Came BackLeg::OnStream(io::Stream::Event event) {
  switch (event) {
    case io::Stream::Event::kConnected:
      return Connected();
    case io::Stream::Event::kTlsUp: {
      const io::TlsFacts& facts = *stream_->tls_facts();
      its_.env.recorder.Handshake(Side::kBack, facts.version, facts.group, facts.is_resumed,
                                  /*is_ok=*/true);
      return endpoint().conf->tls == conf::TlsMode::kImplicit ? Came::kUp : Came::kTlsUp;
    }
    case io::Stream::Event::kReadable:
      return Came::kBytes;
    case io::Stream::Event::kEnd:
      return Lost();
    case io::Stream::Event::kDrained:
      break;
  }
  return Came::kNothing;
}

BackLeg::Came BackLeg::Connected() {
  const conf::Endpoint& conf = *endpoint().conf;
  deadline_ = its_.env.loop.Now() + its_.listener.conf.timeouts.greeting;
  if (conf.client_address == conf::ClientAddress::kProxyV1 ||
      conf.client_address == conf::ClientAddress::kProxyV2) {
    const auto version = conf.client_address == conf::ClientAddress::kProxyV1
                             ? proto::ProxyVersion::kV1
                             : proto::ProxyVersion::kV2;
    const std::string header =
        proto::PrintProxyHeader(version, its_.client.client, its_.client.local);
    its_.accounting.Bytes(Side::kBack, metrics::Direction::kOut, header.size());
    stream_->Write(header);
    has_sent_header_ = true;
  }
  return conf.tls == conf::TlsMode::kImplicit ? StartTls() : Came::kUp;
}

BackLeg::Came BackLeg::StartTls() {
  SetPhase(Phase::kTls);
  const io::TlsRequest request = BackTls(its_.parts, endpoint());
  if (request.settings == nullptr || !stream_->Input().empty())
    return FailWith(FaultKind::kProtocol, "no TLS, or bytes before TLS");
  stream_->StartTls(request);
  return Came::kNothing;
}

void BackLeg::SetPhase(Phase phase) {
  if (phase_ == phase) return;
  PhaseDone();
  phase_ = phase;
  phase_began_ = its_.env.loop.Now();
  is_suspected_ = false;
  if (phase == Phase::kLogin) deadline_ = phase_began_ + its_.listener.conf.timeouts.auth;
}

void BackLeg::PhaseDone() {
  its_.accounting.PhaseDone(phase_, its_.env.loop.Now() - phase_began_);
}

// --- time -------------------------------------------------------------------------------------

MonoTime BackLeg::NextDeadline() const {
  return std::min(deadline_, Patience());
}

BackLeg::Came BackLeg::OnTimer(Blame blame) {
  const MonoTime now = its_.env.loop.Now();
  if (deadline_ <= now) {
    if (phase_ != Phase::kConnect || dial_.num_left() == 0)
      return FailWith(FaultKind::kTimeout, "timeout");
    Connect();
  } else if (Patience() <= now) {
    Suspect(blame);
  }
  return Came::kNothing;
}

// When the answer that is due has been due for too long; never once that has been told.
MonoTime BackLeg::Patience() const {
  if (is_suspected_ || deadline_ == kNever) return kNever;
  const base::Duration patience = endpoint().state->PatienceFor(phase_);
  return patience == base::Duration::max() ? kNever : phase_began_ + patience;
}

void BackLeg::Suspect(Blame blame) {
  is_suspected_ = true;
  endpoint().state->WantCheck();
  // Half a greeting is a server that lets its clients wait.
  const bool has_begun = phase_ == Phase::kGreeting && !stream_->Input().empty();
  if (blame == Blame::kPassive && !has_begun)
    its_.env.picker.Hangs(endpoint(), its_.env.loop.Now());
}

// --- ends -------------------------------------------------------------------------------------

BackLeg::Came BackLeg::FailWith(FaultKind kind, std::string why) {
  fault_ = {kind, std::move(why)};
  return Came::kFailed;
}

BackLeg::Came BackLeg::Lost() {
  const io::StreamEnd end = stream_->end();
  if (end == io::StreamEnd::kLocal) return Came::kShort;
  if (phase_ == Phase::kConnect) {
    if (dial_.num_left() == 0 || connect_deadline_ <= its_.env.loop.Now())
      return FailWith(FaultKind::kRefused, io::EndInWords(*stream_));
    Connect();
    return Came::kNothing;
  }
  if (phase_ == Phase::kTls)
    its_.env.recorder.Handshake(Side::kBack, "", "", /*is_resumed=*/false, /*is_ok=*/false);
  return FailWith(io::FaultOf(end), io::EndInWords(*stream_));
}

void BackLeg::Succeeded() {
  deadline_ = kNever;
  PhaseDone();
  its_.accounting.LoggedIn();
  its_.env.picker.Succeeded(endpoint());
}

std::string BackLeg::Fail(const Fault& fault, Blame blame) {
  LogFault(endpoint(), phase_, fault.kind, fault.why);
  its_.accounting.LegFailed(phase_, fault.kind);
  Drop(SessionResult::kBackendLost);
  its_.env.picker.Failed(endpoint(), blame, its_.env.loop.Now());
  return FaultInWords(endpoint(), phase_, fault.kind, fault.why);
}

void BackLeg::Drop(SessionResult result) {
  CloseLater(its_.env.loop, std::move(stream_));
  its_.accounting.LegEnded(result);
}

void BackLeg::Answered() {
  PhaseDone();
  its_.env.picker.Succeeded(endpoint());
  Drop(SessionResult::kClientQuit);
}

}  // namespace postern::session
