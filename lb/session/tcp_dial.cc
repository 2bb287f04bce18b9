// tcp_dial: the part of tcp_session between a client that is known and a backend that is up.
// SPDX-License-Identifier: Apache-2.0
#include <utility>

#include "lb/base/check.h"
#include "lb/base/log.h"
#include "lb/io/stream_end.h"
#include "lb/proto/proxy_header.h"
#include "lb/session/tcp_session.h"

namespace postern::session {

using base::FaultKind;
using base::MonoTime;
using base::Phase;
using base::SessionResult;
using base::Side;
using metrics::Direction;

void TcpSession::FindHome() {
  state_ = State::kRoute;
  Setup& setup = *setup_;
  setup.parts = env_.parts;
  const auto route = setup.parts->router->FindRoute(listener_->conf.route);
  if (!route)
    return Finish({SessionResult::kBackendLost, Side::kNone, Phase::kRoute, "the route is gone"});
  route::Facts facts;
  facts.listener = listener_->conf.name;
  facts.protocol = listener_->conf.protocol;
  facts.client = client_.client.ip;
  facts.sni = setup.server_name;
  setup.query = std::make_unique<RouteQuery>(setup.parts, env_.recorder, env_.loop, *route, facts,
                                             std::nullopt);
  const auto decision = setup.query->Start([this](const route::Decision& late) {
    GoBy(late);
    Rearm();
  });
  if (decision) GoBy(*decision);
}

void TcpSession::GoBy(const route::Decision& decision) {
  Setup& setup = *setup_;
  // What it points to is kept until here.
  const std::unique_ptr<RouteQuery> query = std::move(setup.query);
  setup.home = HomeOf(*setup.parts, decision, listener_->conf.protocol);
  CountDecision(env_.recorder, *setup.parts, decision, setup.home);
  const auto end = [this](SessionResult result, std::string why) {
    Finish({result, Side::kNone, Phase::kRoute, std::move(why)});
  };
  switch (decision.kind) {
    case route::Decision::Kind::kPool:
    case route::Decision::Kind::kBackend:
    case route::Decision::Kind::kAddress:
      if (setup.home == nullptr)
        return end(SessionResult::kBackendLost, "the directory names no server that is configured");
      state_ = State::kDial;
      return TryNext();
    case route::Decision::Kind::kReject:
    case route::Decision::Kind::kRefused:
      return end(SessionResult::kProtocolError, "refused by rule");
    case route::Decision::Kind::kUnknown:
      return end(SessionResult::kProtocolError, "no rule holds");
    case route::Decision::Kind::kTempFail:
      return end(SessionResult::kBackendLost,
                 decision.why.empty() ? "tempfail by rule" : std::string(decision.why));
    case route::Decision::Kind::kAsk:
      POSTERN_CHECK(false);
  }
}

// A pool that is spread by a key has the client's address for one: there is no user.
void TcpSession::TryNext() {
  Setup& setup = *setup_;
  setup.endpoint = nullptr;
  const MonoTime now = env_.loop.Now();
  const balance::Endpoint* endpoint =
      env_.picker.Pick(*setup.home, balance::ClientKey(client_.client.ip), setup.tried, now);
  if (endpoint == nullptr) {
    return Finish({SessionResult::kBackendLost, Side::kBack, Phase::kConnect,
                   setup.last_fault.empty() ? "no endpoint can take it now" : setup.last_fault});
  }
  if (setup.last_kind) env_.recorder.Retry(listener_->conf.protocol, *setup.last_kind);
  setup.tried.push_back(endpoint->id);
  setup.endpoint = endpoint;
  setup.addresses.clear();
  setup.num_dialled = 0;
  setup.has_sent_header = false;
  setup.is_suspected = false;
  setup.phase = Phase::kConnect;
  setup.phase_began = now;
  setup.connect_deadline = now + listener_->conf.timeouts.connect;
  if (const auto facts = endpoint->state->facts()) setup.addresses = facts->addresses;
  if (const auto ip = base::IpAddress::Parse(endpoint->backend->host);
      ip && setup.addresses.empty())
    setup.addresses = {*ip};
  accounting_.LegStarted(
      *endpoint, setup.parts->endpoint_slots[endpoint->backend_index][endpoint->endpoint_index]);
  if (setup.addresses.empty()) return Failed(FaultKind::kRefused, "the host has no address (yet)");
  TryAddress();
}

// The time for connecting is shared by the addresses that are left.
void TcpSession::TryAddress() {
  Setup& setup = *setup_;
  const MonoTime now = env_.loop.Now();
  const auto num_left = static_cast<int64_t>(setup.addresses.size() - setup.num_dialled);
  setup.deadline = now + (setup.connect_deadline - now) / num_left;
  io::DialOptions options;
  options.address = {setup.addresses[setup.num_dialled++], setup.endpoint->conf->port};
  const auto& sources = setup.endpoint->backend->source_addresses;
  const size_t start = sources.empty() ? 0 : env_.rng.Below(sources.size());
  for (size_t i = 0; i < sources.size() && !options.source; ++i) {
    const base::IpAddress& source = sources[(start + i) % sources.size()];
    if (source.family() == options.address.ip.family()) options.source = source;
  }
  CloseBackLater();
  back_ = env_.dialer.Connect(options, *this);
}

// It may be in the middle of telling us something: closed now, deleted later.
void TcpSession::CloseBackLater() {
  if (back_ == nullptr) return;
  back_->Close();
  env_.loop.Post([dead = std::shared_ptr<io::Stream>(std::move(back_))] {});
}

void TcpSession::OnBackBefore(io::Stream::Event event) {
  switch (event) {
    case io::Stream::Event::kConnected:
      return Connected();
    case io::Stream::Event::kTlsUp: {
      const io::TlsFacts& facts = *back_->tls_facts();
      env_.recorder.Handshake(Side::kBack, facts.version, facts.group, facts.is_resumed,
                              /*is_ok=*/true);
      SetPhase(Phase::kRelay);
      return;
    }
    case io::Stream::Event::kEnd:
      return Lost();
    case io::Stream::Event::kReadable:
    case io::Stream::Event::kDrained:
      return;
  }
}

void TcpSession::Connected() {
  Setup& setup = *setup_;
  const conf::Endpoint& endpoint = *setup.endpoint->conf;
  if (endpoint.client_address == conf::ClientAddress::kProxyV1 ||
      endpoint.client_address == conf::ClientAddress::kProxyV2) {
    const auto version = endpoint.client_address == conf::ClientAddress::kProxyV1
                             ? proto::ProxyVersion::kV1
                             : proto::ProxyVersion::kV2;
    const std::string header = proto::PrintProxyHeader(version, client_.client, client_.local);
    accounting_.Bytes(Side::kBack, Direction::kOut, header.size());
    back_->Write(header);
    setup.has_sent_header = true;
  }
  if (endpoint.tls == conf::TlsMode::kImplicit) return StartBackTls();
  // A client that is in TLS with the backend itself sends nothing in clear.
  if (listener_->conf.tls != conf::TlsMode::kPassthrough)
    env_.recorder.PlaintextSession(Side::kBack, listener_->conf.protocol);
  SetPhase(Phase::kRelay);
}

void TcpSession::StartBackTls() {
  Setup& setup = *setup_;
  SetPhase(Phase::kTls);
  setup.deadline = env_.loop.Now() + listener_->conf.timeouts.greeting;
  io::TlsRequest request;
  request.role = io::TlsRole::kClient;
  request.settings = setup.parts->back_tls[setup.endpoint->id].get();
  const conf::Backend& backend = *setup.endpoint->backend;
  request.server_name = backend.verify.name.empty() ? backend.host : backend.verify.name;
  if (request.settings == nullptr || !back_->Input().empty())
    return Failed(FaultKind::kProtocol, "no TLS, or bytes before TLS");
  back_->StartTls(request);
}

// To kRelay: the endpoint is up.
void TcpSession::SetPhase(Phase phase) {
  Setup& setup = *setup_;
  const MonoTime now = env_.loop.Now();
  accounting_.PhaseDone(setup.phase, now - setup.phase_began);
  setup.phase = phase;
  setup.phase_began = now;
  setup.is_suspected = false;
  if (phase != Phase::kRelay) return;
  accounting_.LoggedIn();
  env_.picker.Succeeded(*setup.endpoint);
  StartRelay();
}

void TcpSession::Lost() {
  Setup& setup = *setup_;
  const io::StreamEnd end = back_->end();
  if (end == io::StreamEnd::kLocal) {
    // Nothing about the backend: no blame, no failure of its.
    return Finish({SessionResult::kLimit, Side::kBack, Phase::kConnect,
                   "no descriptor, port or memory to connect with"});
  }
  if (setup.phase == Phase::kConnect) {
    if (setup.num_dialled < setup.addresses.size() && setup.connect_deadline > env_.loop.Now())
      return TryAddress();
    return Failed(FaultKind::kRefused, io::EndInWords(*back_));
  }
  env_.recorder.Handshake(Side::kBack, "", "", /*is_resumed=*/false, /*is_ok=*/false);
  Failed(io::FaultOf(end), io::EndInWords(*back_));
}

// What a PROXY header has told may be why it failed.
bool TcpSession::MayBlame() const {
  return !setup_->has_sent_header;
}

// When it has been awaited for too long; never once that has been told.
MonoTime TcpSession::Patience() const {
  if (setup_->is_suspected) return MonoTime::max();
  const base::Duration patience = setup_->endpoint->state->PatienceFor(setup_->phase);
  return patience == base::Duration::max() ? MonoTime::max() : setup_->phase_began + patience;
}

void TcpSession::Failed(FaultKind kind, std::string why) {
  Setup& setup = *setup_;
  const balance::Endpoint& endpoint = *setup.endpoint;
  const auto blame = MayBlame() ? balance::Picker::Blame::kPassive : balance::Picker::Blame::kNone;
  if (base::log::Enabled(base::log::Level::kWarn))
    base::log::Warn("backend_failed",
                    {{"backend", endpoint.backend->name},
                     {"protocol", std::string(conf::Name(endpoint.conf->protocol))},
                     {"phase", std::string(base::Name(setup.phase))},
                     {"kind", std::string(base::Name(kind))},
                     {"why", why}});
  setup.last_fault = endpoint.backend->name;
  for (const std::string_view word : {base::Name(setup.phase), base::Name(kind)}) {
    setup.last_fault += ' ';
    setup.last_fault += word;
  }
  if (!why.empty()) setup.last_fault += ": " + why;
  setup.last_kind = kind;
  accounting_.LegFailed(setup.phase, kind);
  CloseBackLater();
  accounting_.LegEnded(SessionResult::kBackendLost);
  env_.picker.Failed(endpoint, blame, env_.loop.Now());
  TryNext();
}

}  // namespace postern::session
