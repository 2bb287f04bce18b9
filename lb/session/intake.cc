// intake: PROXY header and implicit TLS of a new connection.
// SPDX-License-Identifier: Apache-2.0
#include "lb/session/intake.h"

#include <utility>

#include "lb/base/log.h"
#include "lb/proto/proxy_header.h"

namespace postern::session {

Intake::Intake(io::Loop& loop, metrics::Recorder& recorder, IntakeHost& host,
               std::shared_ptr<const ListenerSettings> its_listener, ClientFacts its_client,
               std::unique_ptr<io::Stream> its_stream)
    : listener(std::move(its_listener)),
      client(its_client),
      stream(std::move(its_stream)),
      recorder_(recorder),
      host_(host),
      deadline_(loop.timers(), io::Timer::Invoke<&Intake::OnDeadline, Intake>, this) {}

bool Intake::IsNeeded(const ListenerSettings& listener) {
  return !listener.conf.accept_proxy_from.empty() || listener.conf.tls == conf::TlsMode::kImplicit;
}

void Intake::Start() {
  stream->SetObserver(this);
  deadline_.ArmAt(client.accepted + listener->conf.timeouts.tls);
  if (listener->conf.accept_proxy_from.empty()) StartTls();
}

void Intake::Kill() {
  Fail(metrics::RejectReason::kDraining, "shutdown");
}

void Intake::OnStream(io::Stream& from, io::Stream::Event event) {
  if (state_ == State::kDone) return;
  switch (event) {
    case io::Stream::Event::kReadable:
      if (state_ == State::kProxyHeader) ReadProxyHeader();
      return;
    case io::Stream::Event::kTlsUp: {
      const io::TlsFacts& facts = *from.tls_facts();
      recorder_.Handshake(base::Side::kFront, facts.version, facts.group, facts.is_resumed,
                          /*is_ok=*/true);
      Ready();
      return;
    }
    case io::Stream::Event::kEnd:
      if (state_ == State::kTls) {
        recorder_.Handshake(base::Side::kFront, "", "", /*is_resumed=*/false, /*is_ok=*/false);
        Fail(metrics::RejectReason::kTls, from.tls_error());
      } else {
        Fail(metrics::RejectReason::kProxyHeader, "closed before its PROXY header was complete");
      }
      return;
    case io::Stream::Event::kConnected:
    case io::Stream::Event::kDrained:
      return;
  }
}

void Intake::ReadProxyHeader() {
  const proto::ProxyParse parse = proto::ParseProxyHeader(stream->Input());
  switch (parse.status) {
    case proto::ProxyParse::Status::kNeedMore:
      return;
    case proto::ProxyParse::Status::kInvalid:
      Fail(metrics::RejectReason::kProxyHeader, "invalid PROXY header");
      return;
    case proto::ProxyParse::Status::kDone:
      break;
  }
  stream->Consume(parse.size_bytes);
  // LOCAL or UNKNOWN is the hop speaking for itself: the addresses of the socket hold.
  if (parse.header.has_addresses) {
    client.client = parse.header.source;
    client.local = parse.header.destination;
  }
  if (listener->conf.tls != conf::TlsMode::kImplicit) {
    Ready();
    return;
  }
  StartTls();
}

void Intake::StartTls() {
  state_ = State::kTls;
  io::TlsRequest request;
  request.input_is_ciphertext = true;  // behind a PROXY header nothing was read as clear text
  request.role = io::TlsRole::kServer;
  request.settings = listener->tls.get();
  stream->StartTls(request);
}

void Intake::Ready() {
  state_ = State::kDone;
  deadline_.Cancel();
  host_.IntakeReady(*this);
}

void Intake::Fail(metrics::RejectReason reason, std::string_view why) {
  if (state_ == State::kDone) return;
  state_ = State::kDone;
  deadline_.Cancel();
  recorder_.Rejected(listener->slots, reason);
  if (base::log::Enabled(base::log::Level::kInfo))
    base::log::Info("connection_rejected",
                    {{"listener", listener->conf.name},
                     {"client", client.client.ToString()},
                     {"reason", reason == metrics::RejectReason::kTls           ? "tls"
                                : reason == metrics::RejectReason::kProxyHeader ? "proxy_header"
                                                                                : "draining"},
                     {"why", std::string(why)}});
  stream->Close();
  host_.IntakeFailed(*this);
}

void Intake::OnDeadline() {
  if (state_ == State::kTls) {
    recorder_.Handshake(base::Side::kFront, "", "", /*is_resumed=*/false, /*is_ok=*/false);
    Fail(metrics::RejectReason::kTls, "handshake took too long");
  } else {
    Fail(metrics::RejectReason::kProxyHeader, "PROXY header took too long");
  }
}

}  // namespace postern::session
